"""The values of the database's enum types, by which a dry run sees which script added one."""

from __future__ import annotations

from typing import Any

from psycopg import Connection


def enum_values(conn: Connection[Any]) -> dict[int, str]:
    """Every value of every enum type, by its row's identifier, which a new name does not change."""
    return dict(conn.execute("SELECT oid, enumlabel FROM pg_catalog.pg_enum").fetchall())
