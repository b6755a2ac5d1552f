"""Which incidents people have been told of: the audit log is the memory, so that nobody is told twice.

An incident is a subject (a version, the target, a task) in trouble of one kind. `alerted` opens it, `healed` closes all
incidents of its subject, `alert_failed` says that telling failed, so that the next occasion tells. What the ledger says
is over is told anew when it comes again, although nobody said `healed`: the task that would have said it had nothing to
do and was skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from psycopg import Connection, sql

from .ledger.access import open_ledger
from .ledger.asking import CHANGED
from .ledger.ledger import Ledger
from .ledger.storable import server_encoding, storable
from .model import Identity
from .session.session import Connect, Session


class Incidents:
    """The incidents of one target, in its ledger. Every call opens a connection of its own.

    :param connect: opens a new psycopg connection to the target.
    :param schema: the ledger's schema.
    :param identity: who tells.
    """

    def __init__(self, connect: Connect, schema: str, identity: Identity) -> None:
        self._connect, self._ledger, self._identity = connect, Ledger(schema), identity

    def claim(
        self, kind: str, subject: str, *, version: str | None, what: str, unless_any: bool = False
    ) -> bool | None:
        """Whether the caller is the one who tells. Two who ask at once are told apart by the ledger.

        :param what: one sentence, for the row; no secret.
        :param unless_any: not even if the subject's open incidents are of other kinds.
        :return: None when there is no ledger to remember it.
        :raises WMigrateError: the ledger cannot be reached, or not be read.
        """
        with self._in_ledger() as session:
            if session is None:
                return None
            known = self._going_on(session.conn, self._open_kinds(session.conn, subject, version), version)
            if kind in known or (unless_any and known):
                return False
            self._append(session.conn, "alerted", version, {"kind": kind, "subject": subject, "what": what})
            return True

    def release(self, kind: str, subject: str, *, version: str | None, error: str) -> None:
        """Nobody could be told: whoever asks next is to try again."""
        with self._in_ledger() as session:
            if session is not None:
                details = {"kind": kind, "subject": subject, "error": error}
                self._append(session.conn, "alert_failed", version, details)

    def heal(self, subject: str, *, version: str | None) -> tuple[str, ...]:
        """Close the subject's incidents. The kinds that were open, once: a second caller gets none."""
        with self._in_ledger() as session:
            if session is None or not self._open_kinds(session.conn, subject, version, lock=False):
                return ()
            kinds = self._open_kinds(session.conn, subject, version)
            if kinds:
                self._append(session.conn, "healed", version, {"kinds": sorted(kinds), "subject": subject})
            return tuple(sorted(kinds))

    @contextmanager
    def _in_ledger(self) -> Iterator[Session | None]:
        """A transaction in the ledger; None where there is none."""
        with open_ledger(self._connect, self._ledger, application_name="wmigrate alert") as session:
            if self._ledger.version(session.conn) is None:
                yield None
                return
            with session.transaction():
                yield session

    def _append(self, conn: Connection[Any], event: str, version: str | None, details: dict[str, Any]) -> None:
        self._ledger.log.append(conn, event, self._identity, version=version, details=details)

    def _open_kinds(
        self, conn: Connection[Any], subject: str, version: str | None, *, lock: bool = True
    ) -> dict[str, tuple[int, datetime]]:
        """The kinds of incident that were told and not closed, each with position and time of the row that tells it.

        :param lock: nobody else appends until this transaction ends, so that the answer stays true.
        """
        schema = sql.Identifier(self._ledger.schema)
        if lock:
            head = "SELECT FROM {}.application_metadata WHERE key = 'audit_head' FOR UPDATE"
            conn.execute(sql.SQL(head).format(schema))
        of_version = "version IS NULL" if version is None else "version = %(version)s"
        query = (
            "SELECT event, details ->> 'kind', position, at FROM {}.audit_log WHERE " + of_version + " AND"
            " details ->> 'subject' = %(subject)s AND event IN ('alerted', 'alert_failed', 'healed') ORDER BY position"
        )
        kinds: dict[str, tuple[int, datetime]] = {}
        stored = storable(subject, server_encoding(conn))
        for event, kind, *row in conn.execute(sql.SQL(query).format(schema), {"version": version, "subject": stored}):
            if event == "alerted":
                kinds[kind] = (row[0], row[1])
            elif event == "alert_failed":
                kinds.pop(kind, None)
            else:
                kinds.clear()
        return kinds

    def _going_on(
        self, conn: Connection[Any], told: Mapping[str, tuple[int, datetime]], version: str | None
    ) -> frozenset[str]:
        """Those of the kinds that nothing in the ledger has settled since they were told."""
        if not told or version is None:
            return frozenset(told)
        query = (
            "SELECT pg_catalog.max(position), pg_catalog.max(position) FILTER (WHERE event <> 'rolled_back')"
            " FROM {}.audit_log WHERE version = %s AND event = ANY(%s)"
        )
        found = conn.execute(sql.SQL(query).format(sql.Identifier(self._ledger.schema)), [version, list(CHANGED)])
        changed, applied = ((value or 0) for value in found.fetchone() or (0, 0))
        success = self._ledger.last_success(conn)
        over = {kind for kind, (position, _) in told.items() if applied > position}
        if (
            "rollback_failed" in told
        ):  # it left the migration as it was: whoever has finished a run since went on with it
            position, at = told["rollback_failed"]
            if changed > position or (success is not None and success > at):
                over.add("rollback_failed")
        return frozenset(told) - over
