"""A pipeline's failure is told with what was migrated on its target: by real mail, from real runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow_runner import Runner, TaskLog, connection
from listeners import Mailbox, smtp_notifier

from airflow_provider_wmigrate import MigrationNotifier

MakeFolder = Callable[..., Path]
MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

FILES = {"001_a.sql": "CREATE TABLE a (id int);", "001_a.rollback.sql": "DROP TABLE a;"}
MORE = {f"00{n}_t{n}.sql": f"CREATE TABLE t{n} (id int);" for n in range(2, 9)}


def pipeline(runner: Runner, script: str = "raise ValueError('no such price')", **more: Any) -> Any:
    """A DAG of one task that fails, as somebody else wrote it."""
    from airflow.providers.standard.operators.python import PythonOperator

    arguments = {"notifiers": [smtp_notifier()], "conn_id": "target", **more}
    tell = MigrationNotifier(**arguments)
    load = PythonOperator(task_id="load", python_callable=exec, op_args=[script], on_failure_callback=tell)
    return runner.of(load)


def test_it_names_what_was_migrated(runner: Runner, mail: Mailbox, migrator: MakeMigrator) -> None:
    made = migrator({**FILES, "002_b.sql": "CREATE TABLE b (id int"})
    made.apply("001")
    with pytest.raises(Exception, match="syntax error"):
        made.apply("002")
    run = runner.run(pipeline(runner))
    assert run.state == "failed"
    assert mail.subjects == [f"[wmigrate] task failed: {run.dag.dag_id}.load on target"]
    text = mail.text()
    for part in (
        "no such price",
        "version 001",
        "001_a applied by",
        "002 failed by",
        run.run_id,
        "a migration above",
    ):
        assert part in text
    assert "CREATE TABLE" not in text, "SQL in a mail"


def test_the_newest_few_are_named_and_the_rest_is_counted(
    runner: Runner, mail: Mailbox, migrator: MakeMigrator
) -> None:
    made = migrator({**FILES, **MORE})
    for version in range(1, 9):
        made.apply(str(version))
    runner.run(pipeline(runner))
    text = mail.text()
    assert [name for name in (*FILES, *MORE) if f"{name.removesuffix('.sql')} applied" in text] == list(MORE)[2:]
    assert "3 more events in the last 24 hours" in text


def test_what_is_long_ago_is_left_out(runner: Runner, mail: Mailbox, migrator: MakeMigrator) -> None:
    migrator(FILES).apply("001")
    runner.run(pipeline(runner, hours=1e-9))
    assert "version 001" in mail.text()
    assert "001_a applied" not in mail.text()
    assert "none in the last 1e-09 hours" in mail.text()


def test_another_schema_of_the_ledger(runner: Runner, mail: Mailbox, migrator: MakeMigrator) -> None:
    config = {"migration_config.yaml": "settings: {ledger: {schema: elsewhere}}\n"}
    migrator({**FILES, **config}).apply("001")
    runner.run(pipeline(runner))
    assert "no ledger in schema wmigrate" in mail.text()
    runner.run(pipeline(runner, ledger_schema="{{ 'elsewhere' }}"))
    assert "001_a applied" in mail.text()


def test_a_target_out_of_reach_is_no_reason_to_be_silent(
    runner: Runner, mail: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = json.dumps({"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "password": "s3cr3t-word"})
    monkeypatch.setenv("AIRFLOW_CONN_TARGET", nowhere)
    runner.run(pipeline(runner, script="raise ValueError('s3cr3t-word is wrong')"))
    assert "not known, the target could not be asked" in mail.text()
    assert "is wrong" in mail.text()
    assert "s3cr3t-word" not in mail.text()


def test_rows_that_are_hidden_are_not_told_as_none(
    runner: Runner, mail: Mailbox, migrator: MakeMigrator, conn: Conn, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrator(FILES).apply("001")
    conn.execute(
        "CREATE ROLE sees_no_rows LOGIN; GRANT USAGE ON SCHEMA wmigrate TO sees_no_rows;"
        "GRANT SELECT ON ALL TABLES IN SCHEMA wmigrate TO sees_no_rows;"
        "ALTER TABLE wmigrate.audit_log ENABLE ROW LEVEL SECURITY"
    )
    try:
        monkeypatch.setenv(
            "AIRFLOW_CONN_TARGET", json.dumps({**json.loads(connection(database)), "login": "sees_no_rows"})
        )
        runner.run(pipeline(runner))
    finally:
        conn.execute("DROP OWNED BY sees_no_rows; DROP ROLE sees_no_rows")
    assert (
        "not known, the target could not be asked: row security on wmigrate.audit_log may hide rows of the"
        " ledger from this role; ALTER TABLE wmigrate.audit_log DISABLE ROW LEVEL SECURITY, or give the role"
        " BYPASSRLS</td>"
    ) in mail.text()


def test_a_connection_that_does_not_exist(runner: Runner, mail: Mailbox) -> None:
    runner.run(pipeline(runner, conn_id="targett"))
    assert "targett" in mail.text()
    assert "no such price" in mail.text()


def test_a_ledger_that_hangs_costs_seconds(
    runner: Runner, mail: Mailbox, migrator: MakeMigrator, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_wmigrate import notifications

    monkeypatch.setattr(notifications, "_SECONDS", 1)
    migrator(FILES).apply("001")
    with conn.transaction():
        conn.execute("LOCK TABLE wmigrate.audit_log IN ACCESS EXCLUSIVE MODE")
        runner.run(pipeline(runner))
    assert "could not be asked: canceling statement due to statement timeout" in mail.text()


def test_one_that_cannot_speak_keeps_no_other_from_it(runner: Runner, mail: Mailbox, task_log: TaskLog) -> None:
    from airflow.sdk import BaseNotifier

    class Mute(BaseNotifier):
        def __call__(self, *_: Any) -> None:
            raise OSError("no line")

    runner.run(pipeline(runner, notifiers=[Mute(), smtp_notifier()]))
    assert len(mail.mails) == 1
    assert "Mute could not tell" in task_log.text


def test_a_run_that_failed_without_an_error(mail: Mailbox) -> None:
    """As the DAG processor calls it: the callback of a DAG, with a reason instead of an exception."""
    ti = SimpleNamespace(dag_id="etl", run_id="r1", task_id="load", try_number=1, state=None)
    tell = MigrationNotifier(conn_id="target", notifiers=[smtp_notifier()])
    tell({"ti": ti, "reason": "task_failure"})
    tell({"ti": ti})
    assert "task_failure" in mail.text(0)
    assert "ended without a word" in mail.text(1)


def test_an_error_without_a_message_has_a_name(runner: Runner, mail: Mailbox) -> None:
    runner.run(pipeline(runner, script="raise KeyError"))
    assert "KeyError" in mail.text()


def test_a_word_of_your_own(runner: Runner, mail: Mailbox) -> None:
    own = smtp_notifier(subject="{{ wmigrate_alert.about }}!")
    run = runner.run(pipeline(runner, notifiers=[own]))
    assert mail.subjects == [f"{run.dag.dag_id}.load on target!"]


@pytest.mark.parametrize("hours", [0, -1])
def test_hours_that_make_no_sense(hours: float) -> None:
    with pytest.raises(ValueError, match="hours must be more than 0"):
        MigrationNotifier(conn_id="target", notifiers=[], hours=hours)
