"""Tables of one name, wherever they are in the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import Connection


def tables_named(conn: Connection[Any], name: str) -> dict[str, Sequence[str]]:
    """Schema -> columns of each table or view of that name, in the order of the schemas' names."""
    rows = conn.execute(
        "SELECT n.nspname::pg_catalog.text, pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY a.attnum)"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'f') AND c.relpersistence <> 't'"
        " GROUP BY n.nspname ORDER BY n.nspname",
        [name],
    )
    return {str(schema): list(columns) for schema, columns in rows}
