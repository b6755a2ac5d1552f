"""Statements that write rows of the ledger, and a migration recorded in one message: its entry, its audit row and the
head of the chain, as the last statements before the commit. What they say is known before, so nothing has to be asked
between them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct
from psycopg import Connection, sql

from airflow_provider_wmigrate.engine.folder.folder import Folder
from airflow_provider_wmigrate.engine.model import Direction, Identity, Migration
from airflow_provider_wmigrate.engine.record import Record
from airflow_provider_wmigrate.engine.session.connection import Login
from airflow_provider_wmigrate.engine.session.message import ask, literal, table

from .entry_row import entry_facts, entry_values, stored_identity
from .storable import server_encoding, storable, storable_data, storable_json, stored_script
from .trail import COLUMNS, HEAD, AuditRow, following

DESCRIPTIONS = {
    "ledger_version": "Version of the ledger's own tables",
    HEAD: "Number of rows in audit_log and the hash of the last one",
    "schema_version": "Highest version that is applied",
    "application_version": "migration_system.version of the last successful run",
    "application_description": "migration_system.description of the last successful run",
    "folder_created": "migration_system.created of the last successful run",
    "folder_last_updated": "migration_system.last_updated of the last successful run",
    "last_successful_run": "When a run last ended with nothing failed",
}
"""The keys of application_metadata."""

HEAD_AND_TIME = b"value, pg_catalog.timezone('UTC', pg_catalog.clock_timestamp())"
"""Columns of the head's row, locked: what `recorded` has to know."""


def system_values(folder: Folder) -> dict[str, str]:
    """What migration_system says, under the names application_metadata keeps it by."""
    system = folder.config.migration_system
    values = {
        "application_version": system.version,
        "application_description": system.description,
        "folder_created": system.created,
        "folder_last_updated": system.last_updated,
    }
    return {key: value for key, value in values.items() if value}


def server_time(text: str | None) -> datetime:
    """A time in UTC as the server writes it in style ISO: without the zeros at its end."""
    seconds, _, fraction = (text or "1970-01-01 00:00:00").partition(".")
    return datetime.fromisoformat(f"{seconds}.{fraction:0<6}+00:00")


class Rows(Struct, frozen=True):
    """Makes the statements.

    :param schema: of the ledger.
    """

    conn: Connection[Any]
    schema: str

    def insert(self, name: str, values: Mapping[str, Any]) -> bytes:
        """One row of a table.

        :param values: bytes are an expression.
        """
        given = b", ".join([literal(self.conn, value) for value in values.values()])
        return b"INSERT INTO %s (%s) VALUES (%s)" % (table(self.schema, name), ", ".join(values).encode(), given)

    def insert_entry(self, values: Mapping[str, Any], applied_at: str | bytes) -> bytes:
        """:param values: of all columns but this one.
        :param applied_at: a time, or an expression.
        """
        return self.insert("schema_migrations", {**values, "applied_at": applied_at})

    def delete_entry(self, version: str) -> bytes:
        """Without a trace; the audit log keeps it."""
        entries = table(self.schema, "schema_migrations")
        return b"DELETE FROM %s WHERE version OPERATOR(pg_catalog.=) %s" % (entries, literal(self.conn, version))

    def append(self, row: AuditRow, details: str) -> bytes:
        """The row of the audit log alone; its head is `set_metadata`'s.

        :param details: of the row, as JSON.
        """
        logged = {name: getattr(row, name) for name in COLUMNS}
        return self.insert("audit_log", logged | {"at": row.at.isoformat(), "details": details})

    def set_metadata(self, values: Mapping[str, str | bytes], value: bytes = b"excluded.value") -> bytes:
        """Values of application_metadata, whose keys are those of `DESCRIPTIONS`.

        :param values: text, or an expression.
        :param value: what a row that is there gets.
        """
        given = b", ".join(
            b"(%s, %s, %s)" % tuple(literal(self.conn, value) for value in (key, text, DESCRIPTIONS[key]))
            for key, text in values.items()
        )
        return (
            b"INSERT INTO %s AS m (key, value, description) VALUES %s ON CONFLICT (key) DO UPDATE"
            b" SET value = %s, updated_at = pg_catalog.clock_timestamp()"
            % (table(self.schema, "application_metadata"), given, value)
        )

    def lock_head(self, columns: bytes = b"") -> bytes:
        """A look at the row of the log's head, which is locked by it to the end of the transaction."""
        where = table(self.schema, "application_metadata"), literal(self.conn, HEAD)
        return b"SELECT %s FROM %s WHERE key OPERATOR(pg_catalog.=) %s FOR UPDATE" % (columns, *where)

    def touch(self) -> bytes:
        """Writes something that says nothing."""
        where = table(self.schema, "application_metadata"), literal(self.conn, HEAD)
        return b"UPDATE %s SET value = value WHERE key OPERATOR(pg_catalog.=) %s" % where

    def highest_applied(self) -> bytes:
        """The version, as an expression."""
        return (
            b"coalesce((SELECT version FROM %s WHERE status OPERATOR(pg_catalog.=) 'applied'"
            b" ORDER BY pg_catalog.length(version) DESC, version DESC LIMIT 1), '')"
            % table(self.schema, "schema_migrations")
        )


_UNLESS_OLDER = (
    b"CASE WHEN m.key OPERATOR(pg_catalog.=) 'schema_version' AND m.value OPERATOR(pg_catalog.<>) ''"
    b" AND m.value::pg_catalog.numeric OPERATOR(pg_catalog.>) excluded.value::pg_catalog.numeric"
    b" THEN m.value ELSE excluded.value END"
)


def recorded(
    rows: Rows,
    login: Login,
    migration: Migration,
    direction: Direction,
    record: Record,
    *,
    head: str | None,
    at: datetime,
    statements: int,
    details: Mapping[str, Any],
    begun: bool = False,
) -> tuple[tuple[bytes, ...], str]:
    """The statements, and the head that the log has with them.

    :param login: who the server says is at the other end.
    :param record: of what was done.
    :param head: of the audit log, under a lock that is held to the commit; None: the ledger has none.
    :param at: by the server's clock.
    :param statements: of the script.
    :param details: of plain JSON values without fractions, which the server gives back as they are.
    :param begun: there is an entry, which says that it was begun.
    :raises LedgerDamaged: the ledger has no head.
    """
    encoding, version, identity = server_encoding(rows.conn), migration.version, record.identity
    entry: dict[str, Any] | None = None
    if direction == "apply":
        entry = entry_values(migration, identity, encoding, duration_ms=record.duration_ms, statements=statements)
    session = {"user": login.user, "address": login.address, "pid": login.pid}
    facts = None if entry is None else entry_facts(entry, at)
    stored, text = storable_json({**record.identity.details, **details, "session": session, "entry": facts}, encoding)
    who = stored_identity(identity, encoding)
    row = following(head, rows.schema, at, record.outcome.value, version, who, record.duration_ms, stored, text)
    changes = [rows.delete_entry(version)] if begun or entry is None else []
    if entry is not None:
        changes.append(rows.insert_entry(entry, at.isoformat()))
    highest = rows.highest_applied() if entry is None else version
    value = b"excluded.value" if entry is None else _UNLESS_OLDER
    values = {HEAD: row.head, "schema_version": highest}
    return (*changes, rows.append(row, text), rows.set_metadata(values, value)), row.head


class Writer(Struct, frozen=True):
    """Rows of the ledger written one by one, by whoever holds the transaction and the locks.

    :param schema: of the ledger.
    """

    conn: Connection[Any]
    schema: str

    @property
    def _rows(self) -> Rows:
        return Rows(self.conn, self.schema)

    def insert_entry(
        self,
        migration: Migration,
        identity: Identity,
        *,
        duration_ms: int,
        statements: int,
        status: Literal["applied", "incomplete"] = "applied",
        applied_at: datetime | None = None,
    ) -> None:
        """A migration as applied, or as begun: incomplete, with none of its statements done.

        :param applied_at: with a time zone; None: now, by the server's clock.
        """
        encoding = server_encoding(self.conn)
        values = entry_values(
            migration, identity, encoding, duration_ms=duration_ms, statements=statements, status=status
        )
        at = applied_at.isoformat() if applied_at else b"pg_catalog.clock_timestamp()"
        ask(self.conn, self._rows.insert_entry(values, at))

    def change_entry(self, version: str, values: Mapping[str, Any]) -> None:
        """Some columns of an entry, after a person's decision. `rollback_sql` is the script's own text."""
        encoding = server_encoding(self.conn)
        stored = storable_data(values, encoding)
        if values.get("rollback_sql") is not None:
            stored["rollback_sql"] = stored_script(values["rollback_sql"], encoding)
        query = sql.SQL("UPDATE {table} SET {changes} WHERE version = %s").format(
            table=sql.Identifier(self.schema, "schema_migrations"),
            changes=sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in stored),
        )
        self.conn.execute(query, [*stored.values(), version])

    def delete_entry(self, version: str) -> None:
        """Forget a migration that was rolled back; the audit log keeps it."""
        ask(self.conn, self._rows.delete_entry(version))

    def set_metadata(self, values: Mapping[str, str]) -> None:
        """Values of application_metadata; the keys are those of `DESCRIPTIONS`."""
        encoding = server_encoding(self.conn)
        ask(self.conn, self._rows.set_metadata({key: storable(value, encoding) for key, value in values.items()}))

    def set_schema_version(self) -> None:
        """The highest applied version, in application_metadata. Like `AuditLog.append`, late: it locks the head, and
        first, so that two transactions never wait for each other crosswise."""
        rows = self._rows
        ask(self.conn, b"%s; %s" % (rows.lock_head(), rows.set_metadata({"schema_version": rows.highest_applied()})))

    def touch(self) -> None:
        """Something that says nothing: the commit of it waits until the disk has what was committed before."""
        ask(self.conn, self._rows.touch())
