"""What ledger and audit log keep of a run beside its migrations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .catalog.server import refuse_standby
from .ledger.kept import KeptThing
from .ledger.recording import system_values
from .ledger.watching import seal_all
from .record import Record
from .run.emptying import empty_kept
from .session.session import Session
from .trying import Trying

if TYPE_CHECKING:
    from .catalog.snapshot.facts import Snapshot


@dataclass
class WholeRun:
    """Said of calls that are together a whole run: on their session a row `planned` goes before the first migration,
    and what is kept of a successful run is written behind the last one.

    :param details: of the row.
    """

    details: dict[str, Any]
    head: str | None = None
    """Of the audit log with that row; None: it is not written yet."""


class RecordingRuns(Trying):
    """Writes down what was planned and done; see `Planning` for what it is made of."""

    def look(self) -> tuple[str | None, Snapshot]:
        """The head of the audit log (None: there is no ledger) and then the schema: before a plan that a person is to
        approve, so that nothing that is done after it was made stays unseen."""
        from .catalog.snapshot.taking import take

        head = self.head()
        with self._access.open("look at the schema") as session:
            return head, take(session.conn)

    def record(self, event: str, *, version: str | None = None, details: dict[str, Any] | None = None) -> str:
        """Append one row to the audit log, creating the ledger if there is none. Returns the new head."""
        with self._access.open(event) as session, self._access.reaching(session):
            refuse_standby(session.login.standby)
            self._access.ensure(session)
            if event == "planned":
                seal_all(session, self.ledger.schema)
            with session.transaction(confirmed=False):
                return self.ledger.log.append(
                    session.conn, event, self._access.identity, version=version, details=details
                )

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Keep other reports on this ledger waiting, while one looks whether its news are known and tells them.

        :raises LockTimeout: another one has not ended within `lock_wait_seconds`.
        """
        with self._access.open("report") as session:
            self._access.lock_reports(session)
            yield

    def record_success(self, *, reported: dict[str, Any] | None = None) -> str | None:
        """Write what application_metadata keeps of a run in which nothing failed.

        :param reported: what the run's report says of it, for a row of the audit log; None: no row.
        :return: the new head of the audit log; None: no row was written.
        """
        with self._access.open("report") as session, self._access.reaching(session):
            refuse_standby(session.login.standby)
            self._access.ensure(session)
            return self._succeeded(session, reported)

    def empty_kept(self, days: float) -> tuple[KeptThing, ...]:
        """Drop what migrations have kept for more than so many days, and return it. What somebody uses is left."""
        with self._access.open("kept") as session, self._access.reaching(session):
            refuse_standby(session.login.standby)
            return empty_kept(session, self._access, days=days)

    def _succeeded(self, session: Session, reported: dict[str, Any] | None = None) -> str | None:
        if self.settings.keep_days is not None:
            empty_kept(session, self._access, days=self.settings.keep_days)
        with session.transaction(confirmed=False):
            row = session.conn.execute("SELECT pg_catalog.now()").fetchone()
            last = {"last_successful_run": row[0].isoformat() if row else ""}
            self.ledger.writer(session.conn).set_metadata({**system_values(self._folder), **last})
            return None if reported is None else self._access.append(session, "reported", reported)

    @contextmanager
    def _whole(self, session: Session, run: WholeRun | None, versions: Sequence[str]) -> Iterator[list[Record]]:
        """Around the migrations of a run; gives the list that their records go to."""
        records: list[Record] = []
        if run is not None and run.head is None:
            with self._access.reaching(session):
                seal_all(session, self.ledger.schema)
                with session.transaction(confirmed=False):
                    run.head = self._access.append(session, "planned", run.details)
        yield records
        if run is not None and len(records) == len(versions):
            with self._access.reaching(session):
                session.refresh()
                self._succeeded(session)
