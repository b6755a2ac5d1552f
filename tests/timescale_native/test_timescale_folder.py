"""The shipped folder on a native TimescaleDB, up, down and up again, with equal schemas; and runners that are shot."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from native import skip_before_218

from airflow_provider_wmigrate.engine.record import Outcome
from dev.cluster import Cluster
from tests.struck import WORKING, killed_while
from tests.waiting import ENDLESS

MakeMigrator = Callable[..., Any]
MakeFolder = Callable[..., Any]
Conn = psycopg.Connection[Any]

SHIPPED = Path(__file__).resolve().parents[2] / "migrations"


def dump(cluster: Cluster, dsn: str) -> list[str]:
    """The schema as DDL, without TimescaleDB's own schemas and without what newer pg_dumps write with a random key."""
    hidden = [f"--exclude-schema={name}" for name in ("wmigrate", "_timescaledb_*", "timescaledb_*")]
    answer = cluster.run("pg_dump", "--schema-only", "--exclude-extension=*", *hidden, dsn)
    if "exclude-extension" in answer.stderr:  # before PostgreSQL 17
        answer = cluster.run("pg_dump", "--schema-only", *hidden, dsn)
    assert answer.returncode == 0, answer.stderr
    # An aggregate's view names the hypertable behind it by a number from a sequence.
    text = re.sub(r"(_materialized_hypertable_|cagg_watermark\()\d+", r"\1N", answer.stdout)
    return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def up_down_up(migrator: Any, versions: list[str], look: Callable[[], list[str]]) -> None:
    empty = look()
    states = [empty]
    for version in versions:
        assert migrator.apply(version).outcome is Outcome.APPLIED
        states.append(look())
    for version, before in reversed(list(zip(versions, states, strict=False))):
        assert migrator.roll_back(version).outcome is Outcome.ROLLED_BACK
        assert same(look(), before)
    for version in versions:
        assert migrator.apply(version).outcome is Outcome.APPLIED
    assert same(look(), states[-1])


def same(now: list[str], before: list[str]) -> bool:
    assert list(difflib.unified_diff(before, now, lineterm="", n=0)) == []
    return True


def test_what_needs_no_extension_beside_it(
    cluster: Cluster, database: str, migrator: MakeMigrator, shipped: Path
) -> None:
    up_down_up(migrator(shipped), ["001", "002", "004", "005"], lambda: dump(cluster, database))


EVERY = [f"00{number}" for number in range(1, 9)]


@pytest.mark.usefixtures("full_edition")
def test_the_whole_folder(cluster: Cluster, database: str, migrator: MakeMigrator, conn: Conn) -> None:
    skip_before_218(conn)
    runner = migrator(SHIPPED)
    assert [step.version for step in runner.plan().steps] == EVERY
    up_down_up(runner, EVERY, lambda: dump(cluster, database))
    jobs = "SELECT proc_name, count(*) FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL GROUP BY 1"
    assert dict(conn.execute(jobs).fetchall()) == {
        "policy_refresh_continuous_aggregate": 4,
        "policy_compression": 5,
        "policy_retention": 4,
    }
    assert [f for f in runner.plan().findings if f.code == "timescaledb_lost"] == []
    assert runner.ledger.verify(conn) == ()


@pytest.mark.usefixtures("full_edition")
def test_the_whole_folder_creates_the_extension(bare: str, conn: Conn, migrator: MakeMigrator) -> None:
    skip_before_218(conn)
    runner = migrator(SHIPPED, dsn=bare)
    assert runner.plan().errors == ()
    assert [runner.apply(step.version).outcome for step in runner.plan().steps] == [Outcome.APPLIED] * 8


MAKE = "CREATE TABLE h (at timestamptz NOT NULL, v int);\nSELECT create_hypertable('h', by_range('at'));\n"
# A table that this server has from the test, so that the script waits in the middle, and only once.
HOLD = f"SELECT pg_sleep({ENDLESS}) FROM slow;\n"
SLEEPING = f"SELECT 1 FROM pg_stat_activity WHERE {WORKING} AND wait_event = 'PgSleep'"
CATALOG = (
    "SELECT 'hypertable', hypertable_name::text FROM timescaledb_information.hypertables UNION ALL"
    " SELECT 'chunk', format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks UNION ALL"
    " SELECT 'relation', oid::regclass::text FROM pg_class WHERE relkind = 'r'"
    " AND relnamespace IN ('public'::regnamespace, '_timescaledb_internal'::regnamespace) ORDER BY 1, 2"
)


def test_a_runner_killed_in_the_middle_leaves_no_half_of_a_hypertable(
    database: str, make_folder: MakeFolder, migrator: MakeMigrator, conn: Conn
) -> None:
    conn.execute("CREATE TABLE slow AS SELECT 1")
    before = conn.execute(CATALOG.encode()).fetchall()
    rows = "INSERT INTO h SELECT t, 1 FROM generate_series(now() - INTERVAL '60 days', now(), '1 hour') t;\n"
    folder = make_folder({"001_a.sql": MAKE + rows + HOLD})
    killed_while(database, folder, conn, SLEEPING)
    assert conn.execute(CATALOG.encode()).fetchall() == before
    conn.execute("DELETE FROM slow")
    assert migrator(folder).apply("001").outcome is Outcome.APPLIED
    assert len(conn.execute(CATALOG.encode()).fetchall()) > len(before) + 10
    events = [e for (e,) in conn.execute("SELECT event FROM wmigrate.audit_log ORDER BY position")]
    assert events == ["ledger_created", "applied"]


@pytest.mark.usefixtures("full_edition")
def test_a_runner_killed_in_the_middle_of_aggregates_and_policies(
    database: str, make_folder: MakeFolder, migrator: MakeMigrator, conn: Conn
) -> None:
    conn.execute("CREATE TABLE slow AS SELECT 1")
    before = conn.execute(CATALOG.encode()).fetchall()
    script = (
        MAKE + "CREATE MATERIALIZED VIEW d WITH (timescaledb.continuous) AS"
        " SELECT time_bucket('1 day', at) AS day, count(*) FROM h GROUP BY 1 WITH NO DATA;\n"
        "SELECT add_continuous_aggregate_policy('d', INTERVAL '9 days', INTERVAL '1 hour', INTERVAL '1 hour');\n"
        "ALTER TABLE h SET (timescaledb.compress);\nSELECT add_compression_policy('h', INTERVAL '7 days');\n"
    )
    folder = make_folder({"001_a.sql": script + HOLD})
    killed_while(database, folder, conn, SLEEPING)
    assert conn.execute(CATALOG.encode()).fetchall() == before
    jobs = "SELECT count(*) FROM timescaledb_information.jobs WHERE job_id >= 1000"
    assert conn.execute(jobs.encode()).fetchone() == (0,)
    conn.execute("DELETE FROM slow")
    assert migrator(folder).apply("001").outcome is Outcome.APPLIED
    assert conn.execute(jobs.encode()).fetchone() == (2,)
