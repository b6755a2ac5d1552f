"""Sends a script on its connection, piece by piece, and says in the engine's words what the server refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import pq

from airflow_provider_wmigrate.engine.errors import NOT_KNOWN, PERHAPS_COMMITTED, ROLLED_BACK, StatementFailed

from .answering import limit_answers
from .connection import Login, not_one_session, untouched
from .interruption import Interruption
from .message import ask, values
from .sending import Failed, Sent, Tail, as_sent, send_part
from .settings import Budget

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.sql.lock_limit import LockWait
    from airflow_provider_wmigrate.engine.sql.script import Analysis, Part


class Sender:
    """A connection on which scripts run, and what may interrupt them."""

    conn: psycopg.Connection[Any]
    login: Login
    began: int
    """As `transaction_start` told it of the open transaction."""

    def __init__(self, application_name: str) -> None:
        self.application_name = application_name
        self.interruption = Interruption(lambda: self.acting)
        self.on_notice: Callable[[psycopg.errors.Diagnostic], None] = lambda diagnostic: None
        """Told what the server says beside its answers."""
        self._other: psycopg.Connection[Any] | None = None
        self._in_transaction = False
        self._began_statement = 0.0
        self.budget: Budget | None = None
        """The limits that a failure is judged by."""
        self.lock_wait: LockWait | None = None
        """What is known of the last lock that was not free in time."""

    def hear(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        """For every connection of the session."""
        self.on_notice(diagnostic)

    @property
    def acting(self) -> psycopg.Connection[Any]:
        """The connection that a script's statement runs on."""
        return self._other or self.conn

    @property
    def acting_pid(self) -> int:
        """The server process that runs the script's statement."""
        other = self._other
        return self.login.pid if other is None or other.closed else other.info.backend_pid

    def send(
        self, version: str, analysis: Analysis, first: int = 0, end: int | None = None, tail: Tail | None = None
    ) -> Sent:
        """Run a script, or its statements from `first` to before `end`, inside the transaction that `begin` opened.

        :param tail: sent with the script's last piece where that is possible; then it must show whether the
            transaction is still the same.
        :raises StatementFailed: the server refused one of them.
        """
        self._in_transaction = True
        try:
            sent = self.send_alone(version, analysis, first, end, tail)
        finally:
            self._in_transaction = False
        if not sent.tail:
            self.check_same(version, analysis, self.transaction_start)
        return sent

    def send_alone(
        self, version: str, analysis: Analysis, first: int = 0, end: int | None = None, tail: Tail | None = None
    ) -> Sent:
        """As `send`, outside any transaction."""
        sent, parts = Sent(), analysis.parts(first, end)
        part = next(parts, None)
        while part is not None:
            following = next(parts, None)
            if self.interruption.struck:
                # A cancel that came between two statements found nothing to cancel.
                cancelled = psycopg.errors.QueryCanceled("not begun")
                raise self.failure(cancelled, version, analysis.script.file, outcome=self._outcome())
            self._began_statement = time.monotonic()
            last = tail if not (following or part.data or analysis.unparsed) else None
            failed = self._failed_in(version, analysis, as_sent(part, last))
            sent = sent.and_then(send_part(self.acting, analysis, part, failed, last))
            part = following
        return sent

    def send_first(self, version: str, analysis: Analysis, index: int, budget: Budget) -> Sent:
        """As `send_alone`, but one statement, as the very first one of a session of its own.

        Its limits come with the login: setting them would be a statement before it.
        """
        with closing(
            untouched(self.conn, self.application_name, self.limits(budget), watched=self.login.watched)
        ) as conn:
            limit_answers(conn, self.interruption)
            conn.add_notice_handler(self.hear)
            self._other = conn
            try:
                return self.send_alone(version, analysis, index, index + 1)
            finally:
                self._other = None

    def _failed_in(self, version: str, analysis: Analysis, part: Part) -> Failed:
        def failed(error: psycopg.Error, index: int | None) -> Exception:
            file, outcome = analysis.script.file, self._outcome()
            behind = -1 if index is None or analysis.unparsed else index - len(analysis.statements)
            if behind > 0:  # in the tail, where the ledger speaks
                return error
            if behind == 0:  # a deferred constraint: all of the script has run
                return self.failure(error, version, file, outcome=outcome, analysis=analysis)
            return self.failure(error, version, file, outcome=outcome, analysis=analysis, part=part, index=index)

        return failed

    def _outcome(self) -> str:
        """What the session knows of it: a transaction that was not committed is rolled back, whoever is lost."""
        return ROLLED_BACK if self._in_transaction else NOT_KNOWN

    def check_same(self, version: str, analysis: Analysis, start: Callable[[], int]) -> None:
        """The last line of defence against transaction control that the grammar did not see.

        :param start: gives what identifies the open transaction, as `began`.
        """
        inside = self.conn.info.transaction_status == pq.TransactionStatus.INTRANS
        if not inside or start() != self.began:
            raise StatementFailed(
                version,
                analysis.script.file,
                "the script ended the transaction it ran in",
                server_hint="remove its transaction control; what it committed must be judged by a person",
                outcome=PERHAPS_COMMITTED,
                retryable=False,
            )

    def limits(self, budget: Budget) -> dict[str, str]:
        """The settings for a budget; a failure is judged by them from here on."""
        self.budget = budget
        return budget.settings()

    def transaction_start(self) -> int:
        """See `TRANSACTION`. Tells this transaction from any other, and unlike a setting no RESET ALL can take it away.

        :raises ConnectionFailed: it is in another server process than the advisory locks.
        """
        start, pid = values(ask(self.conn, b"SELECT " + TRANSACTION)[0])
        self.check_process(pid)
        return int(start or 0)

    def check_process(self, pid: str | None) -> None:
        """:raises ConnectionFailed: another server process has answered."""
        if pid != str(self.login.pid):
            raise not_one_session()

    def failure(
        self,
        error: psycopg.Error,
        version: str,
        file: str,
        *,
        outcome: str,
        analysis: Analysis | None = None,
        part: Part | None = None,
        index: int | None = None,
    ) -> StatementFailed:
        """A psycopg error in the engine's words.

        :param index: number, from 0, of the statement that was next.
        """
        # A look at a ledger does not pay for it.
        from airflow_provider_wmigrate.engine.sql.lock_limit import LockWait

        from .failures import Circumstances, failure, place_of

        lasted = time.monotonic() - self._began_statement
        known = Circumstances(
            lost=error.sqlstate is None or self.acting.closed,
            timed_out=self.interruption.timed_out,
            cancelled=self.interruption.requested,
            over_limit=self.budget is not None and lasted >= self.budget.longest_statement,
            in_transaction=self.acting.info.transaction_status == pq.TransactionStatus.INERROR,
            spared=self.interruption.spared,
        )
        if error.sqlstate == "55P03" and analysis is not None:
            self.lock_wait = LockWait.of(analysis, index, self.budget.lock if self.budget else 0.0, lasted)
        where = place_of(error, analysis, part, index) if analysis else {}
        text = analysis.script.text if analysis else ""
        return failure(error, version, file, where, known, outcome=outcome, script=text)


TRANSACTION = (
    b"(pg_catalog.date_part('epoch', pg_catalog.now()) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8,"
    b" pg_catalog.pg_backend_pid()"
)
"""What identifies a transaction: when it began, in microseconds, and the server process."""
