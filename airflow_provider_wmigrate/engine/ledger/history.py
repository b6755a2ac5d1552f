"""What happened in a database, for those who read it page by page: audit rows, entries, durations, counts per day.

Nothing here writes, locks or keeps anything. A database without a ledger answers with empty values. Whoever serves
these to others sets the limits (statement_timeout, read-only) on the connection it hands in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import dict_row

from airflow_provider_wmigrate.engine.model import Entry

from .ledger import AuditRow, Ledger

ACTED = ("applied", "rolled_back", "failed", "rollback_failed", "repaired", "baselined")
"""The events that changed the schema or the ledger, or tried to: what a person means by history."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which audit rows: those for which everything that is given holds. The default is every row."""

    events: tuple[str, ...] = ()
    """Any of these; empty: all."""
    version: str | None = None
    """In canonical form, such as 002."""
    actor: str | None = None
    since: datetime | None = None
    """At this time or later. With a time zone."""
    until: datetime | None = None
    """Earlier than this time. With a time zone."""
    before: int | None = None
    """Positions below this one: the cursor for the next page, which stays right while others append."""
    after: int | None = None
    """Positions above this one: what is new since the last look."""


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some audit rows and how many there are in all."""

    rows: tuple[AuditRow, ...] = ()
    total: int = 0
    """Rows that pass the filter, on this page or not."""


@dataclass(frozen=True, slots=True)
class EntryPage:
    """Some entries and how many there are in all."""

    entries: tuple[Entry, ...] = ()
    total: int = 0


@dataclass(frozen=True, slots=True)
class Duration:
    """How long one script ran, once."""

    position: int
    at: datetime
    event: str
    """applied, rolled_back or dry_run."""
    version: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Day:
    """What happened on one day. Days on which nothing did are not told. A dry run is neither success nor failure."""

    day: date
    applied: int = 0
    failed: int = 0
    rolled_back: int = 0
    rollback_failed: int = 0
    refused: int = 0
    dry_runs: int = 0


def events(
    conn: Connection[Any],
    ledger: Ledger,
    where: EventFilter | None = None,
    *,
    limit: int = 50,
    offset: int = 0,
    newest_first: bool = True,
) -> EventPage:
    """One page of the audit log."""
    if ledger.version(conn) is None:
        return EventPage()
    condition, values = _condition(where or EventFilter())
    columns = sql.SQL(", ").join(sql.Identifier(f.name) for f in fields(AuditRow))
    order = sql.SQL("DESC" if newest_first else "ASC")
    query = _query(
        ledger,
        "SELECT {columns} FROM {schema}.audit_log WHERE {condition} ORDER BY position {order} LIMIT %s OFFSET %s",
        columns=columns,
        condition=condition,
        order=order,
    )
    total = _query(ledger, "SELECT pg_catalog.count(*) FROM {schema}.audit_log WHERE {condition}", condition=condition)
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = tuple(AuditRow(**row) for row in cursor.execute(query, [*values, limit, offset]))
    return EventPage(rows, _number(conn, total, values))


def entries(
    conn: Connection[Any],
    ledger: Ledger,
    *,
    search: str | None = None,
    actor: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
    offset: int = 0,
) -> EntryPage:
    """One page of schema_migrations in numeric order.

    The ledger holds one row per migration, so the rows are read whole and chosen here.

    :param search: a part of `version_name`, in any case.
    :param since: applied at this time or later; with a time zone.
    :param until: applied earlier than this time; with a time zone.
    """
    if ledger.version(conn) is None:
        return EntryPage()
    word = (search or "").lower()
    found = [
        e
        for e in ledger.entries(conn)
        if word in f"{e.version}_{e.name}".lower()
        and actor in (None, e.identity.actor)
        and (since is None or e.applied_at >= since)
        and (until is None or e.applied_at < until)
    ]
    return EntryPage(tuple(found[offset : offset + limit]), len(found))


def durations(
    conn: Connection[Any],
    ledger: Ledger,
    where: EventFilter | None = None,
    *,
    limit: int = 1000,
) -> tuple[Duration, ...]:
    """How long scripts ran, over time, oldest first; of more than `limit` the newest.

    :param where: `events` defaults to `applied` and `rolled_back`; `dry_run` has durations too.
    """
    if ledger.version(conn) is None:
        return ()
    where = where or EventFilter()
    condition, values = _condition(where)
    query = _query(
        ledger,
        "SELECT position, at, event, version, duration_ms FROM {schema}.audit_log"
        " WHERE {condition} AND event = ANY(%s) AND version IS NOT NULL AND duration_ms IS NOT NULL"
        " ORDER BY position DESC LIMIT %s",
        condition=condition,
    )
    kinds = list(where.events or ("applied", "rolled_back"))
    rows = conn.cursor(row_factory=dict_row).execute(query, [*values, kinds, limit]).fetchall()
    return tuple(Duration(**row) for row in reversed(rows))


def days(
    conn: Connection[Any],
    ledger: Ledger,
    where: EventFilter | None = None,
    *,
    timezone: str = "UTC",
) -> tuple[Day, ...]:
    """Successes, failures and rollbacks per day, oldest first.

    :param timezone: in whose days; a name PostgreSQL knows.
    """
    if ledger.version(conn) is None:
        return ()
    condition, values = _condition(where or EventFilter())
    query = _query(
        ledger,
        "SELECT (at AT TIME ZONE %s)::pg_catalog.date AS day,"
        " count(*) FILTER (WHERE event = 'applied') AS applied,"
        " count(*) FILTER (WHERE event = 'failed' AND NOT dry) AS failed,"
        " count(*) FILTER (WHERE event = 'rolled_back') AS rolled_back,"
        " count(*) FILTER (WHERE event = 'rollback_failed' AND NOT dry) AS rollback_failed,"
        " count(*) FILTER (WHERE event = 'refused') AS refused,"
        " count(*) FILTER (WHERE event = 'dry_run') AS dry_runs"
        " FROM {schema}.audit_log,"
        " LATERAL (SELECT coalesce(details ->> 'dry_run', 'false') = 'true' AS dry) AS of_details"
        " WHERE {condition} GROUP BY 1 ORDER BY 1",
        condition=condition,
    )
    rows = conn.cursor(row_factory=dict_row).execute(query, [timezone, *values]).fetchall()
    counted = (Day(**row) for row in rows)
    return tuple(day for day in counted if any(getattr(day, f.name) for f in fields(Day)[1:]))


def actors(conn: Connection[Any], ledger: Ledger) -> tuple[str, ...]:
    """Everybody who is in the audit log, by name."""
    if ledger.version(conn) is None:
        return ()
    rows = conn.cursor(row_factory=dict_row).execute(_query(ledger, "SELECT DISTINCT actor FROM {schema}.audit_log"))
    return tuple(sorted(row["actor"] for row in rows))


def _query(ledger: Ledger, text: str, **parts: sql.Composable) -> sql.Composed:
    return sql.SQL(text).format(schema=sql.Identifier(ledger.schema), **parts)


def _number(conn: Connection[Any], query: sql.Composed, values: list[Any]) -> int:
    row = conn.cursor(row_factory=dict_row).execute(query, values).fetchone()
    return int(row["count"]) if row else 0


def _condition(where: EventFilter) -> tuple[sql.Composable, list[Any]]:
    given = list(_given(where))
    text = sql.SQL(" AND ").join([sql.SQL("true"), *(sql.SQL(condition) for condition, _ in given)])
    return text, [value for _, value in given]


def _given(where: EventFilter) -> Iterator[tuple[Any, Any]]:
    if where.events:
        yield "event = ANY(%s)", list(where.events)
    for condition, value in (
        ("version = %s", where.version),
        ("actor = %s", where.actor),
        ("at >= %s", where.since),
        ("at < %s", where.until),
        ("position < %s", where.before),
        ("position > %s", where.after),
    ):
        if value is not None:
            yield condition, value
