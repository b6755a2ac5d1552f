"""What happened to migrations: rows of the audit log, or as far as Airflow knows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import asdict

from airflow_provider_wmigrate.engine.ledger.ledger import AuditRow
from airflow_provider_wmigrate.engine.record import Bystanders

from . import schemas
from .group_view import GroupView
from .task_results import TaskFailure, TaskResult
from .urls import task_url

_EVENTS = ("applied", "rolled_back", "dry_run", "not_tried")


def audit_item(view: GroupView, row: AuditRow) -> schemas.AuditRowItem:
    """A row of the audit log."""
    return schemas.AuditRowItem(**_told(view, row))


def event_item(view: GroupView, row: AuditRow) -> schemas.HistoryEvent:
    """An audit row as an event of history."""
    known = {**_told(view, row), "felt": _felt(row.details), "dry_run": row.details.get("dry_run") is True}
    return schemas.HistoryEvent(**{**row.details, **known})


def _told(view: GroupView, row: AuditRow) -> dict[str, Any]:
    url = view.log_url(row.dag_id, row.run_id, row.task_id)
    return {**asdict(row), "authenticated": row.authenticated or None, "url": url}


def _felt(told: Mapping[str, Any]) -> str | None:
    felt = told.get("bystanders")
    return str(Bystanders.from_dict(felt)) if felt else None


def events_from_runs(view: GroupView) -> list[schemas.HistoryEvent]:
    """Events as far as Airflow knows them, newest first: records that tasks left, and tasks that failed."""
    found = [_event_of(record) for record in reversed(view.left.records) if record.outcome in _EVENTS]
    found += [_failed(each, dry_run=each.key in view.left.dry_runs) for each in view.left.failures]
    return sorted(found, key=lambda event: event.at, reverse=True)


def _event_of(record: TaskResult) -> schemas.HistoryEvent:
    is_dry = record.outcome in ("dry_run", "not_tried")
    dag_id, run_id, map_index = record.key
    known = {"event": record.outcome, "at": record.at, "actor": record.actor, "dry_run": is_dry}
    known["felt"] = _felt(record.value)
    where = {"run_id": run_id, "dag_id": dag_id, "task_id": record.task_id}
    return schemas.HistoryEvent(
        **{**record.value, **known, **where}, url=task_url(dag_id, run_id, record.task_id, map_index)
    )


def _failed(failure: TaskFailure, *, dry_run: bool) -> schemas.HistoryEvent:
    told, (dag_id, run_id, map_index) = failure.attempt, failure.key
    task_id = str(told.identity.task_id)
    known = {**told.as_dict(), "event": told.event, "version": told.version, "actor": told.identity.actor or None}
    known |= {"dag_id": dag_id, "run_id": run_id, "duration_ms": failure.duration_ms, "dry_run": dry_run}
    return schemas.HistoryEvent(**known, url=task_url(dag_id, run_id, task_id, map_index))
