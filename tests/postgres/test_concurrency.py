"""Several runners at once, and runners that die: each migration is applied once, and wholly or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import HistoryError, StatementFailed, WMigrateError
from airflow_provider_wmigrate.engine.events import Event, Waiting
from airflow_provider_wmigrate.engine.record import Outcome, Record
from dev.cluster import Cluster, free_port
from tests.waiting import PATIENCE, eventually, wait_until

MakeMigrator = Callable[..., Any]
MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("001", "002", "004")

# Sleeps as long as somebody has made a table for it to sleep by.
SLOW = {"001_a.sql": "CREATE TABLE a ();\nSELECT pg_sleep(1000) FROM slow;\nCREATE TABLE z ();"}
HERE = "FROM pg_stat_activity WHERE datname = current_database() AND"
SLEEPING = f"SELECT pid {HERE} wait_event = 'PgSleep'"
WORKING = f"SELECT pid {HERE} application_name LIKE 'wmigrate%'"

RUNNER = """
import sys
from pathlib import Path
import psycopg
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import (Identity)

dsn, folder, *versions = sys.argv[1:]
migrator = Migrator(lambda: psycopg.connect(dsn), read_folder(Path(folder)), identity=Identity("process"))
for version in versions:
    print(version, migrator.apply(version).outcome.value, flush=True)
"""


def start_process(dsn: str, folder: Path, *versions: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, dsn, str(folder), *versions],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def none(rows: list[Any]) -> bool:
    return not rows


def relations(conn: Conn) -> list[str]:
    return [n for (n,) in conn.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")]


def outcome(call: Callable[[], Record]) -> str:
    """What came of it: the outcome, or the codes of the findings for which it was refused."""
    try:
        return call().outcome.value
    except HistoryError as error:
        return " ".join(f.code for f in error.findings)


def once_each(outcomes: Counter[tuple[str, str]], runners: int) -> bool:
    expected: Counter[tuple[str, str]] = Counter()
    for version in SHIPPED:
        expected[(version, "applied")] = 1
        expected[(version, "already_applied")] = runners - 1
    return outcomes == expected


# Runners at the same time


@pytest.mark.parametrize("runners", [2, 5])
def test_threads_apply_each_migration_once(migrator: MakeMigrator, conn: Conn, shipped: Path, runners: int) -> None:
    line = threading.Barrier(runners)

    def run(_: int) -> list[tuple[str, str]]:
        runner = migrator(shipped)
        line.wait()
        return [(version, runner.apply(version).outcome.value) for version in SHIPPED]

    with ThreadPoolExecutor(runners) as pool:
        outcomes = Counter(pair for pairs in pool.map(run, range(runners)) for pair in pairs)
    assert once_each(outcomes, runners)
    _is_well(migrator(shipped), conn)


@pytest.mark.parametrize("runners", [2, 5])
def test_processes_apply_each_migration_once(
    migrator: MakeMigrator, conn: Conn, database: str, shipped: Path, runners: int
) -> None:
    processes = [start_process(database, shipped, *SHIPPED) for _ in range(runners)]
    answers = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [(process.returncode, err) for process, (_, err) in zip(processes, answers, strict=True)] == [
        (0, "")
    ] * runners
    lines = [line.split() for out, _ in answers for line in out.splitlines()]
    assert once_each(Counter((version, what) for version, what in lines), runners)
    _is_well(migrator(shipped), conn)


def _is_well(runner: Any, conn: Conn) -> None:
    events = conn.execute("SELECT event, count(*) FROM wmigrate.audit_log GROUP BY 1").fetchall()
    assert dict(events) == {"ledger_created": 1, "applied": 3}
    assert runner.ledger.verify(conn) == ()
    assert [e.version for e in runner.ledger.entries(conn)] == list(SHIPPED)


def test_migrations_that_do_not_need_one_another_run_side_by_side(migrator: MakeMigrator, conn: Conn) -> None:
    files = {
        "001_root.sql": "CREATE TABLE slow AS SELECT 1",
        "002_left.sql": "SELECT pg_sleep(1000) FROM slow",
        "003_right.sql": "SELECT pg_sleep(1000) FROM slow",
        "migration_config.yaml": "migrations:\n  - {version: 3, dependencies: [1]}\n",
    }
    root, *branches = (migrator(files) for _ in range(3))
    root.apply("001")
    with ThreadPoolExecutor(2) as pool:
        calls = [
            pool.submit(outcome, lambda b=b, v=v: b.apply(v)) for b, v in zip(branches, ("002", "003"), strict=True)
        ]
        sleeping = eventually(conn, SLEEPING, lambda rows: len(rows) == 2)
        for (pid,) in sleeping:
            conn.execute("SELECT pg_cancel_backend(%s)", [pid])
        assert all(isinstance(call.exception(), StatementFailed) for call in calls)


def test_whoever_waits_holds_no_snapshot(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    """CREATE INDEX CONCURRENTLY of the runner it waits for would wait for that snapshot, and neither would end."""
    conn.execute("CREATE TABLE slow AS SELECT 1")
    first, second = migrator(SLOW), migrator(SLOW)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(first.apply, "001")
        ((sleeper,),) = eventually(conn, SLEEPING)
        waiter = pool.submit(second.apply, "001")
        query = f"SELECT state, backend_xmin {HERE} application_name LIKE 'wmigrate%' AND pid <> {sleeper}"
        eventually(conn, query, lambda rows: rows == [("idle", None)])
        wait_until(lambda: any(isinstance(e, Waiting) for e in events))
        second.cancel()
        with pytest.raises(WMigrateError, match=r"^cancelled on request while waiting for another runner$"):
            waiter.result(PATIENCE)
        first.cancel()
        assert isinstance(slow.exception(PATIENCE), StatementFailed)


def test_a_rollback_waits_for_the_apply_of_a_dependent_and_is_then_refused(migrator: MakeMigrator, conn: Conn) -> None:
    files = {
        "001_a.sql": "CREATE TABLE a ()",
        "001_a.rollback.sql": "DROP TABLE a",
        "002_b.sql": "SELECT pg_sleep(0.7)",
    }
    forward, back = migrator(files), migrator(files)
    forward.apply("001")
    with ThreadPoolExecutor(1) as pool:
        applying = pool.submit(forward.apply, "002")
        eventually(conn, SLEEPING)
        assert outcome(lambda: back.roll_back("001")) == "depended_on"
        assert applying.result().outcome is Outcome.APPLIED


def test_a_rollback_and_the_apply_of_a_dependent_never_both_succeed(migrator: MakeMigrator, conn: Conn) -> None:
    files = {
        "001_a.sql": "CREATE TABLE a (id int PRIMARY KEY)",
        "001_a.rollback.sql": "DROP TABLE a CASCADE",
        "002_b.sql": "CREATE TABLE b (id int REFERENCES a)",
        "002_b.rollback.sql": "DROP TABLE b",
    }
    forward, back = migrator(files), migrator(files)
    line = threading.Barrier(2)
    seen = Counter[tuple[str, str]]()

    def at_once(call: Callable[[str], Record], version: str) -> str:
        line.wait()
        return outcome(lambda: call(version))

    with ThreadPoolExecutor(2) as pool:
        for _ in range(8):
            forward.apply("001")
            pair = pool.submit(at_once, forward.apply, "002"), pool.submit(at_once, back.roll_back, "001")
            seen[pair[0].result(), pair[1].result()] += 1
            back.roll_back("002")
            back.roll_back("001")
    assert set(seen) <= {("applied", "depended_on"), ("dependency_unmet", "rolled_back")}
    assert forward.ledger.verify(conn) == ()


# Runners that die


@pytest.mark.needs_postgresql(14, "client_connection_check_interval")
def test_after_kill_9_nothing_is_left_and_the_next_one_succeeds(
    migrator: MakeMigrator, conn: Conn, database: str, make_folder: MakeFolder
) -> None:
    conn.execute("CREATE TABLE slow AS SELECT 1")
    process = start_process(database, make_folder(SLOW), "001")
    eventually(conn, SLEEPING)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    eventually(conn, WORKING, none)
    assert relations(conn) == ["slow"]
    conn.execute("DELETE FROM slow")
    assert migrator(SLOW).apply("001").outcome is Outcome.APPLIED
    assert sorted(relations(conn)) == ["a", "slow", "z"]
    events = [e for (e,) in conn.execute("SELECT event FROM wmigrate.audit_log ORDER BY position")]
    assert events == ["ledger_created", "applied"]


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_session_ended_by_an_administrator(migrator: MakeMigrator, conn: Conn, dry_run: bool) -> None:
    conn.execute("CREATE TABLE slow AS SELECT 1")
    runner = migrator(SLOW)
    runner.record("planned")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(runner.apply, "001", dry_run=dry_run)
        ((pid,),) = eventually(conn, SLEEPING)
        conn.execute("SELECT pg_terminate_backend(%s)", [pid])
        error = running.exception(PATIENCE)
    assert isinstance(error, StatementFailed)
    assert str(error).startswith(
        "001_a.sql:2: the connection was lost: terminating connection due to administrator command"
    )
    assert error.retryable
    assert relations(conn) == ["slow"]
    last = conn.execute("SELECT event, details ->> 'sqlstate' FROM wmigrate.audit_log ORDER BY position DESC LIMIT 1")
    assert last.fetchone() == ("failed", "57P01")
    conn.execute("DELETE FROM slow")
    assert runner.apply("001").outcome is Outcome.APPLIED


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """On a port of its own, which it has again after a restart. Its folder is open to the server's account."""
    place = Path(tempfile.mkdtemp(prefix="wmigrate-test-"))
    place.chmod(0o755)
    try:
        with Cluster(place / "data", port=free_port(), fsync=False) as cluster:
            yield cluster
    finally:
        shutil.rmtree(place)


def test_a_server_restarted_in_the_middle(own_cluster: Cluster, migrator: MakeMigrator) -> None:
    dsn = own_cluster.dsn()
    runner = migrator(SLOW, dsn=dsn)
    with psycopg.connect(dsn, autocommit=True) as conn, ThreadPoolExecutor(1) as pool:
        conn.execute("CREATE TABLE slow AS SELECT 1")
        running = pool.submit(runner.apply, "001")
        eventually(conn, SLEEPING)
        own_cluster.stop()
        error = running.exception(PATIENCE)
    assert isinstance(error, StatementFailed)
    assert error.retryable
    own_cluster.start()
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert relations(conn) == ["slow"]
        conn.execute("DELETE FROM slow")
        assert runner.apply("001").outcome is Outcome.APPLIED
        assert runner.ledger.verify(conn) == ()
