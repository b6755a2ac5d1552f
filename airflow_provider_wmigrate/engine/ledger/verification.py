"""The audit log recomputed, and compared with what stands beside it; or one look whether it is the log it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg import Connection, DataError
from psycopg.pq import TransactionStatus

from airflow_provider_wmigrate.engine.model import Finding

from .audit_log import AuditLog
from .guard import guard_findings
from .trail import GENESIS, AuditRow, broken, contradiction, first_break, last_left_out, position


class Verification:
    """Of the ledger in one schema, which is there. It keeps no connection: each call is given one."""

    def __init__(self, schema: str) -> None:
        self._schema, self._log = schema, AuditLog(schema)

    def findings(self, conn: Connection[Any], *, expected_head: str | None, last: int | None) -> tuple[Finding, ...]:
        """See `Ledger.verify`."""
        with one_moment(conn):
            return (*self._chain(conn, expected_head, last), *guard_findings(conn, self._schema))

    def contradictions(self, conn: Connection[Any], known: Sequence[str]) -> list[Finding | None]:
        """For each head: why the log is not the one that it was read from, nor that one continued; None: it is."""
        places = [position(head) or 0 for head in known]
        there = self._log.hashes(conn, places)
        now = self._log.head(conn) or "gone"
        reasons = [contradiction(head, now, there.get(place)) for head, place in zip(known, places, strict=True)]
        return [broken(reason) if reason else None for reason in reasons]

    def export(self, conn: Connection[Any]) -> Iterator[AuditRow]:
        """Every row, of one moment."""
        with one_moment(conn):
            yield from self._all_rows(conn, after=None)

    def _chain(self, conn: Connection[Any], expected_head: str | None, last: int | None) -> tuple[Finding, ...]:
        try:
            with conn.transaction():
                before = self._before(conn, last)
                met = expected_head is None or self._passed(conn, expected_head, before[0])
                found = first_break(
                    self._all_rows(conn, after=before[0] or None),
                    before=before,
                    expected=None if met else expected_head,
                    head=lambda: self._log.head(conn),
                )
                return (found,) if found else ()
        except DataError as error:
            # Values that no row of ours ever had, such as the timestamp infinity.
            return (broken(f"a row cannot be read: {error}"),)

    def _all_rows(self, conn: Connection[Any], *, after: int | None, page: int = 5000) -> Iterator[AuditRow]:
        """The whole log, or what follows a row, in pieces, so that memory does not grow with it. A forged row may have
        any position."""
        after = -(2**63) - 1 if after is None else after
        while rows := list(self._log.rows(conn, after=after, limit=page)):
            yield from rows
            after = rows[-1].position
            if after == 2**63 - 1:
                return

    def _before(self, conn: Connection[Any], last: int | None) -> tuple[int, str]:
        """Where to begin so that `last` rows are left: the position and the hash of the row before them."""
        before = last_left_out(self._log.head(conn), last)
        rows = self._log.rows(conn, after=before - 1, limit=1) if before else ()
        return next(((row.position, row.hash) for row in rows if row.position == before), (0, GENESIS))

    def _passed(self, conn: Connection[Any], head: str, before: int) -> bool:
        """Whether a row that is not recomputed is the one a head names."""
        place = int(head.partition(":")[0])
        rows = self._log.rows(conn, after=place - 1, limit=1) if place <= before else ()
        return any(row.head == head for row in rows)


@contextmanager
def one_moment(conn: Connection[Any]) -> Iterator[None]:
    """All that is compared is of one moment, so that nobody who appends meanwhile is taken for a forger."""
    idle = conn.info.transaction_status is TransactionStatus.IDLE
    with conn.transaction():
        if idle:
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield
