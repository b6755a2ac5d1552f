"""Health, metrics and alerts: a real PostgreSQL, a real Airflow, and real listeners for what it sends."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "airflow"))

from airflow_home import metadata_database, runner, task_log

__all__ = ["metadata_database", "runner", "task_log"]
