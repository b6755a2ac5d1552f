"""Databases to try things in: made for one run, and dropped in its end."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from airflow_provider_wmigrate.engine.errors import HistoryError, WMigrateError
from airflow_provider_wmigrate.engine.model import Finding, Script

from .connection import Connect, not_let_in

PREFIX = "wmigrate_scratch_"
"""With which the names of all of them begin. The rest is the run, whose session has the same name while it lasts."""

_SHARED = re.compile(
    r"\b(?:CREATE|ALTER|DROP|REASSIGN)\s+(?:ROLE|USER|GROUP|OWNED|TABLESPACE|DATABASE|SYSTEM|SUBSCRIPTION)\b"
    r"|\b(?:GRANT|REVOKE)\b(?:(?!\bON\b)[^;])*\b(?:TO|FROM)\b|\bCOPY\b[^;]*\bPROGRAM\b|replication_slot|\bdblink",
    re.IGNORECASE,
)
"""What may reach beyond the database in which it runs, wherever it stands in the text: of the server, or of others."""

_ATTEMPTS = 20
"""How often a database is copied, if each time somebody has come into it, such as a worker of TimescaleDB's."""


class ScratchServer(Struct, frozen=True):
    """A server on which scratch databases may be made."""

    connect: Connect
    """To any of its databases, as a role with CREATEDB."""
    apart: bool = False
    """It is there for nothing else, so that scripts may change what belongs to the whole server, such as roles."""

    def refusal(self, scripts: Iterable[Script]) -> str | None:
        """Why these scripts are not run in a scratch database; None: they may be."""
        words = "" if self.apart else beyond(scripts)
        return not_here(words) if words else None

    def check(self, scripts: Iterable[Script]) -> None:
        """:raises HistoryError: these scripts are not run in a scratch database."""
        if reason := self.refusal(scripts):
            message, _, nxt = reason.partition("; ")
            raise HistoryError([Finding("not_on_scratch", message, nxt)])


def beyond(scripts: Iterable[Script]) -> str:
    """The words by which one of these scripts may reach beyond its database; empty: none does."""
    reached = next(filter(None, (_SHARED.search(script.text) for script in scripts)), None)
    return " ".join(reached[0].split()) if reached else ""


def not_here(words: str) -> str:
    """Why a script with such words is not run."""
    return f"`{words[:40]}` may reach beyond a scratch database; name a server of its own with --scratch"


@contextmanager
def scratch_database(connect: Connect) -> Iterator[Connect]:
    """An empty database on a server; see `Scratch.make`.

    :return: what connects to it.
    """
    with scratch_server(connect) as scratch:
        yield scratch.connect_to(scratch.make())


@contextmanager
def scratch_server(connect: Connect) -> Iterator[Scratch]:
    """A run that makes databases. What it has not dropped is dropped in the end, also after an error; what a run left
    behind that was killed, at the beginning of the next one by the same role.

    :param connect: to any database of that server, as a role with CREATEDB.
    :raises ConnectionFailed: no connection.
    """
    try:
        conn = connect()
    except psycopg.Error as error:
        raise not_let_in(error) from error
    with conn:
        conn.autocommit = True
        scratch = Scratch(connect, conn, f"{PREFIX}{secrets.token_hex(4)}")
        try:
            yield scratch
        finally:
            scratch.end()


class Scratch:
    """The databases of one run on one server."""

    def __init__(self, connect: Connect, conn: psycopg.Connection[Any], run: str) -> None:
        self._connect, self._conn, self._run = connect, conn, run
        self._names: dict[str, None] = {}
        self._made = 0
        self.left_behind: list[str] = []
        """Of runs that were killed: dropped now."""
        conn.execute("SELECT pg_catalog.set_config('application_name', %s, false)", [run])
        _unhurried(conn)
        for (name,) in conn.execute(_LEFT_BEHIND, [f"^{PREFIX}[0-9a-f]{{8}}_[0-9]+$", len(run)]).fetchall():
            with suppress(psycopg.Error):  # somebody works there whom this role may not send away
                _drop(conn, name)
                self.left_behind.append(name)

    @property
    def postgresql(self) -> int:
        """Major version of the server."""
        return self._conn.info.server_version // 10_000

    def make(self, *, template: str | None = None) -> str:
        """A database in the encoding and locale of the one that is connected to.

        :param template: one of this run to copy; None: it is empty.
        :return: its name.
        :raises WMigrateError: it cannot be made.
        """
        self._made += 1
        name = f"{self._run}_{self._made}"
        self._names[name] = None
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template or "template0")
        )
        if template is None:
            create = sql.SQL("{} {}").format(create, _encoding_and_locale(self._conn))
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._conn.execute(create)
                return name
            except errors.ObjectInUse as error:
                if attempt == _ATTEMPTS:
                    raise _not_made(error) from error
                self._conn.execute(_SEND_AWAY, [template])
            except psycopg.Error as error:
                raise _not_made(error) from error
        raise AssertionError("unreachable")

    def connect_to(self, name: str) -> Connect:
        """What connects to one of them."""
        info = self._conn.info
        password = {"password": info.password} if info.password else {}
        options = " ".join((info.options, *(f"-c {limit}=0" for limit in _LIMITS)))
        return partial(psycopg.connect, make_conninfo(info.dsn, dbname=name, options=options.strip(), **password))

    def drop(self, name: str, *, by: psycopg.Connection[Any] | None = None) -> None:
        _drop(by or self._conn, name)
        self._names.pop(name, None)

    def end(self) -> None:
        """Drop what is there, and send away who works in it."""
        if self._names:
            with self._connect() as conn:  # the first one may be lost
                conn.autocommit = True
                _unhurried(conn)
                for name in list(self._names):  # none is forgotten before it is gone, whoever interrupts this
                    self.drop(name, by=conn)


_LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
"""Those of a role are for its work on the target: to make, fill, compare and drop a database takes what it takes."""


def _unhurried(conn: psycopg.Connection[Any]) -> None:
    for limit in _LIMITS:
        conn.execute("SELECT pg_catalog.set_config(%s, '0', false)", [limit])


def _not_made(error: psycopg.Error) -> WMigrateError:
    hint = "name another server with --scratch"
    if isinstance(error, errors.InsufficientPrivilege):
        hint = "give the role CREATEDB, or name a server on which it has that with --scratch"
    return WMigrateError(f"no scratch database can be made: {error.diag.message_primary}", hint=hint)


def _drop(conn: psycopg.Connection[Any], name: str) -> None:
    # With those who are connected, such as TimescaleDB's workers.
    conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


_SEND_AWAY = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE datname = %s"

# A role sees what its own sessions are called.
_LEFT_BEHIND = """
SELECT d.datname FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = d.datdba
WHERE d.datname ~ %s AND r.rolname = current_user
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
                   WHERE a.application_name = pg_catalog.left(d.datname, %s))
"""


def _encoding_and_locale(conn: psycopg.Connection[Any]) -> sql.Composable:
    """As CREATE DATABASE takes them. From PostgreSQL 15 on a locale may be one of ICU, from 17 on a built-in one."""
    row: tuple[dict[str, str | None]] | None = conn.execute(
        "SELECT pg_catalog.to_jsonb(d) || pg_catalog.jsonb_build_object('encoding',"
        " pg_catalog.pg_encoding_to_char(encoding)) FROM pg_catalog.pg_database d"
        " WHERE datname = pg_catalog.current_database()"
    ).fetchone()
    assert row is not None
    known = row[0]
    provider = {"i": "icu", "b": "builtin"}.get(known.get("datlocprovider") or "")
    options = {"ENCODING": known["encoding"], "LC_COLLATE": known["datcollate"], "LC_CTYPE": known["datctype"]}
    if provider:
        name = known.get("datlocale") or known.get("daticulocale")  # of 17 and newer, of 15 and 16
        options |= {
            "LOCALE_PROVIDER": provider,
            f"{provider.upper()}_LOCALE": name,
            "ICU_RULES": known.get("daticurules"),
        }
    return sql.SQL(" ").join(
        sql.SQL(f"{word} {{}}").format(sql.Literal(value)) for word, value in options.items() if value is not None
    )
