"""Ways to break the engine, to see that the suite finds them. Done in a forked runner; nobody else imports this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_wmigrate.engine.plan.script_session import ScriptSession
from airflow_provider_wmigrate.engine.run.execution import Execution
from airflow_provider_wmigrate.engine.run.script_progress import ScriptProgress
from airflow_provider_wmigrate.engine.session.advisory import AdvisoryLock
from airflow_provider_wmigrate.engine.session.waiting import SessionLocks


def _journal_after_only() -> None:
    """A statement outside a transaction is journalled when it has run, and not before."""
    write = ScriptProgress.write

    def late(self: ScriptProgress, done: int, begun: int, script: ScriptSession) -> None:
        if begun == done:
            write(self, done, begun, script)

    ScriptProgress.write = late  # type: ignore[method-assign]


def _entry_apart() -> None:
    """The entry is committed in a transaction of its own, after the script's."""
    insert = Execution._insert_entry

    def apart(self: Execution, *arguments: Any, **more: Any) -> None:
        self.session.conn.execute("COMMIT")
        self.session.conn.execute("BEGIN")
        insert(self, *arguments, **more)

    Execution._insert_entry = apart  # type: ignore[method-assign]


def _no_locks() -> None:
    """Nobody waits for anybody."""

    def acquire(self: SessionLocks, locks: list[AdvisoryLock], **_: Any) -> None:
        return None

    SessionLocks.acquire = acquire  # type: ignore[assignment, method-assign]


SABOTAGE: dict[str, Callable[[], None]] = {
    "journal after": _journal_after_only,
    "entry apart": _entry_apart,
    "no locks": _no_locks,
}
