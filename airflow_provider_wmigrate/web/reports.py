"""Health, audit log and numbers over time of one group."""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone
from typing import Any

from msgspec.structs import asdict, replace

from airflow_provider_wmigrate.engine.health.checks import Check
from airflow_provider_wmigrate.engine.health.inspection import Health, check_health
from airflow_provider_wmigrate.engine.ledger.history import EventFilter, EventPage, days, events
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import version_key

from . import migration_states, schemas, target_reads
from .group_view import GroupView, utc_now
from .happened import audit_item, events_from_runs
from .work import release

_COUNTED = ("applied", "failed", "rolled_back", "rollback_failed", "dry_run")


# Health


def health(view: GroupView) -> schemas.HealthAnswer:
    """Whether the target is well. A target that does not answer is an answer too."""
    conn_id = view.target.conn_id
    _, reason = (None, None) if view.readable else view.live(lambda conn, ledger: None)
    if conn_id is None or reason is not None:
        return _health(view, "unknown", [reason.message if reason else ""], [], view.source(reason, live=False))
    head, folder = view.left.head, view.folder
    release(view.session)
    limit = target_reads.TOTAL_SECONDS - 1

    def look() -> Health:
        return check_health(lambda: target_reads.connect(conn_id), folder, timeout_seconds=limit, expected_head=head)

    try:
        found = target_reads.guarded(look)
    except target_reads.Unreadable as error:
        check = Check("connection", "unhealthy", error.reason.message)
        return _health(view, "unhealthy", [error.reason.message], [check], view.source(error.reason, live=False))
    checks = [replace(check, reason=target_reads.scrubbed(check.reason)) for check in found.checks]
    reasons = [target_reads.scrubbed(reason) for reason in found.reasons]
    return _health(view, found.status, reasons, checks, view.source(None, live=True))


def _health(
    view: GroupView, status: Any, reasons: list[str], checks: list[Check], source: schemas.Source
) -> schemas.HealthAnswer:
    return schemas.HealthAnswer(group=view.described, status=status, reasons=reasons, checks=checks, source=source)


# Audit


def audit(view: GroupView, where: EventFilter, *, limit: int, verify: bool) -> schemas.AuditAnswer:
    """A page of the audit log; the chain is recomputed on a connection of its own, with its own limit."""
    found, reason = view.live(lambda conn, ledger: _page(conn, ledger, where, limit))
    page, head = found or (EventPage(), None)
    return schemas.AuditAnswer(
        group=view.described,
        rows=[audit_item(view, row) for row in page.rows],
        total_entries=page.total if found else None,
        next_before=page.next_before,
        chain=_chain(view, head, verify=verify and found is not None),
        source=view.source(reason, live=found is not None),
    )


def _page(conn: Any, ledger: Ledger, where: EventFilter, limit: int) -> tuple[EventPage, str | None]:
    page = events(conn, ledger, where, limit=limit)
    return page, ledger.metadata(conn).get("audit_head") if ledger.version(conn) is not None else None


def _chain(view: GroupView, head: str | None, *, verify: bool) -> schemas.Chain:
    expected = view.left.head
    if not verify:
        return schemas.Chain(state="not_checked", head=head, expected_head=expected)

    def recompute(conn: Any, ledger: Ledger) -> Any:
        return ledger.verify(conn, expected_head=expected)

    found, reason = view.live(recompute)
    if found is None:
        state: Any = "timeout" if reason and reason.code in ("timeout", "busy") else "not_checked"
        return schemas.Chain(state=state, head=head, expected_head=expected)
    state = "broken" if found else "intact" if head else "not_checked"  # no ledger, and nobody knows of one
    return schemas.Chain(state=state, findings=list(found), head=head, expected_head=expected)


# Numbers over time


def metrics(view: GroupView, *, days: int) -> schemas.MetricsAnswer:
    """Durations per migration, and what happened per day."""
    today = utc_now().date()
    first = today - timedelta(days=days - 1)
    since = datetime.combine(first, time.min, timezone.utc)
    known, source, counted = view.states(more=lambda conn, ledger, _: _days(conn, ledger, since))
    if counted is None:
        counted = _days_from_runs(view, since)
    each = [
        counted.get(first + timedelta(days=n)) or schemas.DayItem(day=first + timedelta(days=n)) for n in range(days)
    ]
    totals = {name: sum(getattr(day, name) for day in each) for name in _COUNTED}
    return schemas.MetricsAnswer(
        group=view.described,
        durations=_durations(known),
        days=each,
        totals=schemas.DayItem(day=today, **totals),
        source=source,
    )


def _durations(known: migration_states.MigrationStates) -> list[schemas.DurationItem]:
    return [
        schemas.DurationItem(version=v, name=e.name, duration_ms=e.duration_ms, applied_at=e.applied_at)
        for v, e in sorted(known.entries.items(), key=lambda pair: version_key(pair[0]))
    ]


def _days(conn: Any, ledger: Ledger, since: datetime) -> dict[Any, schemas.DayItem]:
    found = days(conn, ledger, EventFilter(since=since))
    return {day.day: schemas.DayItem(**asdict(day), dry_run=day.dry_runs) for day in found}


def _days_from_runs(view: GroupView, since: datetime) -> dict[Any, schemas.DayItem]:
    found: dict[Any, schemas.DayItem] = {}
    for event in events_from_runs(view):
        if event.at >= since and event.event in _COUNTED and event.dry_run == (event.event == "dry_run"):
            day = event.at.astimezone(timezone.utc).date()
            item = found.setdefault(day, schemas.DayItem(day=day))
            setattr(item, event.event, getattr(item, event.event) + 1)
    return found
