"""The edges between the tasks of a group: the plan, what stands behind it, the migrations, and what ends a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator, chain

from .folding import Folding

if TYPE_CHECKING:
    from airflow.sdk.types import Operator


def join(
    gates: Sequence[BaseOperator],
    folding: Folding,
    tasks: Mapping[str, BaseOperator],
    after: BaseOperator,
    *,
    rollback: bool = False,
) -> None:
    """From the top of the dependencies down.

    Only the first tasks hang on the plan, so that clearing a skipped one runs it; what comes after waits for all.
    The last tasks alone would not do: one that the plan skipped, or that failed upstream, is done before those it
    depends on are. The plan may skip any of them, so each needs an edge of its own.

    :param gates: the plan, and what stands between it and the migrations, in this order.
    :param tasks: by the names that the folding has for them.
    :param rollback: against the dependencies.
    """
    for name, needs in folding.parents.items():
        for parent in needs:
            edge(*((tasks[name], tasks[parent]) if rollback else (tasks[parent], tasks[name])))
    first = folding.leaves if rollback else folding.roots
    chain(*gates, [tasks[name] for name in first] or after)
    for task in (*gates[1:], *tasks.values()):
        edge(task, after)
    for gate in gates[1:]:
        # The plan may have skipped all that is before a migration: then nothing else would make it wait.
        for task in tasks.values():
            edge(gate, task)


def edge(first: Operator, then: Operator) -> None:
    """As `first >> then` makes it of tasks of one DAG. That asks for each edge whether they are, which takes half the
    time of parsing a thousand migrations."""
    first.downstream_task_ids.add(then.task_id)
    then.upstream_task_ids.add(first.task_id)
