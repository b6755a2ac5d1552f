"""Continuous aggregates that are created WITH DATA: made in one transaction, filled in others. What a failure or a
death between them leaves is there for everybody, without its data, and IF NOT EXISTS would take it for done."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from psycopg import Connection, sql

from airflow_provider_wmigrate.engine.sql.no_transaction import continuous_with_data
from airflow_provider_wmigrate.engine.sql.statements import Statement

from .builds import quoted


class Aggregate(Struct, frozen=True):
    """A continuous aggregate that is there.

    :param filled: every bucket is computed that TimescaleDB's own refresh over everything would compute.
    :param empty: no bucket is.
    """

    schema: str
    name: str
    filled: bool
    empty: bool

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def content(self) -> str:
        """How full it is, in words."""
        return "filled" if self.filled else "empty" if self.empty else "filled in part"


def filled_in_steps(statement: Statement) -> bool:
    """CREATE MATERIALIZED VIEW ... WITH (timescaledb.continuous) ... WITH DATA."""
    return statement.kind == "create_table_as_stmt" and continuous_with_data(statement.node)


def named(conn: Connection[Any], statement: Statement) -> Aggregate | None:
    """The aggregate that a statement creates, as the session resolves its name now."""
    row = conn.execute("SELECT pg_catalog.to_regclass('_timescaledb_catalog.continuous_agg') IS NOT NULL").fetchone()
    if row != (True,):
        return None
    row = conn.execute(_NAMED, [quoted(statement.node.into.rel)]).fetchone()
    if row is None:
        return None
    schema, name, number, table_schema, table = row
    table = sql.Identifier(table_schema, table)
    empty = conn.execute(sql.SQL("SELECT NOT EXISTS (SELECT FROM {})").format(table)).fetchone()
    lacks = conn.execute(_LACKS, {"aggregate": number}).fetchone()
    return Aggregate(schema, name, filled=lacks == (False,) and not _ranges(conn, number), empty=empty == (True,))


def _ranges(conn: Connection[Any], number: int) -> bool:
    """What a refresh has begun and not done; kept since 2.19."""
    there = conn.execute(f"SELECT pg_catalog.to_regclass('{_RANGES}') IS NOT NULL").fetchone()
    if there != (True,):
        return False
    return conn.execute(f"SELECT FROM {_RANGES} WHERE materialization_id = %s LIMIT 1", [number]).fetchone() is not None


def drop(conn: Connection[Any], aggregate: Aggregate) -> None:
    """Without CASCADE: what was built upon it since is not ours."""
    name = sql.Identifier(aggregate.schema, aggregate.name)
    conn.execute(sql.SQL("DROP MATERIALIZED VIEW {}").format(name))


_RANGES = "_timescaledb_catalog.continuous_aggs_materialization_ranges"
_NAMED = """
SELECT a.user_view_schema, a.user_view_name, a.mat_hypertable_id, h.schema_name, h.table_name
  FROM _timescaledb_catalog.continuous_agg a
  JOIN _timescaledb_catalog.hypertable h ON h.id = a.mat_hypertable_id
  JOIN pg_catalog.pg_class c ON c.relname = a.user_view_name
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = a.user_view_schema
 WHERE c.oid = pg_catalog.to_regclass(%s)
"""
# Invalid are, of an aggregate that is full, only ranges before the first row and behind the threshold up to which it
# was computed. A range that meets rows below the threshold was not filled; nor was a whole chunk behind it, which may
# also be a new one: then the aggregate is made again, which is right too.
_LACKS = """
SELECT EXISTS (SELECT
  FROM _timescaledb_catalog.continuous_aggs_materialization_invalidation_log l
  JOIN _timescaledb_catalog.continuous_agg a ON a.mat_hypertable_id = l.materialization_id
  JOIN _timescaledb_catalog.hypertable raw ON raw.id = a.raw_hypertable_id
  JOIN (SELECT hypertable_schema, hypertable_name,
               coalesce(range_start_integer, 1000000 * extract(epoch FROM range_start)::int8) AS range_start,
               coalesce(range_end_integer, 1000000 * extract(epoch FROM range_end)::int8) AS range_end
          FROM timescaledb_information.chunks) c
    ON c.hypertable_schema = raw.schema_name AND c.hypertable_name = raw.table_name
  LEFT JOIN _timescaledb_catalog.continuous_aggs_invalidation_threshold t ON t.hypertable_id = raw.id
 WHERE l.materialization_id = %(aggregate)s
   AND (l.lowest_modified_value < t.watermark) IS NOT FALSE
   AND l.lowest_modified_value < c.range_end AND l.greatest_modified_value >= c.range_start
    OR l.materialization_id = %(aggregate)s AND c.range_start >= t.watermark)
"""
