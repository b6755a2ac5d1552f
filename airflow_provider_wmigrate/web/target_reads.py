"""Reading a target database from the web server: never longer than it may, never writing, never telling a secret.

Each read has a thread of its own, so that the limit holds even when a name server or the database never answers.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_wmigrate.engine.errors import ConnectionFailed, WMigrateError

from .described import Reason, ReasonCode
from .problems import first_line

if TYPE_CHECKING:
    import psycopg

Answer = TypeVar("Answer")

CONNECT_SECONDS = 3
STATEMENT_SECONDS = 4
TOTAL_SECONDS = 8.0
AT_ONCE = 8
FORGET_SECONDS = 5.0
"""How long a target that did not answer is not asked again."""

_LIBPQ = {
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "wmigrate web",
    "tcp_user_timeout": int(TOTAL_SECONDS * 1000),
    "keepalives": 1,
    "keepalives_idle": 3,
    "keepalives_interval": 2,
    "keepalives_count": 2,
}
_SLOW = "look at what the server is doing, then try again"
_AWAY = "check that Airflow's API server can reach it"
_free = threading.BoundedSemaphore(AT_ONCE)
_down: dict[str, tuple[float, Reason]] = {}
log = logging.getLogger(__name__)


class Unreadable(Exception):
    """The target was not read."""

    def __init__(self, code: ReasonCode, message: str) -> None:
        self.reason = Reason(code=code, message=message)
        super().__init__(message)


def read(conn_id: str, work: Callable[[psycopg.Connection[Any]], Answer]) -> Answer:
    """Do `work` in one read-only transaction of a new connection.

    :raises Unreadable: for any reason that lies in the target or on the way to it.
    """
    known = _down.get(conn_id)
    if known and time.monotonic() < known[0]:
        raise Unreadable(known[1].code, known[1].message)
    line = _Line()
    try:
        return guarded(lambda: _transaction(conn_id, work, line))
    except Unreadable as error:
        if line.conn is None and error.reason.code in ("unreachable", "timeout"):
            _down[conn_id] = time.monotonic() + FORGET_SECONDS, error.reason
        line.hang_up()
        raise


class _Line:
    """The connection of one read, for the thread that gave up waiting."""

    def __init__(self) -> None:
        self.conn: psycopg.Connection[Any] | None = None

    def hang_up(self) -> None:
        """End it from this side: the thread that still waits on it wakes, and the server cancels what it does."""
        if self.conn is not None:
            with suppress(Exception), socket.socket(fileno=os.dup(self.conn.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)


def connect(conn_id: str) -> psycopg.Connection[Any]:
    """A new connection with the web server's limits."""
    from airflow_provider_wmigrate.hooks import MigrationHook

    return MigrationHook(conn_id, libpq=_LIBPQ).get_conn()


def address(conn_id: str) -> dict[str, Any]:
    """Where Airflow's connection says that a target is, for one that did not answer; empty: that is not known."""
    from airflow.sdk import BaseHook

    try:
        found = guarded(lambda: BaseHook.get_connection(conn_id))
    except Unreadable:
        return {}
    return {"host": found.host or None, "port": found.port, "database": found.schema or None}


def guarded(call: Callable[[], Answer]) -> Answer:
    """Do something with a target in a thread of its own, and wait no longer than may be.

    :raises Unreadable: for any reason that lies in the target or on the way to it.
    """
    if not _free.acquire(blocking=False):
        raise Unreadable("busy", "too many requests wait for databases at this moment; try again in some seconds")
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)
        finally:
            _free.release()

    threading.Thread(target=run, name="wmigrate web read", daemon=True).start()
    try:
        return future.result(TOTAL_SECONDS)
    except FutureTimeout:
        raise Unreadable("timeout", f"the target did not answer within {TOTAL_SECONDS:g} s; {_SLOW}") from None
    except Exception as error:
        raise _reason(error) from error


def _transaction(conn_id: str, work: Callable[[psycopg.Connection[Any]], Answer], line: _Line) -> Answer:
    from psycopg.rows import tuple_row

    line.conn = conn = connect(conn_id)
    try:
        conn.autocommit = True
        conn.prepare_threshold = None  # so that it goes through PgBouncer too
        conn.row_factory = tuple_row
        conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        limit = f"{STATEMENT_SECONDS}s"
        conn.execute(
            "SELECT pg_catalog.set_config('statement_timeout', %s, true),"
            " pg_catalog.set_config('lock_timeout', %s, true),"
            " pg_catalog.set_config('DateStyle', 'ISO', true),"
            " pg_catalog.set_config('client_encoding', 'UTF8', true)",
            [limit, limit],
        )
        return work(conn)
    finally:
        with suppress(Exception):
            conn.close()


def _reason(error: Exception) -> Unreadable:
    """What went wrong, in one sentence without a secret: the driver's texts name hosts and roles, never passwords."""
    import psycopg
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException

    from airflow_provider_wmigrate.engine.session.connection import is_over

    if isinstance(error, Unreadable):
        return error
    text = scrubbed(first_line(error))
    if isinstance(error, (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable)):
        return Unreadable("timeout", f"a statement took longer than {STATEMENT_SECONDS} s; {_SLOW}")
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        return Unreadable("timeout", f"no connection within {CONNECT_SECONDS} s; {_AWAY}")
    if isinstance(error, ConnectionFailed):
        return Unreadable("unreachable", f"the target does not answer: {text}")
    if isinstance(error, WMigrateError) or (isinstance(error, psycopg.Error) and not is_over(error)):
        return Unreadable("ledger_unreadable", f"the ledger cannot be read: {text}")
    if isinstance(error, AirflowNotFoundException) or "isn't defined" in str(error):
        return Unreadable("no_connection", "Airflow has no connection of that id; create it, or correct conn_id")
    if isinstance(error, psycopg.Error):
        return Unreadable("unreachable", f"the target does not answer: {text}; {_AWAY}")
    if isinstance(error, AirflowFailException):  # of our own hook: one sentence about the connection itself
        return Unreadable("unreachable", text)
    if not isinstance(error, AirflowException):
        log.error("reading a target failed", exc_info=error)
    kind = type(error).__name__
    return Unreadable("unreachable", f"the target could not be read ({kind}); see the API server's log")


def scrubbed(text: str) -> str:
    """A text without any secret that Airflow knows of; the passwords of connections are among them."""
    from airflow.sdk.log import redact

    return str(redact(text))
