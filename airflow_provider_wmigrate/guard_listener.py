"""Gives a guard to tasks of DAGs that know nothing of it: those that `guarded_tasks` in `[wmigrate]` names.

Airflow calls a listener in the task's own process, just before the task is executed, and only writes down what goes
wrong in it. So the work is not done here: what executes the task is put under the guard, and fails where that fails.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import wraps
from typing import Any

from airflow.listeners import hookimpl

from .defaults import guarded_tasks


@hookimpl
def on_task_instance_running(task_instance: Any) -> None:
    """Before a task is executed, and before it goes on behind a deferral."""
    task = getattr(task_instance, "task", None)
    if task is None or type(task).__module__.startswith(__package__):
        return  # a migration would wait for itself
    for name in ("execute", "resume_execution"):
        setattr(task, name, _guarded(getattr(task, name), task_instance))


def _guarded(work: Callable[..., Any], ti: Any) -> Callable[..., Any]:
    @wraps(work)
    def under_guards(*arguments: Any, **named: Any) -> Any:
        from contextlib import ExitStack

        from .guards import LoadGuard, name_of

        with ExitStack() as stack:
            for conn_id in guards_of(ti):
                stack.enter_context(LoadGuard(conn_id, None, "fail", name_of(ti)))
            return work(*arguments, **named)

    return under_guards


def guards_of(ti: Any) -> list[str]:
    """The connections on whose databases a task is a load.

    :raises AirflowFailException: the option cannot be read.
    """
    name = f"{ti.dag_id}.{ti.task_id}"
    return [c for c, patterns in guarded_tasks().items() if any(fnmatchcase(name, pattern) for pattern in patterns)]
