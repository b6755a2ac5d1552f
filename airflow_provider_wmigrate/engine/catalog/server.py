"""What kind of server the target is, and what there is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wmigrate.engine.errors import HistoryError
from airflow_provider_wmigrate.engine.model import Finding

if TYPE_CHECKING:
    from psycopg import Connection

STANDBY = "the target is a standby, which takes no migrations"

NO_LIBRARY = r'could not (access file|load library) "|could not find function ".*" in file "|incompatible library "'
"""What a server says whose packages lack a library, or have another version of it."""


def is_standby(conn: Connection[Any]) -> bool:
    """Whether the server only follows another one."""
    row = conn.execute("SELECT pg_catalog.pg_is_in_recovery()").fetchone()
    return bool(row and row[0])


def standby_finding() -> Finding:
    """What stands in the way of everything that writes."""
    return Finding("standby", STANDBY, "connect to the primary")


def refuse_standby(standby: bool) -> None:
    """Before anything is written.

    :param standby: the server only follows another one.
    :raises HistoryError: it does.
    """
    if standby:
        raise HistoryError([standby_finding()])


def enum_values(conn: Connection[Any]) -> dict[int, str]:
    """Every value of every enum type, by its row's identifier, which a new name does not change: by them a dry run sees
    which script added one."""
    return dict(conn.execute("SELECT oid, enumlabel FROM pg_catalog.pg_enum").fetchall())


def readable(conn: Connection[Any]) -> bool | None:
    """Whether this role may read TimescaleDB's views; None: the database has none of them. To read what one must not
    would end the transaction of whoever looks."""
    row = conn.execute(_READABLE).fetchone()
    return None if row is None else bool(row[0])


_READABLE = """
SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'timescaledb_information' AND c.relname = 'jobs'
"""
