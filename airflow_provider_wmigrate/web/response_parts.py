"""What the answers say of one migration: where it stands, and its scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Literal

from airflow_provider_wmigrate.engine.model import Identity, LastEvent, Script
from airflow_provider_wmigrate.engine.plan.overview import Standing
from airflow_provider_wmigrate.task_docs import ShownScript

from . import schemas
from .catalog import StepTask
from .group_view import GroupView
from .migration_states import MigrationStates
from .urls import run_url, task_url

_NO_CODE = "you may not read the code of this DAG, so its scripts are not shown to you"
_NO_DOC = "no task group made this task, so the DAG does not hold its script"


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


# Scripts


def sql_of(step: StepTask | None, *, may_read: bool) -> schemas.ScriptText:
    """The script as the DAG was last parsed."""
    if step is None:
        return schemas.ScriptText(origin="unavailable", reason="its file is gone from the folder")
    shown = step.doc.script or ShownScript(f"{step.stem}.sql", step.checksum, reason=_NO_DOC)
    return _script("dag", shown, may_read=may_read)


def rollback_of(step: StepTask | None, recorded: Script | None, *, live: bool, may_read: bool) -> schemas.ScriptText:
    """The rollback as it was when the migration was applied, else as the DAG was last parsed."""
    if recorded is not None:
        shown = ShownScript(recorded.file, recorded.checksum, recorded.text)
        return _script("ledger", shown, may_read=may_read)
    if step is not None and step.doc.rollback is not None:
        return _script("dag", step.doc.rollback, may_read=may_read)
    why = "it has none" if live or step is not None else "only the ledger could have it, and that was not read"
    return schemas.ScriptText(origin="unavailable", reason=why)


def _script(origin: Literal["dag", "ledger"], script: ShownScript, *, may_read: bool) -> schemas.ScriptText:
    """Without secrets, for who may read the DAG's code."""
    if not may_read:
        script = replace(script, text=None, reason=_NO_CODE)
    if script.text is None:
        return schemas.ScriptText(**asdict(script), origin="unavailable")
    return schemas.ScriptText(**asdict(script.masked), origin=origin)
