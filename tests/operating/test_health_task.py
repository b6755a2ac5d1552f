"""The task that looks at a target, and the DAG that is shipped with it."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow_runner import Run, Runner, TaskLog, connection
from listeners import mailbox

from airflow_provider_wmigrate import health_interval
from airflow_provider_wmigrate.engine.folder.config.root import CONFIG_FILE

ROOT = Path(__file__).resolve().parents[2]
MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]

TARGET = ""
_names = (f"looked_at_{number}" for number in itertools.count(1))

A = {"001_a.sql": "CREATE TABLE a (id int);", "001_a.rollback.sql": "DROP TABLE a;"}


@pytest.fixture(autouse=True)
def fresh_target(monkeypatch: pytest.MonkeyPatch, database: str) -> str:
    """A connection id of the test's own: what Airflow keeps about a target outlives the test's database."""
    name = next(_names)
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", connection(database))
    monkeypatch.setattr(sys.modules[__name__], "TARGET", name)
    return name


def look(runner: Runner, folder: Path, dag_id: str = "looking", **more: Any) -> Run:
    from airflow_provider_wmigrate import CheckHealthOperator

    operator = CheckHealthOperator(task_id="look", folder=folder, conn_id=TARGET, **more)
    return runner.run(runner.of(operator, dag_id=dag_id))


def test_healthy_succeeds(runner: Runner, make_folder: MakeFolder) -> None:
    folder = make_folder(A)
    runner.run(runner.migrations(folder))
    run = look(runner, folder)
    assert run.state == "success"
    assert run.returned("look")["status"] == "healthy"


def test_degraded_succeeds_with_a_warning(runner: Runner, make_folder: MakeFolder, task_log: TaskLog) -> None:
    run = look(runner, make_folder(A))
    assert (run.state, run.returned("look")["status"]) == ("success", "degraded")
    assert "pending: degraded: 1 migration pending: 001; run the migrations" in task_log.text


def test_unhealthy_fails_with_the_reasons_and_leaves_them(runner: Runner, make_folder: MakeFolder) -> None:
    folder = make_folder(A)
    runner.run(runner.migrations(folder))
    make_folder({**A, "001_a.sql": "CREATE TABLE a (id bigint);"})
    run = look(runner, folder)
    assert run.state == "failed"
    assert "checksums: 001_a.sql: was edited after it was applied" in str(run.errors["look"])
    assert run.returned("look")["status"] == "unhealthy"


def test_switched_off_is_skipped(runner: Runner, make_folder: MakeFolder) -> None:
    folder = make_folder({**A, CONFIG_FILE: "monitoring: {health_check: {enabled: false}}\n"})
    assert look(runner, folder).states == {"look": "skipped"}
    assert health_interval(folder) is None


def test_the_interval_comes_from_the_config(make_folder: MakeFolder) -> None:
    folder = make_folder({**A, CONFIG_FILE: "monitoring: {health_check: {interval_seconds: 90}}\n"})
    assert health_interval(folder) == timedelta(seconds=90)


def test_a_cut_off_audit_log_is_found_from_one_look_to_the_next(
    runner: Runner, make_folder: MakeFolder, conn: Conn
) -> None:
    folder = make_folder(A)
    runner.run(runner.migrations(folder))
    assert look(runner, folder, "cut").state == "success"
    conn.execute("ALTER TABLE wmigrate.audit_log DISABLE TRIGGER audit_log_append_only")
    conn.execute("DELETE FROM wmigrate.audit_log WHERE position > 2")
    conn.execute(
        "UPDATE wmigrate.application_metadata SET value = (SELECT position || ':' || hash FROM wmigrate.audit_log"
        " ORDER BY position DESC LIMIT 1) WHERE key = 'audit_head'"
    )
    for _ in range(2):
        assert "never passed through" in str(look(runner, folder, "cut").errors["look"])
    conn.execute("ALTER TABLE wmigrate.audit_log ENABLE TRIGGER audit_log_append_only")
    conn.execute("DELETE FROM wmigrate.schema_migrations")
    assert look(runner, folder, "cut", forget_head=True).state == "success"
    assert look(runner, folder, "cut").state == "success"


def test_trouble_is_told_once_and_when_it_has_healed(
    runner: Runner, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    folder = make_folder(A)
    runner.run(runner.migrations(folder))
    with mailbox() as mail:
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"}
        smtp = {"conn_type": "smtp", "host": "127.0.0.1", "port": mail.port, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(smtp))

        def looks() -> list[str]:
            for _ in range(2):
                look(runner, folder, "told", notifiers=[SmtpNotifier(to="duty@example.com")])
            told = mail.subjects
            mail.mails.clear()
            return told

        assert looks() == []
        make_folder({**A, "001_a.sql": "CREATE TABLE a (id bigint);"})
        assert looks() == [f"[wmigrate] target unhealthy: {TARGET}"]
        make_folder(A)
        assert looks() == [f"[wmigrate] healed: health of {TARGET}"]
        nowhere = json.dumps({"conn_type": "postgres", "host": "127.0.0.1", "port": 1})
        monkeypatch.setenv(f"AIRFLOW_CONN_{TARGET.upper()}", nowhere)
        assert looks() == [f"[wmigrate] no connection to the target: {TARGET}"]
        monkeypatch.setenv(f"AIRFLOW_CONN_{TARGET.upper()}", connection(database))
        assert looks() == [f"[wmigrate] healed: {TARGET}"]


def test_the_shipped_dag_runs(runner: Runner, tmp_path: Path, shipped: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    (tmp_path / "dags").mkdir()
    shutil.copy(ROOT / "dags" / "warehouse_health.py", tmp_path / "dags")
    shutil.copytree(shipped, tmp_path / "migrations")
    config = (tmp_path / "migrations" / CONFIG_FILE).read_text()
    environments = "environments: {development: {logging: {level: DEBUG}}}\n"
    monitoring = "monitoring: {health_check: {interval_seconds: 120}}\n"
    (tmp_path / "migrations" / CONFIG_FILE).write_text(config + environments + monitoring)
    bag = DagBag(dag_folder=str(tmp_path / "dags"))
    assert bag.import_errors == {}
    dag = bag.dags["warehouse_health"]
    assert dag.schedule == timedelta(seconds=120)
    run = runner.run(dag, run_id="manual__health")
    assert run.returned("look")["status"] == "degraded"
