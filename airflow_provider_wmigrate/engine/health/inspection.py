"""Is this target in order? A look that changes nothing, takes no longer than it may, and never raises for the database.

The look runs in a thread of its own, so that the time limit holds even when the server accepts and never answers.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import Any

import psycopg
from psycopg import Connection

from airflow_provider_wmigrate.engine.catalog.server import is_standby
from airflow_provider_wmigrate.engine.catalog.timescale_state import lost
from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.folder.config.settings import DriftPolicy, Settings
from airflow_provider_wmigrate.engine.folder.folder import Folder
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import Migration, State, Status
from airflow_provider_wmigrate.engine.plan import planner
from airflow_provider_wmigrate.engine.session.advisory import ledger_lock, version_lock
from airflow_provider_wmigrate.engine.session.session import Connect, Session, open_session

from . import checks
from .checks import CHECKS, DRIFT, Check, CheckStatus, Health, HealthStatus, LockHolder

__all__ = ["AUDIT_ROWS", "CHECKS", "DRIFT", "Check", "CheckStatus", "Health", "HealthStatus", "check_health"]

AUDIT_ROWS = 10_000
"""How many of the newest audit rows one look recomputes: a tenth of a second or so. `audit verify` takes them all."""


def check_health(
    connect: Connect,
    folder: Folder,
    *,
    environment: str | None = None,
    timeout_seconds: float | None = None,
    expected_head: str | None = None,
) -> Health:
    """Look at one target with the eyes of one folder. Takes `timeout_seconds` at the most, whatever the server does.

    :param connect: opens a new psycopg connection to the target; called once, in another thread.
    :param folder: the folder, already read.
    :param environment: name of an environment of the config, or None.
    :param timeout_seconds: None means `monitoring.health_check.timeout_seconds` of the config.
    :param expected_head: `audit_head` of an earlier look, kept outside the database.
    :raises ConfigError: no such environment is declared.
    """
    limit = float(timeout_seconds or folder.config.monitoring.health_check.timeout_seconds)
    look = _Look(connect, folder, folder.config.settings_for(environment), limit, expected_head)
    thread = threading.Thread(target=look.run, name="wmigrate health", daemon=True)
    thread.start()
    thread.join(limit)
    return look.answer(timed_out=thread.is_alive())


class _Look:
    """The state of one look: written by its thread, read by the caller at any time."""

    def __init__(
        self, connect: Connect, folder: Folder, settings: Settings, limit: float, expected_head: str | None
    ) -> None:
        self._connect, self._folder, self._settings = connect, folder, settings
        self._limit, self._expected_head = limit, expected_head
        self._began, self._at = time.monotonic(), datetime.now(timezone.utc)
        self._ledger = Ledger(settings.ledger.schema_name)
        self._guard = threading.Lock()
        self._session: Session | None = None
        self._names = CHECKS if settings.drift == "ignore" else (*CHECKS, DRIFT)
        self._checks: list[Check] = []
        self._over = False
        self._pending: int | None = None
        self._head: str | None = None
        self._bug: BaseException | None = None

    # In the caller's thread

    def answer(self, *, timed_out: bool) -> Health:
        """What is known by now. What has not answered yet is told as such."""
        with self._guard:
            self._over = True
            answered = list(self._checks)
            if timed_out:
                _hang_up(self._session)
        if self._bug is not None:
            raise self._bug
        if timed_out and len(answered) < len(self._names):
            answered.append(checks.unanswered(self._names[len(answered)], self._limit))
        answered += [Check(name, "unknown", "not looked at") for name in self._names[len(answered) :]]
        took = round((time.monotonic() - self._began) * 1000)
        return Health(checks.worst(answered), tuple(answered), self._at, took, self._pending, self._head)

    # In the thread of the look

    def run(self) -> None:
        try:
            with open_session(self._connect, application_name="wmigrate health") as session, self._shared(session):
                self._look(session)
        except (WMigrateError, psycopg.Error) as error:
            self._tell(checks.refused(self._names[min(len(self._checks), len(self._names) - 1)], error))
        except BaseException as error:
            self._bug = error

    @contextmanager
    def _shared(self, session: Session) -> Iterator[None]:
        """The connection can be hung up by the other thread for as long as it is certainly this one."""
        with self._guard:
            self._session = session
        try:
            yield
        finally:
            with self._guard:
                self._session = None

    def _tell(self, check: Check) -> None:
        with self._guard:
            if not self._over and len(self._checks) < len(self._names):
                self._checks.append(check)

    def _look(self, session: Session) -> None:
        if self._over:
            return
        left = max(self._limit - (time.monotonic() - self._began), 0.1)
        only_read(session.conn, statement_seconds=left, lock_seconds=min(left / 2, 5.0))
        took = round((time.monotonic() - self._began) * 1000)
        self._tell(checks.connection(session.conn.info.server_version, is_standby(session.conn), took))
        state = self._ledger.state(session.conn)
        self._tell(checks.ledger(state, self._ledger.schema))
        migrations = self._folder.under(self._settings)
        versions = sorted({*(m.version for m in migrations), *(e.version for e in state.entries)})
        late = self._settings.execution.late_migrations
        plan = planner.plan_apply(list(migrations), self._folder.graph, state, late=late)
        self._tell(checks.checksums(plan, self._folder.wrong))
        applied = [m.script for m in migrations if plan.statuses.get(m.version) is Status.APPLIED]
        self._tell(checks.failures(plan, tuple(lost(session.conn, applied))))
        self._pending = len(plan.steps)
        self._tell(checks.pending(plan, self._ledger.lacking_rights(session.conn, state.ledger_version)))
        holders = lock_holders(session.conn, self._ledger, versions)
        self._tell(checks.locks(holders, self._longest_budget(migrations)))
        self._tell(self._audit_chain(session, state))
        if self._settings.drift != "ignore":
            self._tell(self._drift(session, state, self._settings.drift))

    def _longest_budget(self, migrations: Sequence[Migration]) -> float:
        return max([self._settings.execution.timeout_seconds, *(m.timeout_seconds or 0 for m in migrations)])

    def _audit_chain(self, session: Session, state: State) -> Check:
        if state.ledger_version is None and self._expected_head is None:
            return Check("audit_chain", "unknown", "there is no ledger yet")
        found = self._ledger.verify(session.conn, expected_head=self._expected_head, last=AUDIT_ROWS)
        if found:
            return Check("audit_chain", "unhealthy", found[0].message, found[0].next_step)
        self._head = self._ledger.metadata(session.conn).get("audit_head")
        count = int((self._head or "0").partition(":")[0])
        part = f"the last {AUDIT_ROWS} of {count} rows" if count > AUDIT_ROWS else f"{count} rows"
        return Check("audit_chain", "healthy", f"{part} follow one another")

    def _drift(self, session: Session, state: State, policy: DriftPolicy) -> Check:
        if state.ledger_version is None:
            return Check(DRIFT, "unknown", "there is no ledger yet")
        from airflow_provider_wmigrate.engine.ledger.known_schema import look_for_drift  # most do not pay for it

        return checks.drift(look_for_drift(session.conn, self._ledger.schema, state.ledger_version), policy)


def _hang_up(session: Session | None) -> None:
    """End the connection from this side: the thread that waits on it wakes, the server cancels what it does."""
    if session is None:
        return
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(session.conn.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def lock_holders(conn: Connection[Any], ledger: Ledger, versions: Sequence[str]) -> tuple[LockHolder, ...]:
    """Who holds the ledger's lock or that of one of these versions, longest first."""
    numbers = {version_lock(ledger.schema, v).number: v for v in versions}
    rows = conn.execute(
        "SELECT l.pid, a.application_name,"
        " pg_catalog.array_agg((l.classid::bigint << 32) | l.objid::bigint) FILTER (WHERE l.mode = 'ExclusiveLock'),"
        " coalesce(extract(epoch FROM pg_catalog.clock_timestamp()"
        " - coalesce(a.xact_start, a.query_start, a.backend_start)), 0)::float8,"
        " ARRAY(SELECT w.pid FROM pg_catalog.pg_locks w WHERE NOT w.granted"
        " AND l.pid = ANY(pg_catalog.pg_blocking_pids(w.pid)) ORDER BY w.pid)"
        " FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        " AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
        " AND (l.classid::bigint << 32) | l.objid::bigint = ANY(%s)"
        " GROUP BY l.pid, a.application_name, a.xact_start, a.query_start, a.backend_start ORDER BY 4 DESC, 1",
        [[ledger_lock(ledger.schema).number, *numbers]],
    )
    return tuple(
        LockHolder(pid, application, tuple(numbers[n] for n in held or () if n in numbers), float(age), tuple(waiting))
        for pid, application, held, age, waiting in rows
    )


def only_read(conn: Connection[Any], *, statement_seconds: float, lock_seconds: float) -> None:
    """From here on this connection writes nothing, and no statement of it takes longer than that."""
    settings = {
        "default_transaction_read_only": "on",
        "statement_timeout": f"{max(round(statement_seconds * 1000), 1)}ms",
        "lock_timeout": f"{max(round(lock_seconds * 1000), 1)}ms",
    }
    for name, value in settings.items():
        conn.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])
