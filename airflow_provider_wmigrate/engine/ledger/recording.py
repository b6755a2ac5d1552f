"""A migration recorded in one message: its entry, its audit row and the head of the chain, as the last statements
before the commit. What they say is known before, so nothing has to be asked between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection

from airflow_provider_wmigrate.engine.model import Direction, Identity, Migration
from airflow_provider_wmigrate.engine.session.connection import Login
from airflow_provider_wmigrate.engine.session.message import literal, table

from .anchor import position
from .entry_row import entry_facts, entry_values, stored_identity
from .metadata import DESCRIPTIONS
from .storable import server_encoding, storable_json
from .trail import COLUMNS, HEAD, AuditRow, damaged

HEAD_AND_TIME = b"value, pg_catalog.timezone('UTC', pg_catalog.clock_timestamp())"
"""Columns of the head's row, locked: what `Recording` has to know."""


def server_time(text: str | None) -> datetime:
    """A time in UTC as the server writes it in style ISO: without the zeros at its end."""
    seconds, _, fraction = (text or "1970-01-01 00:00:00").partition(".")
    return datetime.fromisoformat(f"{seconds}.{fraction:0<6}+00:00")


@dataclass(frozen=True, slots=True)
class Recording:
    """:param schema: of the ledger.
    :param login: who the server says is at the other end.
    :param head: of the audit log, under a lock that is held to the commit; None: the ledger has none.
    :param at: by the server's clock.
    """

    schema: str
    login: Login
    identity: Identity
    head: str | None
    at: datetime

    def statements(
        self,
        conn: Connection[Any],
        migration: Migration,
        direction: Direction,
        event: str,
        *,
        duration_ms: int,
        statements: int,
        details: Mapping[str, Any],
    ) -> tuple[tuple[bytes, ...], str]:
        """The statements, and the head that the log has with them.

        :param statements: of the script.
        :param details: of plain JSON values without fractions, which the server gives back as they are.
        :raises LedgerDamaged: the ledger has no head.
        """
        encoding = server_encoding(conn)
        entry: dict[str, Any] | None = None
        if direction == "apply":
            entry = entry_values(migration, self.identity, encoding, duration_ms=duration_ms, statements=statements)
        row, text = self._row(migration.version, event, duration_ms, details, entry, encoding)
        digest = row.computed_hash()
        head = f"{row.position}:{digest}"
        change = (
            b"DELETE FROM %s WHERE version OPERATOR(pg_catalog.=) %s"
            % (table(self.schema, "schema_migrations"), literal(conn, migration.version))
            if entry is None
            else self._insert(conn, "schema_migrations", {**entry, "applied_at": self.at.isoformat()})
        )
        logged = {name: getattr(row, name) for name in COLUMNS}
        logged |= {"at": row.at.isoformat(), "details": text, "hash": digest}
        audit = self._insert(conn, "audit_log", logged)
        return (change, audit, self._metadata(conn, head, migration.version if entry else None)), head

    def _row(
        self,
        version: str,
        event: str,
        duration_ms: int,
        details: Mapping[str, Any],
        entry: Mapping[str, Any] | None,
        encoding: str,
    ) -> tuple[AuditRow, str]:
        """The row but for its hash, and its details as JSON."""
        count = position(self.head or "")
        if count is None or self.head is None:
            raise damaged(f"{self.schema}.application_metadata has no {HEAD}")
        session = {"user": self.login.user, "address": self.login.address, "pid": self.login.pid}
        facts = None if entry is None else entry_facts(entry, self.at)
        stored, text = storable_json({**details, "session": session, "entry": facts}, encoding)
        row = AuditRow(
            position=count + 1,
            at=self.at,
            event=event,
            version=version,
            **stored_identity(self.identity, encoding),
            duration_ms=duration_ms,
            details=stored,
            previous_hash=self.head.partition(":")[2],
            hash="",
        )
        return row, text

    def _insert(self, conn: Connection[Any], name: str, values: Mapping[str, Any]) -> bytes:
        given = b", ".join(literal(conn, value) for value in values.values())
        return b"INSERT INTO %s (%s) VALUES (%s)" % (table(self.schema, name), ", ".join(values).encode(), given)

    def _metadata(self, conn: Connection[Any], head: str, applied: str | None) -> bytes:
        """The head and the highest applied version.

        :param applied: the version that is applied now; None: one was rolled back.
        """
        name = table(self.schema, "application_metadata")
        highest = literal(conn, applied)
        newer = (
            b"WHEN m.key OPERATOR(pg_catalog.=) 'schema_version' AND m.value OPERATOR(pg_catalog.<>) ''"
            b" AND m.value::pg_catalog.numeric OPERATOR(pg_catalog.>) excluded.value::pg_catalog.numeric THEN m.value"
        )
        if applied is None:
            newer = b""
            highest = (
                b"coalesce((SELECT version FROM %s WHERE status OPERATOR(pg_catalog.=) 'applied'"
                b" ORDER BY pg_catalog.length(version) DESC, version DESC LIMIT 1), '')"
                % table(self.schema, "schema_migrations")
            )
        value = b"CASE %s ELSE excluded.value END" % newer if newer else b"excluded.value"
        rows = [(HEAD, literal(conn, head)), ("schema_version", highest)]
        given = b", ".join(
            b"(%s, %s, %s)" % (literal(conn, key), text, literal(conn, DESCRIPTIONS[key])) for key, text in rows
        )
        return (
            b"INSERT INTO %s AS m (key, value, description) VALUES %s ON CONFLICT (key) DO UPDATE"
            b" SET value = %s, updated_at = pg_catalog.clock_timestamp()" % (name, given, value)
        )
