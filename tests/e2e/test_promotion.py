"""The shipped folder through three databases, with a person between, as only the real scheduler and the API show it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import psycopg
import pytest

from dev.airflow_client import ApiError
from dev.cluster import Cluster
from tests.e2e.conftest import Story

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

DAG = "promotion"
APPROVE = "promote.production.migrate.approve"
NAMES = ("development", "staging", "production")
DAG_FILE = """
    from airflow.sdk import DAG

    from airflow_provider_wmigrate import Approval, PromotionTaskGroup

    with DAG("promotion", schedule=None, max_active_runs=1, is_paused_upon_creation=False):
        PromotionTaskGroup(
            "promote",
            folder="../promoted",
            max_tasks=1,
            environments={
                "development": "to_development",
                "staging": "to_staging",
                "production": {"conn_id": "to_production", "approval": Approval(assigned_users=["bob"])},
            },
        )
"""


@dataclass
class Promotion:
    story: Story
    folder: Path
    dsns: dict[str, str]

    def query(self, name: str, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsns[name], autocommit=True) as conn:
            return conn.execute(sql.encode()).fetchall()

    def applied(self, name: str) -> list[str]:
        return [v for (v,) in self.query(name, "SELECT version FROM wmigrate.schema_migrations ORDER BY 1")]

    def asked(self) -> str:
        """A new run, once it waits for a person."""
        server = self.story.server
        run_id = server.trigger(DAG)
        self.story.wait_for(
            "the request", lambda: server.task_states(DAG, run_id).get(APPROVE) == "awaiting_input", seconds=400
        )
        self.story.let_go(DAG, run_id, APPROVE)
        return run_id

    def ends(self, run_id: str) -> tuple[str, dict[str, str]]:
        state = self.story.server.wait_run(DAG, run_id)
        states = self.story.server.task_states(DAG, run_id)
        prefix = "promote.production."
        return state, {task.removeprefix(prefix): s for task, s in states.items() if task.startswith(prefix)}


@pytest.fixture(scope="module")
def promotion(story: Story, cluster: Cluster) -> Promotion:
    folder = story.migrations.parent / "promoted"
    shutil.copytree(Path(__file__).parents[2] / "migrations", folder)
    config = folder / "migration_config.yaml"
    # These servers have no TimescaleDB.
    config.write_text(config.read_text().replace("when_extension_missing: fail", "when_extension_missing: skip"))
    dsns = {name: cluster.create_database(f"to_{name}") for name in NAMES}
    for name in NAMES:
        where = {"host": "127.0.0.1", "port": cluster.port, "login": "postgres", "schema": f"to_{name}"}
        story.server.api(
            "POST", "/api/v2/connections", {"connection_id": f"to_{name}", "conn_type": "postgres", **where}
        )
    (story.migrations.parent / "dags" / "promotion.py").write_text(dedent(DAG_FILE))
    story.server.wait_dag(DAG)
    return Promotion(story, folder, dsns)


def test_a_change_between_approval_and_apply_a_rejection_and_an_approval(promotion: Promotion) -> None:
    """Three runs: what the first two leave undone the third one does."""
    server, bob = promotion.story.server, promotion.story.server.approver()
    first = promotion.asked()
    every = promotion.applied("development")
    assert every == ["001", "002", "004", "005", "006", "007", "008"]
    assert promotion.applied("staging") == every
    request = bob.request_of(DAG, first, APPROVE)
    assert request["assigned_users"] == [{"id": "bob", "name": "bob"}]
    for shown in ("1. apply `001_initial_schema`", "| environment | `production` |", "CREATE SCHEMA warehouse"):
        assert shown in request["body"]
    with pytest.raises(ApiError) as refused:
        server.answer(DAG, first, APPROVE, "apply")
    assert refused.value.status == 403, "admin is none of those who may answer"

    file = promotion.folder / "007_partners_orders_and_reservations.sql"
    text = file.read_text()
    file.write_text(text + "\n-- one more line\n")
    bob.answer(DAG, first, APPROVE, "apply")
    state, states = promotion.ends(first)
    assert (state, states["migrate.history"], states["migrate.report"], states["health"]) == (
        "failed", "failed", "failed", "upstream_failed")  # fmt: skip
    why = server.xcom(DAG, first, "promote.production.migrate.history", "failure")["error"]
    assert "007_partners_orders_and_reservations.sql was edited after the plan that was approved" in why, why
    assert promotion.applied("production") == []
    file.write_text(text)

    second = promotion.asked()
    bob.answer(DAG, second, APPROVE, "reject")
    state, states = promotion.ends(second)
    assert (state, states["migrate.history"], states["migrate.report"]) == ("failed", "skipped", "failed"), json.dumps(
        states
    )
    report = server.xcom(DAG, second, "promote.production.migrate.report")
    assert (report["approval"]["answer"], report["approval"]["user"]["name"], report["applied"]) == (
        "reject",
        "bob",
        [],
    )
    assert promotion.applied("production") == []

    third = promotion.asked()
    bob.answer(DAG, third, APPROVE, "apply")
    state, states = promotion.ends(third)
    assert (state, states["health"]) == ("success", "success"), json.dumps(states)
    assert promotion.applied("production") == every
    answers = promotion.query(
        "production",
        "SELECT event, actor, run_id FROM wmigrate.audit_log WHERE event IN ('approved', 'rejected') ORDER BY position",
    )
    assert answers == [("approved", "bob", first), ("rejected", "bob", second), ("approved", "bob", third)]
    events = promotion.story.asset_events(DAG)
    assert sorted(event["source_run_id"] for event in events) == sorted([first, first, third])
