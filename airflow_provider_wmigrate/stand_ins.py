"""The tasks of single migrations; in the process of one task those of the others as well, which nobody runs there and
nobody serializes.

A DAG file may name them and hang others on them, so they have to be there. To make a hundred of them in the usual way
takes as long as to read the folder of a thousand migrations.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

from airflow.sdk import BaseOperator, TaskGroup

from .edges import edge


def make_tasks(
    kind: type[BaseOperator],
    group: TaskGroup,
    each: Mapping[str, Mapping[str, Any]],
    shared: Mapping[str, Any],
    only: str | None,
) -> list[BaseOperator]:
    """One task for each id.

    :param each: id without that of the group -> arguments of this task alone, which are attributes of it as well.
    :param shared: arguments of all; they count more.
    :param only: full id of the task whose process this is; None: each may be run, or is serialized.
    """
    made: list[BaseOperator] = []
    like: BaseOperator | None = None
    for label, given in each.items():
        task_id = group.child_id(label)
        own = {name: value for name, value in given.items() if name not in shared}
        if only in (None, task_id) or like is None:
            task = kind(task_id=label, **own, **shared)
            like = task if only not in (None, task_id) else like
        else:
            task = _stand_in(like, group, {**own, "task_id": task_id})
        made.append(task)
    return made


def _stand_in(like: BaseOperator, group: TaskGroup, differs: Mapping[str, Any]) -> BaseOperator:
    """A task as one that stands in for another, too: what does not differ they share.

    :param like: it has no edges yet but those that Airflow has made of its arguments.
    """
    made = copy(like)
    vars(made).update(differs, task_group=None, upstream_task_ids=set(), downstream_task_ids=set())
    group.add(made)
    group.dag.add_task(made)
    for task_id in like.upstream_task_ids:
        edge(group.dag.task_dict[task_id], made)
    return made
