"""The tables in which the target database remembers, and every query on them. Each name is schema-qualified."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import fields
from datetime import datetime
from functools import cached_property, lru_cache
from sys import intern
from typing import TYPE_CHECKING, Any, Literal

from psycopg import Connection, Pipeline, sql
from psycopg.rows import dict_row, tuple_row

from airflow_provider_wmigrate.engine.catalog.extensions import asking_extensions
from airflow_provider_wmigrate.engine.errors import HistoryError
from airflow_provider_wmigrate.engine.model import (
    Entry,
    Finding,
    Identity,
    Migration,
    Script,
    State,
    canonical_version,
    version_key,
)

from .anchor import NO_LEDGER, broken, contradiction
from .entry_row import entry_values
from .last_events import asking_last_events
from .ledger_upgrades import UPGRADES, LedgerUpgrade, newest
from .metadata import DESCRIPTIONS
from .rights import Rights, asking_rights, lacking_rights
from .storable import original_script, server_encoding, storable, storable_data, stored_script
from .structure import ENTRY, Structure
from .trail import HEAD
from .trail import AuditRow as AuditRow

if TYPE_CHECKING:
    from .audit_log import AuditLog
    from .guard import Guard

LEDGER_VERSION = newest(UPGRADES)
CHANNEL = "wmigrate"
"""The NOTIFY channel on which a change of schema_migrations is told; the payload is the ledger's schema."""


class Ledger:
    """The ledger in one schema of one database. It keeps no connection: each call is given one.

    :param schema: the schema its tables live in.
    :param upgrades: the steps from version 1 to the current one.
    """

    def __init__(self, schema: str = "wmigrate", *, upgrades: Sequence[LedgerUpgrade] = UPGRADES) -> None:
        self.schema = schema
        self._structure, self.upgrades = Structure(schema, upgrades), tuple(upgrades)
        self.newest_version = newest(upgrades)

    @cached_property
    def _log(self) -> AuditLog:
        from .audit_log import AuditLog  # whoever reads entries does not pay for it

        return AuditLog(self.schema)

    @cached_property
    def _guard(self) -> Guard:
        from .guard import Guard

        return Guard(self.schema)

    def _query(self, text: str) -> sql.Composed:
        return sql.SQL(text).format(schema=sql.Identifier(self.schema))

    # Reading

    def version(self, conn: Connection[Any]) -> int | None:
        """The ledger's version, or None when this database has no ledger.

        :raises LedgerTooNew: a newer wmigrate wrote it.
        :raises LedgerDamaged: some of its tables are there, or tables of that name that are not a ledger, or row
            security may hide rows of them from this role.
        """
        return self._structure.version(conn)

    def lacking_rights(self, conn: Connection[Any], version: int | None) -> tuple[Finding, ...]:
        """What a run would need and the role has not, as a warning.

        :param version: the ledger's; None: there is none.
        """
        return self._lacking(asking_rights(conn, self.schema)(), version)

    def _lacking(self, rights: Rights, version: int | None) -> tuple[Finding, ...]:
        return lacking_rights(rights, self.schema, version=version, newest=self.newest_version)

    def state(self, conn: Connection[Any]) -> State:
        """Everything a plan needs to know about the database."""
        return self.state_and_rights(conn)[0]

    def state_and_rights(self, conn: Connection[Any]) -> tuple[State, tuple[Finding, ...]]:
        """`state` and `lacking_rights`, in few round trips."""
        version = self.version(conn)
        with conn.pipeline() if Pipeline.is_supported() else nullcontext():
            rights, extensions = asking_rights(conn, self.schema), asking_extensions(conn)
            standby = conn.execute("SELECT pg_catalog.pg_is_in_recovery()")
            if version is not None:
                entries, last_events = self._asking_entries(conn), asking_last_events(conn, self.schema)
                metadata = self._asking_metadata(conn)
        lacking, is_standby = self._lacking(rights(), version), standby.fetchone() == (True,)
        if version is None:
            return State(extensions=extensions(), standby=is_standby), lacking
        success = _last_success(metadata())
        return State(entries(), extensions(), version, last_events(), success, is_standby), lacking

    def last_success(self, conn: Connection[Any]) -> datetime | None:
        """When a run last ended with nothing failed; None: none has."""
        return _last_success(self.metadata(conn))

    def entries(self, conn: Connection[Any], versions: Collection[str] | None = None) -> tuple[Entry, ...]:
        """Rows of schema_migrations in numeric order, without the rollback scripts.

        :param versions: of these alone; None: all.
        """
        return self._asking_entries(conn, versions)()

    def _asking_entries(
        self, conn: Connection[Any], versions: Collection[str] | None = None
    ) -> Callable[[], tuple[Entry, ...]]:
        columns = ", ".join(column for column in ENTRY if column != "rollback_sql")
        only = " WHERE version = ANY(%s)" if versions is not None else ""
        query = self._query(f"SELECT {columns} FROM {{schema}}.schema_migrations{only}")
        given = [list(versions)] if versions is not None else None
        answer = conn.cursor(row_factory=dict_row).execute(query, given)
        return lambda: tuple(sorted((_entry(row) for row in answer), key=lambda e: version_key(e.version)))

    def entry(self, conn: Connection[Any], version: str) -> Entry | None:
        """The row of one version; None: there is none."""
        return next(iter(self.entries(conn, [version])), None)

    def rollback_script(self, conn: Connection[Any], entry: Entry) -> Script | None:
        """The rollback script as it was when the migration was applied.

        :raises HistoryError: it is not that one any more: somebody has changed it in the ledger.
        """
        query = self._query("SELECT rollback_sql FROM {schema}.schema_migrations WHERE version = %s")
        row = conn.execute(query, [entry.version]).fetchone()
        if not row or row[0] is None:
            return None
        script = Script.of(f"{entry.version}_{entry.name}.rollback.sql", original_script(row[0]))
        changed = self._guard.changed_rollback(conn, entry, script)
        if changed:
            raise HistoryError([changed])
        return script

    def metadata(self, conn: Connection[Any]) -> dict[str, str]:
        """application_metadata as a dictionary."""
        return self._asking_metadata(conn)()

    def _asking_metadata(self, conn: Connection[Any]) -> Callable[[], dict[str, str]]:
        answer = conn.cursor(row_factory=tuple_row).execute(
            self._query("SELECT key, value FROM {schema}.application_metadata")
        )
        return lambda: dict(answer.fetchall())

    # The audit log

    def audit_rows(self, conn: Connection[Any], *, after: int = 0, limit: int | None = None) -> Iterator[AuditRow]:
        """Rows of the audit log in order, `limit` of them at the most, behind position `after`."""
        return self._log.rows(conn, after=after, limit=limit)

    def verify(
        self, conn: Connection[Any], *, expected_head: str | None = None, last: int | None = None
    ) -> tuple[Finding, ...]:
        """Recompute the audit log's chain, and compare with it the entries, their rollback scripts and the trigger that
        keeps the log append-only.

        :param expected_head: a `count:hash` kept outside the database, for instance in a run's report: it finds a
            tail that was cut off together with the head row, and a ledger that is gone.
        :param last: recompute only so many of the newest rows; None: all of them.
        :return: nothing where there is no ledger and no head of one is expected.
        """
        if self.version(conn) is None:
            gone = contradiction(expected_head, None, None) if expected_head else None
            return (broken(gone),) if gone else ()
        from .audit_log import one_snapshot

        with one_snapshot(conn):
            chain = self._log.verify(conn, expected_head=expected_head, last=last)
            return (*chain, *self._guard.findings(conn))

    def head(self, conn: Connection[Any]) -> str | None:
        """`count:hash` of the audit log's last row; None: this database has no ledger."""
        return self._log.head(conn) if self.version(conn) is not None else None

    def head_now(self, conn: Connection[Any]) -> str | None:
        """As `head`, where it is known that there is a ledger."""
        return self._log.head(conn)

    def continues(self, conn: Connection[Any], known_head: str) -> Finding | None:
        """Compare a head kept outside the database with the log: a look at one row, cheap enough for every plan.

        :param known_head: the last head that anybody outside has seen, `count:hash`.
        :return: why the log is not that one continued: cut off, another one, or gone.
        """
        if self.version(conn) is None:
            return broken(contradiction(known_head, None, None) or NO_LEDGER)
        return self._log.continues(conn, known_head)

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
        """Append one row to the audit log, last before commit, and return the new head, `count:hash`.

        :param settles: the row says what the version's entry is from here on, as of this transaction, so that a change
            behind the log is found. None: as the event says; True where an event that leaves entries alone (`started`,
            `failed`) goes with a change of one.
        """
        return self._log.append(
            conn, event, identity, version=version, duration_ms=duration_ms, details=details, settles=settles
        )

    # Writing: the caller holds the transaction and the locks

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
        values = entry_values(
            migration,
            identity,
            server_encoding(conn),
            duration_ms=duration_ms,
            statements=statements,
            status=status,
            statement_hashes=statement_hashes,
        )
        columns, places = ", ".join(values), ", ".join(["%s"] * len(values))
        now = "pg_catalog.clock_timestamp()"
        query = f"INSERT INTO {{schema}}.schema_migrations (applied_at, {columns}) VALUES ({now}, {places})"
        conn.execute(self._query(query), [*values.values()])

    def change_entry(self, conn: Connection[Any], version: str, values: Mapping[str, Any]) -> None:
        """Write some columns of an entry, after a person's decision. `rollback_sql` is the script's own text."""
        encoding = server_encoding(conn)
        stored = storable_data(values, encoding)
        if values.get("rollback_sql") is not None:
            stored["rollback_sql"] = stored_script(values["rollback_sql"], encoding)
        query = sql.SQL("UPDATE {table} SET {changes} WHERE version = %s").format(
            table=sql.Identifier(self.schema, "schema_migrations"),
            changes=sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in stored),
        )
        conn.execute(query, [*stored.values(), version])

    def delete_entry(self, conn: Connection[Any], version: str) -> None:
        """Forget a migration that was rolled back; the audit log keeps it."""
        conn.execute(self._query("DELETE FROM {schema}.schema_migrations WHERE version = %s"), [version])

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
            [key, storable(value, server_encoding(conn)), DESCRIPTIONS[key]],
        )

    def touch(self, conn: Connection[Any]) -> None:
        """Write something that says nothing: the commit of it waits until the disk has what was committed before."""
        conn.execute(self._query("UPDATE {schema}.application_metadata SET value = value WHERE key = %s"), [HEAD])

    def set_schema_version(self, conn: Connection[Any]) -> None:
        """Write the highest applied version into application_metadata. Like `append`, late: it locks the head."""
        # The head row is locked first, as in append, so that two transactions never wait for each other crosswise.
        conn.execute(self._query("SELECT FROM {schema}.application_metadata WHERE key = %s FOR UPDATE"), [HEAD])
        query = self._query("SELECT max(version::numeric) FROM {schema}.schema_migrations WHERE status = 'applied'")
        row = conn.execute(query).fetchone()
        self._set(conn, "schema_version", canonical_version(int(row[0])) if row and row[0] is not None else "")


def _last_success(metadata: Mapping[str, str]) -> datetime | None:
    success = metadata.get("last_successful_run")
    return datetime.fromisoformat(success) if success else None


_WHO = tuple(field.name for field in fields(Identity))
_same_identity = lru_cache(maxsize=256)(Identity)
"""Thousands of entries are of one account, or of a few runs."""


def _entry(row: dict[str, Any]) -> Entry:
    row["identity"] = _same_identity(*(row.pop(name) for name in _WHO))
    for name in ("dependencies", "statement_hashes"):
        row[name] = tuple(row[name])
    for name in ("status", "direction", "checksum_algorithm"):
        row[name] = intern(row[name])
    return Entry(**row)
