"""The entry of a script that runs statement by statement: opened before its first statement, and taken
back where nothing of the script was kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.ledger.script_journal import ScriptJournal
from airflow_provider_wmigrate.engine.model import Direction, Entry, Identity, Migration
from airflow_provider_wmigrate.engine.session.session import Session


@dataclass(slots=True)
class JournalledEntry:
    """:param before: the entry as it is, or None.
    :param statements: how many the script has.
    """

    session: Session
    ledger: Ledger
    migration: Migration
    identity: Identity
    direction: Direction
    before: Entry | None
    statements: int
    nothing_kept: bool = False
    """Set when the run is over: it failed, and the database is as it was before."""
    _begun: bool = field(default=False, init=False)
    _session_before: Mapping[str, Any] | None = field(default=None, init=False)

    @property
    def _journal(self) -> ScriptJournal:
        return ScriptJournal(self.ledger.schema, self.migration.version)

    def started(self, begun: Entry | None) -> Entry:
        """The row `started`, and together with it the entry of a script that begins.

        :param begun: the incomplete entry of an earlier try, which goes on.
        :return: the incomplete entry.
        """
        conn, version = self.session.conn, self.migration.version
        with self.session.transaction(confirmed=False):
            if begun is None:
                self._open()
            details = {"direction": self.direction, "statements_done": begun.statements_done if begun else 0}
            self.ledger.log.append(
                conn, "started", self.identity, version=version, details=details, settles=begun is None
            )
        self._begun = begun is None
        entry = begun or self.ledger.entry(conn, version)
        assert entry is not None  # written just now
        return entry

    def _open(self) -> None:
        if self.direction == "apply":
            self.ledger.writer(self.session.conn).insert_entry(
                self.migration, self.identity, duration_ms=0, statements=self.statements, status="incomplete"
            )
        else:
            self._session_before = self._journal.session(self.session.conn)
            self._journal.begin_rollback(self.session.conn, statements=self.statements)

    def take_back(self) -> bool:
        """In the open transaction: make the entry what it was before, if nothing of the script was kept.

        :return: whether it was changed.
        """
        if not (self._begun and self.nothing_kept):
            return False
        if self.direction == "apply" or self.before is None:
            self.ledger.writer(self.session.conn).delete_entry(self.migration.version)
        else:
            self._journal.undo_rollback(self.session.conn, self.before, self._session_before)
        return True
