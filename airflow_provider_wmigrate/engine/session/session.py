"""One connection: its transactions, and its locks; what is sent of scripts, and what may interrupt it, is the sender's.

Several migrations may run on it one after another. Between them it is made what a new one is, so that nothing a script
leaves behind (settings, temporary tables, session locks) can reach the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import pq

from .advisory import SessionLocks
from .connection import Connect as Connect
from .connection import Login, ready, set_config
from .message import ask, commit_with
from .sender import TRANSACTION as TRANSACTION
from .sender import Sender
from .settings import Budget as Budget
from .settings import as_declared, as_new


class Session(Sender):
    """An open connection. Use `open_session`."""

    def __init__(self, connect: Connect, application_name: str) -> None:
        super().__init__(application_name)
        self._connect = connect
        self.conn, self.login = self._ready()
        self.used = False
        """Whether a script may have left something in it."""
        self.spoilt = False
        """Whether it may hold what no statement takes away."""
        self.on_unconfirmed: Callable[[], None] = lambda: None
        """Called after a commit that no synchronous standby has confirmed although the server waits for one."""
        self.locks = SessionLocks(lambda: self.conn, self.interruption)

    # The connection

    def _ready(self) -> tuple[psycopg.Connection[Any], Login]:
        conn, login = ready(self._connect, self.application_name, self.interruption)
        conn.add_notice_handler(self.hear)
        return conn, login

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
        self.limit(budget, keep=keep, local=True)
        self.began, self.used = self.transaction_start(), True

    def next_script(self, budget: Budget) -> None:
        """Before another script in the same transaction (a dry run): what the one before left must not reach it."""
        ask(self.conn, self.as_new())
        as_declared(self.conn)
        self.limit(budget, local=True)

    def limit(self, budget: Budget, *, keep: Container[str] = (), local: bool = False) -> None:
        """Limits for what follows.

        :param keep: settings to leave alone, since the script made them.
        :param local: to the end of the open transaction.
        """
        limits = {name: value for name, value in self.limits(budget).items() if name not in keep}
        if limits:
            ask(self.conn, b"SELECT " + set_config(self.conn, limits, local=local))

    def commit(self) -> None:
        """Commit, and make sure that the server did.

        :raises ConnectionFailed: the connection broke meanwhile. Only the ledger knows what became of it.
        """
        self.commit_with(b"COMMIT", 0)

    def commit_with(self, message: bytes, at: int) -> list[Any]:
        """As `commit`, with other statements in one message; see `message`."""
        self.interruption.committing = True
        try:
            answers, confirmed = commit_with(self.conn, message, at)
        finally:
            self.interruption.committing = False
            self.interruption.spare(None)  # whoever waited goes on
        if not confirmed:
            self.on_unconfirmed()
        return answers

    def roll_back(self) -> None:
        """Roll back if there is anything to roll back and anybody to tell."""
        if not self.conn.closed and self.conn.info.transaction_status != pq.TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                self.conn.execute("ROLLBACK")


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
