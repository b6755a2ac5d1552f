"""What a branch does to migrations that another one has already: edits, deletions, numbers taken twice. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from airflow_provider_wmigrate.engine.model import Finding, LatePolicy, Migration, finding_in, version_key


class Released(Struct, frozen=True):
    """The migrations as a repository has them.

    What no runner could read is left out: nobody can have applied it.

    :param name: of the branch or tag that was asked for.
    :param base: those of the last commit that both have in common.
    :param ahead: those of the branch as it is now.
    """

    name: str
    base: tuple[Migration, ...]
    ahead: tuple[Migration, ...]


def released_findings(migrations: Iterable[Migration], released: Released, late: LatePolicy) -> Iterator[Finding]:
    """Findings in the order of the versions.

    :param migrations: those of the folder now.
    """
    ours = {m.version: m for m in migrations}
    squashed = dict(pair for m in ours.values() for pair in m.squashes)
    base = {m.version: m for m in released.base}
    for version, was in base.items():
        if squashed.get(version) != was.script.checksum:
            yield from _unchanged(was, ours.get(version), released.name)
    theirs = {m.version: m for m in released.ahead if m.version not in base}
    newest = max((m.version for m in released.ahead), key=version_key, default=None)
    for version, mine in ours.items():
        if version in base:
            continue
        other = theirs.get(version)
        if other is not None:
            yield from _taken(mine, other, theirs, ours, released.name)
        elif late != "apply" and newest is not None and version_key(version) < version_key(newest):
            message = f"has a number below {newest}, which {released.name} has: databases may have that already"
            nxt = f"give its files a number above {newest}, or set settings.execution.late_migrations to apply"
            yield finding_in("late", mine, message, nxt, "error" if late == "error" else "warning")


def _unchanged(was: Migration, now: Migration | None, name: str) -> Iterator[Finding]:
    file, back = was.script.file, f"git checkout {name} -- "
    if now is None:
        message = f"is gone, but {name} has it: databases may have applied it"
        yield finding_in("released_missing", was, message, f"restore it in its folder: {back}{file}")
        return
    if now.script.checksum != was.script.checksum:
        message = f"differs from what {name} has: databases that have applied it would never get the difference"
        line = _first_difference(was.script.text, now.script.text)
        nxt = f"restore it in its folder ({back}{file}), and write a new migration"
        yield finding_in("released_changed", now, message, nxt, line=line)
    if was.rollback is not None and (now.rollback is None or now.rollback.checksum != was.rollback.checksum):
        there = "differs from what" if now.rollback else "is gone, but"
        message = f"{there} {name} has it" if now.rollback is None else f"{there} {name} has"
        message += ": databases that have applied the migration keep theirs in the ledger"
        nxt = "restore it, or choose with --script at each rollback"
        yield finding_in("released_rollback_changed", now, message, nxt, "warning", file=was.rollback.file)


def _taken(
    mine: Migration, other: Migration, theirs: Mapping[str, Migration], ours: Mapping[str, Migration], name: str
) -> Iterator[Finding]:
    if (mine.stem, mine.script.checksum) == (other.stem, other.script.checksum):
        return  # the same commit on both sides
    free = max((*theirs, *ours), key=version_key)
    message = f"has the number of {other.script.file}, which {name} has got meanwhile"
    yield finding_in("number_taken", mine, message, f"give its files a number above {free}")


def _first_difference(was: str, now: str) -> int:
    """Line of the new text, counted from 1."""
    before, after = was.splitlines(), now.splitlines()
    pairs = enumerate(zip(before, after, strict=False), 1)
    return next((line for line, (a, b) in pairs if a != b), min(len(before), len(after)) + 1)
