"""The one task of a folder's oldest migrations: it does what the tasks of single ones do, by plan and ledger alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
from airflow.serialization.serialized_objects import DagSerialization
from airflow_runner import Run, Runner, TaskLog, applied, audit, relations

from airflow_provider_wmigrate import roll_back_on_failure
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity, checksum
from airflow_provider_wmigrate.task_docs import HistoryDoc
from airflow_provider_wmigrate.web.catalog import groups_of

MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]

ONCE = {"migration_config.yaml": "settings: {execution: {retry_attempts: 0}}\n"}


def files(*stems: str, **instead: str) -> dict[str, str]:
    """A table for each migration, and what drops it; `b="..."` is the script of the one called b."""
    names = {stem: stem.partition("_")[2] for stem in stems}
    scripts = {f"{stem}.sql": instead.get(name, f"CREATE TABLE {name} (id int);") for stem, name in names.items()}
    undo = {f"{stem}.rollback.sql": f"DROP TABLE IF EXISTS {name};" for stem, name in names.items()}
    return {**scripts, **undo, **ONCE}


FIVE = ("001_a", "002_b", "003_c", "004_d", "005_e")
OUTSIDE = "CREATE TABLE b (id int);\nCREATE INDEX CONCURRENTLY b_id ON b (id);\nSELECT 1 / 0;\n"


def outcomes(run: Run, task: str = "history") -> dict[str, str]:
    return {record["version"]: record["outcome"] for record in run.returned(task)}


def who(conn: Conn, event: str) -> list[tuple[str, str]]:
    query = "SELECT version, task_id FROM wmigrate.audit_log WHERE event = %s ORDER BY position"
    return conn.execute(query, [event]).fetchall()


# Applying


def test_a_fresh_database(runner: Runner, make_folder: MakeFolder, conn: Conn, task_log: TaskLog) -> None:
    run = runner.run(runner.migrations(make_folder(files(*FIVE)), max_tasks=2))
    assert (run.state, run.order) == ("success", ["plan", "history", "004_d", "005_e", "report"])
    assert outcomes(run) == dict.fromkeys(("001", "002", "003"), "applied")
    assert applied(conn) == run.returned("report")["applied"] == ["001", "002", "003", "004", "005"]
    single = [("004", "migrate.004_d"), ("005", "migrate.005_e")]
    assert who(conn, "applied") == [*((v, "migrate.history") for v in ("001", "002", "003")), *single]
    assert [line for line in task_log.lines if " of 3: " in line] == [
        "1 of 3: 001_a",
        "2 of 3: 002_b",
        "3 of 3: 003_c",
    ]
    assert {"001_a: applied", "002_b: applied", "003_c: applied"} <= {
        line.partition(" in ")[0] for line in task_log.lines
    }


def test_nothing_pending_is_skipped(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    runner.run(runner.migrations(make_folder(files(*FIVE[:4])), max_tasks=2))
    run = runner.run(runner.migrations(make_folder(files(*FIVE)), max_tasks=2))
    assert (run.state, run.order) == ("success", ["plan", "005_e", "report"])
    assert (run.states["history"], run.states["004_d"]) == ("skipped", "skipped")
    assert applied(conn)[-1] == "005"


def test_which_are_folded_is_a_function_of_the_folder(runner: Runner, make_folder: MakeFolder) -> None:
    folder = make_folder(files(*FIVE))
    before = DagSerialization.to_dict(runner.migrations(folder, dag_id="same", max_tasks=2))
    runner.run(runner.migrations(folder, dag_id="same", max_tasks=2))
    after = DagSerialization.to_dict(runner.migrations(folder, dag_id="same", max_tasks=2))
    assert json.dumps(before) == json.dumps(after)


def test_a_project_changes_over_to_folding_and_back(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    for most, last in ((None, 3), (1, 4), (None, 5), (0, 5)):
        run = runner.run(runner.migrations(make_folder(files(*FIVE[:last])), max_tasks=most))
        assert (run.state, len(applied(conn))) == ("success", last)


def test_the_target_may_be_in_the_history(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.migrations(make_folder(files(*FIVE)), max_tasks=2, to="002"))
    assert (run.state, applied(conn)) == ("success", ["001", "002"])
    assert outcomes(run) == {"001": "applied", "002": "applied"}
    run.clear("migrate.history", "migrate.report")
    assert (run.state, applied(conn)) == ("success", ["001", "002"]), "cleared it goes no further than the plan"
    assert outcomes(run) == {"001": "already_applied", "002": "already_applied"}


def test_one_that_was_merged_late_is_applied_by_the_history(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    runner.run(runner.migrations(make_folder(files("001_a", *FIVE[2:])), max_tasks=2))
    run = runner.run(runner.migrations(make_folder(files(*FIVE)), max_tasks=2))
    assert (run.state, run.order, outcomes(run)) == ("success", ["plan", "history", "report"], {"002": "applied"})


def test_the_one_that_failed_is_named_and_the_rest_is_resumed(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    folder = make_folder(files(*FIVE, b="SELECT 1 / 0;"))
    run = runner.run(runner.migrations(folder, dag_id="resumed", max_tasks=2))
    assert str(run.errors["history"]).startswith("002_b.sql:1: division by zero (SQLSTATE 22012)")
    assert (run.states["history"], run.states["004_d"], run.state) == ("failed", "upstream_failed", "failed")
    assert (applied(conn), outcomes(run)) == (["001"], {"001": "applied"})
    report = run.returned("report")
    assert (report["applied"], report["failed"]) == (
        ["001"],
        ["migrate.004_d", "migrate.005_e", "migrate.history"],
    )
    mended = runner.migrations(make_folder(files(*FIVE)), dag_id="resumed", max_tasks=2)
    run.clear("migrate.history", "migrate.004_d", "migrate.005_e", "migrate.report", dag=mended)
    assert (run.state, applied(conn)) == ("success", ["001", "002", "003", "004", "005"])
    assert outcomes(run) == {"001": "already_applied", "002": "applied", "003": "applied"}


def test_an_error_that_does_not_say_whose_it_is_is_told_with_the_name(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    script = "DO $$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); END$$;"
    run = runner.run(runner.migrations(make_folder(files(*FIVE, c=script)), max_tasks=1))
    assert "003_c" in str(run.errors["history"])
    assert applied(conn) == ["001", "002"]


def test_a_task_that_stands_beside_the_history_does_not_wait_for_it(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    config = "migrations: [{version: 3, dependencies: []}]\n" + ONCE["migration_config.yaml"]
    folder = make_folder({**files(*FIVE[:3], b="SELECT 1 / 0;"), "migration_config.yaml": config})
    run = runner.run(runner.migrations(folder, max_tasks=1))
    assert (run.states["history"], run.states["003_c"]) == ("failed", "success")
    assert applied(conn) == ["001", "003"]


# Failures that leave something


def test_what_was_left_half_done_is_rolled_back_by_its_script(
    runner: Runner, make_folder: MakeFolder, conn: Conn, task_log: TaskLog
) -> None:
    run = runner.run(runner.migrations(make_folder(files(*FIVE, b=OUTSIDE)), max_tasks=1))
    assert run.states["history"] == "failed"
    assert (relations(conn), applied(conn)) == ({"a"}, ["001"])
    handled = [(version, details["outcome"]) for version, details in audit(conn, "failure_handled")]
    assert handled == [("002", "incomplete, its rollback script has been run")]


def test_what_stays_half_done_is_resumed(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    policy = {"migration_config.yaml": "settings: {execution: {retry_attempts: 0, on_failure: none}}\n"}
    folder = make_folder({**files(*FIVE, b=OUTSIDE), **policy})
    run = runner.run(runner.migrations(folder, dag_id="half", max_tasks=1))
    assert (run.states["history"], relations(conn)) == ("failed", {"a", "b"})
    mended = {**files(*FIVE, b=OUTSIDE.replace("1 / 0", "1 / 1")), **policy}
    run.clear(*run.dag.task_ids, dag=runner.migrations(make_folder(mended), dag_id="half", max_tasks=1))
    assert (run.state, len(applied(conn))) == ("success", 5)


def test_after_a_killed_process_the_ledger_says_which_one_it_was_at(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    dag = runner.migrations(make_folder(files(*FIVE)), max_tasks=1, to="3")
    run = runner.run(dag)
    conn.execute("UPDATE wmigrate.schema_migrations SET status = 'incomplete' WHERE version = '003'")
    task = dag.task_dict["migrate.history"]
    identity = {"dag_id": dag.dag_id, "run_id": run.run_id, "task_id": "migrate.history", "try_number": 1}
    by = Identity("alice", **identity)
    migrator = Migrator(lambda: psycopg.connect(conn.info.dsn), read_folder(Path(task.folder)), identity=by)
    migrator.record("started", version="003", details={"direction": "apply"})
    ti = SimpleNamespace(**identity, state="failed")
    for _ in range(2):  # the second time there is nothing left
        roll_back_on_failure({"task": task, "ti": ti, "dag_run": SimpleNamespace(triggering_user_name="alice")})
    handled = [(version, details["outcome"]) for version, details in audit(conn, "failure_handled")]
    assert handled == [("003", "incomplete, its rollback script has been run")]
    assert relations(conn) == {"a", "b"}


def test_a_failed_run_takes_back_what_the_history_applied(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    runner.run(runner.migrations(make_folder(files("001_a")), max_tasks=2))
    folder = make_folder(files(*FIVE, e="SELECT 1 / 0;"))
    run = runner.run(runner.migrations(folder, max_tasks=2, on_run_failure="roll_back"))
    assert (run.states["roll_back_run"], run.state) == ("success", "failed")
    assert [record["version"] for record in run.returned("roll_back_run")] == ["004", "003", "002"]
    assert (applied(conn), relations(conn)) == (["001"], {"a"})


def test_a_history_that_failed_takes_back_what_it_had_applied(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    folder = make_folder(files(*FIVE, c="SELECT 1 / 0;"))
    run = runner.run(runner.migrations(folder, max_tasks=1, on_run_failure="roll_back"))
    assert [record["version"] for record in run.returned("roll_back_run")] == ["002", "001"]
    assert (applied(conn), relations(conn)) == ([], set())


# No permission from silence


def test_without_its_plan_it_does_nothing(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    run = runner.run(runner.migrations(make_folder(files(*FIVE)), max_tasks=2))
    conn.execute("DROP TABLE a, b, c, d, e; DROP SCHEMA wmigrate CASCADE")
    run.lose_xcoms()
    run.clear("migrate.history")
    assert isinstance(run.errors["history"], AirflowFailException)
    assert str(run.errors["history"]).startswith("the plan of this run is gone (migrate.plan is marked as success")
    assert relations(conn) == set()


def test_what_came_after_the_plan_waits_for_the_next_run(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.migrations(make_folder(files(*FIVE[:3], b="SELECT 1 / 0;")), dag_id="later", max_tasks=1))
    more = runner.migrations(make_folder(files(*FIVE)), dag_id="later", max_tasks=1)
    run.clear("migrate.history", "migrate.report", dag=more)
    assert (applied(conn), outcomes(run)) == (
        ["001", "002", "003"],
        {"001": "already_applied", "002": "applied", "003": "applied"},
    ), "003 was in the plan and is folded by now; 004 was in no plan"
    assert "004 appeared after the plan" not in str(run.errors["history"])


def test_a_history_marked_as_success_fails_the_report(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.migrations(make_folder(files(*FIVE[:2], b="SELECT 1 / 0;")), max_tasks=0))
    run.mark("success", "migrate.history")
    run.clear("migrate.report")
    again = "clear migrate.history with its downstream"
    assert str(run.errors["report"]) == f"002 was marked as success but is not applied; {again}"


# Dry runs


def test_a_dry_run_tries_each_and_leaves_nothing(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.migrations(make_folder(files(*FIVE)), max_tasks=2, mode="dry_run"))
    assert (run.state, outcomes(run)) == ("success", dict.fromkeys(("001", "002", "003"), "dry_run"))
    assert (relations(conn), run.returned("report")["dry_run"]) == (set(), ["001", "002", "003", "004", "005"])


def test_a_dry_run_that_tries_nothing_is_skipped(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder(files("001_a", "002_b", a="CREATE INDEX CONCURRENTLY i ON nowhere (id);"))
    run = runner.run(runner.migrations(folder, max_tasks=1, mode="dry_run"))
    assert (run.states["history"], outcomes(run)) == ("skipped", {"001": "not_tried"})
    assert set(run.returned("report")["not_tried"]) == {"001", "002"}


# Rolling back


def test_a_rollback_ends_with_the_history(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder(files(*FIVE))
    runner.run(runner.migrations(folder, max_tasks=2))
    run = runner.run(runner.rollback(folder, to="1", max_tasks=2))
    assert (run.state, run.order) == ("success", ["plan", "005_e", "004_d", "history", "report"])
    assert (outcomes(run), applied(conn)) == ({"003": "rolled_back", "002": "rolled_back"}, ["001"])
    assert run.returned("report")["rolled_back"] == ["005", "004", "003", "002"]
    run = runner.run(runner.rollback(folder, to="3", max_tasks=2))
    assert (run.state, run.states["history"]) == ("success", "skipped")


def test_one_of_the_history_that_was_applied_last_goes_first(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    late = files("001_a", "002_b", "003_c", b="CREATE VIEW b AS SELECT * FROM c;")
    late["002_b.rollback.sql"] = "DROP VIEW b;"
    runner.run(runner.migrations(make_folder({n: t for n, t in late.items() if not n.startswith("002")}), max_tasks=1))
    folder = make_folder(late)
    assert runner.run(runner.migrations(folder, max_tasks=1)).state == "success"
    run = runner.run(runner.rollback(folder, to="0", max_tasks=1))
    assert (run.state, run.order) == ("success", ["plan", "003_c", "history", "report"])
    assert [version for version, _ in audit(conn, "rolled_back")] == ["002", "003", "001"]
    assert (outcomes(run), relations(conn)) == ({"001": "rolled_back"}, set())


def test_the_history_rolls_back_what_has_to_go_before_it(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    """003 declares that it needs nothing, and was applied last: it stands on what 002 made all the same."""
    config = "migrations: [{version: 3, dependencies: []}]\n" + ONCE["migration_config.yaml"]
    all_three = files("001_a", "002_b", "003_c", c="CREATE VIEW c AS SELECT * FROM b;")
    folder = make_folder({**all_three, "003_c.rollback.sql": "DROP VIEW c;", "migration_config.yaml": config})
    runner.run(runner.migrations(folder, max_tasks=1, to="2"))
    runner.run(runner.migrations(folder, max_tasks=1))
    run = runner.run(runner.rollback(folder, to="0", max_tasks=1))
    assert (run.state, relations(conn)) == ("success", set())
    assert [version for version, _ in audit(conn, "rolled_back")] == ["003", "002", "001"]


def test_a_rollback_of_the_history_that_failed_goes_on_with_the_mended_script_that_a_person_chose(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    broken = {**files(*FIVE), "002_b.rollback.sql": "DROP TABLE nothing;"}
    folder = make_folder(broken)
    runner.run(runner.migrations(folder, max_tasks=1))
    run = runner.run(runner.rollback(folder, to="0", max_tasks=1))
    assert (run.states["history"], applied(conn)) == ("failed", ["001", "002"])
    assert "002_b.rollback.sql:1" in str(run.errors["history"])
    make_folder(files(*FIVE))
    run.clear("rollback.history", "rollback.report")
    assert '{"rollback_script": "folder"} or "ledger"' in str(run.errors["history"])
    run = runner.run(runner.rollback(folder, to="0", max_tasks=1), rollback_script="folder")
    assert (run.state, applied(conn), outcomes(run)) == ("success", [], {"002": "rolled_back", "001": "rolled_back"})


def test_a_dry_rollback(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder(files(*FIVE))
    runner.run(runner.migrations(folder, max_tasks=2))
    run = runner.run(runner.rollback(folder, to="1", max_tasks=2, mode="dry_run"))
    assert (run.state, len(applied(conn))) == ("success", 5)
    assert sorted(run.returned("report")["dry_run"]) == ["002", "003", "004", "005"]


# What it says of itself


def test_its_budget_is_that_of_all_of_them(runner: Runner, make_folder: MakeFolder) -> None:
    config = "settings: {execution: {timeout_seconds: 100, lock_wait_seconds: 20}}"
    folder = make_folder({**files(*FIVE), "migration_config.yaml": config})
    dag = runner.migrations(folder, max_tasks=2)
    assert dag.task_dict["migrate.history"].execution_timeout == 3 * timedelta(seconds=100 + 20 + 60)
    assert runner.migrations(folder, max_tasks=2, execution_timeout=timedelta(1)).task_dict[
        "migrate.history"
    ].execution_timeout == timedelta(1)


def test_the_serialized_dag_knows_the_folded_ones_and_shows_no_script(runner: Runner, make_folder: MakeFolder) -> None:
    config = 'migrations: [{version: 2, description: "the b", dependencies: [1], requires_extensions: [x]}]'
    folder = make_folder({**files(*FIVE), "migration_config.yaml": config})
    dag = DagSerialization.to_dict(runner.migrations(folder, max_tasks=2))
    (history,) = (t["__var"] for t in dag["dag"]["tasks"] if t["__var"]["task_id"] == "migrate.history")
    docs = HistoryDoc.from_json(history["doc_json"])
    assert list(docs) == ["001", "002", "003"]
    assert (docs["002"].description, docs["002"].dependencies) == ("the b", ("001",))
    assert (docs["001"].dependencies_implied, docs["002"].dependencies_implied) == (True, False)
    assert [need.name for need in docs["002"].required("fail")] == ["x"]
    assert docs["003"].rollback.file == "003_c.rollback.sql"
    assert docs["003"].script.reason == "one of the history, whose scripts are not shown"
    assert "CREATE TABLE b" not in json.dumps(dag)
    text = history["doc_md"]
    assert text == (
        "**history**: 3 migrations from `001_a` to `003_c`, which are older than those with a task of their own."
        " Its log tells each."
    )


def test_a_thousand_migrations_are_a_hundred_tasks(runner: Runner, make_folder: MakeFolder) -> None:
    folder = make_folder({f"{n:04d}_m.sql": "SELECT 1;" for n in range(1, 1001)})
    dag = runner.migrations(folder)
    assert len(dag.tasks) == 100 + len(("plan", "history", "report"))
    assert dag.task_dict["migrate.history"].downstream_task_ids == {"migrate.0901_m", "migrate.report"}
    assert dag.task_dict["migrate.plan"].downstream_task_ids == {"migrate.history"}
    history = json.loads(dag.task_dict["migrate.history"].doc_json)["history"]
    assert (len(history), list(history)[-1]) == (900, "900")
    assert len(json.dumps(history)) < 300 * 900


def test_the_web_server_sees_each_of_them(runner: Runner, make_folder: MakeFolder) -> None:
    dag = DagSerialization.to_dict(runner.migrations(make_folder(files(*FIVE)), dag_id="seen", max_tasks=2))
    (group,) = groups_of("seen", dag)
    tasks = {step.stem: step.task_id for step in group.steps}
    assert tasks == {**dict.fromkeys(FIVE[:3], "migrate.history"), "004_d": "migrate.004_d", "005_e": "migrate.005_e"}
    assert [step.checksum for step in group.steps] == [checksum(f"CREATE TABLE {name} (id int);") for name in "abcde"]
    assert [step.dependencies for step in group.steps] == [(), ("001",), ("002",), ("003",), ("004",)]
