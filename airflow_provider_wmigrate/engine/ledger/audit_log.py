"""The audit log in the database: its rows and its head, and one more row.

A row is appended last, just before its transaction commits, under a row lock on the chain's head, so that parallel
migrations wait for one another only for that moment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.session.message import ask

from .entry_row import ENTRY_FACTS, stored_identity
from .recording import Rows
from .storable import jsonb, server_encoding
from .structure import in_schema
from .trail import COLUMNS, HEAD, AuditRow, following
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


class AuditLog:
    """The audit log of the ledger in one schema. It keeps no connection: each call is given one."""

    def __init__(self, schema: str) -> None:
        self.schema = schema

    def head(self, conn: Connection[Any]) -> str | None:
        """`count:hash` of the last row, as application_metadata has it."""
        query = in_schema(self.schema, "SELECT value FROM {schema}.application_metadata WHERE key = %s")
        found = conn.execute(query, [HEAD]).fetchone()
        return str(found[0]) if found else None

    def hashes(self, conn: Connection[Any], positions: Sequence[int]) -> dict[int, str]:
        """Position -> hash, of the rows that are there."""
        query = in_schema(
            self.schema, "SELECT position, hash FROM {schema}.audit_log WHERE position = ANY (%s::pg_catalog.int8[])"
        )
        return dict(conn.execute(query, [list(positions)]).fetchall())

    def rows(self, conn: Connection[Any], *, after: int = 0, limit: int | None = None) -> Iterator[AuditRow]:
        """Rows of the audit log in order, `limit` of them at the most, behind position `after`."""
        columns = ", ".join(COLUMNS)
        query = in_schema(
            self.schema, f"SELECT {columns} FROM {{schema}}.audit_log WHERE position >= %s ORDER BY position LIMIT %s"
        )
        with conn.cursor(row_factory=dict_row) as cursor:
            for row in cursor.execute(query, [after + 1, limit]):
                yield AuditRow(**row)

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
        """Append one row to the audit log, last before commit, since it keeps the head locked until then.

        :param settles: the row says what the version's entry is from here on, as of this transaction, so that a change
            behind the log is found. None: as the event says; True where an event that leaves entries alone (`started`,
            `failed`) goes with a change of one.
        :return: the new head, `count:hash`.
        """
        settling = _settles(event, version, settles)
        # The details make a round trip, so that the hash is over what jsonb keeps of them (numbers, keys, order).
        query = in_schema(
            self.schema,
            "SELECT value, pg_catalog.clock_timestamp(), %s::pg_catalog.jsonb OPERATOR(pg_catalog.||) {more}"
            " FROM {schema}.application_metadata WHERE key = %s FOR UPDATE",
            more=in_schema(self.schema, _SESSION_AND_ENTRY if settling else _SESSION),
        )
        values = [jsonb({**identity.details, **(details or {})}, conn), *([version] if settling else ()), HEAD]
        found: tuple[Any, ...] | None = conn.execute(query, values).fetchone()
        head, at, kept = found or (None, datetime.min, {})
        who = stored_identity(identity, server_encoding(conn))
        row = following(head, self.schema, at, event, version, who, duration_ms, kept)
        rows = Rows(conn, self.schema)
        text = json.dumps(kept, ensure_ascii=False)
        ask(conn, b"%s; %s" % (rows.append(row, text), rows.set_metadata({HEAD: row.head})))
        return row.head
