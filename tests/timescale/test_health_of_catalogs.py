"""Health notices that TimescaleDB's catalogs do not have what the applied migrations made."""

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

SCRIPT = """
CREATE TABLE readings (at timestamptz NOT NULL, value float8 NOT NULL);
SELECT create_hypertable('readings', by_range('at'));
CREATE MATERIALIZED VIEW daily WITH (timescaledb.continuous) AS
  SELECT time_bucket('1 day', at) AS day, avg(value) AS mean FROM readings GROUP BY 1 WITH NO DATA;
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


def failures(database: str, folder: Path) -> tuple[str, str]:
    """This server has one session for all connections, so what the look sets is set back."""
    health = check_health(lambda: psycopg.connect(database), read_folder(folder), timeout_seconds=30)
    with psycopg.connect(database, autocommit=True) as conn:
        for name in ("default_transaction_read_only", "statement_timeout", "lock_timeout"):
            conn.execute(f"RESET {name}".encode())
    check = next(check for check in health.checks if check.name == "failures")
    return check.status, check.reason


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
