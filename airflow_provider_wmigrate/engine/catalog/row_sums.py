"""What a small database holds beside its schema: rows, as sums that do not depend on their order and that the server
computes, how far sequences have come, and large objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection, sql
from psycopg.rows import tuple_row

from .keepable import PREFIX


class TableSums(NamedTuple):
    """:param rows: how many. :param whole: over all columns of each row; None: there is nothing to add up.
    :param columns: by name, over the values of one column.
    :param file: the number of the file in which the server keeps it: another one if it was rewritten or emptied.
    """

    rows: int
    whole: str | None
    columns: Mapping[str, str | None]
    file: int


class Counter(NamedTuple):
    """Where a sequence stands. :param coming: what it gives next. :param used: it is not where it starts."""

    coming: int
    increment: int
    used: bool


class Sums(NamedTuple):
    """Of one database at one moment, by qualified name."""

    tables: Mapping[str, TableSums]
    unread: Mapping[str, str]
    """Tables and sequences that could not be read, and why."""
    sequences: Mapping[str, Counter]
    large_objects: int

    def kept(self) -> dict[str, Any]:
        """What is there at all, by name, to be compared with another database."""
        tables = {name: (t.rows, t.whole) for name, t in self.tables.items() if t.rows}
        used = {name: counter.coming for name, counter in self.sequences.items() if counter.used}
        objects = {"large objects": self.large_objects} if self.large_objects else {}
        return {**tables, **used, **objects, **self.unread}


OWN = f"""
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname !~ '^(pg_|_timescaledb_|timescaledb_|{PREFIX})' AND n.nspname <> 'information_schema'
   AND n.nspname <> %s
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      AND e.objid = c.oid AND e.deptype = 'e')
"""
"""The relations that are a database's own, without a ledger's; its one parameter is the ledger's schema."""

_TABLES = f"""
SELECT n.nspname, c.relname, coalesce(pg_catalog.pg_relation_filenode(c.oid), 0),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname)
{OWN} AND c.relkind IN ('r', 'p') ORDER BY 1, 2
"""
_SEQUENCES = f"""
SELECT n.nspname, c.relname, s.seqincrement, s.seqstart
{OWN.replace("WHERE", "JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid WHERE", 1)}
"""
_LARGE_OBJECTS = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata"
_AT_ONCE = 50
"""Relations in one query."""

_Named = tuple[Any, ...]
"""A row of the catalogs that begins with schema and name."""


def take_sums(conn: Connection[Any], ledger: str) -> Sums:
    """Every row is read.

    :param conn: a role that may read the tables.
    :param ledger: schema of the ledger, which is left out.
    """
    unread: dict[str, str] = {}
    tables = {
        name: TableSums(rows, whole, dict(zip(columns, each, strict=True)), file)
        for name, (_, _, file, columns), (rows, whole, each) in ask_each(conn, _TABLES, ledger, _sums_of, unread)
    }
    sequences = {
        name: Counter(last + increment * called, increment, called or last != start)
        for name, (_, _, increment, start), (last, called) in ask_each(conn, _SEQUENCES, ledger, _place_of, unread)
    }
    found = conn.execute(_LARGE_OBJECTS).fetchone()
    assert found is not None
    return Sums(tables, unread, sequences, found[0])


def table_files(conn: Connection[Any], ledger: str) -> dict[str, int]:
    """By table, see `TableSums.file`. No row is read."""
    found = conn.cursor(row_factory=tuple_row).execute(_TABLES.encode(), [ledger])
    return {_name(row): row[2] for row in found}


def ask_each(
    conn: Connection[Any], catalog: str, ledger: str, query: Callable[[_Named], sql.Composed], unread: dict[str, str]
) -> Iterator[tuple[str, _Named, tuple[Any, ...]]]:
    """Of each relation of the catalog its name, its row there, and what the query says of it; many in one statement.

    :param unread: is told those that cannot be read, and why.
    """
    relations = conn.cursor(row_factory=tuple_row).execute(catalog.encode(), [ledger]).fetchall()
    for begin in range(0, len(relations), _AT_ONCE):
        yield from _answers(conn, relations[begin : begin + _AT_ONCE], query, unread)


def _answers(
    conn: Connection[Any], relations: Sequence[_Named], query: Callable[[_Named], sql.Composed], unread: dict[str, str]
) -> Iterator[tuple[str, _Named, tuple[Any, ...]]]:
    parts = [sql.SQL("SELECT {}, q.* FROM ({}) AS q").format(n, query(row)) for n, row in enumerate(relations)]
    try:
        with conn.transaction():
            found = conn.cursor(row_factory=tuple_row).execute(sql.SQL(" UNION ALL ").join(parts)).fetchall()
    except psycopg.Error as error:
        if len(relations) > 1:  # to find the one that cannot be read
            for row in relations:
                yield from _answers(conn, [row], query, unread)
        else:
            unread[_name(relations[0])] = error.diag.message_primary or type(error).__name__
        return
    for number, *answer in found:
        yield _name(relations[number]), relations[number], tuple(answer)


def _name(row: _Named) -> str:
    return f"{row[0]}.{row[1]}"


def _sums_of(row: _Named) -> sql.Composed:
    schema, name, _, columns = row
    names = [sql.SQL("t.{}").format(sql.Identifier(column)) for column in columns]
    of_row = sql.SQL("ROW({})").format(sql.SQL(", ").join(names)) if names else sql.SQL("NULL")
    whole, *each = [
        sql.SQL(
            'pg_catalog.sum(pg_catalog.hashtextextended({}::pg_catalog.text COLLATE pg_catalog."C", 0))'
            "::pg_catalog.text"
        ).format(value)
        for value in (of_row, *names)
    ]
    return sql.SQL("SELECT pg_catalog.count(*), {}, ARRAY[{}]::pg_catalog.text[] FROM {} AS t").format(
        whole, sql.SQL(", ").join(each), sql.Identifier(schema, name)
    )


def _place_of(row: _Named) -> sql.Composed:
    return sql.SQL("SELECT s.last_value, s.is_called FROM {} AS s").format(sql.Identifier(row[0], row[1]))
