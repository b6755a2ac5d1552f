"""The deployment as processes, and its warehouse seen from outside: what the native tests go through."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from dev.airflow_server import without_schedule
from dev.deployment import Deployment
from dev.memory_room import memory_with_room
from tests.e2e.test_story import process_of

ROOT = Path(__file__).resolve().parents[2]
DAG = "warehouse_migrations"
HURRY = {
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}
SHIPPED = "008"
SLOW = {
    version: f"""CREATE TABLE warehouse.slow_{version} (id int);
SELECT pg_sleep(6);
INSERT INTO warehouse.slow_{version} VALUES (1);
"""
    for version in ("009", "010", "011")
}
CONFIG = """
  - {{version: "{0}", filename: {0}_slow.sql, description: "takes a while", rollback_supported: false}}
"""
SLEEPING = "SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(%' AND pid <> pg_backend_pid()"

Rows = list[tuple[Any, ...]]


class Story:
    """:param deployment: with everything up."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    def query(self, sql: str) -> Rows:
        with psycopg.connect(self.deployment.warehouse_dsn(), autocommit=True) as conn:
            return conn.execute(sql.encode()).fetchall()

    def events(self, version: str) -> list[str]:
        rows = self.query(f"SELECT event FROM wmigrate.audit_log WHERE version = '{version}' ORDER BY position")
        return [event for (event,) in rows]

    def status(self, version: str) -> str | None:
        rows = self.query(f"SELECT status FROM wmigrate.schema_migrations WHERE version = '{version}'")
        return rows[0][0] if rows else None

    def run_shipped(self) -> str:
        return self.deployment.trigger(DAG, {"to": SHIPPED})

    def start_slow(self, version: str) -> tuple[str, str]:
        """A run that has come to this slow migration, and who executes it."""
        run_id = self.deployment.trigger(DAG, {"to": version})
        assert self.deployment.poll(lambda: bool(self.query(SLEEPING)), 60), "no migration has begun"
        time.sleep(1)
        return run_id, self.deployment.replica_of(process_of(self.deployment, run_id, f"migrate.{version}_slow"))

    def wait(self, run_id: str) -> dict[str, Any]:
        """Until the run has succeeded, with nobody clearing anything; its tasks by the last part of their id."""
        state = self.deployment.wait_run(DAG, run_id)
        tasks = {task["task_id"].rpartition(".")[2]: task for task in self.deployment.task_instances(DAG, run_id)}
        assert state == "success", {name: task["state"] for name, task in tasks.items()}
        return tasks

    def log(self, run_id: str, task_id: str, try_number: int) -> str:
        """As the UI shows it."""
        task = f"/api/v2/dags/{DAG}/dagRuns/{quote(run_id)}/taskInstances/{task_id}"
        return json.dumps(self.deployment.api("GET", f"{task}/logs/{try_number}")["content"])

    def verify_audit(self) -> None:
        command = [sys.executable, "-m", "airflow_provider_wmigrate.cli", "--dsn", self.deployment.warehouse_dsn()]
        subprocess.run([*command, "audit", "verify"], cwd=self.deployment.project, check=True)


def write_slow_migrations(folder: Path) -> None:
    config = folder / "migration_config.yaml"
    before, mark, after = config.read_text().partition("\n# Overrides of `settings`")
    assert mark
    for version, script in SLOW.items():
        (folder / f"{version}_slow.sql").write_text(script)
        before += CONFIG.format(version)
    config.write_text(before + mark + after)


@contextmanager
def deployed(choices: Mapping[str, str], **replicas: int) -> Iterator[Story]:
    """:param choices: lines of .env."""
    folder = Path(tempfile.mkdtemp(prefix="wmigrate-deployment-", dir=memory_with_room()))
    folder.chmod(0o755)
    try:
        choices = {"TASK_HEARTBEAT_TIMEOUT": "12", **choices}
        with Deployment(ROOT, folder, choices=choices, settings=HURRY) as deployment:
            write_slow_migrations(deployment.project / "migrations")
            without_schedule(deployment.project / "dags" / f"{DAG}.py")
            began = time.monotonic()
            deployment.up(**replicas)
            print(f"\nup in {time.monotonic() - began:.1f} s")
            deployment.wait_dag(DAG)
            yield Story(deployment)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
