"""What is done with a failure: it gets the engine's words, is told, is written into the audit log, and is raised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from msgspec.structs import asdict

from airflow_provider_wmigrate.engine.catalog.locks import room_for_locks
from airflow_provider_wmigrate.engine.errors import (
    ROLLED_BACK,
    LockTimeout,
    OutsideWindow,
    StatementFailed,
    WMigrateError,
    place,
)
from airflow_provider_wmigrate.engine.events import Failed
from airflow_provider_wmigrate.engine.record import ServerWords
from airflow_provider_wmigrate.engine.session.session import Session, open_session
from airflow_provider_wmigrate.engine.session.settings import leave_script
from airflow_provider_wmigrate.engine.session.watch import Waits
from airflow_provider_wmigrate.engine.sql.lock_limit import LockWait

from .execution import Execution
from .job import Job


@contextmanager
def recorded(
    execution: Execution, job: Job, *, dry_run: bool = False, take_back: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Around the acting: a failure is rolled back, told, recorded and raised in the engine's words.

    :param take_back: called in the failure's transaction; whether it has changed the entry.
    """
    try:
        yield
    except OutsideWindow:  # between two tries: nothing has failed
        execution.session.roll_back()
        raise
    except (WMigrateError, psycopg.Error) as error:
        execution.session.roll_back()
        failure = _in_words(execution, job, error)
        _record(execution, job, failure, take_back, dry_run=dry_run)
        raise failure from error
    except BaseException:
        # A signal or a task timeout ends the call from inside: the server must not run on without us.
        execution.session.interruption.cancel()
        raise


def _in_words(execution: Execution, job: Job, error: WMigrateError | psycopg.Error) -> WMigrateError:
    session, failure = execution.session, error
    if not isinstance(failure, WMigrateError):
        failure = session.failure(failure, job.version, job.file, outcome=ROLLED_BACK)
    if isinstance(failure, StatementFailed) and failure.sqlstate == _OUT_OF_MEMORY and not failure.retryable:
        with suppress(psycopg.Error):
            failure = failure.hinted(room_for_locks(execution.session.conn, job.analysis.script.text))
    if isinstance(failure, StatementFailed) and not execution.include_sql:
        failure = failure.without_sql()
    if isinstance(failure, StatementFailed) and failure.sqlstate == "55P03":
        limit = job.budget(execution.settings).lock
        failure = _lock_timeout(failure, session.lock_wait or LockWait(limit, limit), execution.waits)
    return failure


def _record(
    execution: Execution, job: Job, error: WMigrateError, take_back: Callable[[], bool], *, dry_run: bool
) -> None:
    """Tell and record a failure. Nothing that goes wrong here may hide the first error."""
    sqlstate, direction, felt = getattr(error, "sqlstate", None), execution.direction, execution.waits.felt.told()
    said = getattr(error, "said", None) or ServerWords()
    execution.tell(Failed(job.version, direction, str(error), sqlstate, dry_run, said, felt))
    details = {"direction": direction, "error": str(error), "sqlstate": sqlstate, "dry_run": dry_run}
    if job.source:
        details["rollback_script"] = job.source
    details |= {name: text for name, text in asdict(said).items() if text}
    details["bystanders"] = felt.as_dict()
    with suppress(WMigrateError, psycopg.Error):
        if not execution.session.conn.closed:
            error.audit_head = _append_if_there(execution, execution.session, job, details, take_back)
            return
        with open_session(execution.connect, application_name="wmigrate record") as fresh:
            error.audit_head = _append_if_there(execution, fresh, job, details, lambda: False)


def _append_if_there(
    execution: Execution, session: Session, job: Job, details: dict[str, Any], take_back: Callable[[], bool]
) -> str | None:
    conn, ledger, version = session.conn, execution.ledger, job.version
    event = "rollback_failed" if execution.direction == "rollback" else "failed"
    with session.transaction(confirmed=False):
        leave_script(conn)
        if ledger.version(conn) is None:
            return None
        settles = take_back() or None
        return ledger.log.append(conn, event, execution.identity, version=version, details=details, settles=settles)


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
