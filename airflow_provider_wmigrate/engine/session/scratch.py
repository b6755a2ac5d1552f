"""A database to try things in: made empty for one purpose, and dropped in the end."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from airflow_provider_wmigrate.engine.errors import WMigrateError

from .connection import Connect, not_let_in

PREFIX = "wmigrate_scratch_"
"""With which the names of all of them begin: what a process that was killed has left behind can be dropped."""


@contextmanager
def scratch_database(connect: Connect) -> Iterator[Connect]:
    """An empty database on a server, in the encoding and locale of the one that is connected to.

    :param connect: to any database of that server, as a role with CREATEDB.
    :return: what connects to it.
    :raises WMigrateError: it cannot be made.
    """
    name = f"{PREFIX}{os.getpid()}_{secrets.token_hex(4)}"
    try:
        conn = connect()
    except psycopg.Error as error:
        raise not_let_in(error) from error
    with conn:
        password = {"password": conn.info.password} if conn.info.password else {}
        dsn = make_conninfo(conn.info.dsn, dbname=name, **password)
        conn.autocommit = True
        _create(conn, name)
    try:
        yield partial(psycopg.connect, dsn)
    finally:
        with connect() as conn:
            conn.autocommit = True
            # With those who are connected, such as TimescaleDB's workers.
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _create(conn: psycopg.Connection[Any], name: str) -> None:
    create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}").format(
        sql.Identifier(name), *map(sql.Literal, _encoding_and_locale(conn))
    )
    try:
        conn.execute(create)
    except psycopg.Error as error:
        hint = "give the role CREATEDB, or name a server on which it has that with --scratch"
        raise WMigrateError(f"no scratch database can be made: {error.diag.message_primary}", hint=hint) from error


def _encoding_and_locale(conn: psycopg.Connection[Any]) -> tuple[str, str, str]:
    row: tuple[str, str, str] | None = conn.execute(
        "SELECT pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype FROM pg_catalog.pg_database"
        " WHERE datname = pg_catalog.current_database()"
    ).fetchone()
    assert row is not None
    return row
