"""The tests here run in a real Airflow."""

from __future__ import annotations

from airflow_home import metadata_database, pytest_collection_modifyitems, runner, task_log

__all__ = ["metadata_database", "pytest_collection_modifyitems", "runner", "task_log"]
