"""What giving back what was kept needs, and what stands in its way. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from airflow_provider_wmigrate.engine.lock_modes import KnownLock, LockMode
from airflow_provider_wmigrate.engine.model import Finding, Migration, finding_in
from airflow_provider_wmigrate.engine.record import Kept


def kept_gone(migration: Migration, kept: Iterable[Kept], there: Collection[str]) -> tuple[Finding, ...]:
    """Why what a migration has kept cannot be given back: it is not there any more.

    :param there: the schemas of kept things that there are.
    """
    gone = [str(each) for each in kept if each.place not in there]
    if not gone or not migration.keep:
        return ()
    message = f"what it kept was emptied: {', '.join(gone)}"
    nxt = "restore it from a backup; or set keep: false for it, and its rollback script runs alone"
    return (finding_in("kept_gone", migration, message, nxt),)


def locks_of_kept(kept: Iterable[Kept]) -> Iterator[KnownLock]:
    """What giving back locks: what is kept, and of what is there the tables that rows and values go into, without
    their triggers, and those that foreign keys name again."""
    for each in kept:
        yield KnownLock(_quoted(each.place, each.table), LockMode.ACCESS_EXCLUSIVE, "kept")
        if each.what != "table":
            yield KnownLock(_quoted(each.schema, each.table), LockMode.SHARE_ROW_EXCLUSIVE, "kept")
        for _, definition in each.foreign_keys:
            if found := _REFERENCES.search(definition):
                yield KnownLock(found[1], LockMode.SHARE_ROW_EXCLUSIVE, "kept")


_REFERENCES = re.compile(r'\) REFERENCES ((?:"(?:[^"]|"")+"|[^"(.\s])+\.(?:"(?:[^"]|"")+"|[^"(\s])+)')


def _quoted(schema: str, table: str) -> str:
    return ".".join('"' + name.replace('"', '""') + '"' for name in (schema, table))
