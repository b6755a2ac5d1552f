"""What is in the tables, as sums that do not depend on the order of rows, computed by the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection, sql
from psycopg.rows import tuple_row

from .keepable import PREFIX


class TableSums(NamedTuple):
    """:param rows: how many. :param whole: over all columns of each row; None: it has no column.
    :param columns: by name, over the values of one column.
    :param file: the number of the file in which the server keeps it: another one if it was rewritten or emptied.
    """

    rows: int
    whole: str | None
    columns: Mapping[str, str | None]
    file: int


class Sums(NamedTuple):
    """Of one database at one moment, by qualified name."""

    tables: Mapping[str, TableSums]
    unread: Mapping[str, str]
    """Tables that could not be read, and why."""
    sequences: Mapping[str, tuple[int | None, int]]
    """Last value (None: there was none yet) and increment."""


OWN = f"""
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname !~ '^(pg_|_timescaledb_|timescaledb_|{PREFIX})' AND n.nspname <> 'information_schema'
   AND n.nspname <> %s
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      AND e.objid = c.oid AND e.deptype = 'e')
"""
"""The relations that are a database's own, without a ledger's; its one parameter is the ledger's schema."""

_TABLES = f"""
SELECT n.nspname, c.relname, pg_catalog.coalesce(pg_catalog.pg_relation_filenode(c.oid), 0),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname)
{OWN} AND c.relkind IN ('r', 'p') ORDER BY 1, 2
""".replace("pg_catalog.coalesce", "coalesce")
_SEQUENCES = f"""
SELECT n.nspname, c.relname, pg_catalog.pg_sequence_last_value(c.oid), s.seqincrement
{OWN.replace("WHERE", "JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid WHERE", 1)}
"""


def take_sums(conn: Connection[Any], ledger: str) -> Sums:
    """One query per table, and one for all sequences.

    :param conn: outside a transaction, as a role that may read the tables.
    :param ledger: schema of the ledger, which is left out.
    """
    tables, unread = {}, {}
    cursor = conn.cursor(row_factory=tuple_row)
    for schema, name, file, columns in cursor.execute(_TABLES, [ledger]).fetchall():
        try:
            rows, whole, *each = cursor.execute(_sums_of(schema, name, columns)).fetchone()  # type: ignore[misc]
        except psycopg.Error as error:
            unread[f"{schema}.{name}"] = error.diag.message_primary or type(error).__name__
            continue
        tables[f"{schema}.{name}"] = TableSums(rows, whole, dict(zip(columns, each, strict=True)), file)
    found = cursor.execute(_SEQUENCES, [ledger]).fetchall()
    sequences = {f"{schema}.{name}": (last, increment) for schema, name, last, increment in found}
    return Sums(tables, unread, sequences)


def _sums_of(schema: str, name: str, columns: list[str]) -> sql.Composed:
    names = [sql.SQL("t.{}").format(sql.Identifier(column)) for column in columns]
    of_row = sql.SQL("ROW({})").format(sql.SQL(", ").join(names)) if names else sql.SQL("NULL")
    hashes = [
        sql.SQL(
            'pg_catalog.sum(pg_catalog.hashtextextended({}::pg_catalog.text COLLATE pg_catalog."C", 0))'
            "::pg_catalog.text"
        ).format(value)
        for value in (of_row, *names)
    ]
    return sql.SQL("SELECT pg_catalog.count(*), {} FROM {} AS t").format(
        sql.SQL(", ").join(hashes), sql.Identifier(schema, name)
    )
