"""What the pages say about health, metrics and alerts is what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

from airflow_provider_wmigrate.alerting import messages as notices
from airflow_provider_wmigrate.engine.folder.config.reference import describe
from airflow_provider_wmigrate.engine.health.inspection import CHECKS, DRIFT

DOCS = Path(__file__).resolve().parents[2] / "docs"
FIRST_CELL = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)

COUNTED = {f"{what}.{name}" for what in ("migration", "rollback") for name in ("success", "failure", "duration")}
SENT = {f"wmigrate.{name}" for name in COUNTED} | {
    "wmigrate.migration.error.<sqlstate>",
    "wmigrate.rollback.error.<sqlstate>",
    "wmigrate.migration.retries",
    "wmigrate.lock.waits",
    "wmigrate.lock.wait_duration",
    "wmigrate.bystanders.sessions",
    "wmigrate.bystanders.longest_wait",
    "wmigrate.bystanders.deadlocks",
    "wmigrate.bystanders.not_measured",
    "wmigrate.pending",
    "wmigrate.health",
    "wmigrate.health.<check>",
    "wmigrate.health.duration",
}
"""What tests/operating/test_metrics.py hears."""


def first_cells(page: str) -> set[str]:
    return set(FIRST_CELL.findall((DOCS / page).read_text()))


def test_every_metric_is_documented_and_no_other() -> None:
    assert first_cells("metrics.md") == SENT


def test_the_dashboard_shows_metrics_that_are_sent() -> None:
    dashboard = json.loads((DOCS / "grafana" / "wmigrate.json").read_text())
    known = {name.replace(".", "_").replace("-", "_") for name in SENT} | {
        f"wmigrate_health_{c}" for c in (*CHECKS, DRIFT)
    }
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            for name in re.findall(r"airflow_(wmigrate_[a-z_]+)", target["expr"]):
                assert name in known or name == "wmigrate_", (panel["title"], name)
    shown = json.dumps(dashboard)
    assert [n for n in SENT if n.split(".<")[0].rpartition(".")[2] not in shown] == []


def test_every_check_is_documented() -> None:
    assert first_cells("health.md") == {*CHECKS, DRIFT}


def test_every_kind_of_alert_is_documented_with_its_switch() -> None:
    page = (DOCS / "alerts.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| `(\w+)` \|$", page, re.MULTILINE))
    told = set(notices.KINDS) - {"task_failed"}  # of somebody else's DAG, which knows no config
    assert rows == {kind: notices.KINDS[kind].switch or "enabled" for kind in told}
    assert first_cells("alerts.md") >= set(notices.KINDS)
    keys = {key.key.rpartition(".")[2] for key in describe() if key.key.startswith("monitoring.alerts.")}
    assert set(rows.values()) == keys
