"""What is done with a failure: it gets the engine's words, is told, is written into the audit log, and is raised."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import psycopg

from airflow_provider_wmigrate.engine.catalog.parts import room_for_locks
from airflow_provider_wmigrate.engine.errors import (
    ROLLED_BACK,
    LedgerNotWritten,
    LockTimeout,
    OthersWaited,
    StatementFailed,
    WMigrateError,
    place,
)
from airflow_provider_wmigrate.engine.events import Failed, Listener
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import Direction, Identity
from airflow_provider_wmigrate.engine.record import Bystanders, ServerWords
from airflow_provider_wmigrate.engine.session.session import Connect, Session, open_session
from airflow_provider_wmigrate.engine.session.settings import leave_script
from airflow_provider_wmigrate.engine.session.watch import Waits
from airflow_provider_wmigrate.engine.sql.lock_limit import LockWait

from .job import Job


@dataclass(frozen=True, slots=True)
class Failing:
    """:param connect: opens another connection, to record a failure when this one is gone.
    :param include_sql: whether an error may show the beginning of the statement that failed.
    """

    session: Session
    ledger: Ledger
    identity: Identity
    direction: Direction
    tell: Listener
    connect: Connect
    include_sql: bool

    def fail(
        self,
        job: Job,
        error: WMigrateError | psycopg.Error,
        lock: LockWait,
        waits: Waits,
        take_back: Callable[[], bool],
        *,
        dry_run: bool,
    ) -> NoReturn:
        """Tell and record a failure, and raise it in the engine's words.

        :param lock: what is known of a lock that was not free in time.
        :param waits: whom the script was seen to wait for.
        :param take_back: called in the failure's transaction; whether it has changed the entry.
        """
        failure: WMigrateError
        if isinstance(error, WMigrateError):
            failure = error
        else:
            failure = self.session.sender.failure(
                error, job.migration.version, job.analysis.script.file, outcome=ROLLED_BACK
            )
        if isinstance(failure, StatementFailed) and failure.sqlstate == _OUT_OF_MEMORY and not failure.retryable:
            failure = self._lock_table_full(job, failure)
        if isinstance(failure, StatementFailed) and not self.include_sql:
            failure = failure.without_sql()
        if isinstance(failure, StatementFailed) and failure.sqlstate == "55P03":
            failure = _lock_timeout(failure, lock, waits)
        self._record(job, failure, waits.felt.told(), take_back, dry_run=dry_run)
        raise failure from error

    def _lock_table_full(self, job: Job, failure: StatementFailed) -> StatementFailed:
        with suppress(psycopg.Error):
            return failure.hinted(room_for_locks(self.session.conn, job.analysis.script.text))
        return failure

    def _record(
        self, job: Job, error: WMigrateError, felt: Bystanders, take_back: Callable[[], bool], *, dry_run: bool
    ) -> None:
        """Tell and record a failure. Nothing that goes wrong here may hide the first error."""
        sqlstate = getattr(error, "sqlstate", None)
        said = getattr(error, "said", None) or ServerWords()
        self.tell(Failed(job.migration.version, self.direction, str(error), sqlstate, dry_run, said, felt))
        event = "rollback_failed" if self.direction == "rollback" else "failed"
        details = {"direction": self.direction, "error": str(error), "sqlstate": sqlstate, "dry_run": dry_run}
        details |= {name: text for name, text in asdict(said).items() if text}
        details["bystanders"] = felt.as_dict()
        with suppress(WMigrateError, psycopg.Error):
            if not self.session.conn.closed:
                error.audit_head = self._append_if_there(self.session, event, job, details, take_back)
                return
            with open_session(self.connect, application_name="wmigrate record") as fresh:
                error.audit_head = self._append_if_there(fresh, event, job, details, lambda: False)

    def _append_if_there(
        self, session: Session, event: str, job: Job, details: dict[str, Any], take_back: Callable[[], bool]
    ) -> str | None:
        conn, version = session.conn, job.migration.version
        with session.transaction(confirmed=False):
            leave_script(session.conn)
            if self.ledger.version(conn) is None:
                return None
            settles = take_back() or None
            return self.ledger.log.append(conn, event, self.identity, version=version, details=details, settles=settles)


_OUT_OF_MEMORY = "53200"


def _lock_timeout(error: StatementFailed, lock: LockWait, waits: Waits) -> LockTimeout:
    waited, limit = lock.held(error.file, waits.longest)
    blockers = [*waits.blockers.values()]
    hints = [f"{'; '.join(map(str, blockers))} held it up", *(b.way_out() for b in blockers if b.prepared)]
    return LockTimeout(
        f"{place(error.file, error.line)}: a lock of this migration",
        waited,
        holders=[b.pid for b in blockers if b.prepared is None],
        outcome=error.outcome,
        limit=limit,
        retryable=error.retryable,
        hint=": ".join(hints) if blockers else "the next try may find it free",
    )


_RETRY_REASONS = {
    "55P03": "a lock was not free within its budget",
    "40P01": "deadlock",
    "40001": "serialization failure",
}


def reason_to_retry(error: StatementFailed | LedgerNotWritten | psycopg.Error) -> str | None:
    """Why the whole transaction may simply be run again; None: it may not."""
    if isinstance(error, OthersWaited) and error.retryable:
        return "others waited because of it, while it waited for a lock"
    return _RETRY_REASONS.get(error.sqlstate or "")
