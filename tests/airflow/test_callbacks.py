"""What the failure callback does with each outcome of a failure, and that nothing makes it raise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow.sdk import DAG
from airflow_runner import Runner, TaskLog, audit, relations

from airflow_provider_wmigrate import ApplyMigrationOperator, roll_back_on_failure
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity

MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]

A = {"001_a.sql": "CREATE TABLE a (id int);", "001_a.rollback.sql": "DROP TABLE a;"}
B = {"002_b.sql": "CREATE TABLE b (id int);", "002_b.rollback.sql": "DROP TABLE b;"}
TWO_STEPS = "CREATE TABLE half ();\nSELECT 1 / 0;"


def call(folder: Path, version: str = "002", *, times: int = 1, **arguments: Any) -> None:
    """As the task process does after the last try; without an exception, because there may be none."""
    task = ApplyMigrationOperator(task_id="apply", folder=str(folder), conn_id="target", version=version, **arguments)
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="apply", try_number=1, state="failed")
    for _ in range(times):
        roll_back_on_failure({"task": task, "ti": ti, "dag_run": SimpleNamespace(triggering_user_name="alice")})


def apply_and_leave_incomplete(runner: Runner, folder: Path, conn: Conn, version: str = "002") -> None:
    """Apply all, then make one entry look as if its process had died in the middle of a script without transaction."""
    assert runner.run(runner.migrations(folder)).state == "success"
    conn.execute("UPDATE wmigrate.schema_migrations SET status = 'incomplete' WHERE version = %s", [version])
    begin(folder, conn, version, run_id="r")


def begin(folder: Path, conn: Conn, version: str, *, run_id: str) -> None:
    """What a task that begins leaves in the audit log."""
    by = Identity("alice", "d", run_id, "apply", 1)
    migrator = Migrator(lambda: psycopg.connect(conn.info.dsn), read_folder(folder), identity=by)
    migrator.record("started", version=version, details={"direction": "apply"})


def outcomes(conn: Conn) -> list[tuple[str | None, str]]:
    return [(version, details["outcome"]) for version, details in audit(conn, "failure_handled")]


# Three outcomes


def test_rolled_back_by_the_database(runner: Runner, make_folder: MakeFolder, conn: Conn, task_log: TaskLog) -> None:
    run = runner.run(
        runner.migrations(make_folder({**A, "002_b.sql": TWO_STEPS, "002_b.rollback.sql": "DROP TABLE half;"}))
    )
    assert run.state == "failed"
    assert relations(conn) == {"a"}
    assert outcomes(conn) == [("002", "rolled back by the database, nothing of it was kept")]
    assert audit(conn, "rolled_back") == []
    assert "002_b: rolled back by the database, nothing of it was kept" in task_log.lines


def test_incomplete_runs_the_rollback_script(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder({**A, **B})
    apply_and_leave_incomplete(runner, folder, conn)
    call(folder)
    assert relations(conn) == {"a"}
    assert outcomes(conn) == [("002", "incomplete, its rollback script has been run")]
    assert [version for version, _ in audit(conn, "rolled_back")] == ["002"]


def test_incomplete_stays_where_the_policy_says_so(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder({**A, **B, "migration_config.yaml": "migrations: [{version: 2, on_failure: none}]"})
    apply_and_leave_incomplete(runner, folder, conn)
    call(folder)
    assert relations(conn) == {"a", "b"}
    assert outcomes(conn) == [("002", "incomplete; on_failure is none, so it stays as it is")]


def test_the_policy_may_come_from_the_environment(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    careful = "environments: {production: {execution: {on_failure: none}}}"
    folder = make_folder({**A, **B, "migration_config.yaml": careful})
    apply_and_leave_incomplete(runner, folder, conn)
    call(folder, environment="production")
    assert relations(conn) == {"a", "b"}
    begin(folder, conn, "002", run_id="r")
    call(folder)
    assert relations(conn) == {"a"}


def test_applied_stays(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder({**A, **B})
    runner.run(runner.migrations(folder))
    call(folder)
    assert relations(conn) == {"a", "b"}
    assert outcomes(conn) == [("002", "applied, the failure came afterwards; it stays")]


def test_what_somebody_else_left_incomplete_stays(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    """This task failed because another runner held the lock, and that one is in the middle of its script."""
    folder = make_folder({**A, **B})
    apply_and_leave_incomplete(runner, folder, conn)
    begin(folder, conn, "002", run_id="another run")
    call(folder)
    assert relations(conn) == {"a", "b"}
    assert outcomes(conn) == [("002", "incomplete, but this task did not leave it so; it stays as it is")]


def test_what_others_have_made_is_not_taken_along(
    runner: Runner, make_folder: MakeFolder, conn: Conn, task_log: TaskLog
) -> None:
    """A person is asked where `down` would refuse: CASCADE would take what no migration has made."""
    folder = make_folder({**A, **B, "002_b.rollback.sql": "DROP TABLE b CASCADE;"})
    apply_and_leave_incomplete(runner, folder, conn)
    conn.execute("CREATE VIEW report AS SELECT * FROM b")
    call(folder)
    assert conn.execute("SELECT * FROM report").fetchall() == []
    assert outcomes(conn) == []
    assert [line for line in task_log.lines if "ALARM" in line] == [
        "ALARM: rollback of 002 failed: 002_b.rollback.sql:1: CASCADE would take view report along, which no"
        " migration that is rolled back has made; roll back first what made it; or if it is to go, drop it by name in"
        " the rollback script; the database needs a person"
    ]


# Harmless


def test_called_twice(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder({**A, **B})
    apply_and_leave_incomplete(runner, folder, conn)
    call(folder, times=2)
    assert relations(conn) == {"a"}
    assert [outcome for _, outcome in outcomes(conn)] == [
        "incomplete, its rollback script has been run",
        "rolled back by the database, nothing of it was kept",
    ]


def test_a_failed_dry_run_changes_nothing(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder({**A, **B})
    apply_and_leave_incomplete(runner, folder, conn)
    call(folder, mode="dry_run")
    assert relations(conn) == {"a", "b"}
    assert outcomes(conn) == []


def test_a_database_without_a_ledger(runner: Runner, make_folder: MakeFolder, conn: Conn, task_log: TaskLog) -> None:
    call(make_folder({**A, **B}))
    assert "the database has no ledger, so nothing of 002_b was kept" in task_log.lines
    assert conn.execute("SELECT to_regnamespace('wmigrate')").fetchone() == (None,)


def test_in_the_dag_processor_the_fields_are_still_templates(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    careful = "environments: {production: {execution: {on_failure: none}}}"
    folder = make_folder({**A, **B, "migration_config.yaml": careful})
    apply_and_leave_incomplete(runner, folder, conn)
    with DAG("processor", schedule=None) as dag:
        task = ApplyMigrationOperator(
            task_id="apply",
            folder=str(folder),
            version="002",
            conn_id="{{ params.conn_id }}",
            environment="{{ params.environment }}",
        )
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="apply", try_number=1, state=None)
    params = {"conn_id": "target", "environment": "production"}
    # Neither an exception nor, where an older server sent the request, the run.
    roll_back_on_failure({"task": task, "ti": ti, "dag": dag, "params": params})
    assert outcomes(conn) == [("002", "incomplete; on_failure is none, so it stays as it is")]
    assert conn.execute("SELECT DISTINCT actor FROM wmigrate.audit_log WHERE event = 'failure_handled'").fetchall() == [
        ("airflow:unknown",)
    ]


# Never raises


def test_a_failing_rollback_raises_the_alarm(
    runner: Runner, make_folder: MakeFolder, conn: Conn, task_log: TaskLog
) -> None:
    folder = make_folder({**A, **B, "002_b.rollback.sql": "DROP TABLE nowhere;"})
    apply_and_leave_incomplete(runner, folder, conn)
    call(folder)
    (alarm,) = [line for line in task_log.lines if line.startswith("ALARM")]
    assert alarm.startswith('ALARM: rollback of 002 failed: 002_b.rollback.sql:1: table "nowhere" does not exist')
    ((version, details),) = audit(conn, "rollback_failed")
    assert (version, details["sqlstate"]) == ("002", "42P01")
    assert relations(conn) == {"a", "b"}


def test_the_rollback_script_of_what_was_applied_is_run(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder({**A, **B})
    apply_and_leave_incomplete(runner, folder, conn)
    call(make_folder({**A, **B, "002_b.rollback.sql": "DROP TABLE a;"}))
    assert outcomes(conn) == [("002", "incomplete, its rollback script has been run")]
    assert relations(conn) == {"a"}


def test_a_missing_rollback_script_raises_the_alarm(
    runner: Runner, make_folder: MakeFolder, conn: Conn, task_log: TaskLog
) -> None:
    folder = make_folder({**A, "002_b.sql": B["002_b.sql"]})
    apply_and_leave_incomplete(runner, folder, conn)
    call(folder)
    assert "ALARM: rollback of 002 failed: 002_b.sql: migration 002_b has no rollback script" in task_log.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"connection": '{"conn_type": "postgres", "host": "127.0.0.1", "port": 1}'},
            "no connection to the target database",
        ),
        ({"version": "999"}, "no migration 999 in this folder"),
        ({"environment": "produktion"}, "there is no environment produktion"),
        ({"folder": "/nowhere"}, "/nowhere: no such folder"),
    ],
    ids=["database down", "unknown version", "unknown environment", "no folder"],
)
def test_trouble_is_only_logged(
    runner: Runner,
    make_folder: MakeFolder,
    task_log: TaskLog,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    message: str,
) -> None:
    if "connection" in change:
        monkeypatch.setenv("AIRFLOW_CONN_TARGET", change["connection"])
    folder = Path(change.get("folder") or make_folder({**A, **B}))
    call(folder, change.get("version", "002"), environment=change.get("environment"))
    assert len(task_log.lines) == 1
    assert task_log.lines[0].startswith("the failure of apply could not be handled: ")
    assert message in task_log.lines[0]
