"""Health and plan notice that TimescaleDB's catalogs do not have what the applied migrations made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.health.inspection import check_health
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.planning import Planning

SCRIPT = """
CREATE TABLE readings (at timestamptz NOT NULL, value float8 NOT NULL);
SELECT create_hypertable('readings', by_range('at'));
CREATE MATERIALIZED VIEW daily WITH (timescaledb.continuous) AS
  SELECT time_bucket('1 day', at) AS day, avg(value) AS mean FROM readings GROUP BY 1 WITH NO DATA;
SELECT add_retention_policy('readings', INTERVAL '100 years');
SELECT add_continuous_aggregate_policy('daily', INTERVAL '90 days', INTERVAL '1 hour', INTERVAL '1 hour');
CREATE PROCEDURE tidy(job_id int, config jsonb) LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
SELECT add_job('tidy', '1 day');
"""


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn
        conn.execute("SELECT delete_job(job_id) FROM timescaledb_information.jobs WHERE job_id >= 1000")
        conn.execute("DROP TABLE IF EXISTS readings CASCADE")
        conn.execute("DROP PROCEDURE IF EXISTS tidy")
        conn.execute("DROP SCHEMA IF EXISTS wmigrate CASCADE")


def set_back(database: str) -> None:
    """This server has one session for all connections, so what a look sets is set back."""
    with psycopg.connect(database, autocommit=True) as conn:
        for name in ("default_transaction_read_only", "statement_timeout", "lock_timeout"):
            conn.execute(f"RESET {name}".encode())


def failures(database: str, folder: Path) -> tuple[str, str]:
    health = check_health(lambda: psycopg.connect(database), read_folder(folder), timeout_seconds=30)
    set_back(database)
    check = next(check for check in health.checks if check.name == "failures")
    return check.status, check.reason


def warnings(database: str, folder: Path) -> list[tuple[str, str]]:
    """Of the plan, of health at once."""
    planning = Planning(lambda: psycopg.connect(database), read_folder(folder), identity=Identity("tester"))
    found = planning.plan().findings
    set_back(database)
    assert {(f.code, f.severity) for f in found} <= {("timescaledb_lost", "warning")}
    told = [(f"{f.file}:{f.line}" if f.file else "", f.message) for f in found]
    assert bool(told) == (failures(database, folder)[0] == "unhealthy")
    return told


def test_what_a_bad_restore_leaves(database: str, conn: psycopg.Connection[Any], tmp_path: Path) -> None:
    (tmp_path / "001_a.sql").write_text(SCRIPT)
    Migrator(lambda: psycopg.connect(database), read_folder(tmp_path), identity=Identity("tester")).apply("001")
    assert failures(database, tmp_path) == ("healthy", "no last attempt failed")

    row = conn.execute(
        "SELECT job_id, add_job('tidy', '1 day') FROM timescaledb_information.jobs WHERE proc_name = 'tidy'"
    )
    first, second = row.fetchone() or (0, 0)
    assert failures(database, tmp_path) == ("unhealthy", f"jobs {first}, {second} do the same (public.tidy)")
    conn.execute("SELECT delete_job(%s)", [second])
    conn.execute("DROP PROCEDURE tidy")
    assert failures(database, tmp_path) == ("unhealthy", f"job {first} calls public.tidy, which is gone")
    conn.execute("SELECT delete_job(%s)", [first])
    conn.execute("DROP MATERIALIZED VIEW daily")
    conn.execute("DROP TABLE readings")
    conn.execute("CREATE TABLE readings (at timestamptz NOT NULL, value float8 NOT NULL)")
    conn.execute("CREATE VIEW daily AS SELECT 1")
    status, reason = failures(database, tmp_path)
    assert status == "unhealthy"
    assert "readings was made a hypertable, and is none any more" in reason
    assert "daily was made a continuous aggregate, and is none any more" in reason
    conn.execute("DROP VIEW daily")


def test_policies_jobs_and_tables_that_are_gone(database: str, conn: psycopg.Connection[Any], tmp_path: Path) -> None:
    (tmp_path / "001_a.sql").write_text(SCRIPT)
    Migrator(lambda: psycopg.connect(database), read_folder(tmp_path), identity=Identity("tester")).apply("001")
    assert warnings(database, tmp_path) == []
    conn.execute("SELECT remove_retention_policy('readings')")
    retention = ("001_a.sql:6", "the retention policy of readings was added, and is gone")
    assert warnings(database, tmp_path) == [retention]
    conn.execute("SELECT remove_continuous_aggregate_policy('daily')")
    refresh = ("001_a.sql:7", "the continuous aggregate policy of daily was added, and is gone")
    assert warnings(database, tmp_path) == [retention, refresh]
    conn.execute("SELECT delete_job(job_id) FROM timescaledb_information.jobs WHERE proc_name = 'tidy'")
    job = ("001_a.sql:9", "a job that calls tidy was added, and is gone")
    assert warnings(database, tmp_path) == [retention, refresh, job]
    conn.execute("DROP TABLE readings CASCADE")
    gone = [
        ("001_a.sql:3", "readings was made a hypertable, and is gone"),
        ("001_a.sql:4", "daily was made a continuous aggregate, and is gone"),
    ]
    assert warnings(database, tmp_path) == [*gone, job]
    # A later migration that takes them away is the way to say that it is right.
    (tmp_path / "002_b.sql").write_text("SELECT delete_job(0) WHERE false;\nDROP TABLE IF EXISTS readings CASCADE;")
    Migrator(lambda: psycopg.connect(database), read_folder(tmp_path), identity=Identity("tester")).apply("002")
    assert warnings(database, tmp_path) == []
