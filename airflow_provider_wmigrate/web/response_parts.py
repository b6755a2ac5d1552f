"""Rows of the answers: migrations, runs, events, scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

from airflow.models.dagrun import DagRun

from airflow_provider_wmigrate.engine.ledger.ledger import AuditRow
from airflow_provider_wmigrate.engine.model import Script, Status
from airflow_provider_wmigrate.task_docs import ShownScript

from . import run_results, schemas
from .catalog import GroupTasks, StepTask
from .group_view import GroupView
from .migration_states import MigrationStates

RUNS = 25
_NO_DOC = "no task group made this task, so the DAG does not hold its script"

# Migrations


def migration_items(view: GroupView, known: MigrationStates) -> list[schemas.MigrationItem]:
    """Every migration of the folder and of the ledger."""
    steps = {step.version: step for step in view.group.steps}
    newest: dict[str, Any] = {}
    for row in run_results.task_instances(view.session, view.both):
        newest.setdefault(_stem(row.task_id), row)
    return [_item(version, status, steps.get(version), known, newest) for version, status in known.statuses.items()]


def migration_item(view: GroupView, known: MigrationStates, version: str) -> schemas.MigrationItem:
    """One of them."""
    step = next((s for s in view.group.steps if s.version == version), None)
    rows = run_results.task_instances(view.session, view.both) if step else []
    newest = {_stem(row.task_id): row for row in reversed(rows) if step and _stem(row.task_id) == step.stem}
    return _item(version, known.statuses[version], step, known, newest)


def _item(
    version: str, status: Status, step: StepTask | None, known: MigrationStates, newest: Mapping[str, Any]
) -> schemas.MigrationItem:
    applied = known.applied.get(version)
    run = (applied.dag_id, applied.run_id) if applied else (None, None)
    there = None not in run
    return schemas.MigrationItem(
        version=version,
        name=step.name if step else (applied.name if applied else ""),
        description=step.doc.description if step else "",
        dependencies=list(step.dependencies) if step else [],
        status=status.value,
        task_id=step.task_id if step else None,
        checksum=step.checksum if step else None,
        applied_checksum=applied.checksum if applied else None,
        has_rollback=bool(step and step.doc.rollback) or bool(applied and applied.has_rollback),
        applied_at=applied.at if applied else None,
        actor=applied.actor if applied else None,
        duration_ms=applied.duration_ms if applied else None,
        run_id=applied.run_id if applied else None,
        run_url=run_results.run_url(str(run[0]), str(run[1])) if there else None,
        log_url=_task_url(*run, applied.task_id) if applied else None,
        last_task=_task_state(newest[step.stem]) if step and step.stem in newest else None,
    )


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
        **{name: [str(v) for v in report.get(name) or ()] for name in ("applied", "rolled_back", "dry_run")},
        failed=list(failed),
        url=run_results.run_url(run.dag_id, run.run_id),
    )


def _mode(value: Any) -> Literal["apply", "dry_run"] | None:
    return value if value in ("apply", "dry_run") else None


# Events


def audit_item(row: AuditRow) -> schemas.AuditRowItem:
    fields = asdict(row)
    del fields["previous_hash"]
    return schemas.AuditRowItem(**fields, url=_task_url(row.dag_id, row.run_id, row.task_id))


def event_item(row: AuditRow) -> schemas.HistoryEvent:
    """An audit row as an event of history."""
    error = row.details.get("error")
    return schemas.HistoryEvent(
        at=row.at,
        event=row.event,
        version=row.version,
        actor=row.actor,
        duration_ms=row.duration_ms,
        error=str(error) if error else None,
        run_id=row.run_id,
        dag_id=row.dag_id,
        task_id=row.task_id,
        url=_task_url(row.dag_id, row.run_id, row.task_id),
    )


def events_from_runs(view: GroupView) -> list[schemas.HistoryEvent]:
    """Events as far as Airflow knows them, newest first: records that tasks left, and tasks that failed."""
    found = [_event_of(record) for record in view.records if record.outcome in ("applied", "rolled_back", "dry_run")]
    versions = {step.task_id: (step.version, g.direction) for g in view.both for step in g.steps}
    on_target = run_results.runs_on(view.session, view.both, str(view.target.conn_id)) if view.target.conn_id else set()
    for row in run_results.task_instances(view.session, view.both):
        if row.state == "failed" and row.task_id in versions and (on_target is None or row.run_id in on_target):
            found.append(_failure_of(row, *versions[row.task_id]))
    return sorted(found, key=lambda event: event.at, reverse=True)


def _event_of(record: run_results.TaskResult) -> schemas.HistoryEvent:
    return schemas.HistoryEvent(
        at=record.at,
        event=record.outcome,
        version=record.version,
        actor=record.actor,
        duration_ms=record.value.get("duration_ms"),
        run_id=record.run_id,
        dag_id=record.dag_id,
        task_id=record.task_id,
        url=run_results.task_url(record.dag_id, record.run_id, record.task_id),
    )


def _failure_of(row: Any, version: str, direction: str) -> schemas.HistoryEvent:
    at: datetime = row.end_date or row.start_date
    return schemas.HistoryEvent(
        at=at,
        event="failed" if direction == "apply" else "rollback_failed",
        version=version,
        duration_ms=None if row.duration is None else round(row.duration * 1000),
        error="the log of the task says what and what next",
        run_id=row.run_id,
        dag_id=row.dag_id,
        task_id=row.task_id,
        url=run_results.task_url(row.dag_id, row.run_id, row.task_id),
    )


# Scripts


def sql_of(step: StepTask | None) -> schemas.ScriptText:
    """The script as the DAG was last parsed."""
    if step is None:
        return schemas.ScriptText(origin="unavailable", reason="its file is gone from the folder")
    return _of_dag(step.doc.script or ShownScript(f"{step.stem}.sql", step.checksum, reason=_NO_DOC))


def rollback_of(step: StepTask | None, recorded: Script | None, *, live: bool) -> schemas.ScriptText:
    """The rollback as it was when the migration was applied, else as the DAG was last parsed."""
    if recorded is not None:
        return schemas.ScriptText(text=recorded.text, origin="ledger", file=recorded.file, checksum=recorded.checksum)
    if step is not None and step.doc.rollback is not None:
        return _of_dag(step.doc.rollback)
    why = "it has none" if live or step is not None else "only the ledger could have it, and that was not read"
    return schemas.ScriptText(origin="unavailable", reason=why)


def _of_dag(script: ShownScript) -> schemas.ScriptText:
    origin: Literal["dag", "unavailable"] = "unavailable" if script.text is None else "dag"
    return schemas.ScriptText(origin=origin, **asdict(script))
