"""A rollback group takes what was applied last first, whatever the edges of the folder say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from airflow_runner import Run, Runner, audit, relations

MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]

A = {"001_a.sql": "CREATE TABLE a (id int);", "001_a.rollback.sql": "DROP TABLE a;"}
C = {"003_c.sql": "CREATE TABLE c (id int);", "003_c.rollback.sql": "DROP TABLE c;"}
LATE_B = {"002_b.sql": "CREATE VIEW b AS SELECT * FROM c;", "002_b.rollback.sql": "DROP VIEW b;"}

BRANCHES = {
    "migration_config.yaml": """
settings: {execution: {retry_attempts: 0, timeout_seconds: 100, lock_wait_seconds: 20}}
migrations:
  - {version: '001', dependencies: []}
  - {version: '002', dependencies: ['001']}
  - {version: '003', dependencies: ['001']}
"""
}
B = {"002_b.sql": "CREATE TABLE b (id int);", "002_b.rollback.sql": "DROP TABLE b;"}
UNDECLARED_C = {"003_c.sql": "CREATE VIEW c AS SELECT * FROM b;", "003_c.rollback.sql": "DROP VIEW c;"}
BROKEN_C = {**UNDECLARED_C, "003_c.rollback.sql": "DROP VIEW nothing;"}


def rolled_back(conn: Conn) -> list[str | None]:
    return [version for version, _ in audit(conn, "rolled_back")]


def errors(run: Run) -> dict[str, str]:
    return {task: str(error) for task, error in run.errors.items() if error is not None}


def merged_late(runner: Runner, make_folder: MakeFolder) -> Path:
    """001 and 003 are applied, then 002, which stands on what 003 made."""
    runner.run(runner.migrations(make_folder({**A, **C})))
    folder = make_folder({**A, **LATE_B, **C})
    assert runner.run(runner.migrations(folder)).state == "success"
    return folder


def test_one_that_was_merged_late_is_rolled_back_first(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.rollback(merged_late(runner, make_folder), to="0"))
    assert (run.state, run.order) == ("success", ["plan", "003_c", "002_b", "001_a", "report"])
    assert rolled_back(conn) == run.returned("report")["rolled_back"] == ["002", "003", "001"]
    outcomes = {task: run.returned(task)["outcome"] for task in ("001_a", "002_b", "003_c")}
    assert outcomes == {"001_a": "rolled_back", "002_b": "not_applied", "003_c": "rolled_back"}
    assert relations(conn) == set()


def test_a_dry_rollback_of_one_that_was_merged_late(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.rollback(merged_late(runner, make_folder), to="0", mode="dry_run"))
    assert (run.state, run.returned("report")["dry_run"]) == ("success", ["001", "002", "003"])
    assert (relations(conn), rolled_back(conn)) == ({"a", "c"}, [])


def test_branches_are_rolled_back_in_the_order_of_applying(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    """Nobody declared that 003 needs 002, so both may start."""
    folder = make_folder({**A, **B, **UNDECLARED_C, **BRANCHES})
    runner.run(runner.migrations(folder))
    run = runner.run(runner.rollback(folder, to="0"))
    assert (run.state, run.order) == ("success", ["plan", "002_b", "003_c", "001_a", "report"])
    assert rolled_back(conn) == ["003", "002", "001"]
    assert relations(conn) == set()


def test_what_cannot_be_rolled_back_keeps_what_was_applied_before_it(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    folder = make_folder({**A, **B, **BROKEN_C, **BRANCHES})
    runner.run(runner.migrations(folder))
    run = runner.run(runner.rollback(folder, to="0"))
    assert (run.state, rolled_back(conn)) == ("failed", [])
    assert errors(run)["002_b"] == (
        'rollback of 003 failed: 003_c.rollback.sql:1: view "nothing" does not exist (SQLSTATE 42P01)'
        " in DROP VIEW nothing; rolled back, nothing of it was kept"
    )

    run.clear("rollback.002_b")
    assert errors(run)["002_b"] == (
        "003 has to be rolled back first, and rollback.003_c failed; clear it and this task, with what is downstream"
    )
    run.mark("success", "rollback.003_c")
    run.clear("rollback.002_b")
    assert errors(run)["002_b"] == (
        "003 has to be rolled back first, and rollback.003_c is a success although that is still applied;"
        " clear it and this task, with what is downstream"
    )
    assert rolled_back(conn) == []

    make_folder({**A, **B, **UNDECLARED_C, **BRANCHES})
    run.clear("rollback.003_c")
    assert errors(run)["003_c"] == (
        "003_c.rollback.sql: the rollback script of 003 is not the one recorded when it was applied; read both, and"
        ' trigger a new run with the configuration {"rollback_script": "folder"} or "ledger", and the'
        ' same "to"; to clear this one is not enough, since it keeps its configuration'
    )
    run = runner.run(runner.rollback(folder, to="0"), rollback_script="folder")
    assert (run.state, rolled_back(conn)) == ("success", ["003", "002", "001"])


def test_a_task_that_is_cleared_later_takes_nothing_else_with_it(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    folder = make_folder({**A, **B, **UNDECLARED_C, **BRANCHES})
    runner.run(runner.migrations(folder))
    run = runner.run(runner.rollback(folder, to="1"))
    runner.run(runner.migrations(folder))
    run.clear("rollback.002_b")
    assert errors(run)["002_b"] == (
        "003 has to be rolled back first, and rollback.003_c is a success although that is still applied;"
        " clear it and this task, with what is downstream"
    )
    assert rolled_back(conn) == ["003", "002"]


def test_the_timeout_is_a_net_under_all_that_one_task_may_roll_back(runner: Runner, make_folder: MakeFolder) -> None:
    folder = make_folder({**A, **B, **UNDECLARED_C, **BRANCHES})
    each = timedelta(seconds=100 + 20 + 60)
    tasks = runner.rollback(folder, to="0").task_dict
    assert {tasks[f"rollback.{name}"].execution_timeout for name in ("001_a", "002_b", "003_c")} == {3 * each}
    given = runner.rollback(folder, to="0", execution_timeout=timedelta(hours=1)).task_dict
    assert given["rollback.001_a"].execution_timeout == timedelta(hours=1)
