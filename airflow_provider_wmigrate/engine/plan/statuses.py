"""What is true of each migration: its status, and whether its last failure still counts. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from airflow_provider_wmigrate.engine.model import Entry, LastEvent, Migration, State, Status, version_key


def statuses(migrations: Sequence[Migration], entries: Sequence[Entry]) -> dict[str, Status]:
    """The status of every version that the folder or the ledger knows, in numeric order, by these two alone."""
    files = {m.version: m for m in migrations}
    rows = {e.version: e for e in entries}
    squashed = {v for m in migrations for v, _ in m.squashes} - files.keys()
    known = {v: status_of(files.get(v), rows.get(v)) for v in sorted({*files, *rows}, key=version_key)}
    return {
        version: Status.FORGOTTEN if status is Status.MISSING and version in squashed else status
        for version, status in known.items()
    }


def status_of(migration: Migration | None, entry: Entry | None) -> Status:
    """The status of one version: what the folder and the ledger have of it."""
    if entry is None:
        return Status.PENDING
    if entry.status == "incomplete":
        return Status.INCOMPLETE
    if migration is None:
        return Status.MISSING
    is_same = entry.checksum == migration.script.checksum
    return Status.APPLIED if is_same or (migration.version, entry.checksum) in migration.squashes else Status.CHANGED


def open_failures(known: Mapping[str, Status], state: State) -> dict[str, LastEvent]:
    """By version, the last attempt that failed and that nothing has settled since."""
    return {a.version: a for a in state.last_events if a.version in known and _is_open(a, known[a.version], state)}


def _is_open(attempt: LastEvent, status: Status, state: State) -> bool:
    """What the ledger says now settles it. A failed rollback left the migration as it was: a whole run since then says
    that one went on with it."""
    if attempt.event == "failed":
        return status.is_pending or status is Status.INCOMPLETE
    if attempt.event != "rollback_failed" or status.is_pending:
        return False
    over = state.last_success is not None and state.last_success > attempt.at
    return status is Status.INCOMPLETE or not over


def with_decisions(known: Mapping[str, Status], state: State) -> dict[str, Status]:
    """With what people have said of files that are gone."""
    forgotten = {a.version for a in state.last_events if a.forgotten}
    return {
        version: Status.FORGOTTEN if status is Status.MISSING and version in forgotten else status
        for version, status in known.items()
    }


def told(known: Mapping[str, Status], left_out: Collection[str], failures: Collection[str]) -> dict[str, Status]:
    """Statuses as everybody is told them: of what is pending also that it is left out, or that it failed."""
    return {version: _told(status, version in left_out, version in failures) for version, status in known.items()}


def _told(status: Status, is_left_out: bool, has_failed: bool) -> Status:
    if status is not Status.PENDING:
        return status
    return Status.LEFT_OUT if is_left_out else Status.FAILED if has_failed else status
