"""One connection for one call: its transactions, what is sent on it, and what may interrupt it.

Every migration gets a connection of its own, so that nothing a script leaves behind (settings, temporary tables,
session locks) can reach the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg
from psycopg import pq

from airflow_provider_wmigrate.engine.errors import (
    NOT_KNOWN,
    PERHAPS_COMMITTED,
    ROLLED_BACK,
    ConnectionFailed,
    StatementFailed,
    WMigrateError,
)
from airflow_provider_wmigrate.engine.sql.lock_limit import LockWait
from airflow_provider_wmigrate.engine.sql.script import Analysis, Part

from . import constraints
from .connection import Connect as Connect
from .connection import not_one_session, ready, settle, untouched, watch_client
from .failures import Circumstances, failure, place_of
from .interruption import Interruption
from .sending import Failed, send_part
from .settings import Budget as Budget
from .settings import leave_script, set_local
from .waiting import SessionLocks


class Session:
    """An open connection. Use `open_session`."""

    def __init__(self, connect: Connect, application_name: str) -> None:
        self.application_name = application_name
        self._connect = connect
        self._other: psycopg.Connection[Any] | None = None
        self.interruption = Interruption(lambda: self._acting)
        self.conn, self.pid, self._watched = self._ready()
        self.on_unconfirmed: Callable[[], None] = lambda: None
        """Called after a commit that no synchronous standby has confirmed although the server waits for one."""
        self._notice_handlers: list[Callable[[psycopg.errors.Diagnostic], None]] = []
        self.locks = SessionLocks(lambda: self.conn, self.interruption)
        self._in_transaction = False
        self._began_statement = 0.0
        self._statement_limit = float("inf")
        self._lock_limit = 0.0
        self.lock_wait: LockWait | None = None
        """What is known of the last lock that was not free in time."""

    # The connection

    def _ready(self) -> tuple[psycopg.Connection[Any], int, bool]:
        return ready(self._connect, self.application_name, lambda: self.interruption.counting)

    @property
    def _acting(self) -> psycopg.Connection[Any]:
        """The one a script's statement runs on."""
        return self._other or self.conn

    @property
    def acting_pid(self) -> int:
        """The server process that runs the script's statement."""
        other = self._other
        return self.pid if other is None or other.closed else other.info.backend_pid

    def on_notice(self, handler: Callable[[psycopg.errors.Diagnostic], None]) -> None:
        """Whom to tell what the server says beside its answers."""
        self._notice_handlers.append(handler)
        self.conn.add_notice_handler(handler)

    def renew(self) -> None:
        """Go on with a new connection and the same locks: after an update of TimescaleDB the server ends, at its next
        statement, every session that has loaded the old version.

        :raises LockTimeout: another runner was quicker with the locks, and goes on.
        """
        old = self.conn
        self.conn, self.pid, self._watched = self._ready()
        for handler in self._notice_handlers:
            self.conn.add_notice_handler(handler)
        old.close()
        self.locks.take_over()

    def close(self) -> None:
        """Close it. The server ends a closed session a moment later; until then the next runner would have to poll for
        the locks, so they are given back before."""
        try:
            if not self.conn.closed and self.conn.info.transaction_status == pq.TransactionStatus.IDLE:
                with suppress(psycopg.Error):
                    self.conn.execute("SELECT pg_catalog.pg_advisory_unlock_all()")
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
        self._began = self._transaction_start()

    def next_script(self, budget: Budget) -> None:
        """Before another script in the same transaction (a dry run): what the one before left must not reach it."""
        # Of DISCARD ALL, what a transaction allows, and without the advisory locks.
        self.conn.execute(
            "CLOSE ALL; RESET ALL; DEALLOCATE ALL; UNLISTEN *; DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES"
        )
        constraints.as_declared(self.conn)
        settle(self.conn, self.application_name)
        if self._watched:
            watch_client(self.conn)
        self._limit(budget)

    def limit(self, budget: Budget, *, keep: Container[str] = ()) -> None:
        """Limits for what follows outside a transaction.

        :param keep: settings to leave alone, since the script made them.
        """
        for name, value in self.limits(budget).items():
            if name not in keep:
                self.conn.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])

    def _limit(self, budget: Budget, keep: Container[str] = ()) -> None:
        limits = {name: value for name, value in self.limits(budget).items() if name not in keep}
        if limits:
            set_local(self.conn, **limits)

    def limits(self, budget: Budget) -> dict[str, str]:
        """The settings for a budget; a failure is judged by them from here on."""
        self._statement_limit, self._lock_limit = budget.longest_statement, budget.lock
        return budget.settings()

    def _transaction_start(self) -> int:
        """Microseconds. Tells this transaction from any other, and unlike a setting no RESET ALL can take it away.

        :raises ConnectionFailed: it is in another server process than the advisory locks.
        """
        start, pid = self.conn.execute(
            "SELECT (pg_catalog.date_part('epoch', pg_catalog.now()) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8,"
            " pg_catalog.pg_backend_pid()"
        ).fetchone() or (0, 0)
        if pid != self.pid:
            raise not_one_session()
        return int(start)

    def send(self, version: str, analysis: Analysis, first: int = 0, end: int | None = None) -> tuple[int, int]:
        """Run a script, or its statements from `first` to before `end`, inside the transaction that `begin` opened.

        :return: statements run, rows they inserted, updated, deleted or copied.
        :raises StatementFailed: the server refused one of them.
        """
        self._in_transaction = True
        try:
            done = self.send_alone(version, analysis, first, end)
        finally:
            self._in_transaction = False
        self._check_same_transaction(version, analysis)
        return done

    def send_alone(self, version: str, analysis: Analysis, first: int = 0, end: int | None = None) -> tuple[int, int]:
        """As `send`, outside any transaction."""
        done = rows = 0
        for part in analysis.parts(first, end):
            if self.interruption.struck:
                # A cancel that came between two statements found nothing to cancel.
                cancelled = psycopg.errors.QueryCanceled("not begun")
                raise self.failure(cancelled, version, analysis.script.file, outcome=self._outcome())
            self._began_statement = time.monotonic()
            ran, changed = send_part(self._acting, analysis, part, self._failed_in(version, analysis, part))
            done, rows = done + ran, rows + changed
        return done, rows

    def send_first(self, version: str, analysis: Analysis, index: int, budget: Budget) -> tuple[int, int]:
        """As `send_alone`, but one statement, as the very first one of a session of its own.

        Its limits come with the login: setting them would be a statement before it.
        """
        with closing(untouched(self.conn, self.application_name, self.limits(budget), watched=self._watched)) as conn:
            for handler in self._notice_handlers:
                conn.add_notice_handler(handler)
            self._other = conn
            try:
                return self.send_alone(version, analysis, index, index + 1)
            finally:
                self._other = None

    def _failed_in(self, version: str, analysis: Analysis, part: Part) -> Failed:
        def failed(error: psycopg.Error, index: int | None) -> WMigrateError:
            file, outcome = analysis.script.file, self._outcome()
            return self.failure(error, version, file, outcome=outcome, analysis=analysis, part=part, index=index)

        return failed

    def _outcome(self) -> str:
        """What the session knows of it: a transaction that was not committed is rolled back, whoever is lost."""
        return ROLLED_BACK if self._in_transaction else NOT_KNOWN

    def _check_same_transaction(self, version: str, analysis: Analysis) -> None:
        """The last line of defence against transaction control that the grammar did not see."""
        inside = self.conn.info.transaction_status == pq.TransactionStatus.INTRANS
        if not inside or self._transaction_start() != self._began:
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

        A warning beside its answer means that the wait for a synchronous standby was cut short: committed here, and
        not confirmed there. The server's words for it depend on its language.

        :raises ConnectionFailed: the connection broke meanwhile. Only the ledger knows what became of it.
        """
        warnings: list[psycopg.errors.Diagnostic] = []

        def hear(diagnostic: psycopg.errors.Diagnostic) -> None:
            if diagnostic.severity_nonlocalized == "WARNING":
                warnings.append(diagnostic)

        self.conn.add_notice_handler(hear)
        try:
            answer = self.conn.execute("COMMIT").statusmessage
        except psycopg.OperationalError as error:
            if not self.conn.closed:
                raise
            hint = "whether it was committed stands in the ledger, where the next try looks first"
            raise ConnectionFailed(f"it broke during the commit ({error})", hint=hint) from error
        finally:
            self.conn.remove_notice_handler(hear)
        if warnings and answer == "COMMIT":
            self.on_unconfirmed()
        if answer != "COMMIT":
            raise ConnectionFailed(f"the server answered COMMIT with {answer}")

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

        :param outcome: what was kept.
        :param index: number, from 0, of the statement that was next.
        """
        known = Circumstances(
            lost=error.sqlstate is None or self._acting.closed,
            timed_out=self.interruption.timed_out,
            cancelled=self.interruption.requested,
            over_limit=time.monotonic() - self._began_statement >= self._statement_limit,
            in_transaction=self._acting.info.transaction_status == pq.TransactionStatus.INERROR,
        )
        if error.sqlstate == "55P03" and analysis is not None:
            lasted = time.monotonic() - self._began_statement
            self.lock_wait = LockWait.of(analysis, index, self._lock_limit, lasted)
        where = place_of(error, analysis, part, index) if analysis else {}
        script = analysis.script.text if analysis else ""
        return failure(error, version, file, where, known, outcome=outcome, script=script)


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
