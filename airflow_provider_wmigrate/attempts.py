"""An attempt: one pass of a run from its plan to its report, as Airflow remembers it.

A run id names no attempt: Airflow uses it again for every clear. What belongs to a plan acts only with that plan, and
the plan's state says whether there is one: that no XCom was found says nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

if TYPE_CHECKING:
    from .engine.plan.proposal import Proposal

log = logging.getLogger(__name__)

PLAN_KEY = "plan"
"""XCom key under which the plan task leaves its plan, as plain values without SQL."""

PROPOSAL_KEY = "proposal"
"""XCom key under which a plan that a person has to approve leaves all that it was made of."""

HEAD_KEY = "audit_head"
"""XCom key under which a task leaves the audit log's head: in the plan's value the one of its own `planned` row."""

DRY_RUN_KEY = "dry_run"
"""XCom key under which the plan task of a dry run leaves what it found: by version the record, and the checksums of the
scripts that it is about."""

FAILURE_KEY = "failure"
"""XCom key under which a task that fails leaves why: version, error and SQLSTATE, as the audit log has them."""

_NAMES = 10
"""Of more tasks than these, the states are asked for with those of the whole run."""


def plan_of(context: Any, plan_task_id: str, states: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    """The plan of this attempt, of the same map index.

    :param states: of tasks of this run, the plan's among them; None: Airflow is asked.
    :raises AirflowSkipException: the plan was skipped, so all that belongs to it is.
    :raises AirflowFailException: there is no plan to act by.
    """
    state = (task_states(context, [plan_task_id]) if states is None else states).get(plan_task_id)
    if state == "skipped":
        _skip_the_others(context, plan_task_id)
        raise AirflowSkipException(f"{plan_task_id} was skipped, and so is all that belongs to its plan")
    again = f"clear {plan_task_id} with its downstream"
    if state != "success":
        raise AirflowFailException(f"{plan_task_id} {_has_not_planned(state)}, so nothing is done; {again}")
    plan = pulled(context, plan_task_id, PLAN_KEY)
    if not isinstance(plan, dict):
        raise AirflowFailException(
            f"the plan of this run is gone ({plan_task_id} is marked as success, but left none or it was deleted),"
            f" so nothing is done; {again}"
        )
    errors = [_sentence(f) for f in plan["findings"] if f["severity"] == "error"]
    if errors:
        raise AirflowFailException(f"{plan_task_id} was refused ({errors[0]}), so nothing is done; fix it and {again}")
    return plan


def proposal_of(context: Any, plan_task_id: str) -> Proposal:
    """What a person is asked to approve, of this attempt and the same map index.

    :raises AirflowFailException: it is gone.
    """
    from .engine.plan.proposal import Proposal

    found = pulled(context, plan_task_id, PROPOSAL_KEY)
    if not isinstance(found, dict):
        raise AirflowFailException(
            f"what {plan_task_id} left to be approved is gone, so nothing is done; trigger a new run"
        )
    return Proposal.from_dict(found)


def _skip_the_others(context: Any, plan_task_id: str) -> None:
    """All that belongs to a plan that was skipped, in one call, as a plan skips: else each would start a process only
    to find it out. One that runs already is left alone. Where it does not go through, each does it by itself."""
    me = context["task"]
    mine = [task.task_id for task in me.dag.tasks if getattr(task, "plan_task_id", None) == plan_task_id]
    others = of_this_index(context, [task_id for task_id in mine if task_id != me.task_id])
    try:
        from airflow.sdk.execution_time import task_runner
        from airflow.sdk.execution_time.comms import SkipDownstreamTasks

        # Raised, as `DownstreamTasksSkipped` is meant to be, it would make a success of this task.
        task_runner.SUPERVISOR_COMMS.send(msg=SkipDownstreamTasks(tasks=others))
    except Exception as error:
        log.debug("the others of %s are not skipped in one call: %s", plan_task_id, error)


def _sentence(finding: Mapping[str, Any]) -> str:
    return f"{finding['file']}: {finding['message']}" if finding["file"] else str(finding["message"])


def _has_not_planned(state: str | None) -> str:
    return "has not run" if state is None else f"is {state.replace('_', ' ')}"


def task_states(context: Any, task_ids: Sequence[str]) -> dict[str, str | None]:
    """States of tasks of the same run and the same map index, by task id; a task that is not in the run is left out."""
    ti = context["ti"]
    index = _map_index(ti)
    # Airflow reads all of the run, unless it is asked by name; hundreds of names would not fit into the address.
    named = list(task_ids) if len(task_ids) <= _NAMES else None
    answer = ti.get_task_states(dag_id=ti.dag_id, map_index=index, task_ids=named, run_ids=[ti.run_id])
    found: Mapping[str, str | None] = answer.get(ti.run_id, {})
    names = {task_id: task_id if index < 0 else f"{task_id}_{index}" for task_id in task_ids}
    return {task_id: found[name] for task_id, name in names.items() if name in found}


def pulled(context: Any, task_id: str, key: str = "return_value") -> Any:
    """What a task of the same run and the same map index left; None: nothing."""
    ti = context["ti"]
    return ti.xcom_pull(task_ids=task_id, key=key, map_indexes=_map_index(ti))


def is_mapped(context: Any) -> bool:
    """Whether this task stands in a mapped group."""
    return _map_index(context["ti"]) >= 0


def of_this_index(context: Any, task_ids: Sequence[str]) -> list[Any]:
    """Tasks of the same map index, as Airflow wants them named for a skip."""
    index = _map_index(context["ti"])
    return list(task_ids) if index < 0 else [(task_id, index) for task_id in task_ids]


def _map_index(ti: Any) -> int:
    index = getattr(ti, "map_index", None)
    return -1 if index is None else int(index)
