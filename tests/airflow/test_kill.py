"""A task that is killed, timed out or dies leaves nothing on the server, and the same task afterwards finishes."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout
from airflow_runner import Runner, applied, audit, relations, terminated_when

from airflow_provider_wmigrate import ApplyMigrationOperator, RollBackMigrationOperator
from tests.waiting import PATIENCE, wait_until

MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]

FAST = "settings: {execution: {retry_attempts: 0, retry_delay_seconds: 0}}"
SLOW = {
    "001_a.sql": "CREATE TABLE a (id int);\nSELECT pg_sleep(1000);\nCREATE TABLE b (id int);",
    "001_a.rollback.sql": "DROP TABLE a;\nSELECT pg_sleep(1000);\nDROP TABLE b;",
    "migration_config.yaml": FAST,
}
QUICK = {**SLOW, "001_a.sql": SLOW["001_a.sql"].replace("1000", "0")}


def sleeping(conn: Conn) -> list[int]:
    """Server processes that are inside pg_sleep, in this database."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
        " AND application_name LIKE 'wmigrate %'"
    )
    return [pid for (pid,) in conn.execute(query)]


@pytest.fixture
def terminated_when_asleep(database: str) -> Iterator[None]:
    """Sends SIGTERM to this process, once, as soon as a migration is inside pg_sleep."""
    with terminated_when(database, sleeping):
        yield


@pytest.mark.usefixtures("terminated_when_asleep")
def test_sigterm_cancels_the_statement_on_the_server(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.migrations(make_folder(SLOW)))
    assert run.state == "failed"
    assert str(run.errors["001_a"]).startswith("001_a.sql:2: cancelled on request")
    assert sleeping(conn) == []
    assert relations(conn) == set()
    ((version, details),) = audit(conn, "failed")
    assert (version, details["sqlstate"]) == ("001", "57014")


@pytest.mark.usefixtures("terminated_when_asleep")
def test_sigterm_cancels_a_rollback(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder(QUICK)
    runner.run(runner.migrations(folder))
    run = runner.run(runner.rollback(folder, to="0"))
    assert run.state == "failed"
    assert "cancelled on request" in str(run.errors["001_a"])
    assert relations(conn) == {"a", "b"}


def test_a_task_timeout_cancels_and_leaves_nothing(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    dag = runner.migrations(make_folder(SLOW))
    dag.task_dict["migrate.001_a"].execution_timeout = timedelta(seconds=1)
    run = runner.run(dag)
    assert isinstance(run.errors["001_a"], AirflowTaskTimeout)
    assert run.state == "failed"
    wait_until(lambda: not sleeping(conn))
    assert relations(conn) == set()
    assert locks_held(conn) == 0


def locks_held(conn: Conn) -> int:
    query = (
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE d.datname = current_database() AND l.pid <> pg_backend_pid() AND l.locktype = 'advisory'"
    )
    (count,) = conn.execute(query).fetchone()
    return int(count)


def test_the_engines_own_budget_ends_a_script_cleanly(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    budget = {"migration_config.yaml": "settings: {execution: {retry_attempts: 0, timeout_seconds: 1}}"}
    run = runner.run(runner.migrations(make_folder({**SLOW, **budget})))
    assert str(run.errors["001_a"]).startswith("001_a.sql:2: ")
    assert "timeout" in str(run.errors["001_a"])
    assert relations(conn) == set()


# Killed

CONTEXT = {
    "ti": SimpleNamespace(dag_id="d", run_id="r", task_id="step", try_number=1),
    "dag_run": SimpleNamespace(triggering_user_name="alice"),
}


def execute_in_a_process(operator: Any) -> multiprocessing.Process:
    """A forked process, as the local executor makes one for each task."""
    process = multiprocessing.get_context("fork").Process(target=operator.execute, args=(CONTEXT,), daemon=True)
    process.start()
    return process


def kill_when_asleep(process: multiprocessing.Process, conn: Conn) -> None:
    wait_until(lambda: sleeping(conn))
    process.kill()
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.needs_postgresql(14, "client_connection_check_interval")
def test_killed_in_the_middle_of_a_migration(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder(SLOW)
    kill_when_asleep(execute_in_a_process(step(ApplyMigrationOperator, folder)), conn)
    # The server notices by itself that its client is gone, and lets go of everything.
    wait_until(lambda: not sleeping(conn) and not locks_held(conn))
    assert relations(conn) == set()
    assert applied(conn) == []

    make_folder(QUICK)
    assert step(ApplyMigrationOperator, folder).execute(CONTEXT)["outcome"] == "applied"
    assert relations(conn) == {"a", "b"}


@pytest.mark.needs_postgresql(14, "client_connection_check_interval")
def test_killed_in_the_middle_of_a_rollback(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder(QUICK)
    step(ApplyMigrationOperator, folder).execute(CONTEXT)
    kill_when_asleep(execute_in_a_process(step(RollBackMigrationOperator, folder, rollback_script=None)), conn)
    wait_until(lambda: not sleeping(conn))
    assert relations(conn) == {"a", "b"}
    assert applied(conn) == ["001"]

    (folder / "001_a.rollback.sql").write_text("DROP TABLE a, b;")
    chosen = step(RollBackMigrationOperator, folder, rollback_script="folder")
    assert chosen.execute(CONTEXT)["outcome"] == "rolled_back"
    assert relations(conn) == set()


def test_a_task_that_starts_while_another_still_runs_waits_for_it(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    # An orphan of a dead supervisor may still be at work when the next try begins.
    folder = make_folder({**SLOW, "001_a.sql": SLOW["001_a.sql"].replace("1000", "1")})
    orphan = execute_in_a_process(step(ApplyMigrationOperator, folder))
    wait_until(lambda: sleeping(conn))
    assert step(ApplyMigrationOperator, folder).execute(CONTEXT)["outcome"] == "already_applied"
    orphan.join(PATIENCE)
    assert orphan.exitcode == 0
    assert len(audit(conn, "applied")) == 1


def step(kind: Any, folder: Path, **more: Any) -> Any:
    return kind(task_id="step", folder=str(folder), conn_id="target", version="001", **more)
