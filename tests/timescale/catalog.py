"""What a database with hypertables looks like, without TimescaleDB's own schemas and numbers from sequences."""

from __future__ import annotations

from typing import Any

import psycopg

_OURS = "n.nspname !~ '^(pg_|_timescaledb_|timescaledb_|information_schema$|wmigrate$)'"

_PARTS = {
    "relation": f"""
        SELECT n.nspname || '.' || c.relname, c.relkind::text FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS} AND c.relkind <> 'S'
           AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')""",
    "column": f"""
        SELECT c.oid::regclass::text, concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod),
               CASE WHEN a.attnotnull THEN 'NOT NULL' END, pg_get_expr(d.adbin, d.adrelid)) FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
         WHERE {_OURS} AND c.relkind IN ('r', 'p')""",
    "index": f"""
        SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i
          JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS}""",
    "constraint": f"""
        SELECT conrelid::regclass::text, conname || ' ' || pg_get_constraintdef(k.oid) FROM pg_constraint k
          JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS}""",
    "hypertable": """
        SELECT h.hypertable_name::text, concat_ws(' ', d.column_name, d.time_interval, h.compression_enabled)
          FROM timescaledb_information.hypertables h JOIN timescaledb_information.dimensions d
          USING (hypertable_schema, hypertable_name) WHERE h.hypertable_schema !~ '^_timescaledb_'""",
    "chunks": """
        SELECT hypertable_name::text, count(*) || ', in the columnstore ' || count(*) FILTER (WHERE is_compressed)
          FROM timescaledb_information.chunks WHERE hypertable_schema !~ '^_timescaledb_' GROUP BY 1""",
    "columnstore": """
        SELECT hypertable::text, concat_ws(' | ', segmentby, orderby)
          FROM timescaledb_information.hypertable_compression_settings
         WHERE hypertable::text !~ '^_timescaledb_'""",
    "aggregate": """
        SELECT view_name::text, materialized_only || ' ' || view_definition
          FROM timescaledb_information.continuous_aggregates""",
    "job": """
        SELECT proc_name::text, concat_ws(' ', hypertable_name, schedule_interval,
               config - 'hypertable_id' - 'mat_hypertable_id')
          FROM timescaledb_information.jobs WHERE job_id >= 1000""",
}


def catalog(conn: psycopg.Connection[Any]) -> list[tuple[str, ...]]:
    """Rows of (kind, name, what it is)."""
    found = [(kind, *row) for kind, query in _PARTS.items() for row in conn.execute(query.encode())]
    return sorted(tuple(str(part) for part in row) for row in found)
