"""What the demo shows of a run: every task with its state and why, and the ledger in the target database."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

from dev.airflow_server import AirflowServer
from dev.cluster import Cluster

LEDGER = """
    SELECT version, name, status, applied_at, duration_ms, actor
    FROM wmigrate.schema_migrations ORDER BY version
"""
SHOWN_STATES = frozenset({"running", "up_for_retry", "success", "failed", "skipped", "upstream_failed", "deferred"})


def show_change(task: str, state: str) -> None:
    if state in SHOWN_STATES:
        print(f"  {state:<16} {task}", flush=True)


def show_tasks(server: AirflowServer, dag_id: str, run_id: str) -> None:
    tasks = sorted(server.task_instances(dag_id, run_id), key=_moment)
    reasons = _skip_reasons(server, dag_id, run_id, [task["task_id"] for task in tasks])
    rows = [(task["task_id"], task["state"] or "none", _seconds(task), _note(server, task, reasons)) for task in tasks]
    show_table(("task", "state", "seconds", ""), rows)


def show_ledger(cluster: Cluster, dbname: str) -> None:
    import psycopg

    print("\nThe ledger, wmigrate.schema_migrations in the target database:")
    try:
        rows = cluster.execute(LEDGER, dbname=dbname)
    except psycopg.Error as error:
        print(f"  cannot be read: {str(error).splitlines()[0]}")
        return
    show_table(("version", "name", "status", "applied_at", "ms", "actor"), rows)


def show_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    table = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if len(table) == 1:
        print("  (none)")


def _cell(value: object) -> str:
    if value is None:
        return ""
    isoformat = getattr(value, "strftime", None)
    return str(isoformat("%Y-%m-%d %H:%M:%S") if isoformat else value)


def _moment(task: dict[str, Any]) -> tuple[str, str]:
    """Tasks in the order in which they were dealt with; those that never were come last."""
    return (task["start_date"] or task["end_date"] or "~", task["task_id"])


def _seconds(task: dict[str, Any]) -> str:
    ran = task["duration"] is not None and task["state"] != "skipped"
    return f"{task['duration']:.1f}" if ran else ""


def _note(server: AirflowServer, task: dict[str, Any], reasons: dict[str, str]) -> str:
    identity = (task["dag_id"], task["dag_run_id"], task["task_id"])
    if task["state"] == "skipped":
        return _reason(task["task_id"], reasons)
    if task["state"] == "failed":
        said = [line for line in server.task_log(*identity, task["try_number"]) if not line.startswith("::")]
        file = server.task_log_file(*identity, task["try_number"])
        return " / ".join([*said[-1:], f"log: {os.path.relpath(file)}"])
    result = server.xcom(*identity)
    return str(result.get("outcome", "")) if isinstance(result, dict) else ""


def _skip_reasons(server: AirflowServer, dag_id: str, run_id: str, task_ids: Iterable[str]) -> dict[str, str]:
    """What the plan tasks of the run said; their keys are task ids, file stems or versions."""
    reasons: dict[str, str] = {}
    for task_id in task_ids:
        if task_id.rpartition(".")[2] == "plan":
            plan = server.xcom(dag_id, run_id, task_id, "plan")
            skipped = plan.get("skipped") if isinstance(plan, dict) else None
            if isinstance(skipped, dict):
                reasons.update({str(name): str(reason) for name, reason in skipped.items()})
    return reasons


def _reason(task_id: str, reasons: dict[str, str]) -> str:
    stem = task_id.rpartition(".")[2]
    version = re.match(r"\d*", stem)
    for name in (task_id, stem, version[0] if version else ""):
        if name in reasons:
            return reasons[name]
    return ""
