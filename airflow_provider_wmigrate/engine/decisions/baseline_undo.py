"""Takes a wrong baseline back: what it declared, and nothing has run since, is pending again. It runs no script.

The entries go and their audit rows are written in one transaction, under the ledger's exclusive lock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import tuple_row

from airflow_provider_wmigrate.engine.errors import HistoryError, UnknownVersion
from airflow_provider_wmigrate.engine.events import Listener
from airflow_provider_wmigrate.engine.folder.folder import Folder, normalise_version
from airflow_provider_wmigrate.engine.ledger.creation import make_current
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import Entry, Finding, Identity, version_key
from airflow_provider_wmigrate.engine.plan.rollback import all_dependents
from airflow_provider_wmigrate.engine.session.session import Connect

from .alone import alone_with_the_ledger, stated
from .baseline import Baselined


def declared_by(conn: Connection[Any], ledger: Ledger) -> dict[str, tuple[str, ...]]:
    """Of every baseline that the ledger still stands on, by its version, what it declared; each in numeric order."""
    query = sql.SQL(
        "SELECT e.version, a.details ->> 'to' FROM {entries} e, LATERAL ("
        "SELECT event, details FROM {log} l WHERE l.version = e.version"
        " AND event IN ('applied', 'rolled_back', 'baselined', 'baseline_undone') ORDER BY position DESC LIMIT 1) AS a"
        " WHERE a.event = 'baselined'"
    ).format(entries=sql.Identifier(ledger.schema, "schema_migrations"), log=sql.Identifier(ledger.schema, "audit_log"))
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(query).fetchall()
    found: dict[str, list[str]] = {}
    for version, to in sorted(rows, key=lambda row: (version_key(row[1]), version_key(row[0]))):
        found.setdefault(to, []).append(version)
    return {to: tuple(versions) for to, versions in found.items()}


def not_undoable(declared: Collection[str], entries: Sequence[Entry]) -> tuple[Finding, ...]:
    """Why a baseline cannot be taken back: what was applied since needs what it declared."""
    return tuple(all_dependents(declared, entries, leaving={*declared}))


def undo_baseline(
    connect: Connect,
    folder: Folder,
    to: str,
    *,
    reason: str,
    identity: Identity,
    environment: str | None = None,
    on_event: Listener = lambda event: None,
) -> Baselined:
    """Take back what the baseline to this version declared, as far as nothing has been applied or rolled back since.

    :param reason: why, for the audit log; one line that holds no secret.
    :raises HistoryError: a migration that was applied since needs one of them; nothing was changed.
    :raises UnknownVersion: the ledger stands on no baseline to this version.
    :raises LockTimeout: a runner is at work.
    """
    reason = stated(reason, "baseline")
    settings = folder.config.settings_for(environment)
    ledger = Ledger(settings.ledger.schema_name)
    with alone_with_the_ledger(connect, settings, "baseline", to, on_event) as session:
        conn = session.conn
        ledger_version = ledger.version(conn)
        known = declared_by(conn, ledger) if ledger_version is not None else {}
        to = baseline_named(to, known)
        entries = ledger.entries(conn)
        findings = not_undoable(known[to], entries)
        if findings:
            raise HistoryError(findings)
        rows = {entry.version: entry for entry in entries}
        with session.transaction():
            make_current(ledger, conn, identity, ledger_version)
            for version in known[to]:
                ledger.writer(conn).delete_entry(version)
            ledger.writer(conn).set_schema_version()
            head = None
            for version in known[to]:
                details = {"to": to, "reason": reason, "name": rows[version].name, "checksum": rows[version].checksum}
                head = ledger.log.append(conn, "baseline_undone", identity, version=version, details=details)
    return Baselined(to, known[to], reason, identity, head)


def baseline_named(to: str, known: Collection[str]) -> str:
    """The canonical form of the version of a baseline.

    :raises UnknownVersion: there is no such baseline.
    """
    try:
        return normalise_version(to, known)
    except UnknownVersion:
        raise UnknownVersion(to, known, where="the baselines that this ledger stands on") from None
