"""The newest runs of a group, from Airflow's own database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.state import TaskInstanceState
from sqlalchemy import or_, select, tuple_
from sqlalchemy.orm import Session

from airflow_provider_wmigrate.attempts import PLAN_KEY

from . import schemas
from .catalog import GroupTasks
from .group_view import GroupView
from .run_results import key_of, mapping
from .urls import request_url, run_url

RUNS = 25
_DONE = ("applied", "rolled_back", "dry_run")


def runs(view: GroupView, limit: int = RUNS) -> list[schemas.Run]:
    """The newest runs that worked, or are to work, on the target."""
    groups = {group.dag_id: group for group in reversed(view.both)}
    query = select(DagRun).where(DagRun.dag_id.in_(groups))
    found = list(view.session.scalars(query.order_by(DagRun.run_after.desc(), DagRun.id.desc()).limit(limit)))
    left, failed = _left_by(view.session, groups, found), _failed_in(view.session, groups, found)
    asking = _asking_in(view.session, found)
    return [_run(groups[run.dag_id], run, view.target.map_index, left, failed, asking) for run in found]


def _run(
    group: GroupTasks,
    run: DagRun,
    map_index: int | None,
    left: Mapping[Any, Mapping[str, Any]],
    failed: Mapping[Any, Sequence[tuple[int, str]]],
    asking: Mapping[Any, Sequence[schemas.AskedPerson]],
) -> schemas.Run:
    wanted = map_index if group.is_mapped else -1
    key = (run.dag_id, run.run_id, wanted)
    plan, report = (left.get((key, task_id), {}) for task_id in (group.plan_task_id, group.report_task_id))
    took = (run.end_date - run.start_date).total_seconds() if run.start_date and run.end_date else None
    return schemas.Run(
        dag_id=run.dag_id,
        run_id=run.run_id,
        state=str(run.state),
        direction=group.direction,
        mode=plan.get("mode"),
        to=plan.get("to"),
        environment=plan.get("environment"),
        actor=run.triggering_user_name,
        run_after=run.run_after,
        started_at=run.start_date,
        ended_at=run.end_date,
        duration_ms=None if took is None else round(took * 1000),
        **{name: list(report.get(name) or ()) for name in _DONE},
        not_tried=report.get("not_tried") or {},
        failed=[
            task_id if wanted is not None else f"{task_id}[{index}]"
            for index, task_id in sorted(failed.get((run.dag_id, run.run_id), ()))
            if wanted in (None, index)
        ],
        asks=[
            each
            for each in asking.get((run.dag_id, run.run_id), ())
            if not each.task_id.startswith(group.prefix) or wanted in (None, each.map_index)
        ],
        url=run_url(run.dag_id, run.run_id),
    )


def _left_by(session: Session, groups: Mapping[str, GroupTasks], runs: Sequence[DagRun]) -> dict[Any, Any]:
    """(pass, task) -> what the plan and report tasks of these runs left."""
    of_task = [
        (XComModel.dag_id == group.dag_id) & (XComModel.task_id == task_id) & (XComModel.key == key)
        for group in groups.values()
        for task_id, key in ((group.plan_task_id, PLAN_KEY), (group.report_task_id, "return_value"))
    ]
    query = select(XComModel.dag_id, XComModel.run_id, XComModel.map_index, XComModel.task_id, XComModel.value)
    query = query.where(XComModel.dag_run_id.in_([run.id for run in runs]), or_(*of_task))
    return {(key_of(row), row.task_id): mapping(row) for row in session.execute(query)}


def _failed_in(
    session: Session, groups: Mapping[str, GroupTasks], runs: Sequence[DagRun]
) -> dict[tuple[str, str], list[tuple[int, str]]]:
    """(DAG, run) -> map index and id of the groups' tasks that failed."""
    query = select(TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.map_index, TaskInstance.task_id).where(
        TaskInstance.dag_id.in_(groups),
        TaskInstance.run_id.in_({run.run_id for run in runs}),
        TaskInstance.state == "failed",
    )
    found: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for dag_id, run_id, map_index, task_id in session.execute(query):
        if task_id.startswith(groups[dag_id].prefix):
            found.setdefault((dag_id, run_id), []).append((map_index, task_id))
    return found


def _asking_in(session: Session, runs: Sequence[DagRun]) -> dict[tuple[str, str], list[schemas.AskedPerson]]:
    """(DAG, run) -> what waits for a person's answer."""
    query = select(
        *(TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index),
        TaskInstance.start_date,
    ).where(
        tuple_(TaskInstance.dag_id, TaskInstance.run_id).in_([(run.dag_id, run.run_id) for run in runs]),
        TaskInstance.state == TaskInstanceState.AWAITING_INPUT,
    )
    found: dict[tuple[str, str], list[schemas.AskedPerson]] = {}
    for dag_id, run_id, task_id, map_index, since in session.execute(query.order_by(TaskInstance.start_date)):
        url = request_url(dag_id, run_id, task_id, map_index)
        asked = schemas.AskedPerson(task_id=task_id, map_index=map_index, since=since, url=url)
        found.setdefault((dag_id, run_id), []).append(asked)
    return found
