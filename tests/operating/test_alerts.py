"""Real mail from real runs: one for each kind of trouble, once per incident, and one when it is over."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow_runner import Runner, TaskLog, audit, connection
from listeners import Mailbox, smtp_notifier

from airflow_provider_wmigrate.alerting import alerts
from airflow_provider_wmigrate.alerting import messages as notices
from airflow_provider_wmigrate.engine.errors import (
    ConnectionFailed,
    LockTimeout,
    RollbackFailed,
    StatementFailed,
    TimedOut,
)

MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]

A = {"001_a.sql": "CREATE TABLE a (id int);", "001_a.rollback.sql": "DROP TABLE a;"}
BROKEN = {"001_a.sql": "CREATE TABLE a (id int", "001_a.rollback.sql": "DROP TABLE a;"}
ONCE = "settings: {execution: {retry_attempts: 0, timeout_seconds: %s}}\n"
CONFIG = {"migration_config.yaml": ONCE % 60}


def test_a_failed_migration_is_told_once_and_when_it_has_healed(
    runner: Runner, mail: Mailbox, make_folder: MakeFolder, conn: Conn
) -> None:
    folder = make_folder({**BROKEN, **CONFIG})
    run = runner.run(runner.migrations(folder, dag_id="alerted", notifiers=[smtp_notifier()]))
    assert run.state == "failed"
    assert mail.subjects == ["[wmigrate] migration failed: 001_a on target"]
    text = mail.text()
    for part in ("001_a.sql:1", "syntax error", "target", "alerted", run.run_id, "001_a", "fix the migration"):
        assert part in text
    assert re.search("/dags/alerted/runs/[^/]*/tasks/migrate.001_a", text)
    run.clear("migrate.001_a", "migrate.report")
    assert len(mail.mails) == 1, "the same incident again"
    assert [details["kind"] for _, details in audit(conn, "alerted")] == ["migration_failed"]

    make_folder({**A, **CONFIG})
    run.clear(
        "migrate.001_a", "migrate.report", dag=runner.migrations(folder, dag_id="alerted", notifiers=[smtp_notifier()])
    )
    assert run.state == "success"
    assert mail.subjects[1:] == ["[wmigrate] healed: 001_a on target"]
    assert "migration failed" in mail.text()
    run.clear("migrate.001_a")
    assert len(mail.mails) == 2, "healed once"


def test_of_the_history_the_one_that_failed_is_told_and_healed(
    runner: Runner, mail: Mailbox, make_folder: MakeFolder, conn: Conn
) -> None:
    b = {"002_b.sql": "SELECT 1 / 0;", "002_b.rollback.sql": "SELECT 1;"}
    folder = make_folder({**A, **b, **CONFIG})
    arguments = {"dag_id": "old", "max_tasks": 0, "notifiers": [smtp_notifier()]}
    run = runner.run(runner.migrations(folder, **arguments))
    assert (run.states["history"], mail.subjects) == ("failed", ["[wmigrate] migration failed: 002_b on target"])
    assert [version for version, _ in audit(conn, "alerted")] == ["002"]
    make_folder({**A, **b, "002_b.sql": "SELECT 1;", **CONFIG})
    run.clear("migrate.history", "migrate.report", dag=runner.migrations(folder, **arguments))
    assert (run.state, mail.subjects[1:]) == ("success", ["[wmigrate] healed: 002_b on target"])


def test_a_callback_that_runs_twice_tells_once(
    runner: Runner, mail: Mailbox, make_folder: MakeFolder, conn: Conn
) -> None:
    folder = make_folder({**BROKEN, **CONFIG})
    run = runner.run(runner.migrations(folder))
    dag = runner.migrations(folder, dag_id=run.dag.dag_id, notifiers=[smtp_notifier()])
    task = dag.task_dict["migrate.001_a"]
    for _ in range(2):  # as the DAG processor does: another process, no exception, no state, fields still templates
        ti = SimpleNamespace(dag_id=dag.dag_id, run_id=run.run_id, task_id=task.task_id, try_number=1, state=None)
        alerts.tell_failure({"task": task, "ti": ti, "dag": dag})
    assert mail.subjects == ["[wmigrate] migration failed: 001_a on target"]
    assert "ended without a word" in mail.text()


def test_a_timeout_is_a_kind_of_its_own(runner: Runner, mail: Mailbox, make_folder: MakeFolder) -> None:
    files = {"001_a.sql": "SELECT pg_sleep(30);", "migration_config.yaml": ONCE % 1}
    runner.run(runner.migrations(make_folder(files), notifiers=[smtp_notifier()]))
    assert mail.subjects == ["[wmigrate] migration timed out: 001_a on target"]
    assert "raise the budget" in mail.text()


def test_a_failed_rollback_is_a_kind_of_its_own(runner: Runner, mail: Mailbox, make_folder: MakeFolder) -> None:
    folder = make_folder({**A, "001_a.rollback.sql": "DROP TABLE nothing;", **CONFIG})
    runner.run(runner.migrations(folder))
    runner.run(runner.rollback(folder, "0", notifiers=[smtp_notifier()]))
    assert mail.subjects == ["[wmigrate] rollback failed: 001_a on target"]
    assert "the database needs a person" in mail.text()
    make_folder({**A, **CONFIG})
    runner.run(runner.rollback(folder, "0", notifiers=[smtp_notifier()], rollback_script="folder"))
    assert mail.subjects[1:] == ["[wmigrate] healed: 001_a on target"]


def test_a_rollback_that_fails_again_after_a_whole_run_is_told_again(
    runner: Runner, mail: Mailbox, make_folder: MakeFolder, conn: Conn
) -> None:
    """The run had nothing to do, so that no task of the migration could say that it is over."""
    folder = make_folder({**A, "001_a.rollback.sql": "DROP TABLE nothing;", **CONFIG})
    runner.run(runner.migrations(folder))
    for _ in range(2):
        runner.run(runner.rollback(folder, "0", notifiers=[smtp_notifier()]))
    told = "[wmigrate] rollback failed: 001_a on target"
    assert mail.subjects == [told]
    assert runner.run(runner.migrations(folder)).state == "success"
    for _ in range(2):
        runner.run(runner.rollback(folder, "0", notifiers=[smtp_notifier()]))
    assert mail.subjects == [told, told]
    make_folder({**A, **CONFIG})
    runner.run(runner.rollback(folder, "0", notifiers=[smtp_notifier()], rollback_script="folder"))
    assert mail.subjects == [told, told, "[wmigrate] healed: 001_a on target"]
    assert [event for event, in conn.execute(
        "SELECT event FROM wmigrate.audit_log WHERE event IN ('alerted', 'healed') ORDER BY position"
    )] == ["alerted", "alerted", "healed"]  # fmt: skip


def test_a_migration_that_fails_again_after_somebody_applied_it_is_told_again(
    runner: Runner, mail: Mailbox, make_folder: MakeFolder, migrator: Callable[..., Any]
) -> None:
    folder = make_folder({**BROKEN, **CONFIG})
    told = "[wmigrate] migration failed: 001_a on target"
    for _ in range(2):
        runner.run(runner.migrations(folder, notifiers=[smtp_notifier()]))
    assert mail.subjects == [told]
    by_hand = migrator({**A, **CONFIG})
    by_hand.apply("001")
    by_hand.roll_back("001")
    make_folder({**BROKEN, **CONFIG})
    for _ in range(2):
        runner.run(runner.migrations(folder, notifiers=[smtp_notifier()]))
    assert mail.subjects == [told, told]


def test_a_lost_connection_is_told_once_over_many_runs(
    runner: Runner, mail: Mailbox, make_folder: MakeFolder, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder({**A, **CONFIG})
    nowhere = json.dumps({"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "password": "s3cr3t"})
    monkeypatch.setenv("AIRFLOW_CONN_TARGET", nowhere)
    for _ in range(2):
        runner.run(runner.migrations(folder, dag_id="lost", notifiers=[smtp_notifier()]))
    assert mail.subjects == ["[wmigrate] no connection to the target: migrate.plan on target"]
    assert "check that the server runs" in mail.text()
    assert "s3cr3t" not in mail.text(0)
    monkeypatch.setenv("AIRFLOW_CONN_TARGET", connection(database))
    runner.run(runner.migrations(folder, dag_id="lost", notifiers=[smtp_notifier()]))
    assert mail.subjects[1:] == ["[wmigrate] healed: target"]


def test_a_refused_plan_is_told(runner: Runner, mail: Mailbox, make_folder: MakeFolder) -> None:
    folder = make_folder({**A, **CONFIG})
    runner.run(runner.migrations(folder))
    make_folder({**A, "001_a.sql": "CREATE TABLE a (id bigint);", **CONFIG})
    runner.run(runner.migrations(folder, notifiers=[smtp_notifier()]))
    assert mail.subjects == ["[wmigrate] migration failed: migrate.plan on target"]
    assert "was edited after it was applied" in mail.text()


@pytest.mark.parametrize("alerts_config", ["{enabled: false}", "{migration_failure: false}"])
def test_the_config_decides(runner: Runner, mail: Mailbox, make_folder: MakeFolder, alerts_config: str) -> None:
    config = f"{CONFIG['migration_config.yaml']}monitoring: {{alerts: {alerts_config}}}\n"
    run = runner.run(
        runner.migrations(make_folder({**BROKEN, "migration_config.yaml": config}), notifiers=[smtp_notifier()])
    )
    assert (run.state, mail.mails) == ("failed", [])


def test_what_a_notifier_says_itself_stays(runner: Runner, mail: Mailbox, make_folder: MakeFolder) -> None:
    mine = smtp_notifier(subject="{{ wmigrate_alert.kind }}!", html_content="{{ wmigrate_alert.next_step }}")
    runner.run(runner.migrations(make_folder({**BROKEN, **CONFIG}), notifiers=[mine]))
    assert mail.subjects == ["migration_failed!"]
    assert mail.text().strip() == notices.KINDS["migration_failed"].next_step


def test_an_error_that_looks_like_a_template_is_told_as_it_is(
    runner: Runner, mail: Mailbox, make_folder: MakeFolder
) -> None:
    files = {"001_a.sql": "DO $$ BEGIN RAISE EXCEPTION '{{ nothing }} <b>'; END $$;"}
    runner.run(runner.migrations(make_folder({**files, **CONFIG}), notifiers=[smtp_notifier()]))
    assert "{{ nothing }} &lt;b&gt;" in mail.text()


def test_an_alert_that_cannot_be_sent_changes_nothing_and_is_sent_next_time(
    runner: Runner,
    mail: Mailbox,
    make_folder: MakeFolder,
    conn: Conn,
    monkeypatch: pytest.MonkeyPatch,
    task_log: TaskLog,
) -> None:
    import os

    working = os.environ["AIRFLOW_CONN_SMTP_DEFAULT"]
    broken = json.dumps({**json.loads(working), "port": 1})
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", broken)
    run = runner.run(runner.migrations(make_folder({**BROKEN, **CONFIG}), notifiers=[smtp_notifier()]))
    assert "syntax error" in str(run.errors["001_a"])
    assert "could not tell" in task_log.text
    assert [details["kind"] for _, details in audit(conn, "alert_failed")] != []
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", working)
    run.clear("migrate.001_a", "migrate.report")
    assert mail.subjects == ["[wmigrate] migration failed: 001_a on target"]


def test_the_report_tells_what_no_callback_could(
    runner: Runner, mail: Mailbox, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    dag = runner.migrations(make_folder({**BROKEN, **CONFIG}), notifiers=[smtp_notifier()])
    dag.task_dict["migrate.001_a"].on_failure_callback = []  # as when the process is killed with its last try
    runner.run(dag)
    assert mail.subjects == ["[wmigrate] migration failed: 001_a on target"]
    assert "ended without a word" in mail.text()


def test_a_missed_deadline_is_told(runner: Runner, mail: Mailbox, make_folder: MakeFolder) -> None:
    from airflow.sdk._shared.module_loading import import_string

    folder = make_folder({**A, **CONFIG})
    dag = runner.migrations(folder, notifiers=[smtp_notifier()], deadline=timedelta(minutes=30))
    (deadline,) = dag.deadline
    callback = json.loads(json.dumps(deadline.callback.serialize()))
    # As Airflow's executor calls it, in a process that never saw the DAG file.
    run = {"dag_id": dag.dag_id, "dag_run_id": "scheduled__1"}
    import_string(callback["path"])(context={"dag_run": run}, **callback["kwargs"])
    assert mail.subjects == [f"[wmigrate] deadline missed: {dag.dag_id} on target"]
    assert "not over 30 minutes after it was queued" in mail.text()
    assert "scheduled__1" in mail.text()


def test_a_notifier_that_is_no_plain_value_cannot_tell_a_deadline(runner: Runner, make_folder: MakeFolder) -> None:
    with pytest.raises(ValueError, match="SmtpNotifier cannot tell a missed deadline"):
        runner.migrations(make_folder(A), notifiers=[smtp_notifier(files=object())], deadline=timedelta(minutes=30))


def test_a_deadline_is_switched_off_with_the_timeouts(runner: Runner, make_folder: MakeFolder) -> None:
    config = {"migration_config.yaml": "monitoring: {alerts: {migration_timeout: false}}\n"}
    dag = runner.migrations(make_folder({**A, **config}), notifiers=[smtp_notifier()], deadline=timedelta(minutes=30))
    assert not dag.deadline


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StatementFailed("001", "f.sql", "no", outcome="kept", sqlstate="42601"), "migration_failed"),
        (StatementFailed("001", "f.sql", "the connection was lost", outcome="kept", retryable=True), "connection_lost"),
        (StatementFailed("001", "f.sql", "shut down", outcome="kept", sqlstate="57P01"), "connection_lost"),
        (TimedOut("001", "f.sql", "budget", outcome="kept", sqlstate="57014"), "migration_timed_out"),
        (LockTimeout("a lock", 5, outcome="kept"), "migration_timed_out"),
        (ConnectionFailed("refused"), "connection_lost"),
        (RollbackFailed("001", ValueError("x")), "rollback_failed"),
        (None, "migration_failed"),
    ],
)
def test_the_kind_of_an_error(error: Exception | None, kind: str) -> None:
    outer = RuntimeError("what Airflow was given")
    outer.__context__ = error
    assert notices.kind_of(outer if error else None) == kind
    assert notices.kind_of(error) == kind


@pytest.mark.parametrize(("mapped", "expected"), [("", ""), ("/mapped/1", "/mapped/1")])
def test_the_log_of_another_task_is_that_of_the_same_map_index(mapped: str, expected: str) -> None:
    run = "http://airflow.example.com/dags/d/runs/r"
    ti = SimpleNamespace(log_url=f"{run}/tasks/t.report{mapped}?try_number=2")
    assert notices.links({"ti": ti}, "t.001_a") == (("log", f"{run}/tasks/t.001_a{expected}"), ("run page", run))
