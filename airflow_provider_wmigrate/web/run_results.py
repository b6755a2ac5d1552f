"""What runs left in Airflow's own database: plans, audit records, failures, reports. Never the target's database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from airflow_provider_wmigrate.attempts import FAILURE_KEY, PLAN_KEY
from airflow_provider_wmigrate.engine.model import Identity, LastEvent

from .catalog import GroupTasks
from .task_results import PlanResult, RunKey, TaskFailure, TaskResult

_MANY = 5000
"""Rows of one kind that are read at the most: more than a project of a thousand migrations leaves in a year."""
_PLANS = 200
"""The newest plans among which those on one target are looked for."""
_KEY_OF_XCOM = (XComModel.dag_id, XComModel.run_id, XComModel.map_index)
_IDLE = ("skipped", "removed", "upstream_failed", "scheduled", "queued")
IN_THE_LOG = "the log of the task says what and what next"


class RunResults:
    """What the runs of some groups left of one target. Each question is asked once.

    :param groups: those whose runs change the target.
    :param conn_id: of the target; None: not known, and with it nothing.
    """

    def __init__(self, session: Session, groups: Sequence[GroupTasks], conn_id: str | None) -> None:
        self._session, self._groups, self._conn_id = session, groups, conn_id

    # Plans

    def plan(self, group: GroupTasks | None = None) -> PlanResult | None:
        """The newest one on the target, to apply or to roll back; or the newest that one group made."""
        groups = {(each.dag_id, each.plan_task_id): each for each in self._groups}
        for row in self._plans:
            found = groups[row.dag_id, row.task_id]
            if group in (None, found):
                of_plan = [
                    getattr(XComModel, name) == getattr(row, name) for name in ("dag_run_id", "task_id", "map_index")
                ]
                query = select(XComModel.value).where(*of_plan, XComModel.key == PLAN_KEY)
                return PlanResult(found, key_of(row), row.timestamp, mapping(self._session.execute(query).one()))
        return None

    @cached_property
    def _plans(self) -> list[Any]:
        """Those on the target, newest first: what they are about, without what they say, which may be much."""
        if self._conn_id is None:
            return []
        of_group = [(XComModel.dag_id == g.dag_id) & (XComModel.task_id == g.plan_task_id) for g in self._groups]
        query = (
            select(
                *(*_KEY_OF_XCOM, XComModel.dag_run_id, XComModel.task_id, XComModel.timestamp),
                *(text_field("conn_id"), text_field("mode")),
            )
            .where(or_(*of_group), XComModel.key == PLAN_KEY)
            .order_by(XComModel.timestamp.desc())
            .limit(_PLANS)
        )
        return [row for row in self._session.execute(query) if row.conn_id == self._conn_id]

    @cached_property
    def dry_runs(self) -> set[RunKey]:
        """The newest of them."""
        return {key_of(row) for row in self._plans if row.mode == "dry_run"}

    @cached_property
    def _on_target(self) -> set[RunKey] | None:
        """The newest passes that worked on the target; None: all did, because the DAGs name no other."""
        if all(group.conn_id == self._conn_id and not group.is_mapped for group in self._groups):
            return None
        return {key_of(row) for row in self._plans}

    @cached_property
    def map_indexes(self) -> dict[tuple[str, str], int]:
        """(DAG, run) -> the map index that worked on the target, of mapped groups."""
        mapped = any(group.is_mapped for group in self._groups)
        return {(row.dag_id, row.run_id): row.map_index for row in self._plans} if mapped else {}

    def _mine(self, row: Any) -> bool:
        return self._on_target is None or key_of(row) in self._on_target

    # What tasks left

    @cached_property
    def records(self) -> list[TaskResult]:
        """The audit records, oldest first; of very many the newest."""
        return self._results(_MANY)[::-1]

    def _results(self, limit: int) -> list[TaskResult]:
        """Newest first."""
        return [
            TaskResult(key_of(row), row.task_id, row.timestamp, record)
            for row in self._xcoms("return_value", limit)
            for record in _records(row)
        ]

    @cached_property
    def _newest(self) -> list[TaskResult]:
        return self._results(_PLANS)

    @property
    def changed_at(self) -> datetime | None:
        """When a task last applied or rolled back a migration."""
        return next((each.at for each in self._newest if each.outcome in ("applied", "rolled_back")), None)

    @property
    def head(self) -> str | None:
        """The head of the audit log as the newest audit record that has one keeps it, outside of the target."""
        heads = (each.value.get("audit_head") for each in self._newest)
        return next((str(head) for head in heads if head), None)

    @cached_property
    def failures(self) -> list[TaskFailure]:
        """The tasks that failed at a migration, newest first."""
        rows = [row for row in self.tasks if row.state == "failed"]
        said = {(key_of(x), x.task_id): mapping(x) for x in self._xcoms(FAILURE_KEY, _MANY)} if rows else {}
        steps = {(g.dag_id, step.task_id): step.version for g in self._groups for step in g.steps if not step.is_folded}
        found = []
        for row in rows:
            why = said.get((key_of(row), row.task_id), {})
            version = why.get("version") or steps.get((row.dag_id, row.task_id))
            if version is not None:
                event = "rollback_failed" if self._rolls_back(row, why) else "failed"
                who = Identity(row.triggering_user_name or "", row.dag_id, row.run_id, row.task_id, row.try_number)
                at, error = row.end_date or row.start_date, why.get("error") or IN_THE_LOG
                attempt = LastEvent(str(version), event, at, who, error, why.get("sqlstate"))
                took = None if row.duration is None else round(row.duration * 1000)
                found.append(TaskFailure(attempt, key_of(row), took))
        return found

    def _rolls_back(self, row: Any, why: Mapping[str, Any]) -> bool:
        group = next(g for g in self._groups if g.dag_id == row.dag_id and row.task_id.startswith(g.prefix))
        return bool(why.get("direction", group.direction) == "rollback")

    def _xcoms(self, key: str, limit: int) -> list[Any]:
        """Newest first. Without the columns that the model would join."""
        if self._conn_id is None:
            return []
        query = (
            select(*_KEY_OF_XCOM, XComModel.task_id, XComModel.timestamp, XComModel.value)
            .where(self._own(XComModel), XComModel.key == key)
            .order_by(XComModel.timestamp.desc())
            .limit(limit)
        )
        return [row for row in self._session.execute(query) if self._mine(row)]

    @cached_property
    def tasks(self) -> Sequence[Any]:
        """Instances of the migration tasks that did anything, newest first, as rows of the columns below."""
        if self._conn_id is None:
            return []
        query = (
            select(
                *(TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.map_index, TaskInstance.task_id),
                *(TaskInstance.state, TaskInstance.try_number, TaskInstance.start_date, TaskInstance.end_date),
                *(TaskInstance.duration, DagRun.triggering_user_name),
            )
            .join(TaskInstance.dag_run)
            .where(
                self._own(TaskInstance),
                TaskInstance.start_date.is_not(None),
                TaskInstance.state.not_in(_IDLE),
                TaskInstance.task_id.not_in([t for g in self._groups for t in (g.plan_task_id, g.report_task_id)]),
            )
            .order_by(TaskInstance.start_date.desc())
            .limit(_MANY)
        )
        return [row for row in self._session.execute(query) if self._mine(row)]

    def _own(self, model: Any) -> Any:
        """The rows of a table that are of these groups' tasks."""
        return or_(
            *((model.dag_id == g.dag_id) & model.task_id.startswith(g.prefix, autoescape=True) for g in self._groups)
        )


def key_of(row: Any) -> RunKey:
    return RunKey(row.dag_id, row.run_id, row.map_index)


def text_field(name: str) -> Any:
    """A field of an XCom's value, as the database takes it out."""
    return XComModel.value[name].as_string().label(name)


def mapping(row: Any) -> Mapping[str, Any]:
    """An XCom as a dict; empty where it is something else, such as the address a custom backend keeps."""
    value = XComModel.deserialize_value(row)
    return value if isinstance(value, dict) else {}


def _records(row: Any) -> list[Mapping[str, Any]]:
    """The audit records in an XCom, newest first: a task that does several leaves a list, in the order it did them."""
    value = XComModel.deserialize_value(row)
    found = value[::-1] if isinstance(value, list) else [value]
    return [each for each in found if isinstance(each, dict) and each.get("version") and each.get("outcome")]
