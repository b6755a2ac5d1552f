"""What was done to a target and who has not been told of it: read from its ledger, never from the memory of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timezone
from functools import cached_property
from typing import Any

from msgspec import Struct

from .ledger.access import open_ledger
from .ledger.history import EventFilter, events
from .ledger.ledger import AuditRow, Ledger
from .model import Entry, Finding, version_key
from .session.session import Connect

REPORTED = "reported"
"""The event of a report in which nothing had failed. It ends an attempt: what came before it stays."""

_READ = ("applied", "rolled_back", "started", "repaired", "baselined", "adopted", REPORTED)

_TOUCHING = (
    "started", "applied", "rolled_back", "failed", "rollback_failed", "repaired", "baselined", "adopted",
    "failure_handled",
)  # fmt: skip


class Attempt(Struct, frozen=True):
    """One pass of an Airflow run from its plan to its report. A run id is used again by every clear and is not one."""

    dag_id: str
    run_id: str
    task_ids: frozenset[str]
    """Of the tasks that may change the target."""
    since: int
    """Position of the plan's own row in the audit log; what came before belongs to another attempt."""

    def rows(self, rows: Iterable[AuditRow]) -> tuple[AuditRow, ...]:
        """What this attempt did, in the order in which it did it."""
        return tuple(
            row
            for row in rows
            if row.position > self.since
            and (row.dag_id, row.run_id) == (self.dag_id, self.run_id)
            and row.task_id in self.task_ids
        )


class Account(Struct, frozen=True, dict=True):
    """A target's ledger as a report reads it."""

    head: str | None = None
    """Head of the audit log; None: there is no ledger."""
    entries: tuple[Entry, ...] = ()
    rows: tuple[AuditRow, ...] = ()
    """What changed the ledger behind the position that was asked for, oldest first."""
    reported: AuditRow | None = None
    """The last row of a report, wherever it stands."""
    broken: Finding | None = None
    """Why the audit log is not the one continued whose head was known."""

    @cached_property
    def applied(self) -> tuple[str, ...]:
        """The versions that are applied, in numeric order."""
        return tuple(entry.version for entry in self.entries if entry.status == "applied")

    @cached_property
    def state(self) -> str:
        """A hash over what is applied and since when: two are equal if nothing was applied or rolled back between.

        What was applied and rolled back again between leaves no trace in it; what was rolled back and applied again
        does: its tables are new ones.
        """
        there = [e for e in self.entries if e.status == "applied"]
        lines = [f"{e.version} {e.applied_at.astimezone(timezone.utc).isoformat()}\n" for e in there]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


NOTHING_APPLIED = Account().state


def read_account(
    connect: Connect, schema: str, *, since: int = 0, told: int | None = None, known_head: str | None = None
) -> Account:
    """Look at a ledger. Changes nothing.

    :param schema: the ledger's.
    :param since: position in the audit log behind which its rows are wanted.
    :param told: another such position; None: that of the last report's row. The earlier one counts.
    :param known_head: head of the audit log as it was last seen, kept outside the database.
    :raises ConnectionFailed: the target is out of reach.
    """
    ledger = Ledger(schema)
    with open_ledger(connect, ledger, application_name="wmigrate report") as session:
        conn = session.conn
        broken = ledger.continues(conn, known_head) if known_head else None
        if ledger.version(conn) is None:
            return Account(broken=broken)
        with conn.transaction():  # not ours, which could write: a standby has none
            head = ledger.head(conn)
            entries = ledger.entries(conn)
            reported = next(iter(events(conn, ledger, EventFilter(events=(REPORTED,)), limit=1).rows), None)
            if told is None:
                told = reported.position if reported else 0
            rows = tuple(r for r in ledger.log.rows(conn, after=min(since, told)) if r.event in _READ)
    return Account(head, entries, rows, reported, broken)


def last_touched(connect: Connect, schema: str, version: str) -> AuditRow | None:
    """The row of the last thing that was done to a migration, dry runs apart; None: nothing, or there is no ledger.

    :raises ConnectionFailed: the target is out of reach.
    """
    ledger = Ledger(schema)
    with open_ledger(connect, ledger, application_name="wmigrate handle failure") as session:
        rows = events(session.conn, ledger, EventFilter(events=_TOUCHING, version=version)).rows
    return next((row for row in rows if row.details.get("dry_run") is not True), None)


def changes(rows: Iterable[AuditRow], applied: Collection[str]) -> tuple[list[str], list[str]]:
    """What the rows come to in the end: the versions that are applied since, and those that are not any more.

    What was applied and rolled back again is neither; what was rolled back and applied again is both.

    :param applied: the versions that are applied now.
    """
    first: dict[str, bool] = {}
    for row in rows:
        if row.version and row.event not in ("started", REPORTED):
            first.setdefault(row.version, _was_applied(row))
    came = [v for v, before in first.items() if v in applied and (not before or _again(v, rows))]
    went = [v for v, before in first.items() if before and (v not in applied or _again(v, rows))]
    return sorted(came, key=version_key), sorted(went, key=version_key)


def changed_tables(
    rows: Iterable[AuditRow], versions: Collection[str]
) -> tuple[dict[tuple[str, str], list[tuple[str, dict[str, Any]]]], list[str]]:
    """By schema ("" where nobody has written it) and name of a table or view, the versions that changed it and how; and
    the versions of which nobody could read all that they changed.

    :param versions: those that count.
    """
    found: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = {}
    unread = []
    for row in rows:
        if row.event not in ("applied", "rolled_back") or row.version is None or row.version not in versions:
            continue
        told = row.details.get("changes") or {"each": (), "unread": "changes" not in row.details}
        unread += [row.version] if told["unread"] else []
        for change in told["each"]:
            if change["kind"] not in ("function", "sequence"):
                for table in _tables_of(change):
                    found.setdefault(table, []).append((row.version, change))
    return found, sorted(set(unread), key=version_key)


def _tables_of(change: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The table, and the one that it is called now."""
    schema = change.get("schema", "")
    yield schema, change["name"]
    if change["does"] == "rename" and change["kind"] != "column":
        moved, _, name = change["to"].rpartition(".")
        yield moved or schema, name


def _was_applied(row: AuditRow) -> bool:
    """Whether the migration counted as applied before what this row tells."""
    before = row.details.get("before")
    if isinstance(before, dict):  # a person's decision
        return before.get("status") == "applied"
    return row.event == "rolled_back"


def _again(version: str, rows: Iterable[AuditRow]) -> bool:
    """Whether it was rolled back between."""
    return any(row.version == version and row.event == "rolled_back" for row in rows)


def begun_by(attempt: Attempt, account: Account) -> set[str]:
    """The versions that this attempt began to apply and that no report has closed, whatever became of them.

    :param account: read behind the attempt's plan.
    """
    closed = [
        row.position
        for row in account.rows
        if row.event == REPORTED and (row.dag_id, row.run_id) == (attempt.dag_id, attempt.run_id)
    ]
    bound = max([attempt.since, *closed])
    rows = [row for row in attempt.rows(account.rows) if row.position > bound and _begins(row)]
    run = (attempt.dag_id, attempt.run_id)
    mine = {e.version for e in account.entries if (e.identity.dag_id, e.identity.run_id) == run}
    return {row.version for row in rows if row.version in mine and row.version}


def _begins(row: AuditRow) -> bool:
    return row.event == "applied" or (row.event == "started" and row.details.get("direction") == "apply")


def not_so(claimed: Mapping[str, str], account: Account, rows: Iterable[AuditRow], *, direction: str) -> list[str]:
    """Sentences about migrations whose task Airflow has as a success although the ledger does not say so.

    :param claimed: version -> id of its task.
    :param rows: since the plan, of anybody: what was rolled back or applied afterwards was done once.
    """
    found = []
    there = {e.version: e for e in account.entries}
    wanted, opposite = ("applied", "rolled_back") if direction == "apply" else ("rolled back", "applied")
    undone = {row.version for row in rows if row.event == opposite}
    for version, task_id in claimed.items():
        entry = there.get(version)
        done = entry is not None and entry.status == "applied" if direction == "apply" else entry is None
        if not done and version not in undone:
            incomplete = entry is not None and entry.status == "incomplete"
            now = "is incomplete" if incomplete else f"is not {wanted}"
            found.append(f"{version} was marked as success but {now}; clear {task_id} with its downstream")
    return found
