"""What a script takes away is listed: chunks with rows, aggregates and jobs that go with something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import HistoryError
from airflow_provider_wmigrate.engine.events import Event, Noticed
from airflow_provider_wmigrate.engine.migrator import Migrator

Conn = psycopg.Connection[Any]
Make = Callable[[str], Migrator]

SETUP = """
CREATE TABLE readings (at timestamptz NOT NULL, source text NOT NULL, value float8 NOT NULL, PRIMARY KEY (source, at));
SELECT create_hypertable('readings', by_range('at', INTERVAL '1 day'));
INSERT INTO readings SELECT t, 's', 1 FROM generate_series('2025-11-01Z'::timestamptz, '2025-11-20Z', '1 hour') t;
CREATE MATERIALIZED VIEW daily WITH (timescaledb.continuous) AS
  SELECT time_bucket('1 day', at) AS day, avg(value) AS mean FROM readings GROUP BY 1 WITH NO DATA;
CREATE MATERIALIZED VIEW weekly WITH (timescaledb.continuous) AS
  SELECT time_bucket('7 days', day) AS week, avg(mean) AS mean FROM daily GROUP BY 1 WITH NO DATA;
"""


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with psycopg.connect(database, autocommit=True) as conn:
        for statement in SETUP.split(";\n"):
            if statement.strip():
                conn.execute(statement.encode())
        yield conn
        for view in ("weekly", "daily"):
            conn.execute(f"DROP MATERIALIZED VIEW IF EXISTS {view} CASCADE".encode())
        conn.execute("DROP TABLE readings")
        conn.execute("DROP SCHEMA IF EXISTS wmigrate CASCADE")


@pytest.fixture
def make(conn: Conn, migrator: Callable[..., Migrator]) -> Make:
    return lambda script: migrator({"001_a.sql": script})


def warnings(events: list[Event]) -> list[str]:
    found = [e.message for e in events if isinstance(e, Noticed) and e.severity == "WARNING"]
    return [said for said in found if "aborting transaction" not in said]  # this server's own, at a rollback


def number(conn: Conn, query: str) -> int:
    row = conn.execute(query.encode()).fetchone()
    return int(row[0]) if row else -1


@pytest.mark.parametrize("dry_run", [True, False])
def test_dropped_chunks_and_their_rows(make: Make, events: list[Event], dry_run: bool) -> None:
    make("SELECT drop_chunks('readings', older_than => '2025-11-15Z'::timestamptz);").apply("001", dry_run=dry_run)
    assert warnings(events) == ["14 chunks of public.readings with 336 rows are gone"]


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_a_retention_policy_will_drop(make: Make, conn: Conn, events: list[Event], dry_run: bool) -> None:
    make("SELECT add_retention_policy('readings', INTERVAL '1 day');").apply("001", dry_run=dry_run)
    (said,) = warnings(events)
    job = number(conn, "SELECT job_id FROM timescaledb_information.jobs WHERE job_id >= 1000") if not dry_run else None
    assert said.replace(f"job {job}", "job N").startswith("the retention policy of public.readings (job ")
    assert said.endswith(") drops 20 of 20 chunks at its first run: what is older than 1 day")


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_goes_with_an_aggregate(make: Make, conn: Conn, events: list[Event], dry_run: bool) -> None:
    offsets = (
        "start_offset => INTERVAL '60 days', end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '1 hour'"
    )
    daily = number(conn, f"SELECT add_continuous_aggregate_policy('daily', {offsets})")
    weekly = number(conn, f"SELECT add_continuous_aggregate_policy('weekly', {offsets})")
    kept = number(conn, "SELECT add_retention_policy('weekly', INTERVAL '10 years')")
    make("DROP MATERIALIZED VIEW daily CASCADE;").apply("001", dry_run=dry_run)
    assert warnings(events) == [
        "continuous aggregate public.daily is gone",
        "continuous aggregate public.weekly is gone",
        f"job {daily} is gone: policy_refresh_continuous_aggregate of public.daily",
        f"job {weekly} is gone: policy_refresh_continuous_aggregate of public.weekly",
        f"job {kept} is gone: policy_retention of public.weekly",
    ]
    details = [e.message for e in events if isinstance(e, Noticed) and "cascades" in e.message]
    assert all("(" in said for said in details)


def closed_buckets(conn: Conn) -> None:
    """Ten days of raw rows are dropped; their ten buckets stay in the aggregate."""
    conn.execute("CALL refresh_continuous_aggregate('daily', NULL, NULL)")
    conn.execute("SELECT drop_chunks('readings', older_than => '2025-11-11Z'::timestamptz)")


UNBOUNDED = "CALL refresh_continuous_aggregate('public.daily', NULL, NULL);"
CLOSED = "10 buckets of public.daily, from 2025-11-01 00:00:00+00 to 2025-11-10 00:00:00+00, whose raw rows are gone"


def test_a_refresh_that_deletes_closed_buckets_is_told_before_it_runs(
    make: Make, conn: Conn, database: str, events: list[Event]
) -> None:
    closed_buckets(conn)
    found = [f for f in make(UNBOUNDED).plan().findings if f.code == "refresh_unbounded"]
    conn.execute("SET default_transaction_read_only = off")  # this server's sessions share their settings
    assert [(str(f), f.severity, f.version) for f in found] == [
        (
            f"001_a.sql:1: the refresh has no lower bound, and deletes up to {CLOSED}; give it a lower bound that is"
            " younger than the oldest row that is kept",
            "warning",
            "001",
        )
    ]
    record = make(UNBOUNDED).apply("001")
    gone = "10 buckets of public.daily are gone, from 2025-11-01 00:00:00+00 on: their raw rows had been dropped"
    assert warnings(events) == [f"a refresh without a lower bound deletes up to {CLOSED}", gone]
    kept = {"what": "buckets", "name": "public.daily", "said": gone, "number": 10, "rows": None}
    assert record.as_dict()["taken_away"] == [kept]
    audited = "SELECT details -> 'taken_away' FROM wmigrate.audit_log WHERE event = 'applied'"
    assert conn.execute(audited.encode()).fetchall() == [([kept],)]
    assert number(conn, "SELECT count(*) FROM daily") == 10


@pytest.mark.parametrize(
    "script",
    [
        "CALL refresh_continuous_aggregate('daily', '2025-11-11Z', NULL);",
        "CALL refresh_continuous_aggregate('nowhere', NULL, NULL) -- fails;",
    ],
)
def test_a_refresh_that_deletes_none(make: Make, conn: Conn, script: str) -> None:
    closed_buckets(conn)
    assert [f for f in make(script).plan().findings if f.code == "refresh_unbounded"] == []
    conn.execute("SET default_transaction_read_only = off")


def test_what_goes_is_in_the_record_and_in_the_audit_row(make: Make, conn: Conn) -> None:
    script = "SELECT drop_chunks('readings', older_than => '2025-11-15Z'::timestamptz);\nDROP MATERIALIZED VIEW weekly;"
    record = make(script).apply("001")
    assert [(each.what, each.name, each.number, each.rows) for each in record.taken_away] == [
        ("chunks", "public.readings", 14, 336),
        ("aggregate", "public.weekly", None, None),
    ]
    audited = "SELECT details -> 'taken_away' FROM wmigrate.audit_log WHERE event = 'applied'"
    assert conn.execute(audited.encode()).fetchall() == [(record.as_dict()["taken_away"],)]


def test_what_a_script_takes_away_that_runs_by_statement(
    conn: Conn, migrator: Callable[..., Migrator], events: list[Event]
) -> None:
    files = {
        "001_a.sql": "SELECT drop_chunks('readings', older_than => '2025-11-15Z'::timestamptz);",
        "migration_config.yaml": "migrations: [{version: 1, transactional: false}]",
    }
    record = migrator(files).apply("001")
    assert [str(each) for each in record.taken_away] == ["14 chunks of public.readings with 336 rows are gone"]
    assert warnings(events) == ["14 chunks of public.readings with 336 rows are gone"]


@pytest.mark.parametrize("script", ["DROP TABLE readings", "DELETE FROM readings", "TRUNCATE readings"])
def test_a_hypertable_with_chunks_is_not_kept(migrator: Callable[..., Migrator], conn: Conn, script: str) -> None:
    """Its rows are in its chunks, which would stay where they are, or be gone."""
    config = "migrations: [{version: 1, keep: true}]"
    with pytest.raises(HistoryError) as refused:
        migrator({"001_a.sql": script, "migration_config.yaml": config}).apply("001")
    (found,) = refused.value.findings
    why = "other tables inherit from public.readings or it from them, as the chunks of a hypertable"
    assert (found.code, found.line, found.message) == ("not_kept", 1, f"keep: true, but {why}")
    assert number(conn, "SELECT count(*) FROM readings") == 457
