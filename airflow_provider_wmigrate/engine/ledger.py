"""The tables in which the target database remembers, and every query on them. Each name is schema-qualified.

The audit log is a hash chain. A row is appended last, just before its transaction commits, under a row lock on the
chain's head, so that parallel migrations wait for one another only for that moment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from importlib.resources import files
from typing import Any, Literal

from psycopg import Connection, DataError, sql
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from .errors import LedgerDamaged, LedgerTooNew
from .model import (
    CHECKSUM_ALGORITHM,
    Entry,
    Finding,
    Identity,
    Migration,
    Script,
    State,
    canonical_version,
    version_key,
)

LEDGER_VERSION = 1
CHANNEL = "wmigrate"
"""The NOTIFY channel on which a change of schema_migrations is told; the payload is the ledger's schema."""

GENESIS = "0" * 64
_HEAD = "audit_head"
_ENTRY = (
    "version", "name", "status", "direction", "checksum", "checksum_algorithm", "dependencies",
    "rollback_sql", "rollback_checksum", "applied_at", "duration_ms",
    "statements_done", "statements_total", "statement_hashes",
    "actor", "dag_id", "run_id", "task_id", "try_number",
)  # fmt: skip

_DESCRIPTIONS = {
    "ledger_version": "Version of the ledger's own tables",
    _HEAD: "Number of rows in audit_log and the hash of the last one",
    "schema_version": "Highest version that is applied",
    "application_version": "migration_system.version of the last successful run",
    "application_description": "migration_system.description of the last successful run",
    "folder_created": "migration_system.created of the last successful run",
    "folder_last_updated": "migration_system.last_updated of the last successful run",
    "last_successful_run": "When a run last ended with nothing failed",
}


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

    def computed_hash(self) -> str:
        """SHA-256 over canonical JSON: sorted keys, no spaces, UTC with microseconds."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "hash"}
        values["at"] = self.at.astimezone(timezone.utc).isoformat(timespec="microseconds")
        text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


_TABLES = {
    "schema_migrations": _ENTRY,
    "application_metadata": ("key", "value", "description", "created_at", "updated_at"),
    "audit_log": tuple(f.name for f in fields(AuditRow)),
}
"""The columns of ledger version 1, in their order."""


class Ledger:
    """The ledger in one schema of one database. It keeps no connection: each call is given one.

    :param schema: the schema its tables live in.
    """

    def __init__(self, schema: str = "wmigrate") -> None:
        self.schema = schema

    def _query(self, text: str) -> sql.Composed:
        return sql.SQL(text).format(schema=sql.Identifier(self.schema))

    # Reading

    def version(self, conn: Connection[Any]) -> int | None:
        """The ledger's version, or None when this database has no ledger.

        :raises LedgerTooNew: a newer wmigrate wrote it.
        :raises LedgerDamaged: some of its tables are there, or tables of that name that are not a ledger.
        """
        found: dict[str, list[str]] = dict(
            conn.execute(
                "SELECT c.relname, pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY a.attnum)"
                " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
                " WHERE n.nspname = %s AND c.relname = ANY(%s) GROUP BY c.relname",
                [self.schema, list(_TABLES)],
            ).fetchall()
        )
        if not found:
            return None
        absent = sorted(set(_TABLES) - set(found))
        if absent:
            raise self._damaged(f"schema {self.schema} holds {', '.join(sorted(found))} but no {', '.join(absent)}")
        has_values = {"key", "value"} <= set(found["application_metadata"])
        value = self.metadata(conn).get("ledger_version", "") if has_values else ""
        if not value.isdecimal():
            raise self._damaged(f"{self.schema}.application_metadata has no ledger_version")
        if int(value) > LEDGER_VERSION:
            raise LedgerTooNew(self.schema, int(value), LEDGER_VERSION)
        for table, columns in _TABLES.items():
            if found[table] != list(columns):
                raise self._damaged(f"{self.schema}.{table} has other columns than the ledger's table of that name")
        return int(value)

    def _damaged(self, message: str) -> LedgerDamaged:
        return LedgerDamaged(message, hint="restore the ledger, or choose another settings.ledger.schema")

    def state(self, conn: Connection[Any]) -> State:
        """Everything a plan needs to know about the database."""
        version = self.version(conn)
        entries = self.entries(conn) if version is not None else ()
        return State(entries, _extensions(conn), version)

    def entries(self, conn: Connection[Any]) -> tuple[Entry, ...]:
        """All rows of schema_migrations in numeric order, without the rollback scripts."""
        columns = ", ".join(column for column in _ENTRY if column != "rollback_sql")
        with conn.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(self._query(f"SELECT {columns} FROM {{schema}}.schema_migrations")).fetchall()
        return tuple(sorted((_entry(row) for row in rows), key=lambda e: version_key(e.version)))

    def rollback_script(self, conn: Connection[Any], entry: Entry) -> Script | None:
        """The rollback script as it was when the migration was applied."""
        query = self._query("SELECT rollback_sql FROM {schema}.schema_migrations WHERE version = %s")
        row = conn.execute(query, [entry.version]).fetchone()
        return Script.of(f"{entry.version}_{entry.name}.rollback.sql", row[0]) if row and row[0] else None

    def metadata(self, conn: Connection[Any]) -> dict[str, str]:
        """application_metadata as a dictionary."""
        return dict(conn.execute(self._query("SELECT key, value FROM {schema}.application_metadata")).fetchall())

    def audit_rows(self, conn: Connection[Any], *, after: int = 0, limit: int | None = None) -> Iterator[AuditRow]:
        """Rows of the audit log in order, `limit` of them at the most, behind position `after`."""
        columns = ", ".join(f.name for f in fields(AuditRow))
        query = self._query(
            f"SELECT {columns} FROM {{schema}}.audit_log WHERE position >= %s ORDER BY position LIMIT %s"
        )
        with conn.cursor(row_factory=dict_row) as cursor:
            for row in cursor.execute(query, [after + 1, limit]):
                yield AuditRow(**row)

    def verify(
        self, conn: Connection[Any], *, expected_head: str | None = None, last: int | None = None
    ) -> tuple[Finding, ...]:
        """Recompute the audit log's chain.

        :param expected_head: a `count:hash` kept outside the database, for instance in a run's report: it finds a
            tail that was cut off together with the head row.
        :param last: recompute only so many of the newest rows; None: all of them.
        """
        idle = conn.info.transaction_status is TransactionStatus.IDLE
        with conn.transaction():
            if idle:  # one snapshot for rows and head, so that nobody who appends meanwhile is taken for a forger
                conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            try:
                return tuple(self._breaks(conn, expected_head, last))
            except DataError as error:
                # Values that no row of ours ever had, such as the timestamp infinity.
                return (_broken(None, f"a row cannot be read: {error}"),)

    def _breaks(self, conn: Connection[Any], expected_head: str | None, last: int | None) -> Iterator[Finding]:
        """The first break of the chain; what follows it says nothing any more."""
        count, previous = self._before(conn, last)
        expected_met = expected_head is None or self._passed(conn, expected_head, count)
        for row in _all_rows(self, conn, after=count or None):
            count += 1
            reason = _break(row, count, previous)
            if reason:
                yield _broken(count, reason)
                return
            previous = row.hash
            expected_met = expected_met or expected_head == f"{count}:{previous}"
        head = self.metadata(conn).get(_HEAD)
        if head != f"{count}:{previous}":
            yield _broken(count, f"the chain ends at row {count}, its head says {head}")
        elif not expected_met:
            yield _broken(count, f"the chain never passed through {expected_head}")

    def _before(self, conn: Connection[Any], last: int | None) -> tuple[int, str]:
        """Where to begin so that `last` rows are left: the position and the hash of the row before them."""
        count = self.metadata(conn).get(_HEAD, "").partition(":")[0]
        before = int(count) - last if last is not None and count.isdecimal() else 0
        rows = self.audit_rows(conn, after=before - 1, limit=1) if before > 0 else ()
        return next(((row.position, row.hash) for row in rows if row.position == before), (0, GENESIS))

    def _passed(self, conn: Connection[Any], head: str, before: int) -> bool:
        """Whether a row that is not recomputed is the one a head names."""
        position = int(head.partition(":")[0])
        rows = self.audit_rows(conn, after=position - 1, limit=1) if position <= before else ()
        return any(head == f"{row.position}:{row.hash}" for row in rows)

    # Writing: the caller holds the transaction and the locks

    def create(self, conn: Connection[Any], identity: Identity) -> None:
        """Make the ledger's tables. One transaction, under the exclusive ledger lock."""
        script = files(__package__).joinpath("ledger.sql").read_text(encoding="utf-8")
        conn.execute(self._query(script))
        self._set(conn, "ledger_version", str(LEDGER_VERSION))
        self._set(conn, _HEAD, f"0:{GENESIS}")
        self.append(conn, "ledger_created", identity, details={"ledger_version": LEDGER_VERSION})

    def insert_entry(
        self,
        conn: Connection[Any],
        migration: Migration,
        identity: Identity,
        *,
        duration_ms: int,
        statements: int,
        status: Literal["applied", "incomplete"] = "applied",
        statement_hashes: Sequence[str] = (),
    ) -> None:
        """Record a migration as applied, or as begun: incomplete, with none of its statements done."""
        rollback = migration.rollback
        values = {
            "version": migration.version,
            "name": migration.name,
            "status": status,
            "direction": "apply",
            "checksum": migration.script.checksum,
            "checksum_algorithm": CHECKSUM_ALGORITHM,
            "dependencies": list(migration.dependencies),
            "rollback_sql": rollback.text if rollback else None,
            "rollback_checksum": rollback.checksum if rollback else None,
            "duration_ms": duration_ms,
            "statements_done": statements if status == "applied" else 0,
            "statements_total": statements,
            "statement_hashes": list(statement_hashes),
            **asdict(identity),
        }
        columns, places = ", ".join(values), ", ".join(["%s"] * len(values))
        now = "pg_catalog.clock_timestamp()"
        query = f"INSERT INTO {{schema}}.schema_migrations (applied_at, {columns}) VALUES ({now}, {places})"
        conn.execute(self._query(query), [*values.values()])

    def begin_rollback(self, conn: Connection[Any], version: str, *, statements: int) -> None:
        """Mark an entry as being rolled back statement by statement, with none of them done."""
        conn.execute(
            self._query(
                "UPDATE {schema}.schema_migrations SET status = 'incomplete', direction = 'rollback',"
                " statements_done = 0, statements_total = %s, statement_hashes = '{{}}' WHERE version = %s"
            ),
            [statements, version],
        )

    def write_journal(self, conn: Connection[Any], version: str, *, done: int, hashes: Sequence[str]) -> None:
        """Write how far an incomplete migration has come. The total follows the script, which may have been edited."""
        conn.execute(
            self._query(
                "UPDATE {schema}.schema_migrations SET statements_done = %s, statement_hashes = %s,"
                " statements_total = greatest(statements_total, %s) WHERE version = %s"
            ),
            [done, list(hashes), len(hashes), version],
        )

    def delete_entry(self, conn: Connection[Any], version: str) -> None:
        """Forget a migration that was rolled back; the audit log keeps it."""
        conn.execute(self._query("DELETE FROM {schema}.schema_migrations WHERE version = %s"), [version])

    def append(
        self,
        conn: Connection[Any],
        event: str,
        identity: Identity,
        *,
        version: str | None = None,
        duration_ms: int | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> str:
        """Append one row to the audit log and return the new head, `count:hash`.

        Call it last before commit: it keeps the head locked until then.
        """
        # The details make a round trip, so that the hash is over what jsonb keeps of them (numbers, keys, order).
        query = self._query(
            "SELECT value, pg_catalog.clock_timestamp(), %s::pg_catalog.jsonb FROM {schema}.application_metadata"
            " WHERE key = %s FOR UPDATE"
        )
        found = conn.execute(query, [Jsonb(dict(details or {})), _HEAD]).fetchone()
        count, _, previous = (found[0] if found else "").partition(":")
        if found is None or not count.isdecimal():
            raise self._damaged(f"{self.schema}.application_metadata has no {_HEAD}")
        row = AuditRow(
            position=int(count) + 1,
            at=found[1],
            event=event,
            version=version,
            **asdict(identity),
            duration_ms=duration_ms,
            details=found[2],
            previous_hash=previous,
            hash="",
        )
        digest = row.computed_hash()
        values = [getattr(row, f.name) for f in fields(row)]
        values[-3:] = [Jsonb(row.details), previous, digest]
        conn.execute(self._query("INSERT INTO {schema}.audit_log VALUES (" + ", ".join(["%s"] * 13) + ")"), values)
        head = f"{row.position}:{digest}"
        self._set(conn, _HEAD, head)
        return head

    def set_metadata(self, conn: Connection[Any], values: Mapping[str, str]) -> None:
        """Write several values of application_metadata; the keys are those described in this module."""
        for key, value in values.items():
            self._set(conn, key, value)

    def _set(self, conn: Connection[Any], key: str, value: str) -> None:
        conn.execute(
            self._query(
                "INSERT INTO {schema}.application_metadata (key, value, description) VALUES (%s, %s, %s)"
                " ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = pg_catalog.clock_timestamp()"
            ),
            [key, value, _DESCRIPTIONS[key]],
        )

    def set_schema_version(self, conn: Connection[Any]) -> None:
        """Write the highest applied version into application_metadata. Like `append`, late: it locks the head."""
        # The head row is locked first, as in append, so that two transactions never wait for each other crosswise.
        conn.execute(self._query("SELECT FROM {schema}.application_metadata WHERE key = %s FOR UPDATE"), [_HEAD])
        query = self._query("SELECT max(version::numeric) FROM {schema}.schema_migrations WHERE status = 'applied'")
        row = conn.execute(query).fetchone()
        self._set(conn, "schema_version", canonical_version(int(row[0])) if row and row[0] is not None else "")


def _who(identity: Identity) -> tuple[Any, ...]:
    return identity.actor, identity.dag_id, identity.run_id, identity.task_id, identity.try_number


def _entry(row: dict[str, Any]) -> Entry:
    row["identity"] = Identity(*(row.pop(f.name) for f in fields(Identity)))
    for name in ("dependencies", "statement_hashes"):
        row[name] = tuple(row[name])
    return Entry(**row)


def _extensions(conn: Connection[Any]) -> frozenset[str]:
    """Extensions that are created or can be.

    TimescaleDB's files alone do not help: where the library is not preloaded, CREATE EXTENSION ends the connection.
    Its settings exist exactly when it is preloaded, and every role may look.
    """
    rows = conn.execute(
        "SELECT name FROM pg_catalog.pg_available_extensions WHERE name <> 'timescaledb' OR EXISTS"
        " (SELECT FROM pg_catalog.pg_settings s WHERE s.name = 'timescaledb.max_background_workers')"
        " UNION SELECT extname FROM pg_catalog.pg_extension"
    )
    return frozenset(name for (name,) in rows)


def _all_rows(
    ledger: Ledger, conn: Connection[Any], *, after: int | None = None, page: int = 5000
) -> Iterator[AuditRow]:
    """The whole log, or what follows a row, in pieces, so that memory does not grow with it. A forged row may have any
    position."""
    after = -(2**63) - 1 if after is None else after
    while rows := list(ledger.audit_rows(conn, after=after, limit=page)):
        yield from rows
        after = rows[-1].position
        if after == 2**63 - 1:
            return


def _break(row: AuditRow, place: int, previous: str) -> str | None:
    """Why this row cannot be the one at this place of the chain."""
    if row.position != place:
        return f"row {place} is gone or out of place: found row {row.position}"
    if row.previous_hash != previous:
        return f"row {place} does not follow the row before it"
    if row.computed_hash() != row.hash:
        return f"row {place} ({row.event}) was changed"
    return None


def _broken(row: int | None, message: str) -> Finding:
    return Finding(
        "audit_chain_broken",
        f"audit_log: {message}",
        "compare with a backup, and find out who has write access to the ledger",
        line=row,
    )
