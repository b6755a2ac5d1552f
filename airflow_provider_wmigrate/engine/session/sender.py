"""Sends a script on its session, piece by piece, and says in the engine's words what the server refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from psycopg import pq

from airflow_provider_wmigrate.engine.errors import NOT_KNOWN, PERHAPS_COMMITTED, ROLLED_BACK, StatementFailed

from .answering import limit_answers
from .connection import Login, untouched
from .interruption import Interruption
from .sending import Failed, Sent, Tail, as_sent, send_part
from .settings import Budget

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.sql.lock_limit import LockWait
    from airflow_provider_wmigrate.engine.sql.script import Analysis, Part


class OneSession(Protocol):
    """What a sender needs of its session."""

    application_name: str
    conn: psycopg.Connection[Any]
    login: Login
    interruption: Interruption
    began: int

    def hear(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        """See `Session`."""

    def limits(self, budget: Budget) -> dict[str, str]:
        """See `Session`."""

    def transaction_start(self) -> int:
        """See `Session`."""


class Sender:
    """Of one session."""

    def __init__(self, session: OneSession) -> None:
        self._session = session
        self._other: psycopg.Connection[Any] | None = None
        self._in_transaction = False
        self._began_statement = 0.0
        self.budget: Budget | None = None
        """The limits that a failure is judged by."""
        self.lock_wait: LockWait | None = None
        """What is known of the last lock that was not free in time."""

    @property
    def acting(self) -> psycopg.Connection[Any]:
        """The connection that a script's statement runs on."""
        return self._other or self._session.conn

    @property
    def acting_pid(self) -> int:
        """The server process that runs the script's statement."""
        other = self._other
        return self._session.login.pid if other is None or other.closed else other.info.backend_pid

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
            self.check_same(version, analysis, self._session.transaction_start)
        return sent

    def send_alone(
        self, version: str, analysis: Analysis, first: int = 0, end: int | None = None, tail: Tail | None = None
    ) -> Sent:
        """As `send`, outside any transaction."""
        sent, parts = Sent(), analysis.parts(first, end)
        part = next(parts, None)
        while part is not None:
            following = next(parts, None)
            if self._session.interruption.struck:
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
        session = self._session
        with closing(
            untouched(session.conn, session.application_name, session.limits(budget), watched=session.login.watched)
        ) as conn:
            limit_answers(conn, session.interruption)
            conn.add_notice_handler(session.hear)
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
        inside = self._session.conn.info.transaction_status == pq.TransactionStatus.INTRANS
        if not inside or start() != self._session.began:
            raise StatementFailed(
                version,
                analysis.script.file,
                "the script ended the transaction it ran in",
                server_hint="remove its transaction control; what it committed must be judged by a person",
                outcome=PERHAPS_COMMITTED,
                retryable=False,
            )

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
            timed_out=self._session.interruption.timed_out,
            cancelled=self._session.interruption.requested,
            over_limit=self.budget is not None and lasted >= self.budget.longest_statement,
            in_transaction=self.acting.info.transaction_status == pq.TransactionStatus.INERROR,
            spared=self._session.interruption.spared,
        )
        if error.sqlstate == "55P03" and analysis is not None:
            self.lock_wait = LockWait.of(analysis, index, self.budget.lock if self.budget else 0.0, lasted)
        where = place_of(error, analysis, part, index) if analysis else {}
        text = analysis.script.text if analysis else ""
        return failure(error, version, file, where, known, outcome=outcome, script=text)
