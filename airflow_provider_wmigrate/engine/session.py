"""One connection for one call: its settings, its advisory locks, its budget, and the way to cancel it.

Every migration gets a connection of its own, so that nothing a script leaves behind (settings, temporary tables,
session locks) can reach the next one.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import generators, pq

from .connection import OWN_TIMEOUT, READABLE, not_one_session, prepare, settle, watch_client
from .connection import Connect as Connect
from .errors import ConnectionFailed, LockTimeout, ScriptError, StatementFailed, TimedOut, WMigrateError
from .model import LockTaken
from .script import Analysis, Part

_LOCK_STRENGTH = (
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
"""PostgreSQL's table lock modes that stand in somebody's way, from weak to strong (its manual, section 13.3)."""

_GRACE = 5.0
"""Seconds."""
_SILENCE_SECONDS = 5.0
"""How long a cancelled statement may take to end before the network is taken for dead."""


@dataclass(frozen=True, slots=True)
class AdvisoryLock:
    """A session lock in the target database. `key` is its name; the number is a hash of it."""

    key: str
    shared: bool = False

    @property
    def number(self) -> int:
        return int.from_bytes(hashlib.sha256(self.key.encode()).digest()[:8], "big", signed=True)


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one script, in seconds."""

    total: float
    statement: float | None
    lock: float


class Session:
    """An open connection. Use `open_session`."""

    def __init__(self, conn: psycopg.Connection[Any], application_name: str, pid: int, *, watched: bool) -> None:
        self.conn = conn
        self.pid = pid
        self._watched = watched
        self.application_name = application_name
        self._locks: tuple[AdvisoryLock, ...] = ()
        self.timed_out = False
        self.cancel_requested = False
        # Not an Event: its lock would stand in the way of a signal that comes while another one is being handled.
        self._interrupted = False
        self._began_statement = 0.0
        self._statement_limit = float("inf")

    # Locks

    def acquire(
        self,
        locks: Sequence[AdvisoryLock],
        *,
        wait_seconds: float,
        on_wait: Callable[[float, tuple[int, ...]], None],
    ) -> None:
        """Take all locks or none, polling outside any transaction.

        A waiter that sits in a transaction would hold a snapshot, and CREATE INDEX CONCURRENTLY of the runner it waits
        for would wait for that snapshot: neither would ever end.

        :raises LockTimeout: not free within `wait_seconds`.
        """
        start, told, pause = time.monotonic(), 1.0, 0.05
        while not self._try(locks):
            waited = time.monotonic() - start
            if self.cancel_requested:
                raise WMigrateError("cancelled on request while waiting for another runner", retryable=True)
            if waited >= wait_seconds:
                hint = "another runner works on this migration; look at pg_stat_activity, or raise lock_wait_seconds"
                raise LockTimeout(
                    "the advisory lock of this migration", waited, holders=self._holders(locks), hint=hint
                )
            if waited >= told:
                on_wait(waited, self._holders(locks))
                told = waited * 2 + 1
            time.sleep(min(pause * random.uniform(0.5, 1.5), max(wait_seconds - waited, 0.0)))
            pause = min(pause * 1.5, 1.0)
        self._locks = tuple(locks)

    def keep_locks(self) -> None:
        """Take them once more, should a script have given them back (DISCARD ALL, pg_advisory_unlock_all).

        :raises LockTimeout: another runner has them now.
        """
        if not self._try(self._locks):
            outcome = "what ran before is kept, and another runner goes on"
            hint = "the script gave the locks back that keep other runners away: take DISCARD ALL out"
            what = "the advisory lock of this migration"
            raise LockTimeout(what, 0.0, holders=self._holders(self._locks), outcome=outcome, hint=hint)

    def release(self, lock: AdvisoryLock) -> None:
        """Give one back.

        :raises ConnectionFailed: it was not held any more.
        """
        if self.conn.execute("SELECT pg_catalog.pg_advisory_unlock(%s)", [lock.number]).fetchone() != (True,):
            raise not_one_session()

    def _try(self, locks: Sequence[AdvisoryLock]) -> bool:
        calls = ", ".join(f"pg_catalog.pg_try_advisory_lock{'_shared' if lock.shared else ''}(%s)" for lock in locks)
        row = self.conn.execute(f"SELECT {calls}".encode(), [lock.number for lock in locks]).fetchone()
        got = row or ()
        if all(got):
            return True
        for lock, taken in zip(locks, got, strict=True):
            if taken:
                query = f"SELECT pg_catalog.pg_advisory_unlock{'_shared' if lock.shared else ''}(%s)"
                self.conn.execute(query.encode(), [lock.number])
        return False

    def _holders(self, locks: Sequence[AdvisoryLock]) -> tuple[int, ...]:
        rows = self.conn.execute(
            "SELECT DISTINCT pid FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
            " AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
            " AND (classid::bigint << 32) | objid::bigint = ANY(%s) AND pid <> pg_catalog.pg_backend_pid()"
            " ORDER BY pid",
            [[lock.number for lock in locks]],
        )
        return tuple(pid for (pid,) in rows)

    # One transaction around a script

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A short transaction for the ledger's own rows."""
        self.conn.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        try:
            yield
        except BaseException:
            self.roll_back()
            raise
        self.commit()

    def begin(self, budget: Budget) -> None:
        """Open the transaction a script runs in, with its limits."""
        self.conn.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        self._limit(budget)
        self._began = self._transaction_start()

    def next_script(self, budget: Budget) -> None:
        """Before another script in the same transaction (a dry run): what the one before left must not reach it."""
        self.conn.execute("RESET ALL")
        self.conn.execute("DISCARD TEMP")
        settle(self.conn, self.application_name)
        if self._watched:
            watch_client(self.conn)
        self._limit(budget)

    def limit(self, budget: Budget) -> None:
        """Limits for what follows outside a transaction."""
        for name, value in self._limits(budget).items():
            self.conn.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])

    def answers(self) -> bool:
        """Whether the server is still there to answer; if not, it is open what became of the last statement."""
        try:
            self.conn.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def _limit(self, budget: Budget) -> None:
        self._set_local(**self._limits(budget))

    def _limits(self, budget: Budget) -> dict[str, str]:
        """The total is our clock's business; the server strikes a little later, should nobody be there any more."""
        self._statement_limit = budget.statement or budget.total + _GRACE
        return {
            "lock_timeout": _milliseconds(budget.lock),
            "statement_timeout": _milliseconds(self._statement_limit),
        }

    def _set_local(self, **settings: str) -> None:
        calls = ", ".join("pg_catalog.set_config(%s, %s, true)" for _ in settings)
        self.conn.execute(f"SELECT {calls}".encode(), [part for pair in settings.items() for part in pair])

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
        done = self.send_alone(version, analysis, first, end)
        self._check_same_transaction(version, analysis)
        return done

    def send_alone(self, version: str, analysis: Analysis, first: int = 0, end: int | None = None) -> tuple[int, int]:
        """As `send`, outside any transaction."""
        done = rows = 0
        for part in analysis.parts(first, end):
            if self._interrupted:
                # A cancel that came between two statements found nothing to cancel.
                raise self.failure(psycopg.errors.QueryCanceled("not begun"), version, analysis.script.file)
            self._began_statement = time.monotonic()
            ran, changed = (self._copy if part.data else self._simple)(version, analysis, part)
            done, rows = done + ran, rows + changed
        return done, rows

    def _simple(self, version: str, analysis: Analysis, part: Part) -> tuple[int, int]:
        """Over the simple protocol; the server splits what it is given."""
        pgconn, file = self.conn.pgconn, analysis.script.file
        try:
            pgconn.send_query(part.sql)
            results = self.conn.wait(generators.execute(pgconn))
        except psycopg.Error as error:
            raise self.failure(error, version, file) from error
        done = rows = 0
        for result in results:
            index = part.first + done
            if result.status == pq.ExecStatus.FATAL_ERROR:
                refused = psycopg.errors.error_from_result(result, "utf-8")
                raise self.failure(refused, version, file, analysis=analysis, part=part, index=index)
            if result.status in _COPY:
                self._refuse_copy(analysis, index, *_COPY[result.status])
            done += result.status != pq.ExecStatus.EMPTY_QUERY
            rows += _rows(result)
        return done, rows

    def _copy(self, version: str, analysis: Analysis, part: Part) -> tuple[int, int]:
        """COPY ... FROM stdin with the data that stands below it, in chunks."""
        text, (begin, end) = analysis.script.text, part.data or (0, 0)
        try:
            with self.conn.cursor() as cursor:
                with cursor.copy(part.sql) as copy:
                    for at in range(begin, end, _COPY_CHUNK):
                        copy.write(text[at : min(at + _COPY_CHUNK, end)].encode())
                return 1, cursor.rowcount
        except psycopg.Error as error:
            file = analysis.script.file
            raise self.failure(error, version, file, analysis=analysis, part=part, index=part.first) from error

    def _refuse_copy(self, analysis: Analysis, index: int, reason: str, hint: str) -> None:
        self.conn.close()  # the server waits for the other end; the transaction goes with the connection
        line = analysis.statements[index].line if index < len(analysis.statements) else None
        raise ScriptError(analysis.script.file, line, reason, hint=hint)

    def _check_same_transaction(self, version: str, analysis: Analysis) -> None:
        """The last line of defence against transaction control that the grammar did not see."""
        inside = self.conn.info.transaction_status == pq.TransactionStatus.INTRANS
        if not inside or self._transaction_start() != self._began:
            raise StatementFailed(
                version,
                analysis.script.file,
                "the script ended the transaction it ran in",
                server_hint="remove its transaction control; what it committed must be judged by a person",
                outcome="part of it may have been committed, the ledger does not know it",
                retryable=False,
            )

    def leave_script(self) -> None:
        """From here on the ledger speaks: whatever role, path, format or limits the script set no longer hold.

        Deferred constraints are checked now, so that a dry run finds what a commit would.
        """
        self.conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self.conn.execute("RESET SESSION AUTHORIZATION")
        self.conn.execute("RESET ROLE")
        self._set_local(
            search_path="pg_catalog",
            row_security="off",
            lock_timeout=OWN_TIMEOUT,
            statement_timeout=OWN_TIMEOUT,
            idle_in_transaction_session_timeout="0",
            **READABLE,
        )
        # Only a superuser may touch this one; left at `replica`, nobody would be told of the new entry.
        self.conn.execute(
            "SELECT pg_catalog.set_config('session_replication_role', 'origin', true)"
            " WHERE pg_catalog.current_setting('session_replication_role') <> 'origin'"
        )

    def locks_taken(self, ledger_schema: str) -> tuple[LockTaken, ...]:
        """The strongest lock this transaction holds on each relation, readers' locks and the ledger's own apart."""
        rows = self.conn.execute(
            "SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname), pg_catalog.array_agg(l.mode)"
            " FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted"
            " AND l.mode = ANY(%s) AND c.relkind IN ('r', 'p', 'm', 'v', 'f')"
            " AND n.nspname <> ALL(%s) AND n.nspname NOT LIKE 'pg\\_toast%%' GROUP BY 1 ORDER BY 1",
            [list(_LOCK_STRENGTH), ["pg_catalog", "information_schema", ledger_schema]],
        )
        return tuple(LockTaken(relation, max(modes, key=_LOCK_STRENGTH.index)) for relation, modes in rows)

    def commit(self) -> None:
        """Commit, and make sure that the server did.

        :raises ConnectionFailed: the connection broke meanwhile. Only the ledger knows what became of it.
        """
        try:
            answer = self.conn.execute("COMMIT").statusmessage
        except psycopg.OperationalError as error:
            if not self.conn.closed:
                raise
            hint = "whether it was committed stands in the ledger, where the next try looks first"
            raise ConnectionFailed(f"it broke during the commit ({error})", hint=hint) from error
        if answer != "COMMIT":
            raise ConnectionFailed(f"the server answered COMMIT with {answer}")

    def roll_back(self) -> None:
        """Roll back if there is anything to roll back and anybody to tell."""
        if not self.conn.closed and self.conn.info.transaction_status != pq.TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                self.conn.execute("ROLLBACK")

    # Limits

    @contextmanager
    def limited(self, total_seconds: float) -> Iterator[None]:
        """Cancel whatever runs when the total budget is used up.

        statement_timeout counts each statement of a script anew, so the total needs a clock on this side. Where even
        the cancelling changes nothing, the network is silent, and the connection is given up.
        """
        over = threading.Event()

        def strike() -> None:
            self.timed_out = self._interrupted = True
            self._send_cancel()
            if not over.wait(_SILENCE_SECONDS):
                self._break_off()

        timer = threading.Timer(total_seconds, strike)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            over.set()

    def cancel(self) -> None:
        """Cancel the running statement on the server; callable from a signal handler or another thread."""
        self.cancel_requested = self._interrupted = True
        self._send_cancel()

    def pause(self, seconds: float) -> bool:
        """Wait between two attempts. False: cancelled, or out of time."""
        end = time.monotonic() + seconds
        while not self._interrupted and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))
        return not self._interrupted

    def _send_cancel(self) -> None:
        with suppress(psycopg.Error):
            self.conn.cancel_safe(timeout=3.0)

    def _break_off(self) -> None:
        """End the waiting for an answer from another thread: only a socket's shutdown wakes whoever reads from it."""
        with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(self.conn.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    def failure(
        self,
        error: psycopg.Error,
        version: str,
        file: str,
        *,
        analysis: Analysis | None = None,
        part: Part | None = None,
        index: int | None = None,
    ) -> WMigrateError:
        """A psycopg error in the engine's words.

        :param index: number, from 0, of the statement that was next.
        """
        message = (error.diag.message_primary or str(error)).strip()
        where = {"sqlstate": error.sqlstate, **(_place(error, analysis, part, index) if analysis else {})}
        if error.sqlstate is None or self.conn.closed:
            if self.timed_out:
                message = "the total budget (timeout_seconds) was used up and the server did not answer any more"
                return TimedOut(version, file, message, retryable=True, **where)
            message = f"the connection was lost: {message}"
            return StatementFailed(version, file, message, retryable=True, **where)
        if error.sqlstate == "57014":
            if self.cancel_requested:
                return StatementFailed(version, file, "cancelled on request", retryable=True, **where)
            if self.timed_out:
                message = "the total budget (timeout_seconds) was used up, the statement was cancelled"
            if self.timed_out or time.monotonic() - self._began_statement >= self._statement_limit:
                return TimedOut(version, file, message, retryable=True, **where)
        return StatementFailed(version, file, message, server_hint=error.diag.message_hint, **where)


def _place(error: psycopg.Error, analysis: Analysis, part: Part | None, index: int | None) -> dict[str, Any]:
    """Where in the file and in which statement: by the server's position if it gave one, else what was next."""
    known = index is not None and index < len(analysis.statements)
    statement = analysis.statements[index or 0] if known else None
    line, column = statement.line if statement else None, None
    row = _COPY_LINE.search(error.diag.context or "")
    if part is not None and part.data and row:
        line = analysis.place(part.data[0])[0] + int(row[1]) - 1
    elif part is not None and error.diag.statement_position:
        position = part.start + int(error.diag.statement_position) - 1
        line, column = analysis.place(position)
        statement = analysis.statement_at(position)
    return {"line": line, "column": column, "statement": analysis.excerpt(statement) if statement else None}


_COPY_LINE = re.compile(r"^COPY [^\n]*?, line (\d+)", re.MULTILINE)
_COPY_CHUNK = 64 * 1024
"""Characters of COPY data that are encoded and handed over at a time."""

_COPY = {
    pq.ExecStatus.COPY_IN: ("COPY FROM stdin waits for data that is not there", "write the data below it"),
    pq.ExecStatus.COPY_OUT: ("COPY TO stdout has nobody to read it", "select into a table instead"),
    pq.ExecStatus.COPY_BOTH: ("replication is no migration", "remove it"),
}
_COUNTED = (b"INSERT", b"UPDATE", b"DELETE", b"MERGE", b"COPY")


def _rows(result: Any) -> int:
    status = result.command_status or b""
    return int(result.command_tuples or 0) if status.startswith(_COUNTED) else 0


def _milliseconds(seconds: float) -> str:
    return f"{max(int(seconds * 1000), 1)}ms"


@contextmanager
def open_session(connect: Connect, *, application_name: str) -> Iterator[Session]:
    """Connect, prepare the session, and close it in the end, which gives back every lock.

    :raises ConnectionFailed: no connection.
    """
    try:
        conn = connect()
    except psycopg.Error as error:
        raise ConnectionFailed(str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    try:
        pid = prepare(conn, connect, application_name)
        yield Session(conn, application_name, pid, watched=watch_client(conn))
    finally:
        try:
            _give_back_locks(conn)
        finally:  # also when a task's time limit strikes here
            conn.close()


def _give_back_locks(conn: psycopg.Connection[Any]) -> None:
    """The server ends a closed session a moment later; until then the next runner would have to poll."""
    if not conn.closed and conn.info.transaction_status == pq.TransactionStatus.IDLE:
        with suppress(psycopg.Error):
            conn.execute("SELECT pg_catalog.pg_advisory_unlock_all()")
