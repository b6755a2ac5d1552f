"""verify where TimescaleDB's jobs are at work: no difference is invented."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from native import running_server, skip_before_218, skip_unless_full

from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.plan.verdict import Verdict
from airflow_provider_wmigrate.engine.verify import Verification, prove, verify
from dev.cluster import Cluster
from dev.watchdog import wait_until

SHIPPED = Path(__file__).resolve().parents[2] / "migrations"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """With the scheduler of jobs on, unlike the session's."""
    with running_server(background_workers=16) as cluster:
        dsn = cluster.create_database("edition", template="template0")
        cluster.execute("CREATE EXTENSION timescaledb", dbname="edition")
        skip_unless_full(dsn)
        with psycopg.connect(dsn) as conn:
            skip_before_218(conn)
        yield cluster


def test_the_shipped_folder_is_exact_with_jobs_at_work(cluster: Cluster) -> None:
    asked = Verification(read_folder(SHIPPED), Identity("tester"), apart=True)
    found = verify(asked, lambda: psycopg.connect(cluster.dsn("edition")), jobs=2).verdicts
    assert [(v.version, v.grade.value, v.differences, v.rows, v.reason) for v in found] == [
        (m.version, "exact", (), (), "") for m in asked.folder.migrations
    ]


FILES = {
    "001_m.sql": """
        CREATE TABLE m (at timestamptz NOT NULL, device int);
        SELECT create_hypertable('m', 'at');
        CREATE TABLE plain (n int);
        INSERT INTO plain VALUES (1), (2), (3);
        CREATE PROCEDURE eat(job_id int, config jsonb) LANGUAGE sql AS 'DELETE FROM plain';
        SELECT add_job('eat', '1 second');
        SELECT add_retention_policy('m', INTERVAL '30 days', schedule_interval => INTERVAL '1 second');
    """,
    "002_x.sql": "ALTER TABLE m ADD x int; SELECT pg_sleep(4);",
    "002_x.rollback.sql": "ALTER TABLE m DROP x;",
}


def test_a_job_that_changes_rows_is_no_difference(
    cluster: Cluster, make_folder: Callable[[Mapping[str, str]], Path]
) -> None:
    """The scheduler finds a copied database within a minute; here it is there from the beginning."""
    dsn = cluster.create_database("at_work", template="template0")
    cluster.execute("CREATE EXTENSION timescaledb", dbname="at_work")
    asked = Verification(read_folder(make_folder(FILES)), Identity("tester"), apart=True)

    def connect() -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(dsn)

    migrator = asked.migrator(connect)
    cluster.execute("SELECT _timescaledb_functions.stop_background_workers()", dbname="at_work")
    migrator.apply("001")
    cluster.execute("SELECT _timescaledb_functions.start_background_workers()", dbname="at_work")
    assert wait_until(lambda: cluster.execute("SELECT FROM plain", dbname="at_work") == [], 60), "the job works"
    found: Verdict = prove(asked, connect, migrator.migrations["002"])
    assert (found.grade.value, found.differences, found.rows, found.reason) == ("exact", (), (), "")
    cluster.drop_database("at_work")
