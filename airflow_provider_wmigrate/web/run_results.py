"""What runs left in Airflow's own database: plans, audit records, reports, states. Never the target's database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from urllib.parse import quote

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from airflow_provider_wmigrate.engine.model import Attempt, Identity

from .catalog import GroupTasks

PLAN_KEY = "plan"
_MANY = 5000
"""Rows of one kind that are read at the most: more than a project of a thousand migrations leaves in a year."""
_IDENTITY = tuple(each.name for each in fields(Identity))
_IDLE = ("skipped", "removed", "upstream_failed", "scheduled", "queued")


@dataclass(frozen=True, slots=True)
class PlanResult:
    """The plan of one run, as its plan task left it."""

    group: GroupTasks
    run_id: str
    at: datetime
    value: dict[str, Any]

    @property
    def failures(self) -> list[Attempt]:
        """What had failed before it, and was not settled."""
        return [
            Attempt(
                version,
                "rollback_failed" if told["direction"] == "rollback" else "failed",
                datetime.fromisoformat(told["at"]),
                Identity(**{name: told.get(name) for name in _IDENTITY}),
                told.get("error") or "",
                told.get("sqlstate"),
            )
            for version, told in (self.value.get("failures") or {}).items()
        ]


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The audit record of one task, as it left it."""

    dag_id: str
    run_id: str
    task_id: str
    at: datetime
    value: dict[str, Any]

    @property
    def version(self) -> str:
        return str(self.value.get("version"))

    @property
    def outcome(self) -> str:
        return str(self.value.get("outcome"))

    @property
    def actor(self) -> str | None:
        identity = self.value.get("identity")
        return identity.get("actor") if isinstance(identity, dict) else None


def dag_url(dag_id: str) -> str:
    """Path of a DAG's page in Airflow."""
    return f"dags/{quote(dag_id, safe='')}"


def run_url(dag_id: str, run_id: str) -> str:
    """Path of a run's page in Airflow."""
    return f"{dag_url(dag_id)}/runs/{quote(run_id, safe=':+')}"


def task_url(dag_id: str, run_id: str, task_id: str) -> str:
    """Path of a task instance's page in Airflow, which shows its log."""
    return f"{run_url(dag_id, run_id)}/tasks/{quote(task_id, safe='')}"


def newest_plan(session: Session, groups: Iterable[GroupTasks], conn_id: str | None = None) -> PlanResult | None:
    """The newest plan that any of these groups left, for one connection if that is given."""
    found = [plan for group in groups for plan in _plans(session, group, conn_id, 1 if conn_id is None else 25)[:1]]
    return max(found, key=lambda plan: plan.at, default=None)


def _plans(session: Session, group: GroupTasks, conn_id: str | None, limit: int) -> list[PlanResult]:
    query = (
        select(XComModel)
        .where(XComModel.dag_id == group.dag_id, XComModel.task_id == group.plan_task_id, XComModel.key == PLAN_KEY)
        .order_by(XComModel.timestamp.desc())
        .limit(limit)
    )
    plans = [PlanResult(group, row.run_id, row.timestamp, _value(row)) for row in session.scalars(query)]
    return [p for p in plans if isinstance(p.value.get("statuses"), dict) and conn_id in (None, _conn_id(p))]


def _conn_id(plan: PlanResult) -> str | None:
    return plan.value.get("conn_id") or plan.group.with_defaults(plan.group.conn_id)


def runs_of(session: Session, groups: Sequence[GroupTasks], limit: int) -> list[tuple[GroupTasks, DagRun]]:
    """The newest runs of the DAGs of these groups."""
    by_dag = {group.dag_id: group for group in reversed(groups)}
    query = (
        select(DagRun).where(DagRun.dag_id.in_(by_dag)).order_by(DagRun.run_after.desc(), DagRun.id.desc()).limit(limit)
    )
    return [(by_dag[run.dag_id], run) for run in session.scalars(query)]


def results_of(
    session: Session, runs: Sequence[tuple[GroupTasks, DagRun]]
) -> dict[tuple[str, str, str], dict[str, Any]]:
    """(DAG, run, `plan` or `report`) -> what that task of the run left."""
    if not runs:
        return {}
    tasks = {(g.dag_id, g.plan_task_id, PLAN_KEY): "plan" for g, _ in runs}
    tasks |= {(g.dag_id, g.report_task_id, "return_value"): "report" for g, _ in runs}
    query = select(XComModel).where(
        XComModel.dag_run_id.in_([run.id for _, run in runs]),
        or_(
            *(
                (XComModel.dag_id == dag_id) & (XComModel.task_id == task_id) & (XComModel.key == key)
                for dag_id, task_id, key in tasks
            )
        ),
    )
    return {
        (row.dag_id, row.run_id, tasks[row.dag_id, row.task_id, row.key]): _value(row) for row in session.scalars(query)
    }


def dry_runs(session: Session, groups: Sequence[GroupTasks]) -> set[tuple[str, str]]:
    """DAG and run of the newest dry runs."""
    plans = (plan for group in groups for plan in _plans(session, group, None, limit=200))
    return {(plan.group.dag_id, plan.run_id) for plan in plans if plan.value.get("mode") == "dry_run"}


def failed_tasks(session: Session, runs: Sequence[tuple[GroupTasks, DagRun]]) -> dict[tuple[str, str], list[str]]:
    """(DAG, run) -> ids of the group's tasks that failed."""
    if not runs:
        return {}
    query = select(TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id).where(
        TaskInstance.dag_id.in_({group.dag_id for group, _ in runs}),
        TaskInstance.run_id.in_({run.run_id for _, run in runs}),
        TaskInstance.state == "failed",
    )
    prefixes = {(run.dag_id, run.run_id): group.prefix for group, run in runs}
    found: dict[tuple[str, str], list[str]] = {key: [] for key in prefixes}
    for dag_id, run_id, task_id in session.execute(query):
        key = dag_id, run_id
        if key in prefixes and task_id.startswith(prefixes[key]):
            found[key].append(task_id)
    return {key: sorted(task_ids) for key, task_ids in found.items()}


def records(session: Session, groups: Sequence[GroupTasks], runs: set[str] | None = None) -> list[TaskResult]:
    """The audit records of the groups' tasks, oldest first; of very many the newest.

    :param runs: only of these runs.
    """
    query = (
        select(XComModel)
        .where(_own(groups, XComModel), XComModel.key == "return_value")
        .order_by(XComModel.timestamp.desc())
        .limit(_MANY)
    )
    found = [
        TaskResult(row.dag_id, row.run_id, row.task_id, row.timestamp, value)
        for row in session.scalars(query)
        if runs is None or row.run_id in runs
        for value in _several(row)
        if value.get("version") and value.get("outcome")
    ]
    return found[::-1]


def runs_on(session: Session, groups: Sequence[GroupTasks], conn_id: str) -> set[str] | None:
    """The newest runs that worked on this connection; None: all, because the DAG names no other."""
    if all(group.conn_id == conn_id for group in groups):
        return None
    return {plan.run_id for group in groups for plan in _plans(session, group, conn_id, limit=200)}


def task_instances(session: Session, groups: Sequence[GroupTasks]) -> Sequence[Any]:
    """Instances of the groups' migration tasks that did anything, newest first, as rows of the columns below."""
    columns = (
        TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.state,
        TaskInstance.try_number, TaskInstance.start_date, TaskInstance.end_date, TaskInstance.duration,
        TaskInstance.map_index, DagRun.triggering_user_name,
    )  # fmt: skip
    query = (
        select(*columns)
        .join(TaskInstance.dag_run)
        .where(
            _own(groups, TaskInstance),
            TaskInstance.start_date.is_not(None),
            TaskInstance.state.not_in(_IDLE),
            TaskInstance.task_id.not_in([t for g in groups for t in (g.plan_task_id, g.report_task_id)]),
        )
        .order_by(TaskInstance.start_date.desc())
        .limit(_MANY)
    )
    return session.execute(query).all()


def identity_of(row: Any) -> Identity:
    """Whose hands a task instance was in."""
    return Identity(row.triggering_user_name or "", row.dag_id, row.run_id, row.task_id, row.try_number)


def _own(groups: Sequence[GroupTasks], model: Any) -> Any:
    return or_(*((model.dag_id == g.dag_id) & model.task_id.startswith(g.prefix, autoescape=True) for g in groups))


def _value(row: XComModel) -> dict[str, Any]:
    """An XCom as a dict; empty where it is something else, such as the address a custom backend keeps."""
    value = XComModel.deserialize_value(row)
    return value if isinstance(value, dict) else {}


def _several(row: XComModel) -> list[dict[str, Any]]:
    """The task that rolls back a run leaves a list of records, in the order in which it did it."""
    value = XComModel.deserialize_value(row)
    return [each for each in value[::-1] if isinstance(each, dict)] if isinstance(value, list) else [_value(row)]
