"""The journal of one script that runs statement by statement: columns of its entry, written while it is incomplete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from psycopg import Connection, sql

from airflow_provider_wmigrate.engine.model import Entry

from .storable import jsonb

Session = Mapping[str, Any]
"""What is kept of the script's session, as JSON. Ledger version 2."""


class ScriptJournal(Struct, frozen=True):
    """The caller holds the transaction and the locks.

    :param schema: of the ledger.
    """

    schema: str
    version: str

    def begin_rollback(self, conn: Connection[Any], *, statements: int) -> None:
        """Mark the entry as being rolled back statement by statement, with none of them done."""
        self._update(
            conn,
            status="incomplete",
            direction="rollback",
            statements_done=0,
            statements_total=statements,
            statement_hashes=[],
            script_session=None,
        )

    def undo_rollback(self, conn: Connection[Any], before: Entry, session: Session | None) -> None:
        """Make the entry what it was before `begin_rollback`, since nothing of the rollback was kept.

        :param session: as `session` gave it then.
        """
        self._update(
            conn,
            status=before.status,
            direction=before.direction,
            statements_done=before.statements_done,
            statements_total=before.statements_total,
            statement_hashes=list(before.statement_hashes),
            script_session=None if session is None else jsonb(session, conn),
        )

    def session(self, conn: Connection[Any]) -> dict[str, Any] | None:
        """What is kept of the script's session; None: nothing of it needs to be had again."""
        query = sql.SQL("SELECT script_session FROM {} WHERE version = %s").format(self._table)
        row = conn.execute(query, [self.version]).fetchone()
        return row[0] if row else None

    def write(self, conn: Connection[Any], *, done: int, hashes: Sequence[str], session: Session | None) -> None:
        """Write how far the script has come. The total follows the script, which may have been edited."""
        query = sql.SQL(
            "UPDATE {} SET statements_done = %s, statement_hashes = %s, script_session = %s,"
            " statements_total = greatest(statements_total, %s) WHERE version = %s"
        )
        kept = None if session is None else jsonb(session, conn)
        conn.execute(query.format(self._table), [done, list(hashes), kept, len(hashes), self.version])

    @property
    def _table(self) -> sql.Identifier:
        return sql.Identifier(self.schema, "schema_migrations")

    def _update(self, conn: Connection[Any], **values: Any) -> None:
        changes = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in values)
        query = sql.SQL("UPDATE {} SET {} WHERE version = %s").format(self._table, changes)
        conn.execute(query, [*values.values(), self.version])
