"""Paths of Airflow's own pages, relative to its root. A thousand migrations name the same few DAGs and runs."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote


@lru_cache(maxsize=4096)
def dag_url(dag_id: str) -> str:
    """Of a DAG."""
    return f"dags/{quote(dag_id, safe='')}"


@lru_cache(maxsize=4096)
def run_url(dag_id: str, run_id: str) -> str:
    """Of a run."""
    return f"{dag_url(dag_id)}/runs/{quote(run_id, safe=':+')}"


def task_url(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """Of a task instance, which shows its log."""
    mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
    return f"{run_url(dag_id, run_id)}/tasks/{quote(task_id, safe='')}{mapped}"


def request_url(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """Of what a task instance asks a person."""
    return f"{task_url(dag_id, run_id, task_id, map_index)}/required_actions"
