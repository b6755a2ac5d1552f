"""One file for the first migrations of a folder: written from what they make of an empty database, and proven by
applying it to another one and comparing both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from msgspec import Struct

from .catalog.row_sums import take_sums
from .catalog.snapshot.comparing import diff
from .catalog.snapshot.facts import Snapshot
from .catalog.snapshot.taking import take
from .errors import HistoryError
from .folder.folder import Folder
from .model import Finding, Migration, version_key
from .replay import Scratch, replayed
from .session.session import Connect


class Made(Struct, frozen=True):
    """What migrations make of an empty database."""

    snapshot: Snapshot
    rows: Mapping[str, Any]
    """See `Sums.kept`."""


def to_squash(folder: Folder, to: str) -> tuple[Migration, ...]:
    """The migrations up to a version, in numeric order.

    :raises HistoryError: one file cannot stand for them.
    """
    found = tuple(m for m in folder.migrations if version_key(m.version) <= version_key(to))
    findings = tuple(_not_squashable(folder, {m.version: m for m in found}))
    if findings:
        raise HistoryError(findings)
    return found


def _not_squashable(folder: Folder, wanted: Mapping[str, Migration]) -> Iterator[Finding]:
    last = max(wanted, key=version_key)
    if len(wanted) == 1:
        yield _finding(f"there is one migration up to {last} alone", "give a higher version")
    for version in sorted(folder.graph.ancestors(wanted) - wanted.keys(), key=version_key):
        yield _finding(
            f"migrations up to {last} need {version}, which is above it", f"squash up to {version}, or higher"
        )
    for migration in wanted.values():
        if migration.squashes:
            nxt = (
                f"take `squashes` out of its block, and name {migration.version} where `dependencies` name the older"
                f" ones; then, on each target that has the older files,"
                f" `wmigrate repair {migration.version} --accept`, and"
                " `--forget` for each of the others"
            )
            yield _finding(f"{migration.script.file} stands for older files itself", nxt)


def make(folder: Folder, to: str, scratch: Scratch, dump: Callable[[Connect], str] | None = None) -> tuple[Made, str]:
    """Apply everything up to a version to an empty database, and look at what is there then.

    :param dump: writes a script that makes the same; None: none is wanted.
    :return: what is there, and that script.
    :raises HistoryError: a migration is left out there, or cannot be planned.
    :raises StatementFailed: one of them fails.
    """
    ledger = folder.config.settings_for(scratch.environment).ledger.schema_name
    with replayed(folder, to, scratch) as (there, applied):
        left = [m.version for m in folder.migrations if _is_left(m, to, applied)]
        if left:
            message = (
                f"{', '.join(left)} {'is' if len(left) == 1 else 'are'} left out on the server of the scratch database"
            )
            raise HistoryError([_finding(message, "name a server that has what they need with --scratch")])
        with there() as conn:
            made = Made(take(conn), take_sums(conn, ledger).kept())
        return made, dump(there) if dump else ""


def _is_left(migration: Migration, to: str, applied: Collection[str]) -> bool:
    return version_key(migration.version) <= version_key(to) and migration.version not in applied


def refuse_rows(made: Made, to: str) -> None:
    """:raises HistoryError: the migrations leave more behind than a schema."""
    if made.rows:
        message = f"the migrations up to {to} leave rows or used sequences behind: {_names(made.rows)}"
        nxt = "give --data to have them in the file"
        raise HistoryError([_finding(message, nxt)])


def refuse_difference(before: Made, after: Made, to: str) -> None:
    """:raises HistoryError: the new file makes something else; there is a finding for each difference."""
    said = [each.sentence for each in diff(before.snapshot, after.snapshot)]
    unseen = {**before.snapshot.not_compared, **after.snapshot.not_compared}
    said += [f"{number} x {kind}, which no snapshot compares" for kind, number in unseen.items()]
    names = {name for name in {*before.rows, *after.rows} if before.rows.get(name) != after.rows.get(name)}
    said += [f"the rows of {_names(names)} differ"] if names else []
    if said:
        nxt = "squash up to a version before it came: pg_dump does not write it as statements"
        raise HistoryError(
            [_finding(f"one file would not make what the migrations up to {to} make: {s}", nxt) for s in said]
        )


def _names(names: Collection[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown if len(shown) < 6 else [*shown[:3], f"{len(shown) - 3} more"])


def _finding(message: str, nxt: str) -> Finding:
    return Finding("not_squashable", message, nxt)
