"""The backups of one target: made before what needs them, asked of the audit log, and deleted when they are old."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg

from airflow_provider_wmigrate.engine.catalog.server import refuse_standby
from airflow_provider_wmigrate.engine.errors import BackupFailed, ConnectionFailed, WMigrateError
from airflow_provider_wmigrate.engine.events import BackedUp, BackupRemoved
from airflow_provider_wmigrate.engine.folder.config.settings import Settings
from airflow_provider_wmigrate.engine.ledger.access import LedgerAccess
from airflow_provider_wmigrate.engine.ledger.structure import in_schema
from airflow_provider_wmigrate.engine.ledger.trail import position
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.plan.backup_needs import (
    BACKED_UP,
    REMOVED,
    Asked,
    Need,
    Needs,
    planned_needs,
    without_backup,
)
from airflow_provider_wmigrate.engine.record import Backup
from airflow_provider_wmigrate.engine.session.session import Session

from .making import Making, Target
from .outside import Outside
from .programs import Programs
from .stores import Store, store_of

_OLD = """
SELECT details ->> 'name', details ->> 'place', (details ->> 'bytes')::pg_catalog.int8 FROM {schema}.audit_log made
 WHERE event = %s AND at < pg_catalog.now() - %s::pg_catalog.interval AND details ->> 'method' = 'pg_dump'
   AND details ->> 'origin' = %s AND NOT EXISTS (SELECT FROM {schema}.audit_log gone
       WHERE gone.event = %s AND gone.details ->> 'name' = made.details ->> 'name') ORDER BY position
"""


class Backups:
    """:param beside: the folder of the migrations."""

    def __init__(self, access: LedgerAccess, settings: Settings, beside: Path) -> None:
        self._access, self._settings, self._beside = access, settings, beside
        self._outside = Outside()
        self._cancelled = False

    def cancel(self) -> None:
        """Stop the program that runs. Safe in a signal handler."""
        self._cancelled = True

    # Making one

    def make(self, needs: Needs, outside: Outside) -> Backup:
        """:raises BackupFailed: it could not be made, or not be recorded; the audit log says so too, if it can.
        :raises HistoryError: the target is a standby.
        """
        self._outside = outside
        with self._access.open("backup") as session, self._access.reaching(session):
            refuse_standby(session.login.standby)
            self._access.ensure(session)
            target = Target.of(session.conn, self._settings.backup, needs)
            origin = _origin(session.conn)
        try:
            backup = self._made(target, needs)
        except WMigrateError as error:
            raise self._failed(error, needs) from error
        try:
            self._append("backed_up", {**backup.as_dict(), "origin": origin})
        except BaseException:
            if backup.bytes is not None:
                self._store_of_place(backup.place, backup.name).remove(backup.name, backup.bytes)
            raise
        self._access.tell(BackedUp(backup))
        self._remove_old(origin)
        return backup

    def _made(self, target: Target, needs: Needs) -> Backup:
        settings, outside = self._settings.backup, self._outside
        programs = Programs(outside.environ, lambda: self._cancelled)
        making = Making(settings, programs, self._access.tell, self._settings.execution.lock_wait_seconds)
        if outside.snapshot is not None:
            return making.by_snapshot(target, outside.snapshot, needs)
        if settings.snapshot_command:
            return making.by_command(target, settings.snapshot_command, needs)
        store = self._store(settings.backup_location)
        for place in store.tidy():
            self._access.tell(BackupRemoved(place))
        return making.by_pg_dump(target, store, needs)

    def _store(self, location: str) -> Store:
        return store_of(location, self._beside, self._outside.open_remote)

    def _store_of_place(self, place: str, name: str) -> Store:
        return self._store(place.removesuffix(f"/{name}"))

    def _failed(self, error: WMigrateError, needs: Needs) -> BackupFailed:
        failed = BackupFailed(f"no backup was made, so nothing was touched: {error}", retryable=error.retryable)
        try:
            failed.audit_head = self._append("backup_failed", {"error": str(failed), "versions": [*needs]})
        except (WMigrateError, psycopg.Error):
            failed.audit_head = None  # what keeps the row from being written may be what went wrong
        return failed

    def _append(self, event: str, details: dict[str, Any]) -> str:
        opened = self._access.open("backup")
        with opened as session, self._access.reaching(session), session.transaction(confirmed=event == BACKED_UP):
            return self._access.append(session, event, details)

    # Those that are old

    def _remove_old(self, origin: str) -> None:
        """What was made of this very database, is on record, and is still as large as it was. Nothing that goes wrong
        here is a reason not to migrate."""
        for name, place, size in self._old(origin):
            try:
                if self._store_of_place(place, name).remove(name, size):
                    self._append("backup_removed", {"name": name, "place": place})
                    self._access.tell(BackupRemoved(place))
            except (ConnectionFailed, WMigrateError, OSError) as error:
                self._access.tell(BackupRemoved(place, str(error)))

    def _old(self, origin: str) -> list[tuple[str, str, int]]:
        days = timedelta(days=self._settings.backup.backup_retention_days)
        with self._access.open("backup") as session, self._access.reaching(session):
            query = in_schema(self._access.ledger.schema, _OLD)
            return session.conn.execute(query, [BACKED_UP, days, origin, REMOVED]).fetchall()

    # Asking for one

    def lacking(
        self,
        session: Session,
        versions: Collection[str],
        checksums: Mapping[str, str],
        attempt: str | None,
        fresh: Callable[[Collection[str]], Needs],
    ) -> list[Need]:
        """Those that need a backup which this attempt has not made. What the attempt's plan has decided of them counts,
        as long as they are what they were; of the others it is found out now.

        :param attempt: head of the audit log with the plan's row; None: there is no plan.
        :param fresh: what needs a backup as the database is now.
        """
        with self._access.reaching(session):
            since = position(attempt) if attempt else None
            rows = [*self._rows(session, since)] if since else []
        known, needing = planned_needs(rows[0] if rows else None, checksums)
        found = {v: Need(v, "its run's plan says so", checksums.get(v, "")) for v in versions if v in needing}
        unknown = [version for version in versions if version not in known]
        found |= fresh(unknown) if unknown else {}
        return without_backup(found.values(), rows[1:], self._access.identity)

    def _rows(self, session: Session, since: int) -> Iterator[Asked]:
        """The plan's own, and all behind it."""
        for row in self._access.ledger.log.rows(session.conn, after=since - 1):
            who = Identity(row.actor, row.dag_id, row.run_id)
            yield Asked(row.event, who, row.details)


def _origin(conn: psycopg.Connection[Any]) -> str:
    """Which database it is: one that was made from a backup of it, or is a copy of it, is another one."""
    (may,) = conn.execute(_MAY_ASK).fetchone() or (False,)
    (oid,) = conn.execute(_OID).fetchone() or (0,)
    (system,) = (conn.execute(_SYSTEM).fetchone() if may else None) or (0,)
    return f"{system}/{oid} at {conn.info.host}:{conn.info.port}"


_MAY_ASK = "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')"
_SYSTEM = "SELECT system_identifier FROM pg_catalog.pg_control_system()"
_OID = "SELECT oid::pg_catalog.int8 FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()"
