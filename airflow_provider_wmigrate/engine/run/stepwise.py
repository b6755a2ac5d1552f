"""Runs a script that cannot run in one transaction: segment by segment, each journalled, and resumed where it stopped.

A segment that may have a transaction commits together with its journal. A statement that may not is journalled before
and after, so that a runner's death leaves at most one statement of which it must be found out whether it ran.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from airflow_provider_wmigrate.engine.catalog import probe
from airflow_provider_wmigrate.engine.errors import HistoryError, LockTimeout, StatementFailed
from airflow_provider_wmigrate.engine.events import Listener, Stepped
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import Entry, Finding, Migration, Transactional
from airflow_provider_wmigrate.engine.plan import journal
from airflow_provider_wmigrate.engine.session.session import Budget, Session
from airflow_provider_wmigrate.engine.sql.no_transaction import first_in_session
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.statements import Statement


@dataclass(frozen=True, slots=True)
class Stepwise:
    """One run of one script.

    :param alone: limits of a statement that runs outside a transaction.
    :param retrying: runs a transaction, again if need be, and gives it its limits.
    """

    session: Session
    ledger: Ledger
    migration: Migration
    analysis: Analysis
    transactional: Transactional
    alone: Budget
    retrying: Callable[[Callable[[Budget], int]], int]
    tell: Listener

    def run(self, entry: Entry) -> tuple[int, int]:
        """Run what is left of the script.

        :param entry: the incomplete entry, which carries the journal.
        :return: statements run now, rows they changed.
        :raises HistoryError: a statement that has run was edited, or nobody can tell whether one ran.
        :raises StatementFailed: what ran before is kept and journalled.
        """
        found = journal.resume(self.analysis, entry)
        if isinstance(found, Finding):
            raise HistoryError([found])
        first = self._settle_in_flight(entry, found)
        rows = 0
        for segment in journal.segments(self.analysis, self.transactional, first):
            run = self._together if segment.transactional else self._one
            rows += run(segment)
        return len(self.analysis.statements) - first, rows

    # What was in flight

    def _settle_in_flight(self, entry: Entry, found: journal.Resume) -> int:
        if not found.in_flight:
            return found.done
        self._repeat_settings(found.done)
        statement = self.analysis.statements[found.done]
        ran = probe.ran(self.session.conn, statement)
        if ran is None:
            raise HistoryError([journal.judge(self.analysis, entry, found.done)])
        self._told(found.done, found.done + 1, "was in flight; it has run" if ran else "was in flight; it runs again")
        done = found.done + 1 if ran else found.done
        self._write(done, done)
        return done

    # Segments

    def _together(self, segment: journal.Segment) -> int:
        self._told(segment.first, segment.end, "runs" if segment.end - segment.first == 1 else "run in one transaction")

        def attempt(budget: Budget) -> int:
            self._repeat_settings(segment.first)
            self.session.begin(budget)
            _, rows = self.session.send(self.migration.version, self.analysis, segment.first, segment.end)
            self.session.leave_script()
            self._record(segment.end, segment.end)
            self.session.commit()
            return rows

        try:
            return self.retrying(attempt)
        except StatementFailed as error:
            raise self._kept(error, segment.first) from error

    def _one(self, segment: journal.Segment) -> int:
        index = segment.first
        statement = self.analysis.statements[index]
        self.session.limit(self.alone)
        if self._clear_up(index, statement):
            self._write_ran(index)
            return 0
        self._told(index, index + 1, "runs outside a transaction")
        self._write(index, index + 1)
        self._repeat_settings(index)
        try:
            rows = self._send(index, statement)
            if probe.built_invalid(self.session.conn, statement):
                raise self._invalid(statement)
        except StatementFailed as error:
            if self.session.answers():  # the server refused it, so it is not in flight
                self._write(index, index)
            raise self._kept(error, index) from error
        self._write_ran(index)
        return rows

    def _send(self, index: int, statement: Statement) -> int:
        version = self.migration.version
        if not first_in_session(statement.kind, statement.node):
            return self.session.send_alone(version, self.analysis, index, index + 1)[1]
        # It keeps everybody out of its tables while it waits for them, so it waits as briefly as a transaction.
        rows = self.retrying(lambda budget: self.session.send_first(version, self.analysis, index, budget)[1])
        self.session.renew()
        self._check_still_ours(index)
        return rows

    def _check_still_ours(self, index: int) -> None:
        """Between the old connection and the new one the locks were nobody's: another runner may have gone on.

        :raises LockTimeout: it has; what is left of the script must not run twice.
        """
        entry = next((e for e in self.ledger.entries(self.session.conn) if e.version == self.migration.version), None)
        if entry is None or (entry.status, len(entry.statement_hashes)) != ("incomplete", index + 1):
            outcome = "what ran before is kept, and another runner went on with it"
            raise LockTimeout("the advisory lock of this migration", 0.0, outcome=outcome)

    def _write_ran(self, index: int) -> None:
        """That a statement has run is written in any case, also when a cancel that was meant for it comes too late."""
        try:
            self._write(index + 1, index + 1)
        except psycopg.errors.QueryCanceled:
            self._write(index + 1, index + 1)
            raise

    def _clear_up(self, index: int, statement: Statement) -> bool:
        """Take away or finish what an earlier try of the statement left half done; True: with that it has run."""
        try:
            for dropped in self._drop_invalid(statement):
                self._told(index, index + 1, f"dropped index {dropped}, which a failed build had left invalid")
            finished = probe.finish_detaching(self.session.conn, statement)
        except psycopg.Error as error:
            raise self._kept(self._failure(error, index), index) from error
        if finished:
            self._told(index, index + 1, "finished the detaching, which had been left half done")
        return finished

    def _drop_invalid(self, statement: Statement) -> tuple[str, ...]:
        if not probe.of_hypertable(statement):
            return probe.drop_invalid(self.session.conn, statement)
        dropped: list[str] = []

        def attempt(budget: Budget) -> int:
            """It keeps everybody out of the hypertable, so it waits for them as briefly as a transaction."""
            self.session.begin(budget)
            dropped[:] = probe.drop_invalid(self.session.conn, statement)
            self.session.commit()
            return 0

        self.retrying(attempt)
        return tuple(dropped)

    def _failure(self, error: psycopg.Error, index: int) -> Exception:
        file = self.analysis.script.file
        return self.session.failure(error, self.migration.version, file, analysis=self.analysis, index=index)

    def _invalid(self, statement: Statement) -> StatementFailed:
        return StatementFailed(
            self.migration.version,
            self.analysis.script.file,
            f"index {statement.node.idxname} exists but is invalid",
            line=statement.line,
            statement=self.analysis.excerpt(statement),
            outcome="",
            retryable=True,
        )

    # The journal

    def _write(self, done: int, begun: int) -> None:
        with self.session.transaction(confirmed=False):
            self.session.leave_script()
            self._record(done, begun)

    def _record(self, done: int, begun: int) -> None:
        self.session.keep_locks()
        hashes = journal.hashes(self.analysis, begun)
        self.ledger.write_journal(self.session.conn, self.migration.version, done=done, hashes=hashes)

    # Small things

    def _repeat_settings(self, index: int) -> None:
        """What SET statements before this one asked for; our own writing in between took it away."""
        for statement in journal.settings_before(self.analysis, index):
            self.session.conn.execute(self.analysis.text_of(statement).encode())

    def _told(self, first: int, end: int, note: str) -> None:
        total, line = len(self.analysis.statements), self.analysis.statements[first].line
        self.tell(Stepped(self.migration.version, first + 1, end, total, line, note))

    def _kept(self, error: Exception, done: int) -> Exception:
        """The same error, saying what became of the statements before it."""
        if not isinstance(error, StatementFailed):
            return error
        before = "nothing ran before it" if not done else f"statements 1 to {done} were kept"
        error_class = type(error)
        return error_class(
            error.version,
            error.file,
            error.server_message,
            sqlstate=error.sqlstate,
            line=error.line,
            column=error.column,
            server_hint=error.server_hint,
            statement=error.statement,
            said=error.said,
            outcome=f"{before}; the next run goes on at statement {done + 1}",
            retryable=error.retryable,
        )
