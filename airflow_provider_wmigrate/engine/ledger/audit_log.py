"""The audit log in the database: reading its rows, verifying their chain, appending.

A row is appended last, just before its transaction commits, under a row lock on the chain's head, so that parallel
migrations wait for one another only for that moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from psycopg import Connection, DataError, sql
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from airflow_provider_wmigrate.engine.model import Finding, Identity

from .anchor import GENESIS, broken, contradiction, position
from .entry_row import ENTRY_FACTS
from .storable import jsonb, server_encoding, storable_data
from .trail import COLUMNS, HEAD, AuditRow, damaged, first_break, last_left_out
from .trail import settles as _settles

_SESSION = (
    "pg_catalog.jsonb_build_object('session', pg_catalog.jsonb_build_object('user', session_user,"
    " 'address', pg_catalog.host(pg_catalog.inet_client_addr()), 'pid', pg_catalog.pg_backend_pid()))"
)
"""Who is at the other end, as the server knows it. Part of `details`, and so of the hash of rows that have it: as a
column it would need one canonical form for the rows before it and another for those behind."""

_SESSION_AND_ENTRY = (
    f"{_SESSION} OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('entry',"
    f" (SELECT {ENTRY_FACTS} FROM {{schema}}.schema_migrations WHERE version = %s))"
)


@contextmanager
def one_snapshot(conn: Connection[Any]) -> Iterator[None]:
    """All that is compared is of one moment, so that nobody who appends meanwhile is taken for a forger."""
    idle = conn.info.transaction_status is TransactionStatus.IDLE
    with conn.transaction():
        if idle:
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


class AuditLog:
    """The audit log of the ledger in one schema. It keeps no connection: each call is given one."""

    def __init__(self, schema: str) -> None:
        self.schema = schema

    def _query(self, text: str, **more: sql.Composable) -> sql.Composed:
        return sql.SQL(text).format(schema=sql.Identifier(self.schema), **more)

    def head(self, conn: Connection[Any]) -> str | None:
        """`count:hash` of the last row, as application_metadata has it."""
        query = self._query("SELECT value FROM {schema}.application_metadata WHERE key = %s")
        found = conn.execute(query, [HEAD]).fetchone()
        return str(found[0]) if found else None

    def rows(self, conn: Connection[Any], *, after: int = 0, limit: int | None = None) -> Iterator[AuditRow]:
        """Rows of the audit log in order, `limit` of them at the most, behind position `after`."""
        columns = ", ".join(COLUMNS)
        query = self._query(
            f"SELECT {columns} FROM {{schema}}.audit_log WHERE position >= %s ORDER BY position LIMIT %s"
        )
        with conn.cursor(row_factory=dict_row) as cursor:
            for row in cursor.execute(query, [after + 1, limit]):
                yield AuditRow(**row)

    def continues(self, conn: Connection[Any], known: str) -> Finding | None:
        """Whether the log is the one that this head was read from, or that one continued. One look at one row."""
        place = position(known) or 0
        row = next(self.rows(conn, after=place - 1, limit=1), None)
        there = row.hash if row and row.position == place else None
        reason = contradiction(known, self.head(conn) or "gone", there)
        return broken(reason) if reason else None

    def _all_rows(self, conn: Connection[Any], *, after: int | None, page: int = 5000) -> Iterator[AuditRow]:
        """The whole log, or what follows a row, in pieces, so that memory does not grow with it. A forged row may have
        any position."""
        after = -(2**63) - 1 if after is None else after
        while rows := list(self.rows(conn, after=after, limit=page)):
            yield from rows
            after = rows[-1].position
            if after == 2**63 - 1:
                return

    def verify(
        self, conn: Connection[Any], *, expected_head: str | None = None, last: int | None = None
    ) -> tuple[Finding, ...]:
        """Recompute the chain, in the caller's transaction; see `Ledger.verify`."""
        try:
            with conn.transaction():
                before = self._before(conn, last)
                met = expected_head is None or self._passed(conn, expected_head, before[0])
                found = first_break(
                    self._all_rows(conn, after=before[0] or None),
                    before=before,
                    expected=None if met else expected_head,
                    head=lambda: self.head(conn),
                )
                return (found,) if found else ()
        except DataError as error:
            # Values that no row of ours ever had, such as the timestamp infinity.
            return (broken(f"a row cannot be read: {error}"),)

    def _before(self, conn: Connection[Any], last: int | None) -> tuple[int, str]:
        """Where to begin so that `last` rows are left: the position and the hash of the row before them."""
        before = last_left_out(self.head(conn), last)
        rows = self.rows(conn, after=before - 1, limit=1) if before else ()
        return next(((row.position, row.hash) for row in rows if row.position == before), (0, GENESIS))

    def _passed(self, conn: Connection[Any], head: str, before: int) -> bool:
        """Whether a row that is not recomputed is the one a head names."""
        position = int(head.partition(":")[0])
        rows = self.rows(conn, after=position - 1, limit=1) if position <= before else ()
        return any(head == f"{row.position}:{row.hash}" for row in rows)

    def append(
        self,
        conn: Connection[Any],
        event: str,
        identity: Identity,
        *,
        version: str | None = None,
        duration_ms: int | None = None,
        details: Mapping[str, Any] | None = None,
        settles: bool | None = None,
    ) -> str:
        """Append one row to the audit log and return the new head, `count:hash`.

        Call it last before commit: it keeps the head locked until then.

        :param settles: the row says what the version's entry is from here on. None: as `event` says.
        """
        settling = _settles(event, version, settles)
        # The details make a round trip, so that the hash is over what jsonb keeps of them (numbers, keys, order).
        query = self._query(
            "SELECT value, pg_catalog.clock_timestamp(), %s::pg_catalog.jsonb OPERATOR(pg_catalog.||) {more}"
            " FROM {schema}.application_metadata WHERE key = %s FOR UPDATE",
            more=sql.SQL(_SESSION_AND_ENTRY if settling else _SESSION).format(schema=sql.Identifier(self.schema)),
        )
        values = [jsonb(dict(details or {}), conn), *([version] if settling else ()), HEAD]
        found = conn.execute(query, values).fetchone()
        count, _, previous = (found[0] if found else "").partition(":")
        if found is None or not count.isdecimal():
            raise damaged(f"{self.schema}.application_metadata has no {HEAD}")
        row = AuditRow(
            position=int(count) + 1,
            at=found[1],
            event=event,
            version=version,
            **storable_data(identity.columns(), server_encoding(conn)),
            duration_ms=duration_ms,
            details=found[2],
            previous_hash=previous,
            hash="",
        )
        row = replace(row, hash=row.computed_hash())
        head = f"{row.position}:{row.hash}"
        self._insert(conn, row)
        query = self._query(
            "UPDATE {schema}.application_metadata SET value = %s, updated_at = pg_catalog.clock_timestamp()"
            " WHERE key = %s"
        )
        conn.execute(query, [head, HEAD])
        return head

    def _insert(self, conn: Connection[Any], row: AuditRow) -> None:
        values = {name: getattr(row, name) for name in COLUMNS} | {"details": jsonb(row.details, conn)}
        names, places = ", ".join(values), ", ".join(["%s"] * len(values))
        conn.execute(self._query(f"INSERT INTO {{schema}}.audit_log ({names}) VALUES ({places})"), [*values.values()])
