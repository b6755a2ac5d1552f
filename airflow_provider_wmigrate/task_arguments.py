"""A user's arguments join ours: what a DAG, a group or a task was given counts, and its callbacks run beside ours."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import DAG, BaseOperator, TaskGroup
from airflow.sdk.definitions._internal.mixins import ResolveMixin

CALLBACKS = (
    "on_execute_callback",
    "on_failure_callback",
    "on_success_callback",
    "on_retry_callback",
    "on_skipped_callback",
)
_OURS = frozenset({"task_id", "trigger_rule", "dag", "task_group", "retry_policy", "start_trigger_args"})
"""Of a task's arguments those that make the group what it is."""


def split(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments given to a group: those of Airflow's TaskGroup, and those for every task of it.

    :raises TypeError: one is neither, or would take the group apart.
    """
    group = set(inspect.signature(TaskGroup.__init__).parameters)
    task = set(inspect.signature(BaseOperator.__init__).parameters) - _OURS
    unknown = sorted(set(kwargs) - group - task)
    if unknown:
        raise TypeError(
            f"unexpected argument {unknown[0]!r}: neither one of TaskGroup nor one that its tasks can share"
        )
    of_group = {name: value for name, value in kwargs.items() if name in group}
    return of_group, {name: value for name, value in kwargs.items() if name not in group}


def defaults(dag: DAG, of_group: Mapping[str, Any] | None, for_tasks: Mapping[str, Any]) -> dict[str, Any]:
    """What every task of a group is given, as Airflow merges default_args: the group's count more than the DAG's.

    :param for_tasks: given to the group itself: they count most, and their callbacks come behind the others'.
    """
    merged = {**(dag.default_args or {}), **(of_group or {})}
    callbacks = {
        name: joined(merged.get(name), for_tasks[name]) for name in CALLBACKS if for_tasks.get(name) is not None
    }
    return {**merged, **for_tasks, **callbacks}


def joined(*callbacks: Any) -> list[Any]:
    """One callback, several or none each -> all of them, in order, each once."""
    found: list[Any] = []
    for some in callbacks:
        several: Sequence[Any] = () if some is None else some if isinstance(some, (list, tuple)) else [some]
        found += [callback for callback in several if callback not in found]
    return found


def refuse_mapped(**arguments: Any) -> None:
    """Of these the tasks are made, or their edges: they have to be known while the DAG file is parsed.

    :raises ValueError: one is an argument of a mapped group, or what another task returns.
    """
    for name, value in arguments.items():
        if isinstance(value, ResolveMixin):
            raise ValueError(
                f"{name} cannot be mapped, because tasks are made of it while the DAG file is parsed; conn_id,"
                f" environment, to and mode can: make a group of its own for each {name}"
            )
