"""TimescaleDB's policies: which job each of them is, whether a table has one, and whether one may look."""

from __future__ import annotations

from typing import Any

from psycopg import Connection

POLICIES = {
    "retention_policy": "policy_retention",
    "compression_policy": "policy_compression",
    "columnstore_policy": "policy_compression",
    "reorder_policy": "policy_reorder",
    "continuous_aggregate_policy": "policy_refresh_continuous_aggregate",
}
"""The procedure of its job, by the name of a policy as it stands behind `add_` and `remove_`."""


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


def has_policy(conn: Connection[Any], procedure: str, relation: str) -> bool | None:
    """:param relation: as to_regclass reads it.
    :return: None: there is no such hypertable or continuous aggregate.
    """
    row = conn.execute(_HAS, {"name": relation, "procedure": procedure}).fetchone()
    return None if row is None else bool(row[0])


# An aggregate's jobs carry the name of the hypertable that holds its buckets.
_HAS = """
SELECT EXISTS (SELECT FROM timescaledb_information.jobs j
                WHERE j.proc_name = %(procedure)s AND j.hypertable_schema = t.schema AND j.hypertable_name = t.name)
  FROM (SELECT hypertable_schema, hypertable_name, hypertable_schema, hypertable_name
          FROM timescaledb_information.hypertables
        UNION ALL
        SELECT view_schema, view_name, materialization_hypertable_schema, materialization_hypertable_name
          FROM timescaledb_information.continuous_aggregates) t (its_schema, its_name, schema, name)
 WHERE pg_catalog.to_regclass(pg_catalog.format('%%I.%%I', its_schema, its_name)) = pg_catalog.to_regclass(%(name)s)
 LIMIT 1
"""
