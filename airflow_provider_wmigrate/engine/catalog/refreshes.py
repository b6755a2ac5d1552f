"""A refresh without a lower bound, and what the catalogs say of it before it runs: which buckets of the aggregate are
closed, that is, which it would compute from raw rows that were dropped, and so delete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg import Connection, sql

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.model import Finding, Migration

from .server import readable

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.sql.script import Analysis

_WORTH_LOOKING = re.compile(r"\brefresh_continuous_aggregate\b", re.IGNORECASE)


class Closed(NamedTuple):
    """Buckets that begin before the oldest raw row's chunk.

    :param until: where that chunk begins; None: there is no chunk at all.
    :param first: of the buckets, as the last one as well.
    """

    aggregate: str
    table: tuple[str, str]
    column: str
    until: Any
    buckets: int
    first: Any
    last: Any

    def __str__(self) -> str:
        many = f"{self.buckets:,} bucket{'' if self.buckets == 1 else 's'}"
        return f"{many} of {self.aggregate}, from {self.first} to {self.last}, whose raw rows are gone"


def findings(conn: Connection[Any], migration: Migration) -> Iterator[Finding]:
    """Of a migration that is to run: each of its refreshes that would delete closed buckets now."""
    if not _WORTH_LOOKING.search(migration.script.text):
        return
    from airflow_provider_wmigrate.engine.sql.analysis import analyse  # a plan without a refresh reads no SQL

    try:
        analysis = analyse(migration.script)
    except WMigrateError:
        return
    for line, name in unbounded(analysis):
        if found := closed(conn, name):
            message = f"the refresh has no lower bound, and deletes up to {found}"
            nxt = "give it a lower bound that is younger than the oldest row that is kept"
            yield Finding("refresh_unbounded", message, nxt, "warning", migration.version, migration.script.file, line)


def unbounded(analysis: Analysis) -> Iterator[tuple[int, str]]:
    """Line and aggregate of each refresh without a lower bound."""
    if not _WORTH_LOOKING.search(analysis.script.text):
        return
    from airflow_provider_wmigrate.engine.sql.arguments import by_name, constants, is_null

    for statement in analysis.statements:
        if statement.kind != "call_stmt" or statement.node is None:
            continue
        call = statement.node.funccall
        if call.funcname[-1].string.sval != "refresh_continuous_aggregate":
            continue
        arguments = by_name(call.args)
        names = constants([arguments.get("continuous_aggregate", arguments.get(0))])
        if names and is_null(arguments.get("window_start", arguments.get(1))):
            yield statement.line, names[0]


def closed(conn: Connection[Any], name: str) -> Closed | None:
    """:param name: of the aggregate, as to_regclass reads it."""
    if not readable(conn):
        return None
    row = conn.execute(_AGGREGATE, [name]).fetchone()
    if row is None:
        return None
    aggregate, schema, table, column, until, may_read = row
    if not may_read:
        return None
    buckets, first, last = _buckets(conn, (schema, table), column, until)
    return Closed(aggregate, (schema, table), column, until, buckets, first, last) if buckets else None


def gone(conn: Connection[Any], before: Closed) -> int:
    """How many of the closed buckets are there no more."""
    return before.buckets - int(_buckets(conn, before.table, before.column, before.until)[0])


def _buckets(conn: Connection[Any], table: tuple[str, str], column: str, until: Any) -> Any:
    query = sql.SQL(
        "SELECT pg_catalog.count(DISTINCT {0}), pg_catalog.min({0})::text, pg_catalog.max({0})::text"
        " FROM {1} WHERE {0} < {2} OR {2} IS NULL"
    ).format(sql.Identifier(column), sql.Identifier(*table), sql.Literal(until))
    return conn.execute(query).fetchone() or (0, None, None)


# Of the aggregate: what holds its buckets, their column, and where the oldest chunk of raw rows begins.
_AGGREGATE = """
SELECT pg_catalog.format('%%I.%%I', a.view_schema, a.view_name),
       a.materialization_hypertable_schema, a.materialization_hypertable_name, d.column_name,
       (SELECT coalesce(pg_catalog.min(c.range_start)::pg_catalog.text, pg_catalog.min(c.range_start_integer)::text)
          FROM timescaledb_information.chunks c
         WHERE c.hypertable_schema = a.hypertable_schema AND c.hypertable_name = a.hypertable_name),
       pg_catalog.has_table_privilege(pg_catalog.to_regclass(pg_catalog.format(
           '%%I.%%I', a.materialization_hypertable_schema, a.materialization_hypertable_name)), 'SELECT')
  FROM timescaledb_information.continuous_aggregates a
  JOIN timescaledb_information.dimensions d
    ON d.hypertable_schema = a.materialization_hypertable_schema
   AND d.hypertable_name = a.materialization_hypertable_name AND d.dimension_number = 1
 WHERE pg_catalog.to_regclass(pg_catalog.format('%%I.%%I', a.view_schema, a.view_name)) = pg_catalog.to_regclass(%s)
"""
