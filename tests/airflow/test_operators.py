"""The operators, run by the real task runner in whole runs on a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import psycopg
import pytest
from airflow_runner import Run, Runner, TaskLog, applied, audit, relations

from airflow_provider_wmigrate.engine.model import checksum
from airflow_provider_wmigrate.engine.record import Bystanders
from airflow_provider_wmigrate.telling.summaries import skipped_by

MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]

A = {"001_a.sql": "CREATE TABLE a (id int PRIMARY KEY);", "001_a.rollback.sql": "DROP TABLE a;"}
B = {"002_b.sql": "CREATE TABLE b (id int REFERENCES a);", "002_b.rollback.sql": "DROP TABLE b;"}
C = {"003_c.sql": "CREATE TABLE c (id int);", "003_c.rollback.sql": "DROP TABLE c;"}
BROKEN_B = {"002_b.sql": "CREATE TABLE b (id int;"}
FAST = "settings: {execution: {retry_attempts: 0, retry_delay_seconds: 0}}\n"


def config(text: str) -> dict[str, str]:
    return {"migration_config.yaml": dedent(text)}


def error(run: Run, task: str) -> str:
    """What the task failed with: one line, of the kind that Airflow does not retry."""
    from airflow.sdk.exceptions import AirflowFailException

    raised = run.errors[task]
    assert isinstance(raised, AirflowFailException), raised
    assert "\n" not in str(raised)
    return str(raised)


# Which tasks run


def test_the_first_run_applies_everything(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **B})))
    assert run.state == "success"
    assert run.order == ["plan", "001_a", "002_b", "report"]
    assert relations(conn) == {"a", "b"}
    assert applied(conn) == ["001", "002"]


def test_what_others_have_changed_stops_the_plan(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    watched = config("settings: {drift: error}")
    runner.run(runner.migrations(make_folder({**A, **watched})))
    conn.execute("ALTER TABLE a ADD note text")
    run = runner.run(runner.migrations(make_folder({**A, **B, **watched})))
    assert "the schema has 1 difference from what was known after 001" in error(run, "plan")
    assert "column public.a.note is new" in error(run, "plan")
    assert applied(conn) == ["001"]
    conn.execute("ALTER TABLE a DROP note")
    run = runner.run(runner.migrations(make_folder({**A, **B, **watched})))
    assert run.state == "success"


def test_the_second_run_skips_everything_in_one_call(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder({**A, **B})
    runner.run(runner.migrations(folder))
    run = runner.run(runner.migrations(folder))
    assert run.state == "success"
    assert run.states == {"plan": "success", "001_a": "skipped", "002_b": "skipped", "report": "success"}
    assert run.order == ["plan", "report"]
    assert skipped_by(run.xcoms["plan", "plan"]) == {"001": "applied", "002": "applied"}
    assert run.returned("report")["applied"] == []


def test_only_what_is_new_runs(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    runner.run(runner.migrations(make_folder({**A, **B})))
    run = runner.run(runner.migrations(make_folder({**A, **B, **C})))
    assert run.order == ["plan", "003_c", "report"]
    assert run.returned("report")["applied"] == ["003"]
    assert applied(conn) == ["001", "002", "003"]


def test_an_empty_folder_has_nothing_to_do(runner: Runner, make_folder: MakeFolder) -> None:
    run = runner.run(runner.migrations(make_folder({})))
    assert (run.state, run.order) == ("success", ["plan", "report"])


def test_a_target_version_skips_what_is_beyond(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **B, **C}), to="{{ dag_run.conf['to'] }}"), to=" 2 ")
    assert run.states == {
        "plan": "success",
        "001_a": "success",
        "002_b": "success",
        "003_c": "skipped",
        "report": "success",
    }
    assert skipped_by(run.xcoms["plan", "plan"]) == {"003": "beyond the target 002"}
    assert applied(conn) == ["001", "002"]


def test_the_report_waits_for_tasks_whose_descendants_were_skipped(runner: Runner, make_folder: MakeFolder) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **B, **C}), to="001"))
    assert run.order == ["plan", "001_a", "report"]
    assert run.returned("report")["applied"] == ["001"]


def test_a_failure_before_skipped_tasks_fails_the_run(runner: Runner, make_folder: MakeFolder) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **BROKEN_B, **C}), to="002"))
    assert run.states["003_c"] == "skipped"
    assert run.states["report"] == "failed"
    assert run.state == "failed"


def test_the_report_waits_for_the_sibling_of_a_failed_task(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    # 004 needs both 002 and 003. When 002 has failed, 004 is done at once although 003 is still to run.
    folder = make_folder(
        {
            **A,
            **BROKEN_B,
            **C,
            "004_d.sql": "CREATE TABLE d ();",
            **config("""
                migrations:
                  - {version: 2, dependencies: [1]}
                  - {version: 3, dependencies: [1]}
                  - {version: 4, dependencies: [2, 3]}
            """),
        }
    )
    run = runner.run(runner.migrations(folder))
    assert run.order[-1] == "report"
    assert run.returned("report")["applied"] == ["001", "003"]
    assert run.returned("report")["failed"] == ["migrate.002_b", "migrate.004_d"]


# What a run leaves behind


def test_xcom_has_records_and_no_sql(runner: Runner, make_folder: MakeFolder, task_log: TaskLog) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **B, "003_c.sql": "INSERT INTO a VALUES (1), (2);"})))
    record = run.returned("003_c")
    assert (record["version"], record["outcome"], record["rows"], record["statements"]) == ("003", "applied", 2, 1)
    assert [(lock["relation"], lock["mode"]) for lock in record["locks"]] == [("public.a", "RowExclusiveLock")]
    assert record["bystanders"] == Bystanders.from_dict(record["bystanders"]).as_dict()
    assert f"  {Bystanders.from_dict(record['bystanders'])}" in task_log.lines
    assert record["identity"] == {
        "actor": "alice",
        "dag_id": run.dag.dag_id,
        "run_id": run.run_id,
        "task_id": "migrate.003_c",
        "try_number": 1,
    }
    steps = run.xcoms["plan", "plan"]["steps"]
    assert [step["version"] for step in steps] == ["001", "002", "003"]
    assert "1. apply `001_a`" in run.xcoms["plan", "markdown"]
    assert int(run.returned("report")["audit_head"].partition(":")[0]) > int(record["audit_head"].partition(":")[0])
    everything = json.dumps({f"{task} {key}": value for (task, key), value in run.xcoms.items()})
    for fragment in ("CREATE TABLE", "PRIMARY KEY", "REFERENCES", "DROP TABLE", "INSERT INTO", "builtins.tuple"):
        assert fragment not in everything


def test_the_ledger_knows_the_run(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.migrations(make_folder(A)), user=None)
    query = "SELECT actor, dag_id, run_id, task_id, try_number FROM wmigrate.schema_migrations"
    assert conn.execute(query).fetchall() == [("airflow:manual", run.dag.dag_id, run.run_id, "migrate.001_a", 1)]
    assert audit(conn, "planned") == [(None, {"direction": "apply", "steps": ["001"]})]
    (value,) = conn.execute(
        "SELECT value FROM wmigrate.application_metadata WHERE key = 'last_successful_run'"
    ).fetchone()
    assert value


def test_a_dry_run_leaves_nothing(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **B}), mode="dry_run"))
    assert run.state == "success"
    assert run.returned("report")["dry_run"] == ["001", "002"]
    assert run.returned("002_b")["locks"]
    assert relations(conn) == set()
    assert conn.execute("SELECT to_regnamespace('wmigrate')").fetchone() == (None,)


# The task log

LOUD = {
    "001_a.sql": "CREATE TABLE a (id int);\nDO $$ BEGIN RAISE NOTICE 'hear this'; RAISE WARNING 'and beware'; END $$;",
    "001_a.rollback.sql": "DROP TABLE a;",
}


def test_the_log_shows_what_is_about_to_run(runner: Runner, make_folder: MakeFolder, task_log: TaskLog) -> None:
    runner.run(runner.migrations(make_folder(LOUD)))
    shown = task_log.lines
    start = shown.index("CREATE TABLE a (id int);")
    assert shown[start - 1].startswith("::group::001_a.sql (sha256 ")
    assert "::group::001_a.rollback.sql" in task_log.text
    assert "DROP TABLE a;" in shown
    assert "NOTICE: hear this" in shown
    assert any(line.startswith("001_a: applied in ") for line in shown)


def test_plan_and_report_read_as_lines(runner: Runner, make_folder: MakeFolder, task_log: TaskLog) -> None:
    """A log viewer shows no Markdown."""
    folder = make_folder({**A, **B})
    runner.run(runner.migrations(folder))
    shown = task_log.lines
    at = shown.index("plan: apply 2 of 2 migrations")
    assert shown[at : at + 3] == ["plan: apply 2 of 2 migrations", "  001_a", "  002_b"]
    at = shown.index("report:")
    assert shown[at + 1] == "  applied: 001, 002"
    assert shown[at + 2].endswith(" ms on the server")
    assert not [line for line in shown if line.startswith(("#", "- ", "| ", "1. "))]
    again = runner.run(runner.migrations(folder))
    assert again.state == "success"
    assert "plan: apply 0 of 2 migrations" in task_log.lines
    assert "  nothing to do" in task_log.lines


def test_the_log_without_sql_and_timing(runner: Runner, make_folder: MakeFolder, task_log: TaskLog) -> None:
    quiet = config("settings: {logging: {include_sql: false, include_timing: false}}")
    runner.run(runner.migrations(make_folder({**LOUD, **quiet})))
    assert "applying 001_a on server process" in task_log.text
    assert "CREATE TABLE" not in task_log.text
    assert "DROP TABLE" not in task_log.text
    assert "001_a: applied: 2 statements, 0 rows changed" in task_log.lines


def test_the_log_as_json(runner: Runner, make_folder: MakeFolder, task_log: TaskLog) -> None:
    runner.run(runner.migrations(make_folder({**LOUD, **config("settings: {logging: {format: json}}")})))
    told = [json.loads(line) for line in task_log.lines if line.startswith("{")]
    assert [event["event"] for event in told] == ["started", "noticed", "noticed", "finished"]
    assert told[0]["sql"] == LOUD["001_a.sql"]
    assert told[0]["rollback_sql"] == "DROP TABLE a;"
    assert told[-1]["outcome"] == "applied"


def test_the_log_at_level_warning(runner: Runner, make_folder: MakeFolder, task_log: TaskLog) -> None:
    runner.run(runner.migrations(make_folder({**LOUD, **config("settings: {logging: {level: WARNING}}")})))
    assert "CREATE TABLE" not in task_log.text
    assert "hear this" not in task_log.text
    assert "WARNING: and beware" in task_log.lines


# Failures, retries, repairs


def test_a_syntax_error_fails_at_once_and_a_repair_goes_green(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    patient = config("settings: {execution: {retry_attempts: 3, retry_delay_seconds: 0}}")
    run = runner.run(runner.migrations(make_folder({**A, **BROKEN_B, **C, **patient}), dag_id="repaired"))
    assert run.states == {
        "plan": "success",
        "001_a": "success",
        "002_b": "failed",
        "003_c": "upstream_failed",
        "report": "failed",
    }
    assert run.tries["002_b"] == 1
    assert run.state == "failed"
    assert error(run, "002_b").startswith("002_b.sql:1:23: syntax error")
    assert error(run, "report").startswith("failed: migrate.002_b, migrate.003_c; ")
    assert applied(conn) == ["001"]

    repaired = runner.migrations(make_folder({**A, **B, **C, **patient}), dag_id="repaired")
    run.clear("migrate.002_b", "migrate.003_c", "migrate.report", dag=repaired)
    assert run.state == "success"
    assert run.returned("report")["applied"] == ["001", "002", "003"]
    assert applied(conn) == ["001", "002", "003"]


def test_a_new_run_after_a_repair(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    runner.run(runner.migrations(make_folder({**A, **BROKEN_B})))
    run = runner.run(runner.migrations(make_folder({**A, **B})))
    assert (run.state, run.order) == ("success", ["plan", "002_b", "report"])


RETRIES = config("""
    settings: {execution: {lock_timeout_seconds: 0.1, lock_attempts: 1, retry_attempts: 0, retry_delay_seconds: 0}}
    environments:
      once_more: {execution: {retry_attempts: 1, retry_delay_seconds: 0}}
      patient: {execution: {retry_attempts: 2}}
""")


@pytest.mark.parametrize(("environment", "tries"), [("", 1), ("once_more", 2), ("patient", 3)])
def test_a_lock_timeout_is_retried_as_the_environment_says(
    runner: Runner, make_folder: MakeFolder, conn: Conn, database: str, environment: str, tries: int
) -> None:
    folder = make_folder({"001_a.sql": "ALTER TABLE busy ADD COLUMN x int;", **RETRIES})
    conn.execute("CREATE TABLE busy (id int)")
    with psycopg.connect(database) as reader:
        reader.execute("SELECT FROM busy")
        dag = runner.migrations(folder, environment="{{ dag_run.conf['environment'] }}")
        run = runner.run(dag, environment=environment)
    assert run.states["001_a"] == "failed"
    assert run.tries["001_a"] == tries
    assert str(run.errors["001_a"]).startswith("001_a.sql:1: a lock of this migration was not free within 0.")


def test_a_retry_finds_the_lock_free_and_waits_as_long_as_the_settings_say(
    runner: Runner, make_folder: MakeFolder, conn: Conn, database: str
) -> None:
    delayed = config("settings: {execution: {lock_timeout_seconds: 0.1, lock_attempts: 1, retry_delay_seconds: 1}}")
    folder = make_folder({"001_a.sql": "ALTER TABLE busy ADD COLUMN x int;", **delayed})
    conn.execute("CREATE TABLE busy (id int)")
    reader = psycopg.connect(database)
    reader.execute("SELECT FROM busy")
    # The lock is let go of when the first try has failed.
    dag = runner.migrations(folder)
    dag.task_dict["migrate.001_a"].on_retry_callback = [lambda context: reader.close()]
    run = runner.run(dag)
    assert (run.state, run.tries["001_a"]) == ("success", 2)
    failed, done = (
        at for (at,) in conn.execute("SELECT at FROM wmigrate.audit_log WHERE event IN ('failed', 'applied')")
    )
    assert 1 <= (done - failed).total_seconds() < 5


def test_a_cleared_task_has_all_its_retries_again(
    runner: Runner, make_folder: MakeFolder, conn: Conn, database: str
) -> None:
    folder = make_folder({"001_a.sql": "ALTER TABLE busy ADD COLUMN x int;", **RETRIES})
    conn.execute("CREATE TABLE busy (id int)")
    with psycopg.connect(database) as reader:
        reader.execute("SELECT FROM busy")
        run = runner.run(runner.migrations(folder, environment="once_more"))
        assert run.tries["001_a"] == 2
        run.clear("migrate.001_a", "migrate.report")
        assert run.tries["001_a"] == 4


# Refused before anything is touched

ALL = {**A, **B, **C}
NO_DROP = config("validation: {sql: {allow_drop: false}}")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {**ALL, "001_a.sql": "CREATE TABLE a (id bigint PRIMARY KEY);"},
            "001_a.sql: was edited after it was applied on",
        ),
        (
            {**B, **C, **config("migrations: [{version: 2, dependencies: []}]")},
            "migration 001_a is applied but its file is gone",
        ),
        (
            {**ALL, "003_c.sql": "SELECT 1;\nDROP TABLE a;", **NO_DROP},
            "003_c.sql:2: DROP is not allowed: validation.sql.allow_drop",
        ),
        ({**ALL, "003_c.sql": "CREATE TABLE c ();\nCOMMIT;"}, "003_c.sql:2: COMMIT is transaction control"),
        (
            {
                **ALL,
                **config("validation: {migrations: {require_rollback_validation: true}}"),
                "004_d.sql": "SELECT 1;",
            },
            "004_d.sql: has no rollback script",
        ),
        (
            {**ALL, **config("validation: {migrations: {require_rollback_validation: true}}")},
            "migration_config.yaml:1: no rollback is proven: there is no verdict in migration_verdicts.txt",
        ),
        (
            {**ALL, **config("migrations: [{version: 3, requires_extensions: [no_such_thing]}]")},
            "003_c.sql: migration 003 needs extension no_such_thing",
        ),
    ],
    ids=["changed", "missing", "forbidden", "transaction control", "rule", "unproven", "extension"],
)
def test_findings_fail_the_plan(
    runner: Runner, make_folder: MakeFolder, conn: Conn, files: dict[str, str], message: str
) -> None:
    runner.run(runner.migrations(make_folder(A)))
    run = runner.run(runner.migrations(make_folder(files)))
    assert error(run, "plan").startswith(message)
    assert run.order == ["plan", "report"]
    assert {state for task, state in run.states.items() if task not in ("plan", "report")} == {"upstream_failed"}
    assert (run.states["plan"], run.states["report"], run.state) == ("failed", "failed", "failed")
    assert run.xcoms["plan", "plan"]["findings"][0]["severity"] == "error"
    assert "| error " in run.xcoms["plan", "markdown"]
    assert relations(conn) == {"a"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"environment": "produktion"}, "migration_config.yaml:1: environments: there is no environment produktion"),
        ({"to": "04"}, "no migration 04 in this folder; the newest one is 002"),
        ({"to": "latest"}, "no migration latest in this folder; the newest one is 002"),
        ({"mode": "apply!"}, "mode must be apply or dry_run, not 'apply!'"),
    ],
    ids=["environment", "target", "no version", "mode"],
)
def test_wrong_arguments_are_one_line(
    runner: Runner, make_folder: MakeFolder, conn: Conn, arguments: dict[str, str], message: str
) -> None:
    folder = make_folder({**A, **B, **config("environments: {production: {execution: {retry_attempts: 0}}}")})
    run = runner.run(runner.migrations(folder, **arguments))
    assert error(run, "plan").startswith(message)
    assert run.state == "failed"
    assert relations(conn) == set()


def test_an_unknown_connection_is_one_line(runner: Runner, make_folder: MakeFolder) -> None:
    from airflow.sdk import DAG

    from airflow_provider_wmigrate import MigrationTaskGroup

    with DAG("unknown_connection", schedule=None) as dag:
        MigrationTaskGroup(folder=make_folder({**A, "migration_config.yaml": FAST}), conn_id="nowhere")
    run = runner.run(dag)
    assert error(run, "plan") == "The conn_id `nowhere` isn't defined; create that connection or correct conn_id"


def test_a_target_out_of_reach_is_tried_again(
    runner: Runner, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TARGET", '{"conn_type": "postgres", "host": "127.0.0.1", "port": 1}')
    folder = make_folder({**A, **config("settings: {execution: {retry_attempts: 1, retry_delay_seconds: 0}}")})
    run = runner.run(runner.migrations(folder))
    assert run.tries["plan"] == 2
    assert str(run.errors["plan"]).startswith("no connection to the target database: ")
    assert "\n" not in str(run.errors["plan"])


# Between the plan and a task


def test_a_file_that_appeared_after_the_plan_waits(
    runner: Runner, make_folder: MakeFolder, conn: Conn, task_log: TaskLog
) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **B}), dag_id="appeared"))
    run.clear("migrate.report", dag=runner.migrations(make_folder({**A, **B, **C}), dag_id="appeared"))
    assert run.states["003_c"] == "skipped"
    assert run.state == "success"
    assert applied(conn) == ["001", "002"]
    assert runner.run(run.dag).returned("report")["applied"] == ["003"]


def test_a_file_edited_after_the_plan_is_checked_again(
    runner: Runner, make_folder: MakeFolder, conn: Conn, task_log: TaskLog
) -> None:
    fails = {"002_b.sql": "SELECT * FROM nowhere;"}
    run = runner.run(runner.migrations(make_folder({**A, **fails, **NO_DROP}), dag_id="edited"))
    sly = {"002_b.sql": "DROP TABLE a;"}
    run.clear("migrate.002_b", dag=runner.migrations(make_folder({**A, **sly, **NO_DROP}), dag_id="edited"))
    assert error(run, "002_b").startswith("002_b.sql:1: DROP is not allowed")
    assert "002_b.sql was edited after the plan of this run; it is checked again" in task_log.lines
    assert relations(conn) == {"a"}


def test_a_cleared_task_that_was_skipped_decides_by_the_ledger(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    folder = make_folder({**A, **B})
    runner.run(runner.migrations(folder))
    run = runner.run(runner.migrations(folder))
    run.clear("migrate.001_a", "migrate.002_b")
    assert run.states["001_a"] == run.states["002_b"] == "success"
    assert run.returned("001_a")["outcome"] == run.returned("002_b")["outcome"] == "already_applied"
    assert len(audit(conn, "applied")) == 2


def test_a_cleared_task_beyond_the_target_is_applied(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **B}), to="001"))
    run.clear("migrate.002_b")
    assert run.returned("002_b")["outcome"] == "applied"
    assert applied(conn) == ["001", "002"]


# Extensions

LACKING = {
    **A,
    "002_b.sql": "CREATE EXTENSION no_such_thing;",
    **C,
    "004_d.sql": "CREATE TABLE d ();",
    **config("""
        migrations:
          - {version: 2, requires_extensions: [no_such_thing]}
          - {version: 4, dependencies: [1]}
        environments:
          development: {execution: {when_extension_missing: skip}}
          production: {execution: {when_extension_missing: fail}}
    """),
}


def test_a_missing_extension_is_skipped_in_development(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.migrations(make_folder(LACKING), environment="development"))
    assert run.state == "success"
    assert (run.states["002_b"], run.states["003_c"], run.states["004_d"]) == ("skipped", "skipped", "success")
    reasons = {
        "002": "extension no_such_thing is not available on this server",
        "003": "needs 002, which is left out",
    }
    assert skipped_by(run.xcoms["plan", "plan"]) == reasons
    assert f"- left out: `002` ({reasons['002']})" in run.xcoms["plan", "markdown"]
    assert run.returned("report")["skipped"] == reasons

    run.clear("migrate.002_b", "migrate.003_c")
    assert (run.states["002_b"], run.states["003_c"]) == ("skipped", "skipped")
    assert applied(conn) == ["001", "004"]


def test_a_missing_extension_fails_in_production(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.migrations(make_folder(LACKING), environment="production"))
    assert error(run, "plan").startswith(
        "002_b.sql: migration 002 needs extension no_such_thing, which this server cannot"
    )
    assert run.state == "failed"
    assert relations(conn) == set()


# Rolling back


def test_a_failed_run_rolls_back_what_it_applied(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    runner.run(runner.migrations(make_folder(A)))
    folder = make_folder({**A, **B, **C, "004_d.sql": "CREATE TABLE c ();"})
    run = runner.run(runner.migrations(folder, on_run_failure="roll_back"))
    assert run.order == ["plan", "002_b", "003_c", "004_d", "roll_back_run", "report"]
    assert [record["version"] for record in run.returned("roll_back_run")] == ["003", "002"]
    assert (run.states["roll_back_run"], run.states["report"], run.state) == ("success", "failed", "failed")
    assert run.returned("report")["rolled_back"] == ["003", "002"]
    assert relations(conn) == {"a"}  # an earlier run's, which stays
    assert [version for version, _ in audit(conn, "rolled_back")] == ["003", "002"]


def test_the_rollback_of_a_run_waits_for_the_sibling_of_the_failed_task(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    order = config("migrations: [{version: 3, dependencies: [1]}, {version: 4, dependencies: [2, 3]}]")
    folder = make_folder({**A, **BROKEN_B, **C, "004_d.sql": "SELECT 1;", **order})
    run = runner.run(runner.migrations(folder, on_run_failure="roll_back"))
    assert run.order[-2:] == ["roll_back_run", "report"]
    assert relations(conn) == set()


def test_a_run_without_failure_has_nothing_to_roll_back(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **B}), on_run_failure="roll_back"))
    assert (run.states["roll_back_run"], run.state) == ("skipped", "success")
    assert relations(conn) == {"a", "b"}


def test_a_failed_dry_run_rolls_nothing_back(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    runner.run(runner.migrations(make_folder(A)))
    run = runner.run(runner.migrations(make_folder({**A, **BROKEN_B}), on_run_failure="roll_back", mode="dry_run"))
    assert (run.states["002_b"], run.states["roll_back_run"], run.state) == ("failed", "skipped", "failed")
    assert relations(conn) == {"a"}


def test_rolling_back_to_a_version(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder(ALL)
    runner.run(runner.migrations(folder))
    run = runner.run(runner.rollback(folder, to="1"))
    assert run.order == ["plan", "003_c", "002_b", "report"]
    assert run.states["001_a"] == "skipped"
    assert run.returned("report")["rolled_back"] == ["003", "002"]
    assert run.returned("002_b")["outcome"] == "rolled_back"
    assert relations(conn) == {"a"}


def test_a_dry_rollback(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder(ALL)
    runner.run(runner.migrations(folder))
    run = runner.run(runner.rollback(folder, to="0", mode="dry_run"))
    assert run.returned("report")["dry_run"] == ["001", "002", "003"]
    assert relations(conn) == {"a", "b", "c"}
    assert applied(conn) == ["001", "002", "003"]


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("", "a rollback needs the version to go back to; 0 rolls back everything"),
        ("7", "no migration 7 in this folder; the newest one is 001"),
    ],
)
def test_a_rollback_without_a_good_target(
    runner: Runner, make_folder: MakeFolder, conn: Conn, to: str, message: str
) -> None:
    folder = make_folder(A)
    runner.run(runner.migrations(folder))
    run = runner.run(runner.rollback(folder, to=to))
    assert error(run, "plan") == message
    assert relations(conn) == {"a"}


@pytest.mark.parametrize("max_tasks", [None, 1])
def test_of_two_rollback_scripts_a_run_is_told_which(
    runner: Runner, make_folder: MakeFolder, conn: Conn, max_tasks: int | None
) -> None:
    runner.run(runner.migrations(make_folder({**A, **C}), max_tasks=max_tasks))
    mended = make_folder({**A, **C, "001_a.rollback.sql": "ALTER TABLE a RENAME TO kept;"})
    run = runner.run(runner.rollback(mended, to="0", max_tasks=max_tasks))
    choose = (
        'read both, and trigger a new run with the configuration {"rollback_script": "folder"} or "ledger", and the'
        ' same "to"; to clear this one is not enough, since it keeps its configuration'
    )
    differs = "the rollback script of 001 is not the one recorded when it was applied"
    assert error(run, "plan") == f"001_a.rollback.sql: {differs}; {choose}"
    assert [finding["next_step"] for finding in run.xcoms["plan", "plan"]["findings"]] == [choose]
    run = runner.run(runner.rollback(mended, to="0", max_tasks=max_tasks), rollback_script="both")
    assert error(run, "plan") == "rollback_script must be folder or ledger, not 'both'"
    run = runner.run(runner.rollback(mended, to="0", max_tasks=max_tasks), rollback_script="folder")
    assert (run.state, relations(conn)) == ("success", {"kept"})
    if max_tasks is None:
        assert [run.returned(task)["rollback_script"] for task in ("001_a", "003_c")] == ["folder", "folder"]


def test_a_rollback_needs_the_tasks_of_all_it_undoes(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    runner.run(runner.migrations(make_folder(ALL)))
    run = runner.run(runner.rollback(make_folder({**A, **B}), to="1"))
    assert error(run, "plan").startswith("migration 003_c is applied but has no file, so this group has no task for it")
    assert relations(conn) == {"a", "b", "c"}


def test_versions_stay_text_where_the_dag_renders_native_objects(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    folder = make_folder({"100_a.sql": "CREATE TABLE a ();", "100_a.rollback.sql": "DROP TABLE a;"})
    native = {"render_template_as_native_obj": True}
    assert runner.run(runner.migrations(folder, dag=native, to="{{ 100 }}")).returned("report")["applied"] == ["100"]
    run = runner.run(runner.rollback(folder, to="{{ 0 }}", dag=native))
    assert run.returned("report")["rolled_back"] == ["100"]


def test_a_database_that_had_what_was_squashed_is_known_by_checksums(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    runner.run(runner.migrations(make_folder({**A, **B})))
    squashed = config(
        f"""\
        migrations:
          - version: "002"
            squashes: {{"001": {checksum(A["001_a.sql"])}, "002": {checksum(B["002_b.sql"])}}}
          - {{version: "003", dependencies: ["001"]}}
        """
    )
    one = {"002_squashed.sql": "CREATE TABLE a (id int PRIMARY KEY);\nCREATE TABLE b (id int REFERENCES a);"}
    run = runner.run(runner.migrations(make_folder({**one, **C, **squashed})))
    assert (run.state, run.states["002_squashed"], run.states["003_c"]) == ("success", "skipped", "success")
    assert run.xcoms["plan", "plan"]["statuses"] == {"001": "forgotten", "002": "applied", "003": "pending"}
    assert applied(conn) == ["001", "002", "003"]
    run.clear("migrate.002_squashed")
    assert run.returned("002_squashed")["outcome"] == "already_applied", "its task knows it too"
    other = squashed["migration_config.yaml"].replace(checksum(A["001_a.sql"]), "0" * 64)
    edited = make_folder({**one, **C, "migration_config.yaml": other})
    said = error(runner.run(runner.migrations(edited)), "plan")
    assert said.startswith(
        "002_squashed.sql: migration 002 squashes 2 migrations, and here 001 is applied with another text"
    )


# Dry runs


def test_a_dry_run_tries_the_whole_plan_once(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    """The plan task does, and on a scratch database what no transaction takes; the tasks tell what it found."""
    runner.run(runner.migrations(make_folder(A)))
    conn.execute("INSERT INTO a VALUES (1)")
    index = {"003_i.sql": "CREATE INDEX CONCURRENTLY i ON a (id);"}
    wide = {"002_w.sql": "ALTER TABLE a ALTER id TYPE bigint;"}
    dag = runner.migrations(make_folder({**A, **wide, **index}), mode="dry_run", scratch_conn_id="target")
    run = runner.run(dag)
    assert (run.state, run.states["002_w"], run.states["003_i"]) == ("success", "success", "skipped")
    tried = "SELECT event, version, task_id FROM wmigrate.audit_log WHERE event IN ('dry_run', 'not_tried')"
    once = [("dry_run", "002", "migrate.plan"), ("not_tried", "003", "migrate.plan")]
    assert conn.execute(f"{tried} ORDER BY position").fetchall() == once
    wide_found, index_found = run.returned("002_w"), run.returned("003_i")
    assert {v: found["record"] for v, found in run.xcoms["plan", "dry_run"].items()} == {
        "002": wide_found, "003": index_found
    }  # fmt: skip
    assert (wide_found["outcome"], wide_found["rewritten"]) == ("dry_run", ["public.a"])
    there = index_found["on_scratch"]
    assert (index_found["outcome"], there["outcome"]) == ("not_tried", "ran")
    reason = f"003_i.sql:1: CREATE INDEX CONCURRENTLY cannot be undone by a transaction; {there['told']}"
    assert run.returned("report")["not_tried"] == {"003": reason}
    assert run.xcoms["plan", "markdown"].splitlines()[-6:] == [
        "### Dry run: everything was rolled back",
        "",
        "| migration | result | time | rows | locks | written anew |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| `002_w` | dry run | {wide_found['duration_ms']} ms | 0 | public.a (AccessExclusiveLock) | public.a |",
        f"| `003_i` | not tried: {reason} |  |  |  |  |",
    ]
    assert scratch_databases(conn) == []

    make_folder({**A, "002_w.sql": "ALTER TABLE a ADD w int;", **index})
    run.clear("migrate.002_w")
    assert (run.states["002_w"], run.returned("002_w")["rewritten"]) == ("success", []), "what was edited is tried anew"


def scratch_databases(conn: Conn) -> list[Any]:
    return conn.execute("SELECT datname FROM pg_database WHERE datname LIKE 'wmigrate_scratch_%'").fetchall()


def test_what_a_dry_run_did_not_try_is_skipped_with_its_record(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    index = {"002_i.sql": "CREATE INDEX CONCURRENTLY i ON a (id);"}
    run = runner.run(runner.migrations(make_folder({**A, **index, **C}), mode="dry_run"))
    assert run.state == "success"
    assert run.states == {
        "plan": "success", "001_a": "success", "002_i": "skipped", "003_c": "skipped", "report": "success"
    }  # fmt: skip
    reasons = {
        "002": "002_i.sql:1: CREATE INDEX CONCURRENTLY cannot be undone by a transaction",
        "003": "003_c.sql: it needs 002_i, which was not tried",
    }
    assert {v: run.returned(t)["outcome"] for v, t in (("002", "002_i"), ("003", "003_c"))} == dict.fromkeys(
        reasons, "not_tried"
    )
    report = run.returned("report")
    assert (report["dry_run"], report["not_tried"], report["failed"]) == (["001"], reasons, [])
    assert relations(conn) == set()


@pytest.mark.parametrize("native", [False, True])
def test_a_parameter_that_is_none_is_an_empty_one(
    runner: Runner, make_folder: MakeFolder, conn: Conn, native: bool
) -> None:
    """Of `to` and `environment`; of `mode`, which says whether the target is changed, it is no answer."""
    from airflow.sdk import Param

    empty = {name: Param(None, type=["null", "string"]) for name in ("to", "environment", "mode")}
    dag = {"params": empty, "render_template_as_native_obj": native}
    fields = {"to": "{{ params.to }}", "environment": "{{ params.environment }}"}
    folder = make_folder({**A, **B})
    run = runner.run(runner.migrations(folder, dag=dag, mode="{{ params.mode }}", **fields))
    assert error(run, "plan") == f"mode must be apply or dry_run, not {None if native else 'None'!r}"
    run = runner.run(runner.migrations(folder, dag=dag, **fields))
    assert (run.state, run.returned("report")["applied"]) == ("success", ["001", "002"])
    plan = run.xcoms["plan", "plan"]
    assert (plan["to"], plan["environment"]) == (None, None)
    back = runner.run(runner.rollback(folder, dag=dag, **fields))
    assert error(back, "plan") == "a rollback needs the version to go back to; 0 rolls back everything"
    assert applied(conn) == ["001", "002"]


def test_renamed_and_repaired_a_task_that_failed_is_cleared_green(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **BROKEN_B, **C}), dag_id="renamed"))
    assert run.state == "failed"
    mended = {"002_a_better_name.sql": B["002_b.sql"]}
    dag = runner.migrations(make_folder({**A, **mended, **C}), dag_id="renamed")
    run.clear("migrate.002_b", "migrate.003_c", "migrate.report", dag=dag)
    assert run.states == {
        "plan": "success",
        "001_a": "success",
        "002_b": "removed",
        "002_a_better_name": "success",
        "003_c": "success",
        "report": "success",
    }
    assert (run.state, applied(conn)) == ("success", ["001", "002", "003"])


def test_applied_renamed_and_repaired_a_task_that_failed_is_cleared_green(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    """002 is renamed and edited although it is applied, and its new text is accepted; 003 had failed."""
    from airflow_provider_wmigrate.engine.decisions.alone import Decider
    from airflow_provider_wmigrate.engine.decisions.repair import repair
    from airflow_provider_wmigrate.engine.folder.folder import read_folder
    from airflow_provider_wmigrate.engine.model import Identity

    broken = {"003_c.sql": "CREATE TABLE c (id int;"}
    run = runner.run(runner.migrations(make_folder({**A, **B, **broken}), dag_id="renamed_again"))
    edited = {"002_better.sql": B["002_b.sql"] + " -- of whom?"}
    folder = make_folder({**A, **edited, **C})
    dag = runner.migrations(folder, dag_id="renamed_again")
    bob = Decider(lambda: psycopg.connect(conn.info.dsn), read_folder(folder), Identity("bob"), "only a comment")
    repair(bob, "002", "accept")
    run.clear("migrate.003_c", "migrate.report", dag=dag)
    assert {state for task, state in run.states.items() if task not in ("002_b", "002_better")} == {"success"}
    assert (run.state, applied(conn)) == ("success", ["001", "002", "003"])
    assert run.returned("report")["failed"] == []


def test_the_plan_of_a_rollback_says_what_would_be_lost(
    runner: Runner, make_folder: MakeFolder, conn: Conn, task_log: TaskLog
) -> None:
    runner.run(runner.migrations(make_folder({**A, **B})))
    older = make_folder({"001_a.sql": A["001_a.sql"], "002_b.sql": B["002_b.sql"]})
    run = runner.run(runner.rollback(older, to="0", mode="dry_run"))
    told = ["takes away table public.b with 0 rows (counted)", "takes away table public.a with 0 rows (counted)"]
    foreseen = run.xcoms["plan", "plan"]["forecast"]
    assert [[loss["told"] for loss in each["losses"]] for each in foreseen] == [[line] for line in told]
    markdown = run.xcoms["plan", "markdown"]
    assert [f"   - {line}" in markdown.splitlines() for line in told] == [True, True]
    assert [f"    {line}" in task_log.lines for line in told] == [True, True]
    assert runner.run(runner.rollback(older, to="0")).state == "success"
    assert relations(conn) == set()
