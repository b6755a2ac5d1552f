"""history and audit: what happened, page by page, and whether the record of it was tampered with."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict, replace

from airflow_provider_wmigrate.engine.codes import EVENTS
from airflow_provider_wmigrate.engine.folder.folder import normalise_version
from airflow_provider_wmigrate.engine.model import canonical_version

from .call import Answer, Call
from .failure import UsageError
from .look import moment
from .screen import Screen, plural, took

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.ledger.history import EventFilter, EventPage
    from airflow_provider_wmigrate.engine.ledger.ledger import AuditRow

_AGO = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def history(call: Call) -> Answer:
    """What changed the schema or the ledger, or tried to: newest first."""
    from airflow_provider_wmigrate.engine.ledger.history import ACTED, days, events

    where = _filter(call)
    where = where if where.events else replace(where, events=ACTED)
    with call.session() as session:
        if call.arguments.daily:
            counted = days(session.conn, call.ledger, replace(_filter(call), events=()))
            return _daily(call, [asdict(day) for day in counted])
        page = events(session.conn, call.ledger, where, limit=call.arguments.limit)
    columns = ("At (UTC)", "Event", "Version", "Claimed by", "Logged in as", "Took", "What")

    def cells(row: AuditRow) -> tuple[Any, ...]:
        return moment(row.at), _event(row), row.version, row.actor, _login(row), took(row.duration_ms), _what(row)

    return _page(call, page, "event", columns, cells)


def _daily(call: Call, rows: Sequence[dict[str, Any]]) -> Answer:
    names = ("day", "applied", "failed", "rolled_back", "rollback_failed", "refused", "dry_runs")

    def show(screen: Screen) -> None:
        screen.table([name.replace("_", " ").capitalize() for name in names], [[row[n] for n in names] for row in rows])
        screen.line(f"{len(rows)} days (UTC) on {call.target}.")

    return Answer({"target": call.target_document(), "days": list(rows)}, show)


def audit(call: Call) -> Answer:
    """Rows of the audit log, or the proof that they are what they were."""
    from . import audit_proof

    if call.arguments.action != "show":
        action: Callable[[Call], Answer] = getattr(audit_proof, call.arguments.action)
        return action(call)
    audit_proof.refuse(call, "head", "key", "heads", "out")
    from airflow_provider_wmigrate.engine.ledger.history import events

    with call.session() as session:
        page = events(session.conn, call.ledger, _filter(call), limit=call.arguments.limit)
    columns = ("Position", "At (UTC)", "Event", "Version", "By", "Run", "Hash")

    def cells(row: AuditRow) -> tuple[Any, ...]:
        return row.position, moment(row.at), _event(row), row.version, row.actor, row.run_id, row.hash[:12]

    return _page(call, page, "row", columns, cells)


def _page(
    call: Call, page: EventPage, noun: str, columns: Sequence[str], cells: Callable[[AuditRow], tuple[Any, ...]]
) -> Answer:
    shown = len(page.rows)
    rows = [{**asdict(row), "authenticated": row.authenticated} for row in page.rows]

    def show(screen: Screen) -> None:
        screen.table(columns, map(cells, page.rows))
        told = plural(shown, noun) if shown == page.total else f"{shown} of {plural(page.total, noun)}"
        screen.line(f"{told} on {call.target}.")
        if page.next_before is not None:
            screen.line(f"Older ones: --before {page.next_before}")

    target = call.target_document()
    return Answer({"target": target, "events": rows, "total": page.total, "next": page.next_before}, show)


def _event(row: AuditRow) -> str:
    """The kind of event; of a failure or a refusal, also whether it was in a dry run."""
    details = row.details if isinstance(row.details, dict) else {}
    said = row.event in ("dry_run", "not_tried")
    return row.event if said or details.get("dry_run") is not True else f"{row.event} (dry run)"


def _login(row: AuditRow) -> str | None:
    """Whom the server let in, beside whom the caller claims to be."""
    known = row.authenticated
    return f"{known.get('user')}@{known.get('address') or 'socket'}" if known else None


def _what(row: AuditRow) -> str:
    """The one detail that a person wants beside each kind of event."""
    details = row.details if isinstance(row.details, dict) else {}
    for name in ("error", "reason", "outcome"):
        if details.get(name):
            return str(details[name])
    return str(details.get("name", ""))


def _filter(call: Call) -> EventFilter:
    from airflow_provider_wmigrate.engine.ledger.history import EventFilter

    given = call.arguments
    for event in given.event or ():
        if event not in EVENTS:
            raise UsageError.unknown("event", event, EVENTS)
    version = given.migration
    if version is not None:
        is_number = version.isascii() and version.isdigit()
        version = canonical_version(version) if is_number else normalise_version(version, ())
    return EventFilter(
        events=tuple(given.event or ()),
        version=version,
        actor=given.actor,
        since=_time(given.since, "--since"),
        until=_time(given.until, "--until"),
        before=given.before,
    )


def _time(text: str | None, option: str) -> datetime | None:
    """A moment, or a span back from now. Without a zone it is UTC."""
    if text is None:
        return None
    span = re.fullmatch(r"([0-9]{1,6})([hdw])", text)
    try:
        if span:
            return datetime.now(timezone.utc) - int(span[1]) * _AGO[span[2]]
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except (ValueError, OverflowError):
        hint = "write 2026-01-31, 2026-01-31T12:00Z, or 7d for seven days ago"
        raise UsageError(f"{option} {text} is not a time", hint=hint) from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
