"""After a person's decision, makes the ledger agree with what is so. It runs no script and changes no schema.

The decision is judged by a pure function; the change and its audit row commit together, under the ledger's exclusive
lock, so that no runner is at work meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.errors import HistoryError, UnknownVersion
from airflow_provider_wmigrate.engine.folder.folder import normalise_version
from airflow_provider_wmigrate.engine.ledger.creation import make_current
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import (
    CHECKSUM_ALGORITHM,
    Entry,
    Finding,
    Identity,
    Migration,
    State,
    Status,
)
from airflow_provider_wmigrate.engine.plan.rollback import applied_chain
from airflow_provider_wmigrate.engine.plan.statuses import open_failures, statuses, told, with_decisions
from airflow_provider_wmigrate.engine.session.session import Session

from .alone import Decider

Decision = Literal["accept", "done", "undone", "ran", "again", "forget", "settle"]

DECISIONS: Mapping[Decision, str] = {
    "accept": "the edited file is the one that counts",
    "done": "everything it does is in the database; it counts as applied",
    "undone": "nothing it does is in the database; it counts as pending",
    "ran": "the statement in flight has run; the next run goes on behind it",
    "again": "the statement in flight has not run; the next run runs it again",
    "forget": "its file was deleted on purpose; it stays applied, and the ledger keeps its rollback script",
    "settle": "its last failure is over; the ledger keeps what it says of it",
}


class Repaired(Struct, frozen=True):
    """What a repair did."""

    version: str
    name: str
    decision: Decision
    before: Status
    after: Status
    reason: str
    identity: Identity
    audit_head: str


def repaired(
    migration: Migration | None, entry: Entry | None, decision: Decision, state: State | None = None
) -> Entry | Finding | None:
    """The entry as the decision wants it (None: no entry), or why the decision does not fit.

    :param state: what the target answered, with the last attempts: only what it says can be settled.
    """
    version = entry.version if entry else migration.version if migration else ""
    status = _status(migration, entry, state)
    if decision == "settle":
        return _settled(version, status, entry, state)
    if entry is None:
        return _unfit(version, status, "there is nothing of it in the ledger to repair")
    if decision == "accept":
        if migration is None or status is not Status.CHANGED:
            return _unfit(version, status, "accept settles a file that was edited after it was applied")
        return _agreeing(entry, migration, state)
    if decision == "forget":
        return entry if status is Status.MISSING else _unfit(version, status, "forget settles a file that is gone")
    if status is not Status.INCOMPLETE:
        return _unfit(version, status, f"{decision} settles an incomplete migration")
    return _completed(migration, entry, decision, state)


def _completed(
    migration: Migration | None, entry: Entry, decision: Decision, state: State | None
) -> Entry | Finding | None:
    """An incomplete entry as the decision wants it."""
    if decision == "undone":
        return None
    if decision == "done":
        done = replace(entry, status="applied", direction="apply", statements_done=entry.statements_total)
        return _agreeing(done, migration, state) if migration else done
    if len(entry.statement_hashes) <= entry.statements_done:
        message = "no statement of it was in flight; run it again and it goes on by itself"
        return _unfit(entry.version, Status.INCOMPLETE, message)
    if decision == "ran":
        return replace(entry, statements_done=len(entry.statement_hashes))
    return replace(entry, statement_hashes=entry.statement_hashes[: entry.statements_done])


def _settled(version: str, status: Status, entry: Entry | None, state: State | None) -> Entry | Finding | None:
    if status is Status.INCOMPLETE:
        nxt = f"roll it back, go on with `wmigrate up`, or `wmigrate repair {version} --done` or `--undone`"
        return _unfit(version, status, "settle is for what is whole", nxt)
    if state is None or version not in open_failures({version: status}, state):
        return _unfit(version, status, "no failure of it is open")
    return entry


def repair(who: Decider, version: str, decision: Decision) -> Repaired:
    """Carry out a decision.

    :raises HistoryError: the decision does not fit the migration's status; nothing was changed.
    :raises LockTimeout: a runner is at work.
    """
    reason, ledger, migrations = who.stated("repair"), who.ledger, who.migrations
    with who.alone("repair", version) as session:
        state = ledger.state(session.conn)
        if state.ledger_version is None:
            raise UnknownVersion(version, (), where="the ledger, which this database does not have")
        entries = {e.version: e for e in state.entries}
        version = normalise_version(version, {*migrations, *entries}, where="this folder or the ledger")
        migration, entry = migrations.get(version), entries.get(version)
        after = repaired(migration, entry, decision, state)
        if isinstance(after, Finding):
            raise HistoryError([after])
        with session.transaction():
            make_current(ledger, session.conn, who.identity, state.ledger_version)
            if entry is not None and after != entry:
                _write(session, ledger, entry, after, migration if decision in ("accept", "done") else None)
                ledger.writer(session.conn).set_schema_version()
            details = {"decision": decision, "reason": reason, "before": _summary(entry), "after": _summary(after)}
            head = ledger.log.append(session.conn, "repaired", who.identity, version=version, details=details)
            now = _status(migration, after, ledger.state(session.conn))
    name = entry.name if entry else migration.name if migration else ""
    return Repaired(version, name, decision, _status(migration, entry, state), now, reason, who.identity, head)


def _agreeing(entry: Entry, migration: Migration, state: State | None) -> Entry:
    """The entry with what the file says, but what was applied as needing it is none of its dependencies.

    Without a rollback script in the folder the ledger's own is kept.
    """
    rollback = migration.rollback.checksum if migration.rollback else entry.rollback_checksum
    after = set(applied_chain([entry.version], state.entries)) if state else set()
    return replace(
        entry,
        name=migration.name,
        checksum=migration.script.checksum,
        checksum_algorithm=CHECKSUM_ALGORITHM,
        dependencies=tuple(d for d in migration.dependencies if d not in after),
        rollback_checksum=rollback,
    )


def _status(migration: Migration | None, entry: Entry | None, state: State | None) -> Status:
    """As everybody is told it, but that it may be left out."""
    state = state or State()
    known = with_decisions(statuses([migration] if migration else [], [entry] if entry else []), state)
    return next(iter(told(known, (), open_failures(known, state)).values()))


def _unfit(version: str, status: Status, message: str, next_step: str = "look at `wmigrate status`") -> Finding:
    return Finding("not_repairable", f"migration {version} is {status.words}; {message}", next_step, version=version)


def _summary(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    names = ("status", "direction", "checksum", "rollback_checksum", "statements_done", "statements_total")
    return {name: getattr(entry, name) for name in names}


def _write(session: Session, ledger: Ledger, before: Entry, after: Entry | None, file: Migration | None) -> None:
    """:param file: the migration whose rollback script is kept from now on; None: the ledger's own stays."""
    if after is None:
        ledger.writer(session.conn).delete_entry(before.version)
        return
    values: dict[str, Any] = {
        name: getattr(after, name)
        for name in ("name", "status", "direction", "checksum", "checksum_algorithm", "statements_done")
    }
    values |= {name: list(getattr(after, name)) for name in ("dependencies", "statement_hashes")}
    if file is not None and file.rollback is not None:
        values |= {"rollback_sql": file.rollback.text, "rollback_checksum": file.rollback.checksum}
    ledger.writer(session.conn).change_entry(before.version, values)
