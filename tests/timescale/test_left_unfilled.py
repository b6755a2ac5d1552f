"""A continuous aggregate WITH DATA whose filling fails is there for everybody, without its data: it is not left so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.catalog import probe
from airflow_provider_wmigrate.engine.errors import HistoryError, StatementFailed
from airflow_provider_wmigrate.engine.events import Event, Stepped
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.record import Outcome
from airflow_provider_wmigrate.engine.sql.analysis import analyse

Conn = psycopg.Connection[Any]
Make = Callable[[str], Migrator]

SETUP = """
CREATE TABLE readings (at timestamptz NOT NULL, source text NOT NULL, value float8 NOT NULL, PRIMARY KEY (source, at));
SELECT create_hypertable('readings', by_range('at', INTERVAL '1 day'));
INSERT INTO readings SELECT t, 's' || n, n FROM generate_series('2026-11-01Z'::timestamptz, '2026-11-20Z', '1 hour') t,
  generate_series(0, 2) n;
"""
AGGREGATE = (
    "CREATE MATERIALIZED VIEW {0}daily WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS\n"
    "SELECT time_bucket('1 day', at) AS bucket, source, sum(100 / (value::int + {1})) AS total\n"
    "FROM readings GROUP BY 1, 2{2};\n"
)
FAILS = AGGREGATE.format("{0}", 0, "")
BUCKETS = "SELECT count(*) FROM daily"
THERE = "SELECT count(*) FROM timescaledb_information.continuous_aggregates"


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(SETUP.encode())
        yield conn
        for view in ("weekly", "daily"):
            conn.execute(f"DROP MATERIALIZED VIEW IF EXISTS {view} CASCADE".encode())
        conn.execute("DROP TABLE readings")
        conn.execute("DROP SCHEMA IF EXISTS wmigrate CASCADE")


@pytest.fixture
def make(conn: Conn, migrator: Callable[..., Migrator]) -> Make:
    return lambda script: migrator({"001_daily.sql": script})


def notes(events: list[Event]) -> list[str]:
    return [e.note for e in events if isinstance(e, Stepped)]


def number(conn: Conn, query: str) -> int:
    row = conn.execute(query.encode()).fetchone()
    return int(row[0]) if row else -1


@pytest.mark.parametrize("hidden", ["", "IF NOT EXISTS "])
def test_a_failure_leaves_no_aggregate_without_its_data(
    make: Make, conn: Conn, events: list[Event], hidden: str
) -> None:
    with pytest.raises(StatementFailed) as failed:
        make(FAILS.format(hidden)).apply("001")
    assert (failed.value.sqlstate, failed.value.outcome) == (
        "22012",
        "nothing ran before it, and nothing of it was kept",
    )
    assert notes(events) == [
        "runs outside a transaction",
        "dropped aggregate public.daily, which was left empty",
    ]
    assert number(conn, THERE) == 0
    assert make(FAILS).read().entries == (), "pending, so the statement may be edited"

    conn.execute("UPDATE readings SET value = 1 WHERE value = 0")
    assert make(FAILS.format(hidden)).apply("001").outcome is Outcome.APPLIED
    assert number(conn, BUCKETS) == 60


def in_flight(make: Make, conn: Conn, script: str) -> None:
    """As if the runner of the first statement had died when its aggregate was there and not filled."""
    with pytest.raises(StatementFailed):
        make(script + "SELECT 1 / 0;").apply("001")
    conn.execute("UPDATE wmigrate.schema_migrations SET statements_done = 0")
    conn.execute("DROP MATERIALIZED VIEW daily")


@pytest.mark.parametrize("hidden", ["", "IF NOT EXISTS "])
@pytest.mark.parametrize(
    ("left", "content"),
    [
        ("", ""),
        ("CALL refresh_continuous_aggregate('daily', NULL, '2026-11-10Z')", "filled in part"),
        ("CALL refresh_continuous_aggregate('daily', '2026-11-03Z', NULL)", "filled in part"),
        ("CALL refresh_continuous_aggregate('daily', NULL, NULL)", "filled"),
    ],
    ids=["empty", "beginning", "end", "filled"],
)
def test_what_a_death_left_is_found_out(
    make: Make, conn: Conn, events: list[Event], hidden: str, left: str, content: str
) -> None:
    good = AGGREGATE.format(hidden, 1, "")
    in_flight(make, conn, good)
    conn.execute(AGGREGATE.format("", 1, " WITH NO DATA").encode())
    if left:
        conn.execute(left.encode())
    events.clear()
    with pytest.raises(StatementFailed):
        make(good + "SELECT 1 / 0;").apply("001")
    dropped = f"dropped aggregate public.daily, which was left {content or 'empty'}"
    assert notes(events)[:2] == (
        ["was in flight; it has run", "runs"] if content == "filled" else [dropped, "was in flight; it runs again"]
    )
    assert number(conn, BUCKETS) == 60


def test_what_somebody_built_upon_it_is_not_dropped(make: Make, conn: Conn) -> None:
    good = AGGREGATE.format("", 1, "")
    in_flight(make, conn, good)
    conn.execute(AGGREGATE.format("", 1, " WITH NO DATA").encode())
    conn.execute("CREATE VIEW weekly_plain AS SELECT * FROM daily")
    with pytest.raises(HistoryError) as refused:
        make(good + "SELECT 1 / 0;").apply("001")
    (finding,) = refused.value.findings
    assert (finding.code, finding.file, finding.line) == ("aggregate_unfilled", "001_daily.sql", 1)
    assert finding.message == (
        "aggregate public.daily was left empty by a run that died, and cannot be dropped: view weekly_plain depends on"
        " view daily"
    )
    conn.execute("DROP VIEW weekly_plain")


def test_an_aggregate_of_somebody_else_is_left_as_it_is(make: Make, conn: Conn, events: list[Event]) -> None:
    conn.execute(AGGREGATE.format("", 1, " WITH NO DATA").encode())
    assert make(FAILS.format("IF NOT EXISTS ")).apply("001").outcome is Outcome.APPLIED
    assert notes(events) == ["aggregate public.daily was there before, empty, and is left as it is"]
    assert number(conn, BUCKETS) == 0


def test_a_hypertable_without_rows_fills_its_aggregate(make: Make, conn: Conn) -> None:
    conn.execute("TRUNCATE readings")
    assert make(FAILS.format("")).apply("001").outcome is Outcome.APPLIED
    conn.execute("UPDATE wmigrate.schema_migrations SET status = 'incomplete', statements_done = 0")


@pytest.mark.parametrize(
    ("call", "ran"),
    [
        ("SELECT create_hypertable('readings', by_range('at'))", True),
        ("SELECT create_hypertable('public.readings'::regclass, by_range('at'), migrate_data => true)", True),
        ("SELECT create_hypertable('daily_plain', by_range('at'))", False),
        ("SELECT drop_chunks('readings', INTERVAL '1 day')", False),
        ("CALL refresh_continuous_aggregate('daily', NULL, NULL)", False),
        ("CALL run_job({job})", False),
        ("CALL run_job({other})", None),
        ("CALL run_job((SELECT 1))", None),
        ("CALL merge_chunks('{0}', '{1}', concurrently => true)", False),
        ("CALL merge_chunks('{0}', '_timescaledb_internal.gone', true)", True),
        ("CALL merge_chunks('_timescaledb_internal.gone', '_timescaledb_internal.too', true)", None),
        ("CALL merge_chunks_concurrently(ARRAY['{0}', '_timescaledb_internal.gone']::regclass[])", True),
        ("CALL merge_chunks_concurrently('{{{0}, {1}}}')", False),
        ("CALL merge_chunks_concurrently(ARRAY['{0}', f()])", None),
        ("SELECT reorder_chunk('{0}', 'readings_pkey')", False),
        ("SELECT add_retention_policy('readings', INTERVAL '100 years')", True),
        ("SELECT remove_retention_policy('public.readings'::regclass, if_exists => true)", False),
        ("CALL add_columnstore_policy('readings', after => INTERVAL '1 day')", False),
        ("CALL remove_columnstore_policy('readings')", True),
        ("SELECT add_retention_policy('nowhere', INTERVAL '1 day')", None),
        ("SELECT compress_chunk('{0}')", False),
        ("CALL convert_to_columnstore('{stored}')", True),
        ("CALL convert_to_columnstore('{partial}')", False),
        ("CALL recompress_chunk('{stored}')", True),
        ("CALL recompress_chunk('{partial}'::regclass, true)", False),
        ("SELECT decompress_chunk('{stored}')", False),
        ("CALL convert_to_rowstore('{0}')", True),
        ("SELECT compress_chunk('gone')", None),
        ("SELECT compress_chunk(c, if_not_compressed => true) FROM show_chunks('readings') c", False),
        ("SELECT compress_chunk(c, true) FROM show_chunks('readings') c", False),
        ("SELECT compress_chunk(c) FROM show_chunks('readings') c", None),
        ("SELECT move(c) FROM show_chunks('readings') c", None),
    ],
)
def test_what_is_known_of_a_call_in_flight(conn: Conn, call: str, ran: bool | None) -> None:
    chunks = [str(row[0]) for row in conn.execute("SELECT show_chunks('readings')::text LIMIT 4")]
    conn.execute("ALTER TABLE readings SET (timescaledb.enable_columnstore = true)")
    conn.execute("SELECT compress_chunk(c::regclass) FROM unnest(%s::text[]) c", [chunks[2:]])
    conn.execute("INSERT INTO readings SELECT min(at) + INTERVAL '30 minutes', 's', 1 FROM " + chunks[3])
    job = number(conn, "SELECT add_retention_policy('readings', INTERVAL '100 years')")
    other = number(conn, "SELECT add_job('pg_catalog.pg_stat_clear_snapshot', '1 day')")
    (statement,) = analyse(
        Script.of("001_a.sql", call.format(*chunks, job=job, other=other, stored=chunks[2], partial=chunks[3]))
    ).statements
    try:
        assert probe.ran(conn, statement) is ran
    finally:
        conn.execute("SELECT delete_job(%s)", [other])
