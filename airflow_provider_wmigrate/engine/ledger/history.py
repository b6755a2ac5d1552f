"""What happened in a database, for those who read it page by page: audit rows, and counts per day.

Nothing here writes, locks or keeps anything. A database without a ledger answers with empty values. Whoever serves
these to others sets the limits (statement_timeout, read-only) on the connection it hands in.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from msgspec import Struct
from psycopg import Connection, sql
from psycopg.rows import dict_row

from .ledger import AuditRow, Ledger
from .storable import server_encoding, storable_data
from .structure import in_schema
from .trail import COLUMNS

ACTED = ("applied", "rolled_back", "failed", "rollback_failed", "repaired", "baselined", "adopted", "baseline_undone")
"""The events that changed the schema or the ledger, or tried to: what a person means by history."""


class EventFilter(Struct, frozen=True):
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


class EventPage(Struct, frozen=True):
    """Some audit rows and how many there are in all."""

    rows: tuple[AuditRow, ...] = ()
    total: int = 0
    """Rows that pass the filter, on this page or not."""

    @property
    def next_before(self) -> int | None:
        """The position before which the next page begins; None: this is the last one."""
        return self.rows[-1].position if self.rows and self.total > len(self.rows) else None


class Day(Struct, frozen=True):
    """What happened on one day. Days on which nothing did are not told. A dry run is neither success nor failure."""

    day: date
    applied: int = 0
    failed: int = 0
    rolled_back: int = 0
    rollback_failed: int = 0
    refused: int = 0
    dry_runs: int = 0


def events(conn: Connection[Any], ledger: Ledger, where: EventFilter | None = None, *, limit: int = 50) -> EventPage:
    """One page of the audit log, newest first."""
    if ledger.version(conn) is None:
        return EventPage()
    condition, values = _condition(conn, where or EventFilter())
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    query = in_schema(
        ledger.schema,
        "SELECT {columns} FROM {schema}.audit_log WHERE {condition} ORDER BY position DESC LIMIT %s",
        columns=columns,
        condition=condition,
    )
    counting = "SELECT pg_catalog.count(*) FROM {schema}.audit_log WHERE {condition}"
    total = in_schema(ledger.schema, counting, condition=condition)
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = tuple(AuditRow(**row) for row in cursor.execute(query, [*values, limit]))
        counted = cursor.execute(total, values).fetchone()
    return EventPage(rows, counted["count"] if counted else 0)


def days(conn: Connection[Any], ledger: Ledger, where: EventFilter | None = None) -> tuple[Day, ...]:
    """Successes, failures and rollbacks per day in UTC, oldest first."""
    if ledger.version(conn) is None:
        return ()
    condition, values = _condition(conn, where or EventFilter())
    query = in_schema(
        ledger.schema,
        "SELECT pg_catalog.timezone('UTC', at)::pg_catalog.date AS day,"
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
    rows = conn.cursor(row_factory=dict_row).execute(query, values).fetchall()
    counted = (Day(**row) for row in rows)
    return tuple(day for day in counted if any(getattr(day, name) for name in Day.__struct_fields__[1:]))


def _condition(conn: Connection[Any], where: EventFilter) -> tuple[sql.Composable, list[Any]]:
    given = list(_given(where))
    text = sql.SQL(" AND ").join([sql.SQL("true"), *(sql.SQL(condition) for condition, _ in given)])
    return text, [storable_data(value, server_encoding(conn)) for _, value in given]


def _given(where: EventFilter) -> Iterator[tuple[Any, Any]]:
    if where.events:
        yield "event = ANY(%s)", list(where.events)
    for condition, value in (
        ("version = %s", where.version),
        ("actor = %s", where.actor),
        ("at >= %s", where.since),
        ("at < %s", where.until),
        ("position < %s", where.before),
    ):
        if value is not None:
            yield condition, value
