"""Around a statement that builds, drops or rebuilds an index in steps: waits for others who do, takes what they built,
and clears away what a build that nobody runs any more has left.

It waits by looking again and again, outside any transaction: whoever waits for a lock holds a snapshot, for which the
other session's build would wait in turn, and one of the two would have to die.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog import builds, probe
from airflow_provider_wmigrate.engine.errors import HistoryError, LockTimeout, WMigrateError, place
from airflow_provider_wmigrate.engine.events import Waiting
from airflow_provider_wmigrate.engine.model import Finding
from airflow_provider_wmigrate.engine.plan import journal
from airflow_provider_wmigrate.engine.plan.journal import Effect

from .script_work import AtStatement


class IndexWork(Struct, frozen=True):
    at: AtStatement

    def prepare(self, *, begun: bool = False) -> bool:
        """Make the way free for the statement.

        :param begun: it was begun by a runner before this one, so what is there may be its work.
        :return: whether it has run: the index that it wants is there.
        :raises LockTimeout: another session is at work for too long.
        :raises HistoryError: a person has to look.
        """
        waited = self._wait_for_others()
        if builds.in_steps(self.at.statement):
            ran = self._settle(begun=begun or waited)
            if ran and not begun:
                self.at.note("its index is there: another session has built it meanwhile")
            return ran
        for remains in probe.drop_remains(self.at.session.conn, self.at.statement):
            self.at.note(f"dropped index {remains}, which a failed build had left invalid")
        return False

    def built(self) -> bool:
        """After the statement: whether its index can be used. IF NOT EXISTS also passes over one that another session
        has only just begun to build, which is then waited for."""
        if not builds.in_steps(self.at.statement):
            return True
        found = builds.named(self.at.session.conn, self.at.statement.node)
        if found is None or found.valid:
            return True
        if self._at_work(found) == ():
            return False
        return self._settle(begun=True)

    # Waiting

    def _wait_for_others(self) -> bool:
        """Wait until nobody else builds or drops an index of the table; True: somebody did."""
        conn, statement = self.at.session.conn, self.at.statement
        if not statement.outside or statement.kind not in ("index_stmt", "drop_stmt", "reindex_stmt"):
            return False
        tables = builds.tables_of(conn, statement)
        start = time.monotonic()
        return self._poll(start, _TABLE, lambda: builds.builders(conn, tables) or ())

    def _settle(self, *, begun: bool) -> bool:
        """Take the index that is there, wait until it is clear what becomes of it, or drop it."""
        conn, statement = self.at.session.conn, self.at.statement
        start = time.monotonic()
        while True:
            found = builds.named(conn, statement.node)
            if found is None:
                return False
            if found.valid:
                return begun and self._taken(found)
            if self._at_work(found) == ():
                # Looked at once more: it may have become valid between the two looks.
                again = builds.named(conn, statement.node)
                if again == found:
                    self._drop(found)
                    return False
                continue
            begun = True
            self._poll(start, f"index {found}", lambda now=found: self._at_work(now))  # type: ignore[misc]

    def _at_work(self, found: builds.Index) -> tuple[int, ...] | None:
        """Who builds or drops an invalid index; empty: nobody, or it is not invalid any more; None: not to be seen."""
        if builds.named(self.at.session.conn, self.at.statement.node) != found:
            return ()
        return builds.changers(self.at.session.conn, found)

    def _poll(self, start: float, what: str, look: Callable[[], tuple[int, ...] | None]) -> bool:
        """Look until nobody is at work; True: somebody was.

        :raises LockTimeout: somebody still is.
        :raises HistoryError: so it may be, and this role must not see it.
        """
        told, pause, waited, limit = 0.5, 0.1, False, self.at.execution.settings.concurrent_lock_timeout_seconds
        while (pids := look()) != ():
            waited = True
            seconds = time.monotonic() - start
            if seconds >= limit:
                raise self._too_long(what, seconds, pids)
            if seconds >= told:
                self.at.execution.tell(Waiting(self.at.job.version, _worked_on(what), seconds, pids or ()))
                told = seconds * 2 + 1
            if not self.at.session.interruption.pause(min(pause, limit - seconds)):
                raise self._interrupted()
            pause = min(pause * 1.5, 1.0)
        return waited

    def _interrupted(self) -> WMigrateError:
        cancelled, outcome = psycopg.errors.QueryCanceled("not begun"), journal.outcome(self.at.index, Effect.NOTHING)
        job = self.at.job
        return self.at.session.failure(
            cancelled, job.version, job.file, outcome=outcome, analysis=self.at.analysis, index=self.at.index
        )

    def _too_long(self, what: str, seconds: float, pids: tuple[int, ...] | None) -> WMigrateError:
        if pids is None:
            message = f"{what} is invalid, and whether another session builds it now must not be seen by this role"
            nxt = f"drop {what} CONCURRENTLY if nobody builds it, or grant SELECT on pg_locks; then run again"
            return self._placed(Finding("index_in_question", message, nxt))
        hint = f"let it end, or end it with pg_terminate_backend({pids[0]}); then run again"
        outcome = journal.outcome(self.at.index, Effect.NOTHING)
        wanted = f"{place(self.at.job.file, self.at.statement.line)}: {_worked_on(what)}"
        return LockTimeout(wanted, seconds, outcome=outcome, holders=pids, hint=hint)

    # Taking and clearing away

    def _taken(self, found: builds.Index) -> bool:
        differs = builds.difference(self.at.session.conn, found, self.at.statement)
        if differs is not None:
            message = f"index {found} is there, built by somebody else, and {differs}"
            nxt = "rename or drop that one, or correct the script; then run again"
            raise self._placed(Finding("index_differs", message, nxt))
        return True

    def _drop(self, found: builds.Index) -> None:
        conn = self.at.session.conn
        if builds.of_hypertable(self.at.statement):  # it keeps everybody out of it
            self.at.in_transaction(lambda: probe.drop_index(conn, found, hypertable=True))
        else:
            probe.drop_index(conn, found, hypertable=False)
        self.at.note(f"dropped index {found}, which a failed build had left invalid")

    def _placed(self, finding: Finding) -> HistoryError:
        version, file, line = self.at.job.version, self.at.job.file, self.at.statement.line
        return HistoryError([replace(finding, version=version, file=file, line=line)])


_TABLE = "the table"


def _worked_on(what: str) -> str:
    if what == _TABLE:
        return "the table, of which another session builds or drops an index,"
    return f"{what}, which another session builds or drops,"
