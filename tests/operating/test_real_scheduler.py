"""With the real scheduler and real task processes: the mails and numbers of one run that is late and then fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from listeners import Datagrams, Mailbox, mailbox, statsd

from dev.airflow_server import AirflowServer
from dev.cluster import Cluster

pytestmark = pytest.mark.e2e

DAG_FILE = """
    from datetime import timedelta

    from airflow.providers.smtp.notifications.smtp import SmtpNotifier
    from airflow.sdk import DAG

    from airflow_provider_wmigrate import MigrationTaskGroup

    with DAG("watched", schedule=None, max_active_runs=1, is_paused_upon_creation=False):
        MigrationTaskGroup(
            "migrate",
            folder="../migrations",
            conn_id="target",
            notifiers=[SmtpNotifier(to="duty@example.com")],
            deadline=timedelta(seconds=3),
        )
"""


@pytest.fixture
def world(cluster: Cluster, tmp_path: Path) -> Iterator[tuple[AirflowServer, Mailbox, Datagrams]]:
    for name in ("dags", "migrations"):
        (tmp_path / name).mkdir()
    (tmp_path / "dags" / "watched.py").write_text(dedent(DAG_FILE))
    (tmp_path / "migrations" / "001_slow.sql").write_text("SELECT pg_sleep(10);")
    (tmp_path / "migrations" / "002_broken.sql").write_text("SELECT 1 / 0;")
    cluster.create_database("watched_target")
    cluster.create_database("watched_airflow")
    with mailbox() as mail, statsd() as heard:
        target = {"conn_type": "postgres", "host": "127.0.0.1", "port": cluster.port, "login": "postgres"}
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"}
        smtp = {"conn_type": "smtp", "host": "127.0.0.1", "port": mail.port, "extra": extra}
        server = AirflowServer(
            tmp_path / "airflow",
            tmp_path / "dags",
            database_url=f"postgresql+psycopg2://postgres@127.0.0.1:{cluster.port}/watched_airflow",
            env={
                "AIRFLOW_CONN_TARGET": json.dumps({**target, "schema": "watched_target"}),
                "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(smtp),
                "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
                "AIRFLOW__METRICS__STATSD_ON": "True",
                "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
                "AIRFLOW__METRICS__STATSD_PORT": str(heard.port),
            },
        )
        with server:
            server.wait_ready()
            server.wait_dag("watched")
            yield server, mail, heard


def test_a_run_that_is_late_and_then_fails(world: tuple[AirflowServer, Mailbox, Datagrams]) -> None:
    server, mail, heard = world
    run_id = server.trigger("watched", {})
    assert server.wait_run("watched", run_id) == "failed"
    assert server.poll(lambda: len(mail.mails) >= 2, 60), mail.subjects
    assert sorted(mail.subjects) == [
        "[wmigrate] deadline missed: watched on target",
        "[wmigrate] migration failed: 002_broken on target",
    ]
    late, failed = sorted((mail.text(n) for n in range(2)), key=lambda text: "division by zero" in text)
    assert run_id in late
    assert "division by zero" in failed
    assert f"/dags/watched/runs/{run_id.replace(':', '%3A').replace('+', '%2B')}/tasks/migrate.002_broken" in failed
    assert {
        "airflow.wmigrate.migration.success",
        "airflow.wmigrate.migration.duration",
        "airflow.wmigrate.migration.failure",
        "airflow.wmigrate.migration.error.22012",
        "airflow.wmigrate.pending",
    } <= heard.names()
