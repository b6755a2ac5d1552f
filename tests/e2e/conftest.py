"""A whole Airflow for the end-to-end tests: every component as its own process, on a copy of dags/ and migrations/."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dev.airflow_server import AirflowServer, without_schedule
from dev.cluster import Cluster
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
DAG = "warehouse_migrations"


@dataclass
class Story:
    """One Airflow, one warehouse: each test goes on where the one before left off, those of the page first."""

    server: AirflowServer
    dsn: str
    migrations: Path

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            return conn.execute(sql.encode()).fetchall()

    def applied(self) -> list[str]:
        return [v for (v,) in self.query("SELECT version FROM wmigrate.schema_migrations ORDER BY version")]

    def events(self, version: str) -> list[str]:
        rows = self.query(f"SELECT event FROM wmigrate.audit_log WHERE version = '{version}' ORDER BY position")
        return [event for (event,) in rows]

    def asset_events(self, dag_id: str) -> list[dict[str, Any]]:
        """Of whole targets, that a DAG has sent, in order; those of tables and schemas come beside them."""
        assets = self.server.api("GET", "/api/v2/assets?name_pattern=wmigrate/&limit=100")["assets"]
        query = f"/api/v2/assets/events?source_dag_id={dag_id}&order_by=timestamp&limit=100&asset_id="
        whole = [asset["id"] for asset in assets if asset["name"].count("/") == 1]
        return [event for number in whole for event in self.server.api("GET", f"{query}{number}")["asset_events"]]

    def run(self, dag_id: str = DAG, **conf: str) -> tuple[str, str, dict[str, str]]:
        """Trigger, wait, and tell run id, state and the tasks' states by the last part of their id."""
        run_id = self.server.trigger(dag_id, conf)
        return run_id, *self.wait(dag_id, run_id)

    def wait(self, dag_id: str, run_id: str) -> tuple[str, dict[str, str]]:
        state = self.server.wait_run(dag_id, run_id)
        states = self.server.task_states(dag_id, run_id)
        return state, {task_id.rpartition(".")[2]: task_state for task_id, task_state in states.items()}

    def wait_for(self, what: str, done: Callable[[], bool], seconds: float = 3 * PATIENCE) -> None:
        assert self.server.poll(done, seconds), f"{what} did not happen within {seconds} s"

    def let_go(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Until the scheduler knows that the process of a task that waits has ended. Airflow takes an answer, or what
        fires, before that for the end of a killed task; under load that moment is long."""
        seen = f"TaskInstance Finished: dag_id={dag_id}, task_id={task_id}, run_id={run_id},"
        log = self.server.log_file("scheduler")
        self.wait_for(f"the end of the process of {task_id}", lambda: seen in log.read_text(errors="replace"))

    def write(self, name: str, sql: str, *, rollback: str | None = None) -> None:
        (self.migrations / f"{name}.sql").write_text(sql)
        if rollback is not None:
            (self.migrations / f"{name}.rollback.sql").write_text(rollback)

    def wait_task_known(self, task_id: str, dag_id: str = DAG) -> None:
        """Have the DAG read anew, until Airflow knows a new file's task."""
        self.server.read_again(dag_id)

        def known() -> bool:
            tasks = self.server.api("GET", f"/api/v2/dags/{dag_id}/tasks")["tasks"]
            return task_id in [task["task_id"] for task in tasks]

        self.wait_for(f"task {task_id}", known)


@pytest.fixture(scope="session")
def story(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    for name in ("dags", "migrations"):
        shutil.copytree(ROOT / name, folder / name)
    without_schedule(folder / "dags" / f"{DAG}.py")
    # These tests write migrations of their own, without a block in the config for each.
    config = folder / "migrations" / "migration_config.yaml"
    config.write_text(
        config.read_text()
        .replace("require_description: true", "require_description: false")
        .replace("require_rollback_validation: true", "require_rollback_validation: false")
        .replace("require_sequential_versions: true", "require_sequential_versions: false")
    )
    dsn = cluster.create_database("story_warehouse")
    cluster.create_database("story_airflow")
    connection = {"conn_type": "postgres", "host": "127.0.0.1", "port": cluster.port, "login": "postgres"}
    server = AirflowServer(
        folder / "airflow",
        folder / "dags",
        database_url=f"postgresql+psycopg2://postgres@127.0.0.1:{cluster.port}/story_airflow",
        env={
            "AIRFLOW_CONN_WAREHOUSE_DB": json.dumps({**connection, "schema": "story_warehouse"}),
            # Reading four DAG files again and again would take a processor for itself; see wait_task_known.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",  # a file that is new, see test_use.py
        },
    )
    with server:
        server.wait_ready()
        server.wait_dag(DAG)
        yield Story(server, dsn, folder / "migrations")
