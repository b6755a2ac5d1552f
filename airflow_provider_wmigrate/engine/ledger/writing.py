"""Rows of the ledger written one by one, by whoever holds the transaction and the locks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from psycopg import Connection, sql

from airflow_provider_wmigrate.engine.model import Identity, Migration
from airflow_provider_wmigrate.engine.session.message import ask

from .entry_row import entry_values
from .recording import Rows
from .storable import server_encoding, storable, storable_data, stored_script


class Writer(NamedTuple):
    """:param schema: of the ledger."""

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
        """Values of application_metadata; the keys are those described in `metadata`."""
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
