"""How many rows tables have and how many values their columns: counted if that takes a moment, else estimated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection, sql

MOST_COUNTED = 100_000
"""Rows of one table; where there are more, the statistics have to do."""
_MOST_TABLES = 50
_AT_ONCE = 10
"""Tables that are counted in one message, which none of them may make too long."""
_LOCK_WAIT, _TIME = "100ms", "1s"
"""For one table, so that nobody is kept waiting by who only looks."""


class Counted(NamedTuple):
    """:param column: its name, quoted; empty: the rows of the table itself.
    :param rows: with a value, if it is of a column. None: nobody knows.
    :param exact: they were counted.
    """

    column: str
    rows: int | None
    exact: bool


_ESTIMATES = """
WITH RECURSIVE asked (oid, number) AS (
  SELECT * FROM unnest(%(oids)s::pg_catalog.oid[], %(numbers)s::pg_catalog.int2[])
), family (root, oid) AS (
  SELECT oid, oid FROM asked UNION SELECT f.root, i.inhrelid FROM family f JOIN pg_catalog.pg_inherits i
    ON i.inhparent = f.oid
), estimates (oid, rows) AS (
  SELECT f.root, sum(greatest(c.reltuples::pg_catalog.int8, pg_catalog.pg_stat_get_live_tuples(c.oid)))
    FILTER (WHERE c.reltuples > 0 OR pg_catalog.pg_stat_get_live_tuples(c.oid) > 0)
  FROM family f JOIN pg_catalog.pg_class c ON c.oid = f.oid WHERE c.relkind = 'r' GROUP BY f.root
)
SELECT a.oid::pg_catalog.int8, a.number::pg_catalog.int4, n.nspname, c.relname, t.attname,
  pg_catalog.quote_ident(t.attname), e.rows::pg_catalog.int8
FROM asked a JOIN pg_catalog.pg_class c ON c.oid = a.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute t ON t.attrelid = a.oid AND t.attnum = a.number AND a.number > 0
LEFT JOIN estimates e ON e.oid = a.oid
"""


def count_rows(conn: Connection[Any], wanted: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Counted]:
    """:param conn: in no transaction.
    :param wanted: oids of tables, each with the number of a column; 0: the rows themselves.
    :return: for those that are there.
    """
    asked = [*wanted]
    if not asked:
        return {}
    found: dict[tuple[int, int], Counted] = {}
    with conn.transaction():
        conn.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'; SET LOCAL statement_timeout = '{_TIME}'")
        oids, numbers = zip(*asked, strict=True)
        rows = conn.execute(_ESTIMATES, {"oids": [*oids], "numbers": [*numbers]}).fetchall()
        queries = [_query(schema, name, column) for _, _, schema, name, column, *_ in rows[:_MOST_TABLES]]
        messages = (queries[at : at + _AT_ONCE] for at in range(0, len(queries), _AT_ONCE))
        counts = [count for message in messages for count in _counts(conn, message)]
        for (oid, number, *_, quoted, estimate), exact in zip_longest(rows, counts):
            found[oid, number] = Counted(quoted or "", estimate if exact is None else exact, exact is not None)
    return found


def _query(schema: str, table: str, column: str | None) -> sql.Composed:
    value = sql.Identifier(column) if column else sql.SQL("1")
    query = sql.SQL("SELECT pg_catalog.count(*), pg_catalog.count(v) FROM (SELECT {} FROM {} LIMIT {}) s (v)")
    return query.format(value, sql.Identifier(schema, table), MOST_COUNTED + 1)


def _counts(conn: Connection[Any], queries: Sequence[sql.Composed]) -> list[int | None]:
    """None: too many, not to be had in a moment, or not to be read by this role.

    All in one message; where one of them fails, each in its own.
    """
    try:
        with conn.transaction():
            cursor = conn.execute(sql.SQL("; ").join(queries))
            rows = [*cursor]
            while cursor.nextset():
                rows += cursor
    except psycopg.Error:
        return [None] if len(queries) == 1 else [count for query in queries for count in _counts(conn, [query])]
    return [int(values) if every <= MOST_COUNTED else None for every, values in rows]
