"""DAG files are parsed here as in the process of one task."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_CONTEXT = ("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "_AIRFLOW_PARSING_CONTEXT_TASK_ID")


@contextmanager
def own_process(dag_id: str, task_id: str) -> Iterator[None]:
    """What Airflow's runner does before it reads the DAG file. It leaves the variables behind, which here would be for
    all tests that follow."""
    from airflow.sdk.definitions._internal.dag_parsing_context import _airflow_parsing_context_manager
    from airflow.sdk.execution_time import task_runner

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task_runner, "SUPERVISOR_COMMS", getattr(task_runner, "SUPERVISOR_COMMS", None), raising=False)
        try:
            with _airflow_parsing_context_manager(dag_id=dag_id, task_id=task_id):
                yield
        finally:
            for name in _CONTEXT:
                os.environ.pop(name, None)
