"""What the demo shows of a run: every task with its state and why, and the ledger in the target database."""

from __future__ import annotations

import os
from typing import Any

import psycopg
from tabulate import tabulate

from dev.airflow_server import AirflowServer
from dev.cluster import Cluster

LEDGER = """
    SELECT version, name, status, to_char(applied_at, 'YYYY-MM-DD HH24:MI:SS'), duration_ms, actor
    FROM wmigrate.schema_migrations ORDER BY version
"""
SHOWN_STATES = frozenset({"running", "up_for_retry", "success", "failed", "skipped", "upstream_failed", "deferred"})


def show_change(task: str, state: str) -> None:
    if state in SHOWN_STATES:
        print(f"  {state:<16} {task}", flush=True)


def show_tasks(server: AirflowServer, dag_id: str, run_id: str) -> None:
    """In the order in which they were dealt with; those that never were come last."""
    tasks = server.task_instances(dag_id, run_id)
    plans = [server.xcom(dag_id, run_id, t["task_id"], "plan") for t in tasks if t["task_id"].endswith("plan")]
    reasons = {version: reason for plan in plans if plan for version, reason in plan["skipped"].items()}
    tasks.sort(key=lambda task: (task["start_date"] or task["end_date"] or "~", task["task_id"]))
    rows = [(task["task_id"], task["state"] or "none", _seconds(task), _note(server, task, reasons)) for task in tasks]
    show_table(["task", "state", "seconds", ""], rows)


def show_ledger(cluster: Cluster, dbname: str) -> None:
    print("\nThe ledger, wmigrate.schema_migrations in the target database:")
    try:
        rows = cluster.execute(LEDGER, dbname=dbname)
    except psycopg.Error as error:
        print(f"  cannot be read: {str(error).splitlines()[0]}")
        return
    show_table(["version", "name", "status", "applied_at", "ms", "actor"], rows)


def show_table(heads: list[str], rows: list[tuple[Any, ...]]) -> None:
    text = tabulate(rows or [("(none)",)], heads, tablefmt="plain", disable_numparse=True)
    print("\n".join(f"  {line.rstrip()}" for line in text.splitlines()))


def _seconds(task: dict[str, Any]) -> str:
    ran = task["duration"] is not None and task["state"] != "skipped"
    return f"{task['duration']:.1f}" if ran else ""


def _note(server: AirflowServer, task: dict[str, Any], reasons: dict[str, str]) -> str:
    """What became of it, why it was skipped, or the last that it said."""
    identity = (task["dag_id"], task["dag_run_id"], task["task_id"])
    if task["state"] == "skipped":
        return reasons.get(task["task_id"].rpartition(".")[2].partition("_")[0], "")
    if task["state"] == "failed":
        said = [line for line in server.task_log(*identity, task["try_number"]) if not line.startswith("::")]
        file = server.task_log_file(*identity, task["try_number"])
        return " / ".join([*said[-1:], f"log: {os.path.relpath(file)}"])
    result = server.xcom(*identity)
    return str(result.get("outcome", "")) if isinstance(result, dict) else ""
