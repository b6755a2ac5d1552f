"""A snapshot tells what TimescaleDB keeps, and nothing that its jobs change."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from native import skip_unless_full

from airflow_provider_wmigrate.engine.catalog.snapshot.comparing import diff
from airflow_provider_wmigrate.engine.catalog.snapshot.taking import take
from airflow_provider_wmigrate.engine.decisions.alone import Decider
from airflow_provider_wmigrate.engine.decisions.watch import switch_watch
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.model import Identity
from dev.cluster import Cluster

Conn = psycopg.Connection[Any]

SCHEMA = (
    "CREATE TABLE readings (t timestamptz NOT NULL, device int NOT NULL, value float8)",
    "SELECT create_hypertable('readings', 't', chunk_time_interval => interval '1 day')",
    "CREATE SCHEMA apart",
    "CREATE TABLE others (t timestamptz NOT NULL)",
    "SELECT create_hypertable('others', 't', associated_schema_name => 'apart')",
    "INSERT INTO others VALUES (now())",
    "INSERT INTO readings SELECT g, 1, 1 FROM generate_series(timestamptz '2026-01-01', '2026-01-10', '1 hour') g",
)
COMMUNITY = (
    "ALTER TABLE readings SET (timescaledb.compress, timescaledb.compress_segmentby = 'device')",
    "SELECT add_compression_policy('readings', interval '7 days')",
    "SELECT add_retention_policy('readings', interval '100 years')",
    "CREATE PROCEDURE tidy(job_id int, config jsonb) LANGUAGE plpgsql AS 'BEGIN END'",
    "SELECT add_job('tidy', '1 hour', config => '{\"a\": 1}')",
    "CREATE MATERIALIZED VIEW daily WITH (timescaledb.continuous) AS"
    " SELECT time_bucket('1 day', t) AS day, device, avg(value) FROM readings GROUP BY 1, 2 WITH NO DATA",
    "SELECT add_continuous_aggregate_policy('daily', NULL, interval '1 hour', interval '1 hour')",
    "CREATE INDEX daily_average ON daily (avg)",
)


def run(conn: Conn, *statements: str) -> None:
    for statement in statements:
        conn.execute(statement.encode())


def test_new_chunks_are_no_difference_in_whatever_schema_they_are(conn: Conn) -> None:
    run(conn, *SCHEMA)
    before = take(conn)
    run(conn, "INSERT INTO readings VALUES ('2027-01-01', 1, 1)", "INSERT INTO others VALUES ('2027-01-01')")

    assert diff(before, take(conn)) == ()
    assert [f.identity for f in before.facts if f.kind == "hypertable"] == ["public.others", "public.readings"]


def test_the_jobs_at_work_make_no_difference_and_a_policy_that_is_gone_makes_one(conn: Conn, database: str) -> None:
    skip_unless_full(database)
    run(conn, *SCHEMA, *COMMUNITY)
    before = take(conn)
    jobs = conn.execute("SELECT job_id FROM timescaledb_information.jobs WHERE job_id >= 1000").fetchall()
    run(conn, *(f"CALL run_job({job})" for (job,) in jobs), "CALL refresh_continuous_aggregate('daily', NULL, NULL)")

    assert diff(before, take(conn)) == ()
    assert [f.identity for f in before.facts if f.kind.startswith("TimescaleDB")] == [
        "public.tidy",
        "policy_compression on public.readings",
        "policy_refresh_continuous_aggregate on public.daily",
        "policy_retention on public.readings",
    ]
    assert [f.identity for f in before.facts if f.kind == "index of continuous aggregate"] == [
        "public.daily_average",
        "public.daily_day_idx",
        "public.daily_device_day_idx",
    ]
    run(
        conn,
        "SELECT remove_retention_policy('readings')",
        "ALTER MATERIALIZED VIEW daily SET (timescaledb.materialized_only = false)",
    )
    assert [difference.sentence for difference in diff(before, take(conn))] == [
        "TimescaleDB policy policy_retention on public.readings is gone",
        "continuous aggregate public.daily: materialized only yes -> no",
    ]


def test_a_restored_dump_is_the_same(conn: Conn, database: str, cluster: Cluster) -> None:
    skip_unless_full(database)
    run(conn, *SCHEMA, *COMMUNITY, "CALL refresh_continuous_aggregate('daily', NULL, NULL)")
    run(conn, "SELECT compress_chunk(c) FROM show_chunks('readings', older_than => timestamptz '2026-01-05') c")
    before = take(conn)
    text = cluster.run("pg_dump", "--format=plain", "--dbname", database)
    assert text.returncode == 0, text.stderr
    target = cluster.create_database("restored_plant", template="template0")
    try:
        with psycopg.connect(target, autocommit=True) as restored:
            run(restored, "CREATE EXTENSION timescaledb", "SELECT timescaledb_pre_restore()")
        loaded = subprocess.run(
            [*("psql", "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1", "-d", target)],
            input=text.stdout,
            text=True,
            capture_output=True,
            check=False,
        )
        assert loaded.returncode == 0, loaded.stderr
        with psycopg.connect(target, autocommit=True) as restored:
            run(restored, "SELECT timescaledb_post_restore()")
            after = take(restored)
    finally:
        cluster.drop_database("restored_plant")

    assert [difference.sentence for difference in diff(before, after)] == []
    assert after.fingerprint == before.fingerprint


def test_the_watch_is_not_flooded_by_what_timescaledb_does(
    conn: Conn, database: str, migrator: Callable[..., Any], make_folder: Callable[..., Path]
) -> None:
    skip_unless_full(database)
    files = {"001_t.sql": "CREATE TABLE t ();", "001_t.rollback.sql": "DROP TABLE t;"}
    migrator(files).apply("001")
    switch_watch(Decider(lambda: psycopg.connect(database), read_folder(make_folder(files)), Identity("ann")), True)
    run(conn, *SCHEMA, *COMMUNITY, "CALL refresh_continuous_aggregate('daily', NULL, NULL)")
    jobs = conn.execute("SELECT job_id FROM timescaledb_information.jobs WHERE job_id >= 1000").fetchall()
    run(conn, *(f"CALL run_job({job})" for (job,) in jobs))
    run(conn, "ALTER TABLE readings ADD note text", "SELECT drop_chunks('readings', timestamptz '2026-01-03')")
    run(conn, "DROP MATERIALIZED VIEW daily", "DROP TABLE readings")
    rows = conn.execute("SELECT command, objects FROM wmigrate_watch.changes ORDER BY number").fetchall()
    assert rows == [
        ("CREATE TABLE", ["table public.readings"]),
        ("CREATE SCHEMA", ["schema apart"]),
        ("CREATE TABLE", ["table public.others"]),
        ("CREATE PROCEDURE", ["procedure public.tidy(integer,pg_catalog.jsonb)"]),
        ("ALTER TABLE", ["table public.readings"]),
        ("DROP VIEW", ["view public.daily"]),
        ("DROP TABLE", ["table public.readings"]),
    ], "of a continuous aggregate that is made, TimescaleDB tells no event trigger"
