"""The report and the asset's events say what is so in the target, not what Airflow remembers of a run."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow_home import forget_targets
from airflow_runner import Run, Runner, applied, audit

from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from tests.waiting import PATIENCE, wait_until

MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]

A = {"001_a.sql": "CREATE TABLE a (id int PRIMARY KEY);", "001_a.rollback.sql": "DROP TABLE a;"}
B = {"002_b.sql": "CREATE TABLE b (id int REFERENCES a);", "002_b.rollback.sql": "DROP TABLE b;"}
BROKEN_B = {"002_b.sql": "SELECT * FROM nowhere;"}


def told(run: Run) -> list[tuple[list[str], list[str]]]:
    """What the run's asset events say was applied and rolled back."""
    return [(event["applied"], event["rolled_back"]) for event in run.events]


def error(run: Run, task: str) -> str:
    from airflow.sdk.exceptions import AirflowFailException

    raised = run.errors[task]
    assert isinstance(raised, AirflowFailException), raised
    assert "\n" not in str(raised)
    return str(raised)


# Asset events


def test_what_a_failed_run_had_applied_is_told_by_the_next_green_one(runner: Runner, make_folder: MakeFolder) -> None:
    failed = runner.run(runner.migrations(make_folder({**A, **BROKEN_B})))
    assert (failed.state, told(failed)) == ("failed", [])
    assert failed.returned("report")["applied"] == ["001"]
    folder = make_folder(A)
    withdrawn = runner.run(runner.migrations(folder))
    assert (withdrawn.state, withdrawn.order) == ("success", ["plan", "report"])
    assert told(withdrawn) == [(["001"], [])]
    assert withdrawn.returned("report")["applied"] == []
    assert told(runner.run(runner.migrations(folder))) == []


def test_a_cleared_report_tells_nothing_twice(runner: Runner, make_folder: MakeFolder) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **B})))
    run.clear("migrate.report")
    assert told(run) == [(["001", "002"], [])]
    assert run.returned("report")["applied"] == ["001", "002"]


def test_a_report_that_died_before_airflow_took_its_event_tells_it_when_cleared(
    runner: Runner, make_folder: MakeFolder
) -> None:
    run = runner.run(runner.migrations(make_folder(A)))
    forget_targets()  # as if the process had been killed behind its last statement
    run.clear("migrate.report")
    assert told(run) == [(["001"], [])]


def test_events_that_airflow_has_cleaned_away_are_not_told_again(runner: Runner, make_folder: MakeFolder) -> None:
    folder = make_folder(A)
    runner.run(runner.migrations(folder))
    forget_targets()
    assert told(runner.run(runner.migrations(folder))) == []


def test_what_was_applied_and_rolled_back_again_is_not_told(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **BROKEN_B}), on_run_failure="roll_back"))
    assert (run.state, applied(conn)) == ("failed", [])
    assert told(runner.run(runner.migrations(make_folder({})))) == []


def test_what_was_rolled_back_and_applied_again_is_told(runner: Runner, make_folder: MakeFolder) -> None:
    folder = make_folder({**A, **B})
    runner.run(runner.migrations(folder))
    back = runner.run(runner.rollback(folder, to="1"))
    assert told(back) == [([], ["002"])]
    again = runner.run(runner.migrations(folder))
    assert told(again) == [(["002"], [])]


def test_what_the_command_line_applied_is_told_by_the_next_run(
    runner: Runner, make_folder: MakeFolder, conn: Conn, database: str
) -> None:
    folder = make_folder({**A, **B})
    runner.run(runner.migrations(folder, to="1"))
    by_hand = Migrator(lambda: psycopg.connect(database), read_folder(folder), identity=Identity("bob"))
    by_hand.roll_back("001")
    by_hand.apply("001")
    by_hand.apply("002")
    run = runner.run(runner.migrations(folder))
    assert told(run) == [(["001", "002"], ["001"])]
    assert run.returned("report")["applied"] == []


def test_no_xcom_of_the_tasks_is_needed(runner: Runner, make_folder: MakeFolder) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **B}), dag={"default_args": {"do_xcom_push": False}}))
    assert run.state == "success"
    assert run.returned("report")["applied"] == ["001", "002"]
    assert run.returned("002_b")["outcome"] == "applied"
    assert told(run) == [(["001", "002"], [])]


def test_a_connection_that_is_a_template_is_told_of_alike(runner: Runner, make_folder: MakeFolder) -> None:
    from airflow.sdk import DAG

    from airflow_provider_wmigrate import MigrationTaskGroup

    with DAG("templated_connection", schedule=None) as dag:
        MigrationTaskGroup("migrate", folder=make_folder(A), conn_id="{{ dag_run.conf['db'] }}")
    run = runner.run(dag, db="target")
    assert told(run) == [(["001"], [])]
    run.clear("migrate.report")
    assert told(run) == [(["001"], [])]
    assert told(runner.run(dag, db="target")) == []


ONE_AT_A_TIME = """
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4711);
    RETURN NULL;
END $$;
CREATE TRIGGER reports_wait AFTER INSERT OR UPDATE ON wmigrate.application_metadata
    FOR EACH ROW WHEN (NEW.key = 'last_successful_run') EXECUTE FUNCTION wait();
"""


def drive_in_a_process(run: Run) -> multiprocessing.Process:
    """A forked process, as the local executor makes one for each task."""

    def drive() -> None:
        from airflow import settings
        from airflow.sdk.execution_time import supervisor

        settings.engine.dispose(close=False)  # its connections are the parent's
        supervisor.in_process_api_server.cache_clear()
        run.drive()

    process = multiprocessing.get_context("fork").Process(target=drive, daemon=True)
    process.start()
    return process


def test_of_two_reports_at_one_moment_one_tells(
    runner: Runner, make_folder: MakeFolder, conn: Conn, database: str
) -> None:
    folder = make_folder({**A, **B})
    runs = [runner.run(runner.migrations(folder, to="1")) for _ in range(2)]
    Migrator(lambda: psycopg.connect(database), read_folder(folder), identity=Identity("bob")).apply("002")
    conn.execute(ONE_AT_A_TIME)
    conn.execute("SELECT pg_advisory_lock(4711)")
    for run in runs:
        run.reset("migrate.report")
    processes = [drive_in_a_process(run) for run in runs]
    query = (
        "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name LIKE 'wmigrate report manual__%'"
    )
    wait_until(lambda: conn.execute(query).rowcount == 2)
    conn.execute("SELECT pg_advisory_unlock(4711)")
    for process in processes:
        process.join(PATIENCE)
    assert [(process.exitcode, run.state) for process, run in zip(processes, runs, strict=True)] == [(0, "success")] * 2
    assert sorted([*told(runs[0]), *told(runs[1])]) == [(["001"], []), (["002"], [])]


# Marked as success


def test_a_migration_marked_as_success_fails_the_report(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **BROKEN_B})))
    run.mark("success", "migrate.002_b")
    run.clear("migrate.report")
    assert error(run, "report") == (
        "002 was marked as success but is not applied; clear migrate.002_b with its downstream"
    )
    assert run.state == "failed"
    assert run.returned("report")["applied"] == ["001"]
    assert told(run) == []
    query = "SELECT count(*) FROM wmigrate.application_metadata WHERE key = 'last_successful_run'"
    assert conn.execute(query).fetchone() == (0,)
    assert audit(conn, "reported") == []


def test_a_rollback_marked_as_success_fails_the_report(runner: Runner, make_folder: MakeFolder) -> None:
    folder = make_folder({**A, "001_a.rollback.sql": "DROP TABLE nothing;"})
    runner.run(runner.migrations(folder))
    run = runner.run(runner.rollback(folder, to="0"))
    run.mark("success", "rollback.001_a")
    run.clear("rollback.report")
    assert error(run, "report") == (
        "001 was marked as success but is not rolled back; clear rollback.001_a with its downstream"
    )


def test_an_incomplete_migration_marked_as_success_fails_the_report(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    run = runner.run(runner.migrations(make_folder(A)))
    conn.execute("UPDATE wmigrate.schema_migrations SET status = 'incomplete'")
    run.clear("migrate.report")
    assert error(run, "report") == (
        "001 was marked as success but is incomplete; clear migrate.001_a with its downstream"
    )


def test_what_was_rolled_back_since_was_done_once(runner: Runner, make_folder: MakeFolder) -> None:
    folder = make_folder(A)
    run = runner.run(runner.migrations(folder))
    runner.run(runner.rollback(folder, to="0"))
    run.clear("migrate.report")
    assert run.state == "success"
    assert run.returned("report")["applied"] == ["001"]


def test_a_step_that_was_skipped_by_hand_is_named(runner: Runner, make_folder: MakeFolder) -> None:
    run = runner.run(runner.migrations(make_folder({**A, **BROKEN_B})))
    run.mark("skipped", "migrate.002_b")
    run.clear("migrate.report")
    assert run.state == "success"
    assert run.returned("report")["skipped"] == {"002": "its task was skipped"}


# The anchor


def test_a_plan_compares_the_audit_log_with_the_head_that_was_kept(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    folder = make_folder(A)
    head = runner.run(runner.migrations(folder)).xcoms["report", "audit_head"]
    conn.execute("DROP SCHEMA wmigrate CASCADE; DROP TABLE a")
    run = runner.run(runner.migrations(folder))
    assert error(run, "plan") == (
        f"audit_log: the ledger is gone, which had {head.partition(':')[0]} rows at head {head}; compare with a backup,"
        " and find out who has write access to the ledger; if the target was restored or created again, trigger a run"
        ' with the configuration {"forget_head": true}'
    )
    assert error(runner.run(runner.migrations(folder)), "plan").startswith("audit_log: the ledger is gone")
    forgotten = runner.run(runner.migrations(folder), forget_head=True)
    assert (forgotten.state, applied(conn)) == ("success", ["001"])
    assert audit(conn, "planned")[0][1]["forgot_head"] == head
    assert runner.run(runner.migrations(folder)).state == "success"


def test_a_cut_off_audit_log_stops_the_next_plan(runner: Runner, make_folder: MakeFolder, conn: Conn) -> None:
    folder = make_folder({**A, **B})
    runner.run(runner.migrations(folder, to="1"))
    conn.execute("ALTER TABLE wmigrate.audit_log DISABLE TRIGGER audit_log_append_only")
    conn.execute("DELETE FROM wmigrate.audit_log WHERE position > 2")
    conn.execute(
        "UPDATE wmigrate.application_metadata SET value = (SELECT position || ':' || hash FROM wmigrate.audit_log"
        " ORDER BY position DESC LIMIT 1) WHERE key = 'audit_head'"
    )
    for _ in range(2):
        assert error(runner.run(runner.migrations(folder)), "plan").startswith(
            "audit_log: it was cut off: its head was "
        )
    assert applied(conn) == ["001"]


@pytest.mark.parametrize("first", ["plan", "health"])
def test_plan_and_health_share_what_is_kept_for_each_ledger(
    runner: Runner, make_folder: MakeFolder, conn: Conn, first: str
) -> None:
    from airflow_provider_wmigrate import CheckHealthOperator

    folder = make_folder({**A, "migration_config.yaml": "environments: {other: {ledger: {schema: other}}}\n"})
    look = runner.of(CheckHealthOperator(task_id="look", folder=folder, conn_id="target"), dag_id="looks")
    assert runner.run(runner.migrations(folder)).state == "success"
    other = runner.run(runner.migrations(make_folder({}), environment=None))
    assert other.state == "failed", "001 is applied and its file is gone"
    make_folder({**A, "migration_config.yaml": "environments: {other: {ledger: {schema: other}}}\n"})
    if first == "health":
        assert runner.run(look).state == "success"
    conn.execute("DROP TABLE a")
    assert runner.run(runner.migrations(folder, environment="other")).state == "success"
    assert runner.run(runner.migrations(folder)).state == "success", "each ledger has a head of its own"
    assert runner.run(look).state == "success"


SILENT = (
    "Airflow does not say which head of the audit log it keeps for target (ConnectionError);"
    " see that its API server is well; only then can the log be compared"
)


@contextmanager
def silent_store() -> Iterator[None]:
    """Airflow's API server does not answer when it is asked for what was kept."""
    from airflow.sdk.execution_time.context import AssetStateStoreAccessor

    def get(self: Any, key: str, default: Any = None) -> Any:
        raise ConnectionError("no answer")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AssetStateStoreAccessor, "get", get)
        yield


def test_an_anchor_that_cannot_be_asked_for_is_none_that_agrees(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    from airflow.sdk.exceptions import AirflowException

    fast = {"migration_config.yaml": "settings: {execution: {retry_attempts: 1, retry_delay_seconds: 0}}\n"}
    with silent_store():
        run = runner.run(runner.migrations(make_folder({**A, **fast})))
    assert (run.states["plan"], run.tries["plan"], str(run.errors["plan"])) == ("failed", 2, SILENT)
    assert type(run.errors["plan"]) is AirflowException, "a kind that is tried again"
    assert conn.execute("SELECT pg_catalog.to_regclass('wmigrate.audit_log')").fetchone() == (None,)


def test_a_look_without_the_anchor_is_degraded_and_leaves_the_anchor(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    from airflow_provider_wmigrate import CheckHealthOperator

    folder = make_folder(A)
    look = runner.of(CheckHealthOperator(task_id="look", folder=folder, conn_id="target"), dag_id="silent_looks")
    assert runner.run(runner.migrations(folder)).state == "success"
    conn.execute("DROP SCHEMA wmigrate CASCADE; DROP TABLE a")
    with silent_store():
        run = runner.run(look)
    health = run.returned("look")
    assert (run.state, health["status"]) == ("success", "degraded")
    (check,) = (check for check in health["checks"] if check["name"] == "audit_chain")
    assert (check["status"], f"{check['reason']}; {check['next_step']}") == ("degraded", SILENT)
    again = runner.run(look)
    assert (again.state, "the ledger is gone" in str(again.errors["look"])) == ("failed", True)


# The signed head


def test_the_report_signs_the_head_it_leaves(
    runner: Runner, make_folder: MakeFolder, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_wmigrate.engine.ledger.signing import SignedHead, read_key, unproven

    secret = "hmac-sha256:" + "5a" * 32
    monkeypatch.setenv("AIRFLOW_CONN_AUDIT_KEY", json.dumps({"conn_type": "generic", "password": secret}))
    run = runner.run(runner.migrations(make_folder(A), audit_key_conn_id="audit_key"))
    assert run.state == "success"
    report = run.returned("report")
    signed = SignedHead(**report["signed_head"])
    assert (signed.head, signed.database, signed.schema) == (report["audit_head"], conn.info.dbname, "wmigrate")
    assert unproven(signed, read_key(secret, "key"), "heads", 1, "wmigrate") is None
    assert run.events[0]["signed_head"] == report["signed_head"]
    assert secret not in str(report)


def test_a_report_that_cannot_sign_says_so_and_is_cleared_green(
    runner: Runner, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AUDIT_KEY", json.dumps({"conn_type": "generic", "password": "hunter2"}))
    run = runner.run(runner.migrations(make_folder(A), audit_key_conn_id="audit_key"))
    assert (run.state, told(run)) == ("failed", [])
    assert error(run, "report").startswith(
        "connection audit_key: there is no key that can be used; a key is an Ed25519"
    )
    secret = "hmac-sha256:" + "5a" * 32
    monkeypatch.setenv("AIRFLOW_CONN_AUDIT_KEY", json.dumps({"conn_type": "generic", "password": secret}))
    run.clear("migrate.report")
    assert told(run) == [(["001"], [])]
    assert run.returned("report")["signed_head"]["key_id"]


def test_a_failed_run_and_a_look_sign_the_head_too(
    runner: Runner, make_folder: MakeFolder, conn: Conn, database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from airflow_provider_wmigrate import CheckHealthOperator
    from airflow_provider_wmigrate.cli.main import main

    secret = "hmac-sha256:" + "5a" * 32
    monkeypatch.setenv("AIRFLOW_CONN_AUDIT_KEY", json.dumps({"conn_type": "generic", "password": secret}))
    files = {**A, "migration_config.yaml": "settings: {drift: warn}\n"}
    folder = make_folder({**files, "002_b.sql": "SELECT 1/0;", "002_b.rollback.sql": "SELECT 1;"})
    run = runner.run(runner.migrations(folder, audit_key_conn_id="audit_key"))
    report = run.returned("report")
    assert (run.state, report["signed_head"]["head"]) == ("failed", report["audit_head"])
    conn.execute("ALTER TABLE a ADD others int")
    operator = CheckHealthOperator(task_id="look", folder=folder, conn_id="target", audit_key_conn_id="audit_key")
    looks = runner.of(operator, dag_id="signing_looks")
    look = runner.run(looks)
    health = look.returned("look")
    checks = {check["name"]: check for check in health["checks"]}
    assert (look.state, health["status"], checks["drift"]["status"]) == ("failed", "unhealthy", "degraded")
    assert "1 difference from what was known after 001" in checks["drift"]["reason"]
    assert "column public.a.others is new" in checks["drift"]["reason"]
    assert health["signed_head"]["head"] == health["audit_head"]
    heads, key = tmp_path / "heads.jsonl", tmp_path / "audit.key"
    heads.write_text("".join(f"{json.dumps(signed['signed_head'])}\n" for signed in (report, health)))
    key.write_text(secret)
    verify = ["audit", "verify", "--dsn", database, "--key", str(key), "--heads", str(heads)]
    assert main(verify) == 0
    conn.execute("ALTER TABLE wmigrate.audit_log DISABLE TRIGGER USER; DELETE FROM wmigrate.audit_log")
    assert main(verify) == 3
    again = runner.run(looks)
    assert (again.state, "signed_head" in again.returned("look")) == ("failed", False), "nothing vouches for it"
