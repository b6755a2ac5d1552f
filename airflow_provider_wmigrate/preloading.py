"""What the process of each task would import for itself, loaded once in the process that tasks are forked from.

Nine tenths of the CPU of a small migration's task are imports. A plugin's listener is called before the scheduler's
LocalExecutor forks its workers. Where tasks are forked from something else, `load` can be called by hand.
"""

from __future__ import annotations

import multiprocessing
import sys
from importlib import import_module
from typing import Any

from airflow.listeners import hookimpl
from airflow.sdk import conf

from .defaults import tasks_find_modules_loaded

_MODULES = (
    f"{__package__}.task_group",
    f"{__package__}.engine.migrator",
    f"{__package__}.engine.backup.outside",
    f"{__package__}.engine.blast",
    f"{__package__}.engine.ledger.creation",
    f"{__package__}.engine.reporting",
    f"{__package__}.engine.run.plan_findings",
    f"{__package__}.engine.run.series",
    f"{__package__}.engine.sql.secrecy",
    f"{__package__}.telling.metrics",
    f"{__package__}.telling.task_log",
    "airflow.providers.postgres.hooks.postgres",
    "airflow.sdk.execution_time.timeout",
    "airflow.sdk.observability.stats",
    "postgast",
    "psycopg",
)


@hookimpl
def on_starting(component: Any) -> None:
    """Called when any part of Airflow starts, and in each task; the component does not say yet which one it is."""
    is_scheduler = "airflow.jobs.scheduler_job_runner" in sys.modules
    forks = "LocalExecutor" in conf.get("core", "executor") and multiprocessing.get_start_method() == "fork"
    if is_scheduler and forks and tasks_find_modules_loaded():
        load()


def load() -> None:
    """0.3 s of CPU and 25 MB, which all processes share that are forked afterwards."""
    for module in _MODULES:
        import_module(module)
