"""No permission from silence: what belongs to a plan acts only with that plan, and an attempt ends with its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow_runner import Run, Runner, applied, audit, connection, relations

MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]

A = {"001_a.sql": "CREATE TABLE a (id int PRIMARY KEY);", "001_a.rollback.sql": "DROP TABLE a;"}
B = {"002_b.sql": "CREATE TABLE b (id int REFERENCES a);", "002_b.rollback.sql": "DROP TABLE b;"}
C = {"003_c.sql": "CREATE TABLE c (id int);", "003_c.rollback.sql": "DROP TABLE c;"}
BROKEN_B = {"002_b.sql": "CREATE TABLE b (id int;", "002_b.rollback.sql": "DROP TABLE b;"}
BROKEN_C = {"003_c.sql": "SELECT * FROM nowhere;", "003_c.rollback.sql": "SELECT 1;"}
AGAIN = "clear {} with its downstream"


def error(run: Run, task: str) -> str:
    """What the task failed with: one line, of the kind that Airflow does not retry."""
    from airflow.sdk.exceptions import AirflowFailException

    raised = run.errors[task]
    assert isinstance(raised, AirflowFailException), raised
    assert "\n" not in str(raised)
    return str(raised)


def gated(dag: Any, kind: str) -> Any:
    """The DAG with a gate before its group that skips nothing but its direct children."""
    from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator, ShortCircuitOperator
    from airflow.sdk.exceptions import AirflowSkipException

    def skip() -> None:
        raise AirflowSkipException

    with dag:
        plan = next(task for task in dag.tasks if task.task_id.endswith(".plan"))
        if kind == "branch":
            other = PythonOperator(task_id="other", python_callable=lambda: None)
            BranchPythonOperator(task_id="gate", python_callable=lambda: "other") >> [other, plan]
        elif kind == "short circuit":
            (
                ShortCircuitOperator(
                    task_id="gate", python_callable=lambda: False, ignore_downstream_trigger_rules=False
                )
                >> plan
            )
        else:
            PythonOperator(task_id="gate", python_callable=skip) >> plan
    return dag


# A gate before the group


@pytest.mark.parametrize("kind", ["branch", "short circuit", "skip"])
def test_a_gate_before_the_group_skips_all_of_it(
    runner: Runner, make_folder: MakeFolder, conn: Conn, kind: str
) -> None:
    run = runner.run(gated(runner.migrations(make_folder({**A, **B}), on_run_failure="roll_back"), kind))
    assert set(run.order) <= {"gate", "other", "001_a"}, "one process finds it out for all"
    states = {task: run.states[task] for task in ("plan", "001_a", "002_b", "roll_back_run", "report")}
    assert (set(states.values()), run.state) == ({"skipped"}, "success")
    assert relations(conn) == set()
    assert conn.execute("SELECT to_regnamespace('wmigrate')").fetchone() == (None,)
    assert run.events == []


def test_a_gate_before_a_rollback_rolls_nothing_back(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder({**A, **B})
    runner.run(runner.migrations(folder))
    run = runner.run(gated(runner.rollback(folder, to="0"), "skip"))
    assert set(run.states.values()) == {"skipped"}
    assert applied(conn) == ["001", "002"]


def test_a_gate_that_opens_when_the_run_is_cleared(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    from airflow.providers.standard.operators.python import ShortCircuitOperator

    opened: list[bool] = []
    dag = runner.migrations(make_folder({**A, **B}))
    with dag:
        gate = ShortCircuitOperator(
            task_id="gate", python_callable=lambda: bool(opened), ignore_downstream_trigger_rules=False
        )
        gate >> dag.task_dict["migrate.plan"]
    run = runner.run(dag)
    assert relations(conn) == set()
    opened.append(True)
    run.clear(*dag.task_ids)
    assert (run.state, applied(conn)) == ("success", ["001", "002"])


def test_a_gate_before_a_mapped_group(runner: Runner, make_folder: MakeFolder, two: tuple[Conn, Conn]) -> None:
    """Each index skips what is its own."""
    run = runner.run(fleet(make_folder({**A, **B}), dag_id="gated_fleet"))
    two[1].execute("DROP TABLE a CASCADE; DROP SCHEMA wmigrate CASCADE")
    run.mark("skipped", "tenants.migrate.plan")
    before = len(run.order)
    run.clear("tenants.migrate.001_a", "tenants.migrate.002_b", "tenants.migrate.report")
    assert sorted(run.order[before:]) == ["001_a[0]", "001_a[1]"]
    assert {run.states[f"{task}[{i}]"] for task in ("001_a", "002_b", "report") for i in (0, 1)} == {"skipped"}
    assert relations(two[1]) == {"b"}


# A plan that is gone


def test_a_failed_plan_marked_as_success_permits_nothing(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder({**A, **B})
    runner.run(runner.migrations(folder))
    run = runner.run(runner.rollback(folder, to=""))
    assert run.states["plan"] == "failed"
    run.mark("success", "rollback.plan")
    run.clear("rollback.002_b", "rollback.001_a", "rollback.report")
    gone = (
        "the plan of this run is gone (rollback.plan is marked as success, but left none or it was deleted),"
        " so nothing is done; clear rollback.plan with its downstream"
    )
    assert error(run, "002_b") == gone
    assert (run.states["001_a"], run.state) == ("upstream_failed", "failed")
    assert applied(conn) == ["001", "002"]


def test_a_refused_plan_marked_as_success_permits_nothing(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    runner.run(runner.migrations(make_folder(A)))
    run = runner.run(runner.migrations(make_folder({**A, "001_a.sql": "SELECT 1;", **C})))
    assert run.states["plan"] == "failed"
    run.mark("success", "migrate.plan")
    run.clear("migrate.001_a", "migrate.003_c", "migrate.report")
    assert error(run, "001_a").startswith("migrate.plan was refused (001_a.sql: was edited after it was applied on ")
    assert error(run, "001_a").endswith("), so nothing is done; fix it and " + AGAIN.format("migrate.plan"))
    assert applied(conn) == ["001"]


@pytest.mark.parametrize("direction", ["apply", "rollback"])
def test_a_plan_whose_xcom_was_deleted_permits_nothing(
    runner: Runner, make_folder: MakeFolder, conn: Conn, direction: str
) -> None:
    folder = make_folder({**A, **B})
    run = runner.run(runner.migrations(folder, to="1"))
    if direction == "rollback":
        run = runner.run(runner.rollback(folder, to="1"))
    before = applied(conn)
    run.lose_xcoms()
    group = {"apply": "migrate", "rollback": "rollback"}[direction]
    run.clear(f"{group}.002_b", f"{group}.report")
    assert error(run, "002_b").startswith("the plan of this run is gone")
    assert run.states["report"] == "failed"
    assert applied(conn) == before


def test_the_report_without_a_plan_refuses(runner: Runner, make_folder: MakeFolder) -> None:
    run = runner.run(runner.migrations(make_folder(A)))
    run.lose_xcoms()
    run.clear("migrate.report")
    assert error(run, "report").startswith("the plan of this run is gone")


def test_a_step_cleared_while_the_plan_failed_does_nothing(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **B}), to="999"))
    run.mark("success", "migrate.001_a")  # so that the scheduler lets the second one run
    run.clear("migrate.002_b")
    assert error(run, "002_b") == "migrate.plan is failed, so nothing is done; " + AGAIN.format("migrate.plan")
    assert relations(conn) == set()


def test_an_operator_without_a_plan_goes_by_the_ledger(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    from airflow_provider_wmigrate import ApplyMigrationOperator

    alone = ApplyMigrationOperator(task_id="alone", folder=str(make_folder(A)), conn_id="target", version="001")
    assert runner.run(runner.of(alone)).state == "success"
    assert applied(conn) == ["001"]


# A run id is not an attempt


def test_a_cleared_run_keeps_what_it_applied_before(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **B}), dag_id="kept", on_run_failure="roll_back"))
    conn.execute("INSERT INTO a SELECT generate_series(1, 1000)")
    broken = runner.migrations(make_folder({**A, **B, **BROKEN_C}), dag_id="kept", on_run_failure="roll_back")
    run.clear(*broken.task_ids, dag=broken)
    assert (run.states["003_c"], run.states["roll_back_run"], run.state) == ("failed", "success", "failed")
    assert run.returned("roll_back_run") == []
    assert conn.execute("SELECT count(*) FROM a").fetchone() == (1000,)
    assert applied(conn) == ["001", "002"]
    assert run.returned("report")["applied"] == []


def test_a_cleared_run_undoes_what_its_last_attempt_applied(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    run = runner.run(runner.migrations(make_folder(A), dag_id="last_attempt", on_run_failure="roll_back"))
    more = {**A, **B, **BROKEN_C}
    broken = runner.migrations(make_folder(more), dag_id="last_attempt", on_run_failure="roll_back")
    run.clear(*broken.task_ids, dag=broken)
    assert [record["version"] for record in run.returned("roll_back_run")] == ["002"]
    assert applied(conn) == ["001"]
    report = run.returned("report")
    assert (report["applied"], report["rolled_back"], report["failed"]) == (["002"], ["002"], ["migrate.003_c"])


def test_a_run_that_failed_takes_nothing_of_others_along(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    others = "DO $$ BEGIN EXECUTE 'CREATE VIEW rep' || 'ort AS SELECT * FROM b'; END $$;"
    files = {**A, **B, "002_b.sql": f"CREATE TABLE b ();\n{others}", "002_b.rollback.sql": "DROP TABLE b CASCADE;"}
    dag = runner.migrations(make_folder({**files, **BROKEN_C}), on_run_failure="roll_back")
    assert error(runner.run(dag), "roll_back_run") == (
        "002_b.rollback.sql:1: CASCADE would take view report along, which no migration that is rolled back has made;"
        " roll back first what made it; or if it is to go, drop it by name in the rollback script"
    )
    assert conn.execute("SELECT * FROM report").fetchall() == []
    assert applied(conn) == ["001", "002"]


def test_a_task_cleared_after_a_green_report_takes_nothing_with_it(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    """The plan is still the one of the green attempt; its report has closed it."""
    run = runner.run(runner.migrations(make_folder({**A, **C}), dag_id="closed", on_run_failure="roll_back"))
    conn.execute("DELETE FROM wmigrate.schema_migrations WHERE version = '003'")
    broken = runner.migrations(make_folder({**A, **BROKEN_C}), dag_id="closed", on_run_failure="roll_back")
    run.clear("migrate.003_c", "migrate.roll_back_run", "migrate.report", dag=broken)
    assert (run.states["003_c"], run.returned("roll_back_run")) == ("failed", [])
    assert applied(conn) == ["001"]


def test_a_rollback_of_a_run_that_failed_is_done_once_a_person_has_chosen_the_mended_script(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    """Clearing it alone runs the script that was recorded with the migration, and which is wrong."""
    files = {**A, "001_a.rollback.sql": "DROP TABLE nothing;", **BROKEN_B}
    run = runner.run(runner.migrations(make_folder(files), dag_id="undone_later", on_run_failure="roll_back"))
    assert run.states["roll_back_run"] == "failed"
    folder = make_folder({**A, **BROKEN_B})
    mended = runner.migrations(folder, dag_id="undone_later", on_run_failure="roll_back")
    run.clear("migrate.roll_back_run", "migrate.report", dag=mended)
    assert (run.states["roll_back_run"], relations(conn)) == ("failed", {"a"})
    refused = runner.run(runner.rollback(folder, to="0"))
    assert str(refused.errors["plan"]) == (
        "001_a.rollback.sql: the rollback script of 001 is not the one recorded when it was applied; read both, and"
        ' trigger a new run with the configuration {"rollback_script": "folder"} or "ledger", and the'
        ' same "to"; to clear this one is not enough, since it keeps its configuration'
    )
    assert runner.run(runner.rollback(folder, to="0"), rollback_script="folder").state == "success"
    assert relations(conn) == set()


# Mapped over targets


@pytest.fixture
def two(runner: Runner, conn: Conn, database: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Conn, Conn]:
    """Two databases, on the connections `one` and `two`."""
    monkeypatch.setenv("AIRFLOW_CONN_ONE", connection(database))
    name = f"{conn.info.dbname}_two"
    conn.execute(f"CREATE DATABASE {name}".encode())
    dsn = psycopg.conninfo.make_conninfo(database, dbname=name)
    monkeypatch.setenv("AIRFLOW_CONN_TWO", connection(dsn))
    return conn, psycopg.connect(dsn, autocommit=True)


def fleet(folder: Path, *, group: Any = None, dag_id: str = "fleet", **more: Any) -> Any:
    from airflow.sdk import DAG, task_group

    from airflow_provider_wmigrate import MigrationTaskGroup

    with DAG(dag_id, schedule=None) as dag:

        @task_group
        def tenants(conn_id: str) -> None:
            (group or MigrationTaskGroup)("migrate", folder=folder, conn_id=conn_id, **more)

        tenants.expand(conn_id=["one", "two"])
    return dag


def test_a_mapped_group_migrates_each_target(runner: Runner, make_folder: MakeFolder, two: tuple[Conn, Conn]) -> None:
    folder = make_folder({**A, **B})
    first = runner.run(fleet(folder, to="1"))
    assert first.state == "success", first.errors
    assert [applied(conn) for conn in two] == [["001"], ["001"]]
    assert first.states == {
        **{f"{task}[{i}]": "success" for task in ("plan", "001_a", "report") for i in (0, 1)},
        **{f"002_b[{i}]": "skipped" for i in (0, 1)},
    }
    two[1].execute("DROP TABLE a CASCADE; DROP SCHEMA wmigrate CASCADE")
    from airflow_home import forget_targets

    forget_targets()
    second = runner.run(fleet(folder))
    assert second.state == "success", second.errors
    assert [second.states[f"001_a[{i}]"] for i in (0, 1)] == ["skipped", "success"]
    assert [second.returned(f"report[{i}]")["applied"] for i in (0, 1)] == [["002"], ["001", "002"]]
    assert [second.xcoms[f"plan[{i}]", "plan"]["conn_id"] for i in (0, 1)] == ["one", "two"]
    assert sorted(event["applied"] for event in second.events) == [["001", "002"], ["002"]]


def test_a_failure_in_one_target_of_a_mapped_group_is_its_own(
    runner: Runner, make_folder: MakeFolder, two: tuple[Conn, Conn]
) -> None:
    two[1].execute("CREATE TABLE b ()")
    run = runner.run(fleet(make_folder({**A, **B}), on_run_failure="roll_back"))
    assert [run.states[f"report[{i}]"] for i in (0, 1)] == ["success", "failed"]
    assert [run.states[f"roll_back_run[{i}]"] for i in (0, 1)] == ["skipped", "success"]
    assert [record["version"] for record in run.returned("roll_back_run[1]")] == ["001"]
    assert run.returned("report[1]")["failed"] == ["tenants.migrate.002_b"]
    assert [applied(conn) for conn in two] == [["001", "002"], []]


def test_a_mapped_group_has_a_history_for_each_target(
    runner: Runner, make_folder: MakeFolder, two: tuple[Conn, Conn]
) -> None:
    folder = make_folder({**A, **B, **C})
    run = runner.run(fleet(folder, max_tasks=1))
    assert run.state == "success", run.errors
    for at, conn in enumerate(two):
        tasks = conn.execute("SELECT task_id FROM wmigrate.schema_migrations ORDER BY version").fetchall()
        assert tasks == [(f"tenants.migrate.{task}",) for task in ("history", "history", "003_c")]
        assert [record["version"] for record in run.returned(f"history[{at}]")] == ["001", "002"]
    again = runner.run(fleet(folder, max_tasks=1))
    assert (again.state, [again.states[f"history[{i}]"] for i in (0, 1)]) == ("success", ["skipped", "skipped"])


def test_a_mapped_rollback(runner: Runner, make_folder: MakeFolder, two: tuple[Conn, Conn]) -> None:
    from airflow_provider_wmigrate import RollbackTaskGroup

    folder = make_folder({**A, **B})
    runner.run(fleet(folder))
    run = runner.run(fleet(folder, group=RollbackTaskGroup, dag_id="fleet_back", to="1"))
    assert run.state == "success", run.errors
    assert [applied(conn) for conn in two] == [["001"], ["001"]]


def test_a_step_of_a_mapped_group_that_the_plan_could_not_skip_skips_itself(
    runner: Runner, make_folder: MakeFolder, two: tuple[Conn, Conn]
) -> None:
    """Of a list that another task makes, Airflow makes the tasks after the plan."""
    run = runner.run(fleet(make_folder({**A, **B}), to="1"))
    run.clear("tenants.migrate.002_b")
    assert [run.states[f"002_b[{i}]"] for i in (0, 1)] == ["skipped", "skipped"]
    assert [applied(conn) for conn in two] == [["001"], ["001"]]


def test_environment_and_connection_are_mapped_together(
    runner: Runner, make_folder: MakeFolder, two: tuple[Conn, Conn]
) -> None:
    from airflow.sdk import DAG, task_group

    from airflow_provider_wmigrate import MigrationTaskGroup

    folder = make_folder({**A, "migration_config.yaml": "environments: {other: {ledger: {schema: other}}}\n"})
    with DAG("fleet_of_environments", schedule=None) as dag:

        @task_group
        def tenants(conn_id: str, environment: str) -> None:
            MigrationTaskGroup("migrate", folder=folder, conn_id=conn_id, environment=environment)

        tenants.expand_kwargs([{"conn_id": "one", "environment": ""}, {"conn_id": "two", "environment": "other"}])
    run = runner.run(dag)
    assert run.state == "success", run.errors
    assert applied(two[0]) == ["001"]
    assert two[1].execute("SELECT version FROM other.schema_migrations").fetchall() == [("001",)]


@pytest.mark.parametrize("name", ["folder", "on_run_failure", "notifiers", "deadline"])
def test_what_cannot_be_mapped_is_a_sentence(make_folder: MakeFolder, name: str) -> None:
    from airflow.sdk import DAG, task_group

    from airflow_provider_wmigrate import MigrationTaskGroup

    folder = make_folder(A)
    with DAG("not_mapped", schedule=None):

        @task_group
        def tenants(value: Any) -> None:
            MigrationTaskGroup("migrate", **{"folder": folder, "conn_id": "target", name: value})

        with pytest.raises(ValueError, match=rf"^{name} cannot be mapped, because tasks are made of it while"):
            tenants.expand(value=["one", "two"])


def test_a_mapped_group_has_no_deadline(make_folder: MakeFolder) -> None:
    from datetime import timedelta

    with pytest.raises(
        ValueError, match=r"^a deadline is one of the whole run, so it cannot be given to a group with a mapped"
    ):
        fleet(make_folder(A), deadline=timedelta(minutes=3))


# What a failed task leaves


def test_a_failed_task_leaves_the_head_of_the_audit_log(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **BROKEN_B})))
    heads = dict(conn.execute("SELECT event, position || ':' || hash FROM wmigrate.audit_log").fetchall())
    assert run.xcoms["002_b", "audit_head"] == heads["failed"]
    assert run.xcoms["report", "audit_head"] == heads["failure_handled"]
    assert run.returned("report")["audit_head"] == heads["failure_handled"]
    assert len(audit(conn, "reported")) == 0
