"""What a person who tries a connection wants to know of the target, in one sentence. Changes nothing."""

from __future__ import annotations

from typing import Any

import psycopg
from msgspec import Struct
from psycopg import Connection, sql

from airflow_provider_wmigrate.engine.catalog.extensions import TIMESCALEDB, read_extensions
from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.ledger.structure import TABLES
from airflow_provider_wmigrate.engine.session.connection import readable, settings
from airflow_provider_wmigrate.engine.session.message import ask

_EDITIONS = {"timescale": "Community Edition", "apache": "Apache 2 Edition"}
"""By the setting timescaledb.license, as TimescaleDB's manual calls them."""


class Introduction(Struct, frozen=True):
    """One target, as it introduces itself."""

    server: str
    timescaledb: str
    ledgers: tuple[str, ...]
    standby: bool

    def __str__(self) -> str:
        server = f"PostgreSQL {self.server}{', a standby that takes no migrations' if self.standby else ''}"
        ledgers = "; ".join(self.ledgers) or "no ledger yet, so nothing has been applied here"
        return f"{server}, {self.timescaledb}; {ledgers}"


def introduce(conn: Connection[Any]) -> Introduction:
    """Look at the target behind a new connection."""
    readable(conn)
    ask(conn, b"SELECT " + settings(conn, "wmigrate connection test", watched=False))
    version = (conn.info.parameter_status("server_version") or "").partition(" ")[0]
    row = conn.execute("SELECT pg_catalog.pg_is_in_recovery()").fetchone()
    ledgers = tuple(_ledger(conn, schema) for schema in _schemas(conn))
    return Introduction(version, _timescaledb(conn), ledgers, bool(row and row[0]))


def _timescaledb(conn: Connection[Any]) -> str:
    found = read_extensions(conn).get(TIMESCALEDB)
    if found is None:
        return "no TimescaleDB"
    if found.installed is None:
        return f"TimescaleDB {found.default_version} not created in this database"
    edition = _EDITIONS.get(found.license or "")
    return f"TimescaleDB {found.installed}" + (f" ({edition})" if edition else "")


def _schemas(conn: Connection[Any]) -> list[str]:
    """Where ledgers are: the schema can be chosen, and a connection does not say it."""
    rows = conn.execute(
        "SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind = 'r' AND c.relname = ANY(%s) GROUP BY 1 HAVING pg_catalog.count(*) = %s ORDER BY 1",
        [list(TABLES), len(TABLES)],
    )
    return [schema for (schema,) in rows]


def _ledger(conn: Connection[Any], schema: str) -> str:
    ledger = Ledger(schema)
    query = sql.SQL("SELECT pg_catalog.count(*) FROM {}.schema_migrations WHERE status = 'applied'")
    try:
        version = ledger.version(conn)
        row = conn.execute(query.format(sql.Identifier(schema))).fetchone()
    except WMigrateError as error:
        return str(error)
    except psycopg.errors.InsufficientPrivilege:
        return f"a ledger in schema {schema}, which this role may not read"
    count = row[0] if row else 0
    return f"ledger version {version} in schema {schema} with {count} applied migration{'' if count == 1 else 's'}"
