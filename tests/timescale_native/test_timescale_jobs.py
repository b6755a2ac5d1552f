"""Background jobs that start while a migration changes their table: without care they make it fail; here they wait.

Needs the full edition: the Apache one has no policies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from native import fill, running_server, skip_before_218, skip_unless_full

from airflow_provider_wmigrate.engine.catalog.snapshot.comparing import diff
from airflow_provider_wmigrate.engine.catalog.snapshot.taking import take
from airflow_provider_wmigrate.engine.decisions.alone import Decider
from airflow_provider_wmigrate.engine.decisions.watch import switch_watch
from airflow_provider_wmigrate.engine.events import Event, Noticed
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.record import Outcome
from dev.cluster import Cluster
from tests.struck import killed_while
from tests.waiting import ENDLESS, eventually

MakeMigrator = Callable[..., Any]
MakeFolder = Callable[..., Any]
Conn = psycopg.Connection[Any]

POLICY = "Columnstore Policy%"
WAITS = (
    "SELECT 1 FROM pg_stat_activity a JOIN pg_locks l USING (pid) WHERE a.application_name LIKE 'Columnstore Policy%'"
    " AND a.datname = current_database() AND l.relation = 'm'::regclass AND NOT l.granted"
)
# Goes on as soon as the job has begun, and a moment later.
UNTIL_IT_STARTS = """
DO $$ BEGIN
    FOR i IN 1..150 LOOP
        EXIT WHEN EXISTS (SELECT FROM pg_stat_activity
            WHERE application_name LIKE 'Columnstore Policy%' AND datname = current_database());
        PERFORM pg_sleep(0.05);
        PERFORM pg_stat_clear_snapshot();
    END LOOP;
    PERFORM pg_sleep(1);
END $$;
"""
TYPE_CHANGE = f"""
SELECT decompress_chunk(c, if_compressed => true) FROM show_chunks('m') c;
{UNTIL_IT_STARTS}
ALTER TABLE m SET (timescaledb.enable_columnstore = false);
ALTER TABLE m ALTER COLUMN device TYPE bigint;
ALTER TABLE m SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'device', timescaledb.orderby = 'at');
"""
JOB = "SELECT total_runs, total_failures FROM timescaledb_information.job_stats WHERE job_id >= 1000"
TYPE = "SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = 'm'::regclass AND attname = 'device'"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """With the scheduler of jobs on, unlike the session's."""
    with running_server(background_workers=8) as cluster:
        dsn = cluster.create_database("edition", template="template0")
        cluster.execute("CREATE EXTENSION timescaledb", dbname="edition")
        skip_unless_full(dsn)
        yield cluster


@pytest.fixture
def database(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """Not a copy of another one: its scheduler would be connected to the template."""
    name = f"jobs_{abs(hash(request.node.name))}"
    dsn = cluster.create_database(name, template="template0")
    cluster.execute("CREATE EXTENSION timescaledb", dbname=name)
    yield dsn
    cluster.drop_database(name)


@pytest.fixture
def due(conn: Conn) -> int:
    """The job that puts the chunks of `m` into the columnstore. It begins in two seconds; one chunk is done."""
    skip_before_218(conn)
    conn.execute("CREATE TABLE m (at timestamptz NOT NULL, device int NOT NULL, value float8)")
    conn.execute("SELECT create_hypertable('m', by_range('at', INTERVAL '1 day'))")
    fill(conn)
    conn.execute("ALTER TABLE m SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'device')")
    conn.execute("SELECT compress_chunk(c) FROM show_chunks('m') c LIMIT 1")
    row = conn.execute(
        "SELECT add_compression_policy('m', INTERVAL '1 hour', initial_start => now() + INTERVAL '2 seconds')"
    ).fetchone()
    return int(row[0]) if row else 0


def notices(events: list[Event]) -> list[str]:
    return [e.message for e in events if isinstance(e, Noticed) and "is locked from here on" in e.message]


@pytest.mark.parametrize("care", ["", "SELECT alter_job({0}, scheduled => false);"])
def test_what_happens_otherwise(database: str, conn: Conn, due: int, care: str) -> None:
    """The job puts another chunk into the columnstore. That it is paused in the transaction, nobody else can see."""
    with psycopg.connect(database) as other, pytest.raises(psycopg.errors.FeatureNotSupported) as failed:
        other.execute((care.format(due) + TYPE_CHANGE).encode())
    assert failed.value.diag.message_primary == "cannot disable columnstore on hypertable with columnstore chunks"
    assert conn.execute(JOB).fetchone() in ((1, 0), (1, 1)), "it ran, and in some versions it failed as well"


def test_a_job_that_starts_in_the_middle_waits(
    migrator: MakeMigrator, conn: Conn, events: list[Event], due: int
) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(migrator({"001_a.sql": TYPE_CHANGE}).apply, "001")
        eventually(conn, WAITS)
        record = running.result(30)
    assert (record.outcome, record.attempts) == (Outcome.APPLIED, 1)
    job = f"policy_compression (job {due})"
    assert notices(events) == [f"public.m is locked from here on, so that its {job} waits until this has ended"]
    assert conn.execute(TYPE).fetchone() == ("bigint",)
    assert eventually(conn, JOB, lambda rows: rows == [(1, 0)]), "it ran afterwards, and did not fail"
    assert conn.execute("SELECT scheduled FROM timescaledb_information.jobs WHERE job_id = %s", [due]).fetchone() == (
        True,
    )


def test_rows_changed_before_the_table_end_in_no_deadlock(migrator: MakeMigrator, conn: Conn, due: int) -> None:
    rows = "UPDATE m SET value = 2 WHERE at BETWEEN '2026-01-02 00:00Z' AND '2026-01-02 12:00Z';"
    script = f"{rows}\n{UNTIL_IT_STARTS}\nALTER TABLE m ADD COLUMN unit text;"
    assert migrator({"001_a.sql": script}).apply("001").attempts == 1
    assert eventually(conn, JOB, lambda rows: rows == [(1, 0)])


def test_the_dry_run_of_a_rollback_pauses_too(
    migrator: MakeMigrator, conn: Conn, events: list[Event], due: int
) -> None:
    files = {"001_a.sql": "CREATE TABLE x ();", "001_a.rollback.sql": TYPE_CHANGE + "DROP TABLE x;"}
    runner = migrator(files)
    runner.apply("001")
    assert runner.roll_back("001", dry_run=True).outcome is Outcome.DRY_RUN
    assert eventually(conn, JOB, lambda rows: rows == [(1, 0)])
    assert conn.execute(TYPE).fetchone() == ("integer",)
    assert len(notices(events)) == 1


def test_a_killed_runner_leaves_nothing_paused(database: str, make_folder: MakeFolder, conn: Conn, due: int) -> None:
    folder = make_folder({"001_a.sql": f"{TYPE_CHANGE}SELECT pg_sleep({ENDLESS});"})
    killed_while(database, folder, conn, WAITS)
    assert eventually(conn, JOB, lambda rows: rows == [(1, 0)])
    assert conn.execute(TYPE).fetchone() == ("integer",)


def test_a_role_that_may_not_see_the_jobs_pauses_none(
    database: str, migrator: MakeMigrator, conn: Conn, events: list[Event], due: int
) -> None:
    conn.execute("DROP ROLE IF EXISTS narrow")
    conn.execute("CREATE ROLE narrow LOGIN")
    conn.execute("ALTER TABLE m OWNER TO narrow")
    conn.execute(f"GRANT CREATE ON DATABASE {conn.info.dbname} TO narrow")
    conn.execute("REVOKE ALL ON timescaledb_information.jobs FROM PUBLIC")
    script = "UPDATE m SET value = 2 WHERE device = 1;\nALTER TABLE m ADD COLUMN unit text;"
    dsn = database.replace("//postgres@", "//narrow@")
    assert migrator({"001_a.sql": script}, dsn=dsn).apply("001").outcome is Outcome.APPLIED
    assert notices(events) == []


def test_a_job_at_work_is_no_difference_and_nobodys_change(
    migrator: MakeMigrator, make_folder: MakeFolder, database: str, conn: Conn, due: int
) -> None:
    files = {"001_t.sql": "CREATE TABLE t ();", "001_t.rollback.sql": "DROP TABLE t;"}
    migrator(files).apply("001")
    switch_watch(Decider(lambda: psycopg.connect(database), read_folder(make_folder(files)), Identity("ann")), True)
    before = take(conn)
    eventually(conn, f"SELECT 1 FROM timescaledb_information.job_stats WHERE job_id = {due} AND total_runs > 0")
    assert diff(before, take(conn)) == ()
    assert conn.execute("SELECT command, objects FROM wmigrate_watch.changes").fetchall() == []
