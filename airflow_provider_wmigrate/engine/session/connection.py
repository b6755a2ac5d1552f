"""A connection made ready for a session: its settings, and the certainty that it is one session on the server too."""

from __future__ import annotations

import re
import selectors
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import generators
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Loader, Transformer
from psycopg.rows import tuple_row

from airflow_provider_wmigrate.engine.catalog.server import NO_LIBRARY
from airflow_provider_wmigrate.engine.errors import ConnectionFailed, WMigrateError, retryable_sqlstate

from .answering import Limit, keep_alive, limit_answers
from .message import exchange, literal, refusal, values

Connect = Callable[[], "psycopg.Connection[Any]"]

OWN_TIMEOUT = "30s"
"""For the ledger's own statements, which take milliseconds unless something is very wrong."""

READABLE = {"client_encoding": "UTF8", "DateStyle": "ISO"}
"""What psycopg needs to read values. `ISO` alone leaves the order of day and month in input as it is."""

WRITES = {"default_transaction_read_only": "off"}
"""A role or a database may be read-only by default. Our transactions say READ WRITE; so must what runs outside any."""


class _InUTC(Loader):
    """A time with its zone, in UTC. psycopg would give it in the session's time zone, and on every connection warns of
    one that Python does not know (a server without a list of time zones says `UTC0`). The session keeps its zone."""

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._loader = Transformer().get_loader(oid, self.format)

    def load(self, data: Buffer) -> Any:
        return self._loader.load(data)


_PATIENCE = 3.0
"""Seconds for a pooler to give a second connection a server process; if it does not, all are taken."""


class Login(Struct, frozen=True):
    """What the server says of a session: who is at the other end."""

    pid: int
    """The server process. Through a pooler it is not the one that the login named."""
    user: str
    """The role that logged in."""
    address: str | None
    """The client's; None: a Unix socket."""
    standby: bool
    """The server only follows another one."""
    watched: bool
    """The server watches its client."""
    deadlock_seconds: float = 1.0
    """How long a wait for a lock lasts before the server looks for a deadlock, and may end somebody for it."""

    @property
    def patience_seconds(self) -> float:
        """The same, and not more than PostgreSQL's own default: others wait behind us however rarely it looks."""
        return min(self.deadlock_seconds, 1.0)


def ready(connect: Connect, application_name: str, limit: Limit | None = None) -> tuple[psycopg.Connection[Any], Login]:
    """A new connection, made ready.

    :param limit: limits the calls on it at times; else each has a limit of its own.
    :raises ConnectionFailed: no connection, or a pooler does not keep it on one server process.
    """
    try:
        conn = connect()
    except psycopg.Error as error:
        raise not_let_in(error) from error
    keep_alive(conn)
    limit_answers(conn, limit)
    try:
        return conn, prepare(conn, connect, application_name)
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
    if unknown := _NO_ADDRESS.fullmatch(str(error)):
        hint = "correct the host's name, or have this machine resolve it"
        return ConnectionFailed(f"host {unknown[1]} cannot be resolved ({unknown[2]})", hint=hint)
    each = _ONE_OF_SEVERAL.findall(str(error)) or [*str(error).splitlines()[:1], type(error).__name__][:1]
    reason = "; ".join(line.removeprefix("connection failed: ") for line in each)
    return ConnectionFailed(reason, hint=refused, retryable=not refused)


_NO_ADDRESS = re.compile(r"failed to resolve host '(.*)': (?:\[Errno -?\d+\] )?(.*)")
_ONE_OF_SEVERAL = re.compile(r"^- host: .*?: (connection failed: .*)$", re.MULTILINE)
"""psycopg's lines about each of several hosts, below one about the last of them."""

_REFUSED = {
    "password authentication failed": "correct the user or the password",
    "no password supplied": "give its password",
    r"no pg_hba\.conf entry": "let this host, user and database in: pg_hba.conf on the server",
    "is not permitted to log in": "give the role LOGIN",
    "permission denied for database": "grant the role CONNECT on the database",
    r'role "[^"]*" does not exist': "correct the user, or create the role",
    r'database "[^"]*" does not exist': "correct the database's name, or create it",
    NO_LIBRARY: "install that library on the server, or take it out of session_preload_libraries",
}
"""The server's words for what waiting cannot heal -> what can."""


def is_over(error: psycopg.Error) -> bool:
    """Whether the session has ended: the server's last word was FATAL, or none came. psycopg's OperationalError says
    less: a deadlock, a full disk and a library that the server lacks are of that class too."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return error.diag.severity_nonlocalized in ("FATAL", "PANIC")


def in_words(error: psycopg.Error, what: str, *, where: str = "", hint: str = "") -> WMigrateError:
    """A statement of ours that failed, in the engine's words.

    :param what: what cannot be done if the session stands and the server refused.
    :param where: the place of it, behind the server's words.
    :param hint: the way forward, where it is known.
    """
    said = (error.diag.message_primary or str(error)).strip()
    if is_over(error):
        return ConnectionFailed(said)
    from airflow_provider_wmigrate.engine.catalog.extensions import remedy  # only a refusal needs it

    hint = hint or remedy(error.sqlstate, said) or f"SQLSTATE {error.sqlstate}: look at the server's log"
    return WMigrateError(f"{what}: {said}{where}", hint=hint, retryable=retryable_sqlstate(error.sqlstate))


def untouched(
    conn: psycopg.Connection[Any], application_name: str, chosen: Mapping[str, str], *, watched: bool
) -> psycopg.Connection[Any]:
    """Another connection like a given one, on which nothing was sent yet: what is to be set comes with the login.

    :param watched: the server can watch its clients.
    :raises ConnectionFailed: no connection.
    """
    known: dict[str, Any] = {**conn.info.get_parameters(), "application_name": session_name(application_name)}
    if conn.info.password:
        known["password"] = conn.info.password
    chosen = {**WRITES, **chosen, **({"client_connection_check_interval": "500ms"} if watched else {})}
    known["options"] = " ".join([known.get("options", ""), *(f"-c {key}={value}" for key, value in chosen.items())])
    try:
        fresh = psycopg.connect(**{**known, "client_encoding": "UTF8"}, autocommit=True)
    except psycopg.Error as error:
        hint = "a pooler may refuse settings at login, and gives no new session anyway: connect to the server itself"
        raise ConnectionFailed(str(error).splitlines()[0], hint=hint) from error
    keep_alive(fresh)
    return fresh


def readable(conn: psycopg.Connection[Any]) -> None:
    """Every new connection of ours, whoever made it: each statement alone, rows as tuples, times in UTC."""
    conn.autocommit = True
    conn.prepare_threshold = None
    conn.row_factory = tuple_row
    conn.adapters.register_loader("timestamptz", _InUTC)


def prepare(conn: psycopg.Connection[Any], connect: Connect, application_name: str) -> Login:
    """Make a new connection ready.

    :param connect: opens another connection, to find out what a pooler does with two.
    :raises ConnectionFailed: it broke, or a pooler does not keep it on one server process.
    :raises WMigrateError: the server refused.
    """
    readable(conn)
    try:
        login = _settle(conn, application_name, conn.info.backend_pid)
        # A pooler answers the login itself, and with a process number of its own. Process 0 is a PostgreSQL without
        # processes, embedded into another program: there is but one session, and nobody to share it out.
        if login.pid != conn.info.backend_pid:
            if login.pid and _shared(conn, connect, login.pid):
                raise not_one_session()
            login = _settle(conn, application_name, login.pid)
    except psycopg.Error as error:
        raise in_words(error, "the session cannot be made ready") from error
    return login


_LOGIN = (
    b"SELECT pg_catalog.pg_backend_pid(), session_user, pg_catalog.host(pg_catalog.inet_client_addr()),"
    b" pg_catalog.pg_is_in_recovery(), pg_catalog.date_part('epoch',"
    b" pg_catalog.current_setting('deadlock_timeout')::pg_catalog.interval)"
)


def _settle(conn: psycopg.Connection[Any], application_name: str, pid: int) -> Login:
    """Ask who is there, and make the settings if it is this server process: another one may be shared out by a pooler,
    and nothing may be left on it."""
    for watched in (True, False) if conn.info.server_version >= 140000 else (False,):
        chosen = settings(conn, application_name, watched=watched)
        answers = exchange(conn, b"%s; SELECT %s WHERE pg_catalog.pg_backend_pid() = %d" % (_LOGIN, chosen, pid))
        error = refusal(answers)
        if error is None:
            there, user, address, standby, deadlock = values(answers[0])
            return Login(int(there or 0), user or "", address, standby == "t", watched, float(deadlock or 1))
        if not watched:  # else the platform may have no way to watch a client
            raise error
    raise AssertionError("the last try returns or raises")


def session_name(name: str) -> str:
    """As the server shows it: 63 characters of ASCII. It would put question marks for others, or refuse them."""
    return name[:63].encode("ascii", "replace").decode()


def settings(conn: psycopg.Connection[Any], application_name: str, *, watched: bool) -> bytes:
    """What makes the settings of a session that has run nothing yet: columns of a SELECT.

    :param watched: the server watches its client (PostgreSQL 14, not on every platform): an orphan ends within half a
        second of its client's death instead of running on with its locks. A client that vanished without a farewell
        (power, network) is noticed by its keepalives, in half a minute instead of two hours.
    """
    name = set_config(conn, {"application_name": session_name(application_name)})
    return b"%s, %s" % (name, _WATCHED if watched else _ALWAYS)


def set_config(conn: psycopg.Connection[Any] | None, chosen: Mapping[str, str], *, local: bool = False) -> bytes:
    """Calls that give settings values, as columns of a SELECT.

    :param conn: None: the values are ours, and hold no quotes.
    """
    end = b"true" if local else b"false"
    given = {name: literal(conn, value) if conn else b"'%s'" % value.encode() for name, value in chosen.items()}
    return b", ".join(
        b"pg_catalog.set_config('%s', %s, %s)" % (name.encode(), value, end) for name, value in given.items()
    )


_ALWAYS = set_config(
    None,
    {
        "statement_timeout": OWN_TIMEOUT,
        "lock_timeout": OWN_TIMEOUT,
        "idle_in_transaction_session_timeout": "0",
        "client_min_messages": "notice",
        "tcp_keepalives_idle": "15",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
        **WRITES,
        **READABLE,
    },
)
_WATCHED = b"%s, %s" % (_ALWAYS, set_config(None, {"client_connection_check_interval": "500ms"}))


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
