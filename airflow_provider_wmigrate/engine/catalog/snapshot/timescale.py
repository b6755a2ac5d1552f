"""Queries about what TimescaleDB keeps: hypertables, columnstore, continuous aggregates, policies and jobs.

Numbers of hypertables and jobs, and what background jobs change, are this database's own: names stand for them.
"""

from __future__ import annotations

from .scope import Scope, attributes, fact_rows


def hypertables(scope: Scope) -> str:
    dimensions = (
        "(SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('column',"
        " d.column_name,"
        " 'interval', coalesce(d.time_interval::pg_catalog.text, d.integer_interval::pg_catalog.text),"
        " 'partitions', d.num_partitions, 'now', NULLIF(d.integer_now_func, ''))) ORDER BY d.dimension_number)"
        " FROM timescaledb_information.dimensions d"
        " WHERE d.hypertable_schema = h.hypertable_schema AND d.hypertable_name = h.hypertable_name)"
    )
    columnstore = (
        "CASE WHEN h.compression_enabled THEN (SELECT pg_catalog.jsonb_build_object('segment by',"
        " coalesce(pg_catalog.jsonb_agg("
        "s.attname ORDER BY s.segmentby_column_index) FILTER (WHERE s.segmentby_column_index IS NOT NULL), '[]'),"
        " 'order by', coalesce(pg_catalog.jsonb_agg(s.attname || CASE WHEN s.orderby_asc THEN '' ELSE ' DESC' END"
        " || CASE WHEN s.orderby_nullsfirst THEN ' NULLS FIRST' ELSE '' END ORDER BY s.orderby_column_index)"
        " FILTER (WHERE s.orderby_column_index IS NOT NULL), '[]')) FROM timescaledb_information.compression_settings s"
        " WHERE s.hypertable_schema = h.hypertable_schema AND s.hypertable_name = h.hypertable_name) END"
    )
    values = attributes(dimensions=dimensions, columnstore=columnstore, tablespaces="h.tablespaces")
    of = (
        "ARRAY[coalesce(a.view_schema, h.hypertable_schema), coalesce(a.view_name,"
        " h.hypertable_name)]::pg_catalog.text[]"
    )
    source = (
        "timescaledb_information.hypertables h LEFT JOIN timescaledb_information.continuous_aggregates a"
        " ON a.materialization_hypertable_schema = h.hypertable_schema"
        " AND a.materialization_hypertable_name = h.hypertable_name"
    )
    return fact_rows(
        "'hypertable'", source, values, schema="coalesce(a.view_schema, h.hypertable_schema)", name=of, of=of
    )


def continuous_aggregates(scope: Scope) -> str:
    name = "ARRAY[a.view_schema, a.view_name]::pg_catalog.text[]"
    values = attributes(
        definition="a.view_definition",
        materialized_only="a.materialized_only",
        on="pg_catalog.quote_ident(a.hypertable_schema) || '.' || pg_catalog.quote_ident(a.hypertable_name)",
    )
    return fact_rows(
        "'continuous aggregate'",
        "timescaledb_information.continuous_aggregates a",
        values,
        schema="a.view_schema",
        name=name,
        of=name,
    )


def aggregate_indexes(scope: Scope) -> str:
    """Of the tables that keep the buckets of continuous aggregates."""
    table = "pg_catalog.format('%I.%I', a.materialization_hypertable_schema, a.materialization_hypertable_name)"
    view = "pg_catalog.format('%I.%I', a.view_schema, a.view_name)"
    index = "pg_catalog.replace(x.relname, a.materialization_hypertable_name, a.view_name)"
    definition = (
        f"pg_catalog.replace(pg_catalog.replace(pg_catalog.pg_get_indexdef(x.oid), {table}, {view}),"
        " a.materialization_hypertable_name, a.view_name)"
    )
    source = (
        "timescaledb_information.continuous_aggregates a JOIN pg_catalog.pg_namespace n"
        " ON n.nspname = a.materialization_hypertable_schema JOIN pg_catalog.pg_class r"
        " ON r.relnamespace = n.oid AND r.relname = a.materialization_hypertable_name"
        " JOIN pg_catalog.pg_index i ON i.indrelid = r.oid JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid"
    )
    return fact_rows(
        "'index of continuous aggregate'",
        source,
        attributes(definition=definition, valid="CASE WHEN NOT i.indisvalid OR NOT i.indisready THEN false END"),
        schema="a.view_schema",
        name=f"ARRAY[a.view_schema, {index}]::pg_catalog.text[]",
        of="ARRAY[a.view_schema, a.view_name]::pg_catalog.text[]",
    )


def jobs(scope: Scope) -> str:
    """Policies and jobs of one's own, not TimescaleDB's own ones. Two of the same kind are told apart by a number."""
    source = (
        "(SELECT j.*, coalesce(a.view_schema, j.hypertable_schema) AS its_schema, coalesce(a.view_name,"
        " j.hypertable_name)"
        " AS its_name, j.config OPERATOR(pg_catalog.-) '{hypertable_id,mat_hypertable_id}'::pg_catalog.text[] AS"
        " its_config,"
        " pg_catalog.row_number() OVER (PARTITION BY j.proc_schema, j.proc_name, j.hypertable_schema, j.hypertable_name"
        ' ORDER BY j.config::pg_catalog.text COLLATE "C", j.job_id) AS number FROM timescaledb_information.jobs j'
        " LEFT JOIN timescaledb_information.continuous_aggregates a"
        " ON a.materialization_hypertable_schema = j.hypertable_schema"
        " AND a.materialization_hypertable_name = j.hypertable_name WHERE j.job_id >= 1000) j"
    )
    policy = "j.proc_name ~ '^policy_' AND j.its_name IS NOT NULL"
    values = attributes(
        owner="j.owner",
        every="j.schedule_interval::pg_catalog.text",
        config="j.its_config",
        scheduled="CASE WHEN NOT j.scheduled THEN false END",
        max_runtime="NULLIF(j.max_runtime, interval '0')::pg_catalog.text",
        max_retries="NULLIF(j.max_retries, -1)",
        retry_period="j.retry_period::pg_catalog.text",
    )
    name = f"CASE WHEN {policy} THEN ARRAY[j.proc_name] ELSE ARRAY[j.proc_schema, j.proc_name] END::pg_catalog.text[]"
    of = "CASE WHEN j.its_name IS NOT NULL THEN ARRAY[j.its_schema, j.its_name]::pg_catalog.text[] END"
    return fact_rows(
        f"CASE WHEN {policy} THEN 'TimescaleDB policy' ELSE 'TimescaleDB job' END",
        source,
        values,
        schema="coalesce(j.its_schema, j.proc_schema)",
        name=name,
        suffix="CASE WHEN j.number > 1 THEN ' ' || j.number ELSE '' END",
        of=of,
    )
