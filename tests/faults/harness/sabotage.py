"""Ways to break the engine, to see that the suite finds them. Done in a forked runner; nobody else imports this."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_wmigrate.engine.plan.journal import Effect
from airflow_provider_wmigrate.engine.plan.script_session import ScriptSession
from airflow_provider_wmigrate.engine.record import Record
from airflow_provider_wmigrate.engine.run import in_transaction, series
from airflow_provider_wmigrate.engine.run.script_progress import ScriptProgress
from airflow_provider_wmigrate.engine.run.statement_work import StatementWork
from airflow_provider_wmigrate.engine.session import answering
from airflow_provider_wmigrate.engine.session.advisory import AdvisoryLock, SessionLocks


def _journal_after_only() -> None:
    """A statement outside a transaction is journalled when it has run, and not before."""
    write = ScriptProgress.write

    def late(self: ScriptProgress, done: int, begun: int, script: ScriptSession) -> None:
        if begun == done:
            write(self, done, begun, script)

    ScriptProgress.write = late  # type: ignore[method-assign]


def _entry_apart() -> None:
    """The entry is committed in a transaction of its own, after the script's."""
    commit = series._Turn.commit

    def apart(self: series._Turn, statements: Sequence[bytes], record: Record, seen: str | None) -> None:
        self.series.session.conn.execute("COMMIT")
        self.series.session.conn.execute("BEGIN")
        commit(self, statements, record, seen)

    series._Turn.commit = apart  # type: ignore[method-assign]


def _no_locks() -> None:
    """Nobody waits for anybody."""

    def acquire(self: SessionLocks, locks: list[AdvisoryLock], **_: Any) -> None:
        return None

    SessionLocks.acquire = acquire  # type: ignore[assignment, method-assign]


def _errors_undo_all() -> None:
    """A statement that failed is taken to have had no effect."""
    StatementWork.effect = lambda *_: Effect.NOTHING  # type: ignore[method-assign]


def _errors_are_done() -> None:
    """A statement that failed is taken to have run."""
    StatementWork.effect = lambda *_: Effect.RAN  # type: ignore[method-assign]


def _patient() -> None:
    """Whoever does not answer is waited for."""
    answering.ANSWER_SECONDS = answering.CANCEL_SECONDS = 3600.0


def _unconfirmed() -> None:
    """No commit waits for a standby."""
    leaving = in_transaction.leaving

    def unconfirmed(conn: Any, *, flushed: bool = False) -> bytes:
        return leaving(conn) + b", pg_catalog.set_config('synchronous_commit', 'local', true)"

    in_transaction.leaving = unconfirmed  # type: ignore[attr-defined]


def _time_of_day() -> None:
    """How long something lasts is read from the time of day."""
    time.monotonic = lambda: time.time()


SABOTAGE: dict[str, Callable[[], None]] = {
    "journal after": _journal_after_only,
    "entry apart": _entry_apart,
    "no locks": _no_locks,
    "errors undo all": _errors_undo_all,
    "errors are done": _errors_are_done,
    "patient": _patient,
    "unconfirmed": _unconfirmed,
    "time of day": _time_of_day,
}
