"""What only the real scheduler can show of the way teams use task groups: gates, clears, many targets, asset events."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from dev.airflow_server import AirflowServer
from dev.cluster import Cluster
from tests.e2e.conftest import Story

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

DAG_FILE = """
    from airflow.providers.standard.operators.hitl import ApprovalOperator
    from airflow.providers.standard.operators.python import ShortCircuitOperator
    from airflow.sdk import DAG, chain, task, task_group

    from airflow_provider_wmigrate import MigrationTaskGroup, RollbackTaskGroup

    FOLDER = "../used"

    with DAG("gated", schedule=None, is_paused_upon_creation=False):

        @task.branch
        def branch():
            return "other"

        @task.skip_if(lambda context: True)
        @task
        def skipped():
            pass

        @task
        def other():
            pass

        gates = {
            "branch": branch(),
            "skip": skipped(),
            "circuit": ShortCircuitOperator(
                task_id="circuit", python_callable=lambda: False, ignore_downstream_trigger_rules=False
            ),
            "approval": ApprovalOperator(task_id="approve", subject="Apply?"),
        }
        gates["branch"] >> other()
        for name, gate in gates.items():
            gate >> MigrationTaskGroup(f"after_{name}", folder=FOLDER, conn_id="used_one")

    with DAG("gated_rollback", schedule=None, is_paused_upon_creation=False):
        approve = ApprovalOperator(task_id="approve", subject="Roll back?")
        approve >> RollbackTaskGroup("rollback", folder=FOLDER, conn_id="used_one", to="0")

    with DAG("used", schedule=None, is_paused_upon_creation=False):
        MigrationTaskGroup("migrate", folder=FOLDER, conn_id="used_one", on_run_failure="roll_back")

    with DAG("undone", schedule=None, is_paused_upon_creation=False):
        RollbackTaskGroup("rollback", folder=FOLDER, conn_id="used_two", to="0")

    with DAG("kept", schedule=None, is_paused_upon_creation=False):
        MigrationTaskGroup("kept", folder=FOLDER, conn_id="used_one")

    with DAG("fleet", schedule=None, is_paused_upon_creation=False):

        @task
        def targets():
            return ["used_two", "used_three"]

        @task_group
        def tenants(conn_id):
            MigrationTaskGroup("migrate", folder=FOLDER, conn_id=conn_id, to="1")

        tenants.expand(conn_id=targets())
"""


@dataclass
class Use:
    """Three targets and a folder of their own, in the Airflow of the story."""

    story: Story
    folder: Path
    targets: dict[str, str]

    @property
    def server(self) -> AirflowServer:
        return self.story.server

    def applied(self, target: str = "used_one") -> list[str]:
        with psycopg.connect(self.targets[target], autocommit=True) as conn:
            if conn.execute("SELECT to_regclass('wmigrate.schema_migrations')").fetchone() == (None,):
                return []
            return [v for (v,) in conn.execute("SELECT version FROM wmigrate.schema_migrations ORDER BY version")]

    def execute(self, sql: str) -> None:
        with psycopg.connect(self.targets["used_one"], autocommit=True) as conn:
            conn.execute(sql.encode())

    def write(self, name: str, sql: str, rollback: str) -> None:
        (self.folder / f"{name}.sql").write_text(sql)
        (self.folder / f"{name}.rollback.sql").write_text(rollback)

    def reject(self, dag_id: str, run_id: str) -> None:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id.replace('+', '%2B')}/taskInstances/approve/-1/hitlDetails"
        self.story.wait_for(
            "the question", lambda: self.server.task_states(dag_id, run_id)["approve"] == "awaiting_input"
        )
        self.story.let_go(dag_id, run_id, "approve")
        self.server.api("PATCH", path, {"chosen_options": ["Reject"], "params_input": {}})

    def events(self, dag_id: str = "used") -> list[dict[str, Any]]:
        return [event["extra"] for event in self.story.asset_events(dag_id)]


@pytest.fixture(scope="module")
def use(story: Story, cluster: Cluster) -> Use:
    folder = story.migrations.parent / "used"
    folder.mkdir()
    targets = {name: cluster.create_database(name) for name in ("used_one", "used_two", "used_three")}
    used = Use(story, folder, targets)
    used.write("001_one", "CREATE TABLE one (id int);", "DROP TABLE one;")
    used.write("002_two", "CREATE TABLE two (id int);", "DROP TABLE two;")
    for name in targets:
        where = {"host": "127.0.0.1", "port": cluster.port, "login": "postgres", "schema": name}
        story.server.api("POST", "/api/v2/connections", {"connection_id": name, "conn_type": "postgres", **where})
    (story.migrations.parent / "dags" / "used.py").write_text(dedent(DAG_FILE))
    for dag_id in ("gated", "gated_rollback", "used", "undone", "kept", "fleet"):
        story.server.wait_dag(dag_id)
    return used


def test_every_kind_of_gate_skips_the_whole_group(use: Use) -> None:
    run_id = use.server.trigger("gated")
    use.reject("gated", run_id)
    state = use.server.wait_run("gated", run_id)
    states = use.server.task_states("gated", run_id)
    assert state == "success", json.dumps(states)
    assert {state for task, state in states.items() if task.startswith("after_")} == {"skipped"}, json.dumps(states)
    assert use.applied() == []


def test_a_run_and_its_event(use: Use) -> None:
    run_id = use.server.trigger("used")
    assert use.server.wait_run("used", run_id) == "success"
    assert use.applied() == ["001", "002"]
    assert [(event["applied"], event["rolled_back"]) for event in use.events()] == [(["001", "002"], [])]
    use.server.clear("used", run_id, ["migrate.report"])
    assert use.server.wait_run("used", run_id) == "success"
    assert len(use.events()) == 1, "nobody is told twice"


def test_a_rejected_rollback_rolls_nothing_back(use: Use) -> None:
    run_id = use.server.trigger("gated_rollback")
    use.reject("gated_rollback", run_id)
    state = use.server.wait_run("gated_rollback", run_id)
    states = use.server.task_states("gated_rollback", run_id)
    assert state == "success", json.dumps(states)
    assert {state for task, state in states.items() if task.startswith("rollback.")} == {"skipped"}
    assert use.applied() == ["001", "002"]


def test_a_cleared_run_keeps_what_it_applied_before(use: Use) -> None:
    use.execute("INSERT INTO one SELECT generate_series(1, 1000)")
    use.write("003_three", "SELECT * FROM nowhere;", "SELECT 1;")
    use.story.wait_task_known("migrate.003_three", "used")
    (run,) = use.server.api("GET", "/api/v2/dags/used/dagRuns")["dag_runs"]
    run_id = run["dag_run_id"]
    tasks = [task["task_id"] for task in use.server.api("GET", "/api/v2/dags/used/tasks")["tasks"]]
    use.server.clear("used", run_id, tasks, run_on_latest_version=True)
    assert use.server.wait_run("used", run_id) == "failed"
    states = use.server.task_states("used", run_id)
    assert (states["migrate.003_three"], states["migrate.roll_back_run"]) == ("failed", "success")
    assert use.server.xcom("used", run_id, "migrate.roll_back_run") == []
    assert use.applied() == ["001", "002"]


def test_what_a_failed_run_had_applied_is_told_by_the_next_green_one(use: Use) -> None:
    use.write("003_three", "CREATE TABLE three (id int);", "DROP TABLE three;")
    use.write("004_four", "SELECT * FROM nowhere;", "SELECT 1;")
    use.story.wait_task_known("kept.004_four", "kept")
    failed = use.server.trigger("kept")
    assert use.server.wait_run("kept", failed) == "failed"
    assert (use.applied(), use.events("kept")) == (["001", "002", "003"], [])
    for file in use.folder.glob("004_*"):
        file.unlink()
    use.server.read_again("kept")
    run_id = use.server.trigger("kept")
    assert use.server.wait_run("kept", run_id) == "success"
    assert [event["applied"] for event in use.events("kept")] == [["003"]]


def test_a_group_mapped_over_what_another_task_returns(use: Use) -> None:
    run_id = use.server.trigger("fleet")
    assert use.server.wait_run("fleet", run_id) == "success"
    states = use.server.task_states("fleet", run_id)
    for index in (0, 1):
        assert states[f"tenants.migrate.001_one[{index}]"] == "success"
        assert states[f"tenants.migrate.002_two[{index}]"] == "skipped"
        assert states[f"tenants.migrate.report[{index}]"] == "success"
    assert [use.applied(target) for target in ("used_two", "used_three")] == [["001"], ["001"]]


def test_what_was_merged_late_is_rolled_back_first(use: Use, tmp_path: Path) -> None:
    """001 is there; then 003 without 002 in the folder, then 002: the edges say 003 first, the ledger 002."""

    def apply(folder: Path, version: str) -> None:
        target = use.targets["used_two"]
        Migrator(lambda: psycopg.connect(target), read_folder(folder), identity=Identity("ann")).apply(version)

    for file in use.folder.glob("00[13]_*"):
        shutil.copy(file, tmp_path)
    apply(tmp_path, "003")
    apply(use.folder, "002")
    run_id = use.server.trigger("undone")
    assert use.server.wait_run("undone", run_id) == "success"
    with psycopg.connect(use.targets["used_two"]) as conn:
        rows = conn.execute("SELECT version FROM wmigrate.audit_log WHERE event = 'rolled_back' ORDER BY position")
        assert [version for (version,) in rows] == ["002", "003", "001"]
