"""One connection: its transactions, what is sent on it, and what may interrupt it.

Several migrations may run on it one after another. Between them it is made what a new one is, so that nothing a script
leaves behind (settings, temporary tables, session locks) can reach the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import pq

from airflow_provider_wmigrate.engine.errors import NOT_KNOWN, PERHAPS_COMMITTED, ROLLED_BACK, StatementFailed

from . import constraints
from .answering import limit_answers
from .committing import commit_with
from .connection import Connect as Connect
from .connection import Login, not_one_session, ready, set_config, untouched
from .interruption import Interruption
from .message import ask, values
from .sending import Failed, Sent, Tail, send_part
from .settings import Budget as Budget
from .settings import as_new, leave_script
from .waiting import SessionLocks

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.sql.lock_limit import LockWait
    from airflow_provider_wmigrate.engine.sql.script import Analysis, Part


class Session:
    """An open connection. Use `open_session`."""

    def __init__(self, connect: Connect, application_name: str) -> None:
        self.application_name = application_name
        self._connect = connect
        self._other: psycopg.Connection[Any] | None = None
        self.interruption = Interruption(lambda: self._acting)
        self.conn, self.login = self._ready()
        self.used = False
        """Whether a script may have left something in it."""
        self.spoilt = False
        """Whether it may hold what no statement takes away."""
        self.on_unconfirmed: Callable[[], None] = lambda: None
        """Called after a commit that no synchronous standby has confirmed although the server waits for one."""
        self.on_notice: Callable[[psycopg.errors.Diagnostic], None] = lambda diagnostic: None
        """Told what the server says beside its answers."""
        self.locks = SessionLocks(lambda: self.conn, self.interruption)
        self._in_transaction = False
        self._began_statement = 0.0
        self._statement_limit = float("inf")
        self._lock_limit = 0.0
        self.lock_wait: LockWait | None = None
        """What is known of the last lock that was not free in time."""

    # The connection

    def _ready(self) -> tuple[psycopg.Connection[Any], Login]:
        conn, login = ready(self._connect, self.application_name, self.interruption)
        conn.add_notice_handler(self._hear)
        return conn, login

    def _hear(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        self.on_notice(diagnostic)

    @property
    def pid(self) -> int:
        return self.login.pid

    @property
    def _acting(self) -> psycopg.Connection[Any]:
        """The one a script's statement runs on."""
        return self._other or self.conn

    @property
    def acting_pid(self) -> int:
        """The server process that runs the script's statement."""
        other = self._other
        return self.pid if other is None or other.closed else other.info.backend_pid

    def renew(self) -> None:
        """Go on with a new connection and the same locks: after an update of TimescaleDB the server ends, at its next
        statement, every session that has loaded the old version.

        :raises LockTimeout: another runner was quicker with the locks, and goes on.
        """
        self.begin_anew()
        self.locks.take_over()

    def begin_anew(self) -> None:
        """Go on with a new connection, and without locks."""
        old = self.conn
        self.conn, self.login = self._ready()
        self.used = self.spoilt = False
        old.close()

    def as_new(self, *more: bytes) -> bytes:
        """The statements that make it what a new one is; see `settings.as_new`."""
        return as_new(self.conn, self.application_name, *more, watched=self.login.watched)

    def refresh(self) -> None:
        """Make it what a new one is, with no lock held."""
        if self.used:
            ask(self.conn, self.as_new())
            self.used = False
        self.locks.release_all()

    def close(self) -> None:
        """Close it. The server ends a closed session a moment later; until then the next runner would have to poll for
        the locks, so they are given back before."""
        try:
            idle = not self.conn.closed and self.conn.info.transaction_status == pq.TransactionStatus.IDLE
            if idle and (self.used or self.locks.numbers):
                with suppress(psycopg.Error):
                    self.locks.release_all()
        finally:  # also when a task's time limit strikes here
            self.conn.close()

    # One transaction around a script

    @contextmanager
    def transaction(self, *, confirmed: bool = True) -> Iterator[None]:
        """A short transaction for the ledger's own rows.

        :param confirmed: its commit waits for synchronous standbys, where the server has them. What only tells of what
            goes on need not: a standby that has a later commit has this one as well.
        """
        begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
        self.conn.execute(begin if confirmed else f"{begin}; SET LOCAL synchronous_commit = local")
        try:
            yield
        except BaseException:
            self.roll_back()
            raise
        self.commit()

    def begin(self, budget: Budget, *, keep: Container[str] = (), read_only: bool = False) -> None:
        """Open the transaction a script runs in, with its limits.

        :param keep: settings to leave alone, since the script made them.
        """
        mode = "ONLY" if read_only else "WRITE"
        self.conn.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED READ {mode}".encode())
        self._limit(budget, keep)
        self.began, self.used = self._transaction_start(), True

    def next_script(self, budget: Budget) -> None:
        """Before another script in the same transaction (a dry run): what the one before left must not reach it."""
        ask(self.conn, self.as_new())
        constraints.as_declared(self.conn)
        self._limit(budget)

    def limit(self, budget: Budget, *, keep: Container[str] = ()) -> None:
        """Limits for what follows outside a transaction.

        :param keep: settings to leave alone, since the script made them.
        """
        self._limit(budget, keep, local=False)

    def _limit(self, budget: Budget, keep: Container[str] = (), *, local: bool = True) -> None:
        limits = {name: value for name, value in self.limits(budget).items() if name not in keep}
        if limits:
            ask(self.conn, b"SELECT " + set_config(self.conn, limits, local=local))

    def limits(self, budget: Budget) -> dict[str, str]:
        """The settings for a budget; a failure is judged by them from here on."""
        self._statement_limit, self._lock_limit = budget.longest_statement, budget.lock
        return budget.settings()

    def _transaction_start(self) -> int:
        """See `TRANSACTION`. Tells this transaction from any other, and unlike a setting no RESET ALL can take it away.

        :raises ConnectionFailed: it is in another server process than the advisory locks.
        """
        start, pid = values(ask(self.conn, b"SELECT " + TRANSACTION)[0])
        self.check_process(pid)
        return int(start or 0)

    def check_process(self, pid: str | None) -> None:
        """:raises ConnectionFailed: another server process has answered."""
        if pid != str(self.pid):
            raise not_one_session()

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
            self.check_same(version, analysis, self._transaction_start)
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
            failed = self._failed_in(version, analysis, part)
            sent = sent.and_then(send_part(self._acting, analysis, part, failed, last))
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
            conn.add_notice_handler(self._hear)
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

    def leave_script(self, *, last: bool = True) -> None:
        """From here on the ledger speaks; see `settings.leave_script`."""
        leave_script(self.conn, last=last)

    def commit(self) -> None:
        """Commit, and make sure that the server did.

        :raises ConnectionFailed: the connection broke meanwhile. Only the ledger knows what became of it.
        """
        self.commit_with(b"COMMIT", 0)

    def commit_with(self, message: bytes, at: int) -> list[Any]:
        """As `commit`, with other statements in one message; see `committing`."""
        answers, confirmed = commit_with(self.conn, message, at)
        if not confirmed:
            self.on_unconfirmed()
        return answers

    def roll_back(self) -> None:
        """Roll back if there is anything to roll back and anybody to tell."""
        if not self.conn.closed and self.conn.info.transaction_status != pq.TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                self.conn.execute("ROLLBACK")

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
            lost=error.sqlstate is None or self._acting.closed,
            timed_out=self.interruption.timed_out,
            cancelled=self.interruption.requested,
            over_limit=lasted >= self._statement_limit,
            in_transaction=self._acting.info.transaction_status == pq.TransactionStatus.INERROR,
        )
        if error.sqlstate == "55P03" and analysis is not None:
            self.lock_wait = LockWait.of(analysis, index, self._lock_limit, lasted)
        where = place_of(error, analysis, part, index) if analysis else {}
        text = analysis.script.text if analysis else ""
        return failure(error, version, file, where, known, outcome=outcome, script=text)


TRANSACTION = (
    b"(pg_catalog.date_part('epoch', pg_catalog.now()) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8,"
    b" pg_catalog.pg_backend_pid()"
)
"""What identifies a transaction: when it began, in microseconds, and the server process."""


@contextmanager
def open_session(connect: Connect, *, application_name: str) -> Iterator[Session]:
    """Connect, prepare the session, and close it in the end, which gives back every lock.

    :raises ConnectionFailed: no connection.
    """
    session = Session(connect, application_name)
    try:
        yield session
    finally:
        session.close()
