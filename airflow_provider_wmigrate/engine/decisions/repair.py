"""After a person's decision, makes the ledger agree with what is so. It runs no script and changes no schema.

The decision is judged by a pure function; the change and its audit row commit together, under the ledger's exclusive
lock, so that no runner is at work meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from airflow_provider_wmigrate.engine.errors import HistoryError, UnknownVersion
from airflow_provider_wmigrate.engine.events import Listener
from airflow_provider_wmigrate.engine.folder.folder import Folder, normalise_version
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import CHECKSUM_ALGORITHM, Entry, Finding, Identity, Migration, Status
from airflow_provider_wmigrate.engine.plan.statuses import statuses
from airflow_provider_wmigrate.engine.session.session import Connect, Session

from .alone import alone_with_the_ledger, stated

Decision = Literal["accept", "done", "undone", "ran", "again"]

DECISIONS: Mapping[Decision, str] = {
    "accept": "the edited file is the one that counts",
    "done": "everything it does is in the database; it counts as applied",
    "undone": "nothing it does is in the database; it counts as pending",
    "ran": "the statement in flight has run; the next run goes on behind it",
    "again": "the statement in flight has not run; the next run runs it again",
}


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair did."""

    version: str
    name: str
    decision: Decision
    before: Status
    after: Status
    reason: str
    identity: Identity
    audit_head: str


def repaired(migration: Migration | None, entry: Entry | None, decision: Decision) -> Entry | Finding | None:
    """The entry as the decision wants it (None: no entry), or why the decision does not fit."""
    version = entry.version if entry else migration.version if migration else ""
    status = _status(migration, entry)
    if entry is None:
        return _unfit(version, status, "there is nothing of it in the ledger to repair")
    if decision == "accept":
        if migration is None or status is not Status.CHANGED:
            return _unfit(version, status, "accept settles a file that was edited after it was applied")
        return _agreeing(entry, migration)
    if status is not Status.INCOMPLETE:
        return _unfit(version, status, f"{decision} settles an incomplete migration")
    if decision == "undone":
        return None
    if decision == "done":
        done = replace(entry, status="applied", direction="apply", statements_done=entry.statements_total)
        return _agreeing(done, migration) if migration else done
    if len(entry.statement_hashes) <= entry.statements_done:
        return _unfit(version, status, "no statement of it was in flight; run it again and it goes on by itself")
    if decision == "ran":
        return replace(entry, statements_done=len(entry.statement_hashes))
    return replace(entry, statement_hashes=entry.statement_hashes[: entry.statements_done])


def repair(
    connect: Connect,
    folder: Folder,
    version: str,
    decision: Decision,
    *,
    reason: str,
    identity: Identity,
    environment: str | None = None,
    on_event: Listener = lambda event: None,
) -> Repaired:
    """Carry out a decision.

    :param reason: why, for the audit log; one line that holds no secret.
    :raises HistoryError: the decision does not fit the migration's status; nothing was changed.
    :raises LockTimeout: a runner is at work.
    """
    reason = stated(reason, "repair")
    settings = folder.config.settings_for(environment)
    ledger = Ledger(settings.ledger.schema_name)
    migrations = {m.version: m for m in folder.under(settings)}
    with alone_with_the_ledger(connect, settings, "repair", version, on_event) as session:
        if ledger.version(session.conn) is None:
            raise UnknownVersion(version, (), where="the ledger, which this database does not have")
        entries = {e.version: e for e in ledger.entries(session.conn)}
        version = normalise_version(version, {*migrations, *entries}, where="this folder or the ledger")
        migration, entry = migrations.get(version), entries.get(version)
        after = repaired(migration, entry, decision)
        if isinstance(after, Finding):
            raise HistoryError([after])
        assert entry is not None  # no entry is a finding
        with session.transaction():
            ledger.make_current(session.conn, identity, ledger.version(session.conn))
            _write(session, ledger, entry, after, migration if decision in ("accept", "done") else None)
            ledger.set_schema_version(session.conn)
            details = {"decision": decision, "reason": reason, "before": _summary(entry), "after": _summary(after)}
            head = ledger.append(session.conn, "repaired", identity, version=version, details=details)
    before, now = _status(migration, entry), _status(migration, after)
    return Repaired(version, entry.name, decision, before, now, reason, identity, head)


def _agreeing(entry: Entry, migration: Migration) -> Entry:
    """The entry with what the file says. Without a rollback script in the folder the ledger's own is kept."""
    rollback = migration.rollback.checksum if migration.rollback else entry.rollback_checksum
    return replace(
        entry,
        name=migration.name,
        checksum=migration.script.checksum,
        checksum_algorithm=CHECKSUM_ALGORITHM,
        dependencies=migration.dependencies,
        rollback_checksum=rollback,
    )


def _status(migration: Migration | None, entry: Entry | None) -> Status:
    known = statuses([migration] if migration else [], [entry] if entry else [])
    return next(iter(known.values()))


def _unfit(version: str, status: Status, message: str) -> Finding:
    said = f"migration {version} is {status.value}; {message}"
    return Finding("not_repairable", said, "look at `wmigrate status`", version=version)


def _summary(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    names = ("status", "direction", "checksum", "rollback_checksum", "statements_done", "statements_total")
    return {name: getattr(entry, name) for name in names}


def _write(session: Session, ledger: Ledger, before: Entry, after: Entry | None, file: Migration | None) -> None:
    """:param file: the migration whose rollback script is kept from now on; None: the ledger's own stays."""
    if after is None:
        ledger.delete_entry(session.conn, before.version)
        return
    values: dict[str, Any] = {
        name: getattr(after, name)
        for name in ("name", "status", "direction", "checksum", "checksum_algorithm", "statements_done")
    }
    values |= {name: list(getattr(after, name)) for name in ("dependencies", "statement_hashes")}
    if file is not None and file.rollback is not None:
        values |= {"rollback_sql": file.rollback.text, "rollback_checksum": file.rollback.checksum}
    ledger.change_entry(session.conn, before.version, values)
