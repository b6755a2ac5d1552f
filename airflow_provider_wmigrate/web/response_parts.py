"""Rows of the answers: migrations, runs, events, scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, Literal

from airflow.models.dagrun import DagRun

from airflow_provider_wmigrate.engine.ledger.ledger import AuditRow
from airflow_provider_wmigrate.engine.model import Attempt, Identity, Script
from airflow_provider_wmigrate.engine.plan.overview import Standing
from airflow_provider_wmigrate.task_docs import ShownScript

from . import run_results, schemas
from .catalog import GroupTasks, StepTask
from .group_view import IN_THE_LOG, GroupView
from .migration_states import MigrationStates

RUNS = 25
_EVENTS = ("applied", "rolled_back", "dry_run", "not_tried")
_NO_CODE = "you may not read the code of this DAG, so its scripts are not shown to you"
_NO_DOC = "no task group made this task, so the DAG does not hold its script"

# Migrations


def migration_items(view: GroupView, known: MigrationStates, only: str | None = None) -> list[schemas.MigrationItem]:
    """Every migration of the folder and of the ledger, or one of them."""
    newest: dict[str, Any] = {}
    for row in view.tasks:
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
        failure=_failure(standing.failure) if standing.failure else None,
        task_id=step.task_id if step else None,
        checksum=step.checksum if step else None,
        applied_checksum=entry.checksum if entry else None,
        has_rollback=bool((step and step.doc.rollback) or (entry and entry.rollback_checksum)),
        applied_at=entry.applied_at if entry else None,
        actor=who.actor or None,
        duration_ms=entry.duration_ms if entry else None,
        run_id=who.run_id,
        run_url=run_results.run_url(who.dag_id, who.run_id) if who.dag_id and who.run_id else None,
        log_url=_task_url(who.dag_id, who.run_id, who.task_id),
        last_task=_task_state(newest[step.stem]) if step and step.stem in newest else None,
    )


def _failure(attempt: Attempt) -> schemas.Failure:
    who = attempt.identity
    told = {**attempt.as_dict(), "actor": who.actor or None}
    run_url = run_results.run_url(who.dag_id, who.run_id) if who.dag_id and who.run_id else None
    return schemas.Failure(**told, run_url=run_url, url=_task_url(who.dag_id, who.run_id, who.task_id))


def _stem(task_id: str) -> str:
    return task_id.rpartition(".")[2]


def _task_url(dag_id: str | None, run_id: str | None, task_id: str | None) -> str | None:
    return run_results.task_url(dag_id, run_id, task_id) if dag_id and run_id and task_id else None


def _task_state(row: Any) -> schemas.TaskState:
    return schemas.TaskState(
        dag_id=row.dag_id,
        run_id=row.run_id,
        task_id=row.task_id,
        state=str(row.state) if row.state else None,
        try_number=row.try_number,
        started_at=row.start_date,
        ended_at=row.end_date,
        url=run_results.task_url(row.dag_id, row.run_id, row.task_id),
    )


# Runs


def runs(view: GroupView, limit: int = RUNS) -> list[schemas.Run]:
    """The newest runs that worked, or are to work, on the target."""
    found = run_results.runs_of(view.session, view.both, limit)
    left = run_results.results_of(view.session, found)
    failed = run_results.failed_tasks(view.session, found)
    return [_run(group, run, left, failed.get((run.dag_id, run.run_id), [])) for group, run in found]


def _run(
    group: GroupTasks, run: DagRun, left: Mapping[tuple[str, str, str], dict[str, Any]], failed: Sequence[str]
) -> schemas.Run:
    plan = left.get((run.dag_id, run.run_id, "plan"), {})
    report = left.get((run.dag_id, run.run_id, "report"), {})
    took = (run.end_date - run.start_date).total_seconds() if run.start_date and run.end_date else None
    return schemas.Run(
        dag_id=run.dag_id,
        run_id=run.run_id,
        state=str(run.state),
        direction=group.direction,
        mode=_mode(plan.get("mode")),
        to=plan.get("to"),
        environment=plan.get("environment"),
        actor=run.triggering_user_name,
        run_after=run.run_after,
        started_at=run.start_date,
        ended_at=run.end_date,
        duration_ms=None if took is None else round(took * 1000),
        **{name: list(report.get(name) or ()) for name in ("applied", "rolled_back", "dry_run")},
        not_tried=report.get("not_tried") or {},
        failed=list(failed),
        url=run_results.run_url(run.dag_id, run.run_id),
    )


def _mode(value: Any) -> Literal["apply", "dry_run"] | None:
    return value if value in ("apply", "dry_run") else None


# Events


def audit_item(row: AuditRow) -> schemas.AuditRowItem:
    fields = asdict(row)
    del fields["previous_hash"]
    url = _task_url(row.dag_id, row.run_id, row.task_id)
    return schemas.AuditRowItem(**fields, authenticated=_authenticated(row), url=url)


def _authenticated(row: AuditRow) -> schemas.Authenticated | None:
    known = row.authenticated
    return schemas.Authenticated(**{name: known.get(name) for name in ("user", "address", "pid")}) if known else None


def event_item(row: AuditRow) -> schemas.HistoryEvent:
    """An audit row as an event of history."""
    fields = {**row.details, **asdict(row), "dry_run": row.details.get("dry_run") is True}
    url = _task_url(row.dag_id, row.run_id, row.task_id)
    return schemas.HistoryEvent(**{**fields, "authenticated": _authenticated(row), "url": url})


def events_from_runs(view: GroupView) -> list[schemas.HistoryEvent]:
    """Events as far as Airflow knows them, newest first: records that tasks left, and tasks that failed."""
    found = [_event_of(record) for record in view.records if record.outcome in _EVENTS]
    versions = {step.task_id: (step.version, g.direction) for g in view.both for step in g.steps}
    on_target = run_results.runs_on(view.session, view.both, str(view.target.conn_id)) if view.target.conn_id else set()
    tried = run_results.dry_runs(view.session, view.both)
    for row in view.tasks:
        if row.state == "failed" and row.task_id in versions and (on_target is None or row.run_id in on_target):
            dry_run = (row.dag_id, row.run_id) in tried
            found.append(_failed_task(row, *versions[row.task_id], dry_run=dry_run))
    return sorted(found, key=lambda event: event.at, reverse=True)


def _event_of(record: run_results.TaskResult) -> schemas.HistoryEvent:
    is_dry = record.outcome in ("dry_run", "not_tried")
    known = {"event": record.outcome, "at": record.at, "actor": record.actor, "dry_run": is_dry}
    where = {"run_id": record.run_id, "dag_id": record.dag_id, "task_id": record.task_id}
    return schemas.HistoryEvent(**{**record.value, **known, **where, "url": run_results.task_url(**where)})


def _failed_task(row: Any, version: str, direction: str, *, dry_run: bool) -> schemas.HistoryEvent:
    at: datetime = row.end_date or row.start_date
    return schemas.HistoryEvent(
        at=at,
        event="failed" if direction == "apply" else "rollback_failed",
        version=version,
        actor=row.triggering_user_name,
        duration_ms=None if row.duration is None else round(row.duration * 1000),
        error=IN_THE_LOG,
        dry_run=dry_run,
        run_id=row.run_id,
        dag_id=row.dag_id,
        task_id=row.task_id,
        url=run_results.task_url(row.dag_id, row.run_id, row.task_id),
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
