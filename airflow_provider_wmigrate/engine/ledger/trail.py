"""The audit log: a chain of hashes, so that a change behind the trigger that refuses changes is found.

A row is appended last, just before its transaction commits, under a row lock on the chain's head, so that parallel
migrations wait for one another only for that moment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from typing import Any

from psycopg import Connection, DataError, sql
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from airflow_provider_wmigrate.engine.errors import LedgerDamaged
from airflow_provider_wmigrate.engine.model import Finding, Identity

from .anchor import GENESIS as GENESIS
from .anchor import broken, contradiction, position
from .storable import jsonb, server_encoding, storable_data

HEAD = "audit_head"
"""Key of application_metadata under which the chain's length and last hash stand."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row of audit_log, in the order in which its columns are hashed."""

    position: int
    at: datetime
    event: str
    version: str | None
    actor: str
    dag_id: str | None
    run_id: str | None
    task_id: str | None
    try_number: int | None
    duration_ms: int | None
    details: dict[str, Any]
    previous_hash: str
    hash: str

    def canonical(self) -> str:
        """The text that is hashed, as docs/ledger.md says it: JSON of all columns but `hash`."""
        values = {name: getattr(self, name) for name in COLUMNS if name != "hash"}
        values["at"] = self.at.astimezone(timezone.utc).isoformat(timespec="microseconds")
        return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def computed_hash(self) -> str:
        """SHA-256 of the canonical text in UTF-8, as lower-case hexadecimal digits."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


COLUMNS = tuple(f.name for f in fields(AuditRow))

NOT_SETTLING = frozenset({
    "planned", "started", "failed", "rollback_failed", "failure_handled", "refused", "dry_run", "not_tried",
    "alerted", "alert_failed", "healed",
})  # fmt: skip
"""Events of a version after which its entry is what it was; every other one says what the entry is from then on."""

_SESSION = (
    "pg_catalog.jsonb_build_object('session', pg_catalog.jsonb_build_object('user', session_user,"
    " 'address', pg_catalog.host(pg_catalog.inet_client_addr()), 'pid', pg_catalog.pg_backend_pid()))"
)
"""Who is at the other end, as the server knows it. Part of `details`, and so of the hash of rows that have it: as a
column it would need one canonical form for the rows before it and another for those behind."""

ENTRY_FACTS = (
    "pg_catalog.jsonb_build_object('name', name, 'status', status, 'direction', direction, 'checksum', checksum,"
    " 'checksum_algorithm', checksum_algorithm, 'dependencies', dependencies, 'rollback_checksum', rollback_checksum,"
    " 'applied_at', pg_catalog.timezone('UTC', applied_at), 'duration_ms', duration_ms, 'actor', actor,"
    " 'dag_id', dag_id, 'run_id', run_id, 'task_id', task_id, 'try_number', try_number)"
)
"""What the log keeps of an entry, and compares with it; not the journal, which changes with every statement."""

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


def damaged(message: str) -> LedgerDamaged:
    return LedgerDamaged(message, hint="restore the ledger, or choose another settings.ledger.schema")


class Trail:
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
                return tuple(self._breaks(conn, expected_head, last))
        except DataError as error:
            # Values that no row of ours ever had, such as the timestamp infinity.
            return (broken(f"a row cannot be read: {error}"),)

    def _breaks(self, conn: Connection[Any], expected_head: str | None, last: int | None) -> Iterator[Finding]:
        """The first break of the chain; what follows it says nothing any more."""
        count, previous = self._before(conn, last)
        expected_met = expected_head is None or self._passed(conn, expected_head, count)
        for row in self._all_rows(conn, after=count or None):
            count += 1
            reason = _break(row, count, previous)
            if reason:
                yield broken(reason, count)
                return
            previous = row.hash
            expected_met = expected_met or expected_head == f"{count}:{previous}"
        head = self.head(conn)
        if head != f"{count}:{previous}":
            yield broken(f"the chain ends at row {count}, its head says {head}", count)
        elif not expected_met:
            yield broken(f"the chain never passed through {expected_head}", count)

    def _before(self, conn: Connection[Any], last: int | None) -> tuple[int, str]:
        """Where to begin so that `last` rows are left: the position and the hash of the row before them."""
        count = (self.head(conn) or "").partition(":")[0]
        before = int(count) - last if last is not None and count.isdecimal() else 0
        rows = self.rows(conn, after=before - 1, limit=1) if before > 0 else ()
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
        settles = version is not None and (event not in NOT_SETTLING if settles is None else settles)
        # The details make a round trip, so that the hash is over what jsonb keeps of them (numbers, keys, order).
        query = self._query(
            "SELECT value, pg_catalog.clock_timestamp(), %s::pg_catalog.jsonb OPERATOR(pg_catalog.||) {more}"
            " FROM {schema}.application_metadata WHERE key = %s FOR UPDATE",
            more=sql.SQL(_SESSION_AND_ENTRY if settles else _SESSION).format(schema=sql.Identifier(self.schema)),
        )
        values = [jsonb(dict(details or {}), conn), *([version] if settles else ()), HEAD]
        found = conn.execute(query, values).fetchone()
        count, _, previous = (found[0] if found else "").partition(":")
        if found is None or not count.isdecimal():
            raise damaged(f"{self.schema}.application_metadata has no {HEAD}")
        row = AuditRow(
            position=int(count) + 1,
            at=found[1],
            event=event,
            version=version,
            **storable_data(asdict(identity), server_encoding(conn)),
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


def _break(row: AuditRow, place: int, previous: str) -> str | None:
    """Why this row cannot be the one at this place of the chain."""
    if row.position != place:
        return f"row {place} is gone or out of place: found row {row.position}"
    if row.previous_hash != previous:
        return f"row {place} does not follow the row before it"
    if row.computed_hash() != row.hash:
        return f"row {place} ({row.event}) was changed"
    return None
