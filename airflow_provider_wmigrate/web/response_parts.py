"""What the answers say of one migration: where it stands, and what failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_wmigrate.engine.model import Identity, LastEvent
from airflow_provider_wmigrate.engine.plan.overview import Standing

from . import schemas
from .group_view import GroupView
from .migration_states import MigrationStates
from .urls import run_url, task_url


def migration_items(view: GroupView, known: MigrationStates, only: str | None = None) -> list[schemas.MigrationItem]:
    """Every migration of the folder and of the ledger, or one of them."""
    newest: dict[str, Any] = {}
    for row in view.left.tasks:
        newest.setdefault(_stem(row.task_id), row)
    return [_item(view, known, each, newest) for each in known.overview.standings if only in (None, each.version)]


def _item(
    view: GroupView, known: MigrationStates, standing: Standing, newest: Mapping[str, Any]
) -> schemas.MigrationItem:
    step, entry = view.steps.get(standing.version), known.entries.get(standing.version)
    who = entry.identity if entry else Identity("")
    return schemas.MigrationItem(
        version=standing.version,
        name=standing.name,
        description=step.doc.description if step else "",
        dependencies=list(step.dependencies) if step else [],
        status=standing.status.value,
        reason=standing.reason or None,
        failure=_failure(view, standing.failure) if standing.failure else None,
        task_id=step.task_id if step else None,
        checksum=step.checksum if step else None,
        applied_checksum=entry.checksum if entry else None,
        has_rollback=bool((step and step.doc.rollback) or (entry and entry.rollback_checksum)),
        rollback_differs=bool(
            step and step.doc.rollback and entry and entry.rollback_checksum not in (None, step.doc.rollback.checksum)
        ),
        applied_at=entry.applied_at if entry else None,
        actor=who.actor or None,
        duration_ms=entry.duration_ms if entry else None,
        run_id=who.run_id,
        run_url=_run_url(who),
        log_url=view.log_url(who.dag_id, who.run_id, who.task_id),
        last_task=_task_state(newest[step.stem]) if step and step.stem in newest else None,
    )


def _failure(view: GroupView, attempt: LastEvent) -> schemas.Failure:
    who = attempt.identity
    told = {**attempt.as_dict(), "actor": who.actor or None, "run_url": _run_url(who)}
    return schemas.Failure(**told, url=view.log_url(who.dag_id, who.run_id, who.task_id))


def _run_url(who: Identity) -> str | None:
    return run_url(who.dag_id, who.run_id) if who.dag_id and who.run_id else None


def _stem(task_id: str) -> str:
    return task_id.rpartition(".")[2]


def _task_state(row: Any) -> schemas.TaskState:
    return schemas.TaskState(
        dag_id=row.dag_id,
        run_id=row.run_id,
        task_id=row.task_id,
        state=str(row.state) if row.state else None,
        try_number=row.try_number,
        started_at=row.start_date,
        ended_at=row.end_date,
        url=task_url(row.dag_id, row.run_id, row.task_id, row.map_index),
    )
