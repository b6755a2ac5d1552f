"""Which database a group works on: what the DAG says, what a caller chooses, what runs have made of templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from airflow_provider_wmigrate.attempts import PLAN_KEY
from airflow_provider_wmigrate.defaults import chosen_environment

from .catalog import GroupTasks, is_template
from .problems import ProblemError
from .run_results import text_field

_MASKED = "***"
"""What Airflow writes where a field holds something that it knows for a secret."""


@dataclass(frozen=True, slots=True)
class GroupTarget:
    """One database that a group works on."""

    conn_id: str | None
    """None: nobody knows yet, or all the databases of a mapped group are meant."""
    environment: str | None
    ledger_schema: str
    map_index: int | None
    """Which one of a mapped group."""


def targets(session: Session, group: GroupTasks) -> list[GroupTarget]:
    """Every database that a group works on; of a mapped group that no run has expanded yet all of them as one."""
    if not group.is_mapped:
        return [_target(group, None, None, _said_by_plan(session, group, None))]
    each = [_target(group, None, index, given) for index, given in _given(session, group).items()]
    return each or [_target(group, None, None, {})]


def target_of(session: Session, group: GroupTasks, chosen: str | None, map_index: int | None) -> GroupTarget:
    """One of them.

    :param chosen: an environment that a run would choose; None: the one the group was last run in.
    :param map_index: of a mapped group; None: all of its databases as one.
    :raises ProblemError: the group has no such map index.
    """
    if not group.is_mapped and map_index is None:
        return _target(group, chosen, None, _said_by_plan(session, group, None))
    known = _given(session, group) if group.is_mapped else {}
    if map_index is not None and map_index not in known:
        hint = f"its newest run has {len(known)}, counted from 0" if known else "it is not mapped, or never ran"
        raise ProblemError(404, "unknown_map_index", f"{group.group_id} has no map index {map_index}; {hint}")
    return _target(group, chosen, map_index, known.get(-1 if map_index is None else map_index, {}))


def _target(group: GroupTasks, chosen: str | None, map_index: int | None, said: Mapping[str, Any]) -> GroupTarget:
    key = group.chosen_by(group.environment)
    conf = {key: chosen} if key and chosen is not None else {}
    one = map_index is not None or not group.is_mapped
    conn_id = _filled(group, group.conn_id, "conn_id", conf, said) if one else None
    environment = _filled(group, group.environment, "environment", {}, said) if chosen is None else chosen
    environment = chosen_environment(environment)
    schema = group.settings(environment).get("ledger_schema", "wmigrate")
    return GroupTarget(conn_id or None, environment, schema, map_index)


def _filled(
    group: GroupTasks, template: str | None, name: str, conf: Mapping[str, str], said: Mapping[str, Any]
) -> str | None:
    """What a field stands for; None: nobody can tell."""
    if not is_template(template):
        return template
    filled = group.with_conf(template, conf)
    if conf and (filled is None or group.keys_in(template) & set(conf)):
        return filled  # in another environment it may be another one
    found: str | None = said.get(name, filled)
    return found


def _said_by_plan(session: Session, group: GroupTasks, map_index: int | None) -> Mapping[str, Any]:
    """What the newest plan says that the templates stood for; empty: nothing yet."""
    if not is_template(group.conn_id) and not is_template(group.environment):
        return {}
    query = (
        select(text_field("conn_id"), text_field("environment"))
        .where(
            XComModel.dag_id == group.dag_id,
            XComModel.task_id == group.plan_task_id,
            XComModel.key == PLAN_KEY,
            XComModel.map_index == (-1 if map_index is None else map_index),
        )
        .order_by(XComModel.timestamp.desc())
        .limit(1)
    )
    row = session.execute(query).one_or_none()
    return row._asdict() if row and row.conn_id else {}


def _given(session: Session, group: GroupTasks) -> dict[int, Mapping[str, Any]]:
    """Map index -> the fields that its plan task was given, in the newest run that has expanded the group.

    They are known of a plan that failed too, perhaps because nobody reaches its target.
    """
    plans = (TaskInstance.dag_id == group.dag_id) & (TaskInstance.task_id == group.plan_task_id)
    expanded = plans & (TaskInstance.map_index >= 0)
    newest = select(TaskInstance.run_id).join(TaskInstance.dag_run).where(expanded)
    newest = newest.order_by(DagRun.run_after.desc(), DagRun.id.desc()).limit(1)
    fields = RenderedTaskInstanceFields
    key = ("dag_id", "task_id", "run_id", "map_index")
    query = (
        select(TaskInstance.map_index, fields.rendered_fields)
        .outerjoin(fields, and_(*(getattr(fields, name) == getattr(TaskInstance, name) for name in key)))
        .where(expanded, TaskInstance.run_id == newest.scalar_subquery())
        .order_by(TaskInstance.map_index)
    )
    rows = session.execute(query).all()
    told = {i: given for i, given in rows if given and _MASKED not in (given.get("conn_id"), None)}
    return {i: told.get(i) or _said_by_plan(session, group, i) for i, _ in rows}
