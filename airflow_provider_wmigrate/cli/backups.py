"""backups: those that wmigrate has made of the target, and how one is restored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .call import Answer, Call
from .look import moment
from .screen import Screen, plural

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.ledger.trail import AuditRow

_MOST = 1000
"""Rows of the audit log that are looked at, the newest ones."""


def backups(call: Call) -> Answer:
    """Those that the audit log knows, without those that were deleted; the newest one first."""
    from airflow_provider_wmigrate.engine.ledger.access import open_ledger
    from airflow_provider_wmigrate.engine.ledger.history import EventFilter, events

    ledger, wanted = call.ledger, EventFilter(events=("backed_up", "backup_removed"))
    with open_ledger(call.target.connect, ledger, application_name="wmigrate read") as session:
        rows = events(session.conn, ledger, wanted, limit=_MOST).rows
    gone = {row.details["name"] for row in rows if row.event == "backup_removed"}
    there = [row for row in rows if row.event == "backed_up" and row.details["name"] not in gone]

    def show(screen: Screen) -> None:
        if there:
            screen.table(("Made (UTC)", "By", "Before", "What", "Size", "Place"), map(_cells, there))
        screen.line(f"{plural(len(there), 'backup') if there else 'No backup'} of {call.target}.")
        if any(row.details["method"] == "pg_dump" for row in there):
            screen.line("To restore one: createdb NEW; pg_restore --exit-on-error --dbname=NEW PLACE")

    return Answer({"target": call.target_document(), "backups": [_document(row) for row in there]}, show)


def _cells(row: AuditRow) -> tuple[str, ...]:
    from airflow_provider_wmigrate.engine.wording import told_size

    details = row.details
    what = ", ".join(details["relations"]) or "the whole database"
    size = "" if details["bytes"] is None else told_size(details["bytes"])
    return moment(row.at), row.actor, ", ".join(details["versions"]), what, size, details["place"]


def _document(row: AuditRow) -> dict[str, Any]:
    return {"at": row.at, "actor": row.actor, "run_id": row.run_id, **row.details}
