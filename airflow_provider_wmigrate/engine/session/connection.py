"""A connection made ready for a session: its settings, and the certainty that it is one session on the server too."""

from __future__ import annotations

import re
import selectors
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import generators
from psycopg.rows import tuple_row

from airflow_provider_wmigrate.engine.errors import ConnectionFailed

from .answering import keep_alive, limit_answers

Connect = Callable[[], "psycopg.Connection[Any]"]

OWN_TIMEOUT = "30s"
"""For the ledger's own statements, which take milliseconds unless something is very wrong."""

READABLE = {"client_encoding": "UTF8", "DateStyle": "ISO"}
"""What psycopg needs to read values. `ISO` alone leaves the order of day and month in input as it is."""

WRITES = {"default_transaction_read_only": "off"}
"""A role or a database may be read-only by default. Our transactions say READ WRITE; so must what runs outside any."""

_PATIENCE = 3.0
"""Seconds for a pooler to give a second connection a server process; if it does not, all are taken."""


def ready(
    connect: Connect, application_name: str, bounded: Callable[[], bool] = lambda: False
) -> tuple[psycopg.Connection[Any], int, bool]:
    """A new connection, made ready: with the server process behind it, and whether the server watches its client.

    :param bounded: whether a budget limits the calls on it at the moment; else each has a limit of its own.
    :raises ConnectionFailed: no connection, or a pooler does not keep it on one server process.
    """
    try:
        conn = connect()
    except psycopg.Error as error:
        raise not_let_in(error) from error
    keep_alive(conn)
    limit_answers(conn, bounded)
    try:
        return conn, prepare(conn, connect, application_name), watch_client(conn)
    except BaseException:
        conn.close()
        raise


def not_let_in(error: psycopg.Error) -> ConnectionFailed:
    """A failed login in the engine's words: with what a person has to do, unless it may succeed by itself one day.

    libpq hands on the words of a refused login and not its SQLSTATE, so the words are looked for, as PostgreSQL writes
    them in English. In other languages a login that cannot succeed is tried again like any other.
    """
    refused = next((hint for words, hint in _REFUSED.items() if re.search(words, str(error))), "")
    if error.pgconn is not None and error.pgconn.needs_password:
        refused = "give its password"
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ConnectionFailed(reason, hint=refused, retryable=not refused)


_REFUSED = {
    "password authentication failed": "correct the user or the password",
    "no password supplied": "give its password",
    r"no pg_hba\.conf entry": "let this host, user and database in: pg_hba.conf on the server",
    "is not permitted to log in": "give the role LOGIN",
    "permission denied for database": "grant the role CONNECT on the database",
    r'role "[^"]*" does not exist': "correct the user, or create the role",
    r'database "[^"]*" does not exist': "correct the database's name, or create it",
}
"""The server's words for what waiting cannot heal -> what can."""


def untouched(
    conn: psycopg.Connection[Any], application_name: str, settings: Mapping[str, str], *, watched: bool
) -> psycopg.Connection[Any]:
    """Another connection like a given one, on which nothing was sent yet: what is to be set comes with the login.

    :param watched: the server can watch its clients.
    :raises ConnectionFailed: no connection.
    """
    known: dict[str, Any] = {**conn.info.get_parameters(), "application_name": session_name(application_name)}
    if conn.info.password:
        known["password"] = conn.info.password
    settings = {**WRITES, **settings, **({"client_connection_check_interval": "500ms"} if watched else {})}
    known["options"] = " ".join([known.get("options", ""), *(f"-c {key}={value}" for key, value in settings.items())])
    try:
        fresh = psycopg.connect(**{**known, "client_encoding": "UTF8"}, autocommit=True)
    except psycopg.Error as error:
        hint = "a pooler may refuse settings at login, and gives no new session anyway: connect to the server itself"
        raise ConnectionFailed(str(error).splitlines()[0], hint=hint) from error
    keep_alive(fresh)
    return fresh


def prepare(conn: psycopg.Connection[Any], connect: Connect, application_name: str) -> int:
    """Make a new connection ready.

    :param connect: opens another connection, to find out what a pooler does with two.
    :return: the server process behind it.
    :raises ConnectionFailed: it broke, or a pooler does not keep it on one server process.
    """
    conn.autocommit = True
    conn.prepare_threshold = None
    conn.row_factory = tuple_row
    try:
        pid = server_process(conn)
        # A pooler answers the login itself, and with a process number of its own. Process 0 is a PostgreSQL without
        # processes, embedded into another program: there is but one session, and nobody to share it out.
        if pid and pid != conn.info.backend_pid and _shared(conn, connect, pid):
            raise not_one_session()
        settle(conn, application_name)
    except psycopg.Error as error:
        raise ConnectionFailed(str(error)) from error
    return pid


def session_name(name: str) -> str:
    """As the server shows it: 63 characters of ASCII. It would put question marks for others, or refuse them."""
    return name[:63].encode("ascii", "replace").decode()


def settle(conn: psycopg.Connection[Any], application_name: str) -> None:
    """The settings of a session that has run nothing yet."""
    settings = {
        "application_name": session_name(application_name),
        "statement_timeout": OWN_TIMEOUT,
        "lock_timeout": OWN_TIMEOUT,
        "idle_in_transaction_session_timeout": "0",
        "client_min_messages": "notice",
        **WRITES,
        **READABLE,
    }
    calls = ", ".join("pg_catalog.set_config(%s, %s, false)" for _ in settings)
    conn.execute(f"SELECT {calls}".encode(), [part for pair in settings.items() for part in pair])


def watch_client(conn: psycopg.Connection[Any]) -> bool:
    """Where the server can watch its client (PostgreSQL 14, not on every platform), an orphan ends within half a second
    of its client's death instead of running on with its locks. A client that vanished without a farewell (power,
    network) is noticed in half a minute instead of two hours."""
    with suppress(psycopg.Error):
        conn.execute("SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3")
    with suppress(psycopg.Error):
        conn.execute("SET client_connection_check_interval = '500ms'")
        return True
    return False


def server_process(conn: psycopg.Connection[Any]) -> int:
    """The server process that answers. Through a pooler it is not the one that the login named."""
    row = conn.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0


def not_one_session() -> ConnectionFailed:
    """Advisory locks, settings and the journal all rely on one server process from beginning to end."""
    return ConnectionFailed(
        "a pooler (PgBouncer in transaction mode?) gives every transaction another server process, on which this"
        " session's advisory locks are not held",
        hint="connect to the server itself, or through a pool in session mode",
        retryable=False,
    )


def _shared(conn: psycopg.Connection[Any], connect: Connect, pid: int) -> bool:
    """Whether the server process of this connection, idle now, is given to another one meanwhile."""
    with suppress(psycopg.Error), connect() as other:
        other.autocommit = True
        other.pgconn.send_query(b"BEGIN; SELECT pg_catalog.pg_backend_pid()")
        other.pgconn.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(other.fileno(), selectors.EVENT_READ)
            if not selector.select(_PATIENCE):
                return False  # it waits for a process, so ours is not to be had
        *_, answer = other.wait(generators.execute(other.pgconn))
        theirs = answer.get_value(0, 0)
        return (theirs is not None and int(theirs) == pid) or server_process(conn) != pid
    return False
