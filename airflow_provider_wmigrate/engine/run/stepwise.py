"""Runs a script that cannot run in one transaction: segment by segment, each journalled, and resumed where it stopped.

A segment that may have a transaction commits together with its journal. A statement that may not is journalled before
and after, so that a runner's death leaves at most one statement of which it must be found out whether it ran.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import psycopg

from airflow_provider_wmigrate.engine.catalog import probe
from airflow_provider_wmigrate.engine.errors import (
    PERHAPS_COMMITTED,
    ConnectionFailed,
    HistoryError,
    LockTimeout,
    StatementFailed,
)
from airflow_provider_wmigrate.engine.lock_modes import LockSet
from airflow_provider_wmigrate.engine.model import Entry, Finding
from airflow_provider_wmigrate.engine.plan import journal
from airflow_provider_wmigrate.engine.plan.journal import Effect
from airflow_provider_wmigrate.engine.plan.script_session import ScriptSession
from airflow_provider_wmigrate.engine.session.message import ask
from airflow_provider_wmigrate.engine.session.script_state import ScriptState
from airflow_provider_wmigrate.engine.session.sending import Sent, Tail
from airflow_provider_wmigrate.engine.session.session import Budget
from airflow_provider_wmigrate.engine.session.settings import leave_script
from airflow_provider_wmigrate.engine.sql.no_transaction import first_in_session

from .lock_taking import LockTaking
from .opening import facts_query, foreseen
from .script_progress import ScriptProgress
from .script_work import AtStatement, ScriptWork
from .statement_work import StatementWork


@dataclass(slots=True)
class ScriptRun(ScriptWork):
    """One run of one script."""

    nothing_kept: bool = field(default=False, init=False)
    """After a failure: the database is known to be as it was before this run."""
    _state: ScriptState = field(init=False)
    _progress: ScriptProgress = field(init=False)

    def __post_init__(self) -> None:
        self._progress = ScriptProgress(self.execution, self.job)

    @property
    def _alone(self) -> Budget:
        """Limits of a statement that runs outside a transaction."""
        settings = self.execution.settings
        return self.job.budget(settings, lock=settings.concurrent_lock_timeout_seconds)

    def run(self, entry: Entry) -> Sent:
        """Run what is left of the script.

        :param entry: the incomplete entry, which carries the journal.
        :return: statements run now, rows they changed.
        :raises HistoryError: a statement that has run was edited, the session cannot be had again, or nobody can tell
            whether a statement ran.
        :raises StatementFailed: what ran before is kept and journalled.
        """
        found = journal.resume(self.analysis, entry)
        if isinstance(found, Finding):
            raise HistoryError([found])
        with self._progress.own_statements(found.done):
            self._state = ScriptState(self.session, self.analysis, self.job.version)
            kept = self._progress.kept_session()
            self._state.restore(kept, found.done)
        first = self._settle_in_flight(entry, found)
        self.nothing_kept = first == 0 and not found.in_flight
        rows = 0
        for segment in journal.segments(self.analysis, self.job.transactional, first):
            run = self._together if segment.transactional else self._one
            rows += run(segment)
        return Sent(len(self.analysis.statements) - first, rows)

    # What was in flight

    def _settle_in_flight(self, entry: Entry, found: journal.Resume) -> int:
        if not found.in_flight:
            return found.done
        index = found.done
        with self._progress.own_statements(index):
            ran = self._work(index).has_run()
        if ran is None and self._read_again(index):
            ran = True
        elif ran is None and not self.job.repeatable:
            raise HistoryError([journal.judge(self.analysis, entry, index)])
        self.execution.stepped(
            self.job, index, index + 1, "was in flight; it has run" if ran else "was in flight; it runs again"
        )
        done = index + 1 if ran else index
        self._progress.write(done, done, self._state.kept)
        return done

    def _read_again(self, index: int) -> bool:
        """Run a SELECT that only reads once more, in a transaction that lets nothing else pass."""
        with self._progress.own_statements(index):
            if not probe.only_reads(self.session.conn, self.analysis.statements[index]):
                return False
            self._state.begin(self._alone, read_only=True)
        try:
            self.session.send(self.job.version, self.analysis, index, index + 1)
            with self._progress.own_statements(index):
                self.session.commit()
                self._state.look()
        except StatementFailed as error:
            self.session.roll_back()
            if error.sqlstate in _NOT_READ_ONLY:
                return False
            raise self._progress.told_kept(error, index, Effect.NOTHING) from error
        return True

    # Segments

    def _together(self, segment: journal.Segment) -> int:
        first, end = segment.first, segment.end
        self.execution.stepped(self.job, first, end, "runs" if end - first == 1 else "run in one transaction")
        inside, locks = ScriptSession(), self._locks(range(first, end))

        def attempt(_: int, budget: Budget) -> int:
            nonlocal inside
            with self._progress.own_statements(first):
                self._state.be_the_script()
                self._state.begin(locks.limits(budget))
                found = self._foreseen(locks)
            rows = locks.send(found, budget, Tail(b"", 0)).rows
            with self._progress.own_statements(first):
                inside = self._state.inside(first, end)
            self._leave_script()
            with self._progress.ledger_speaks(first):
                self._progress.record(end, end, inside)
            with self._progress.own_statements(first):
                self._commit()
            return rows

        try:
            rows = self.execution.retrying(self.job, attempt)
        except StatementFailed as error:
            if error.outcome == PERHAPS_COMMITTED:
                self.nothing_kept = False
                raise
            if error.sqlstate in journal.NOT_IN_A_TRANSACTION and self._declared_alone(first):
                return self._one(segment)
            raise self._progress.told_kept(error, first, Effect.NOTHING) from error
        self.nothing_kept = False
        self._look_behind(end, inside)
        return rows

    def _locks(self, part: range) -> LockTaking:
        """Where the script has limited its waits for the whole session, they stay as they are."""
        execution = self.execution
        locks = LockTaking(self.session, self.job, execution.settings, execution.tell, execution.waits, part=part)
        locks.on = locks.on and "lock_timeout" not in self._state.kept.settings
        return locks

    def _foreseen(self, locks: LockTaking) -> LockSet:
        if not locks.on or not self.job.foresees(self.execution.settings):
            return LockSet()
        conn = self.session.conn
        return foreseen(self.job, ask(conn, facts_query(conn, self.job))[1], locks.part)

    def _declared_alone(self, index: int) -> bool:
        """The transaction around it is not the script's own."""
        return self.job.transactional is False and self.analysis.block_of(index) is None

    def _look_behind(self, end: int, inside: ScriptSession) -> None:
        """Only now it shows which settings were for the transaction alone."""
        with self._progress.own_statements(end):
            other = inside != self._state.kept and self._state.committed(inside)
        if other:
            self._progress.write(end, end, self._state.kept)

    def _one(self, segment: journal.Segment) -> int:
        index = segment.first
        with self._progress.own_statements(index):
            self._state.be_the_script()
            self._state.limit(self._alone)
            ran = self._work(index).cleared()
        if ran:
            self._progress.write_ran(index, self._state.kept)
            return 0
        self.execution.stepped(self.job, index, index + 1, "runs outside a transaction")
        nothing_yet, self.nothing_kept = self.nothing_kept, False
        self._progress.write(index, index + 1, self._state.kept)
        with self._progress.own_statements(index):
            self._state.be_the_script()
            before = probe.transaction_number(self.session.conn)
        try:
            rows = self._send(index)
        except StatementFailed as error:
            effect = self._work(index).effect(before, error)
            self.nothing_kept = nothing_yet and effect is Effect.NOTHING
            self._write_failed(index, effect)
            raise self._progress.told_kept(error, index, effect) from error
        with self._progress.own_statements(index):
            self._state.look()
            built = self._work(index).built()
        if not built:
            self._progress.write(index, index, self._state.kept)
            raise self._work(index).invalid()
        self._progress.write_ran(index, self._state.kept)
        return rows

    def _send(self, index: int) -> int:
        version, statement = self.job.version, self.analysis.statements[index]
        if not first_in_session(statement.kind, statement.node):
            return self.session.send_alone(version, self.analysis, index, index + 1).rows
        # It keeps everybody out of its tables while it waits for them, so it waits as briefly as a transaction.
        send, limits = self.session.send_first, self._locks(range(index, index + 1)).limits
        rows = self.execution.retrying(
            self.job, lambda _, budget: send(version, self.analysis, index, limits(budget)).rows
        )
        self.session.renew()
        self._check_still_ours(index)
        self._state.renewed(index + 1)
        return rows

    def _check_still_ours(self, index: int) -> None:
        """Between the old connection and the new one the locks were nobody's: another runner may have gone on.

        :raises LockTimeout: it has; what is left of the script must not run twice.
        """
        entry = self.execution.ledger.entry(self.session.conn, self.job.version)
        if entry is None or (entry.status, len(entry.statement_hashes)) != ("incomplete", index + 1):
            outcome = "what ran before is kept, and another runner went on with it"
            raise LockTimeout("the advisory lock of this migration", 0.0, outcome=outcome)

    def _work(self, index: int) -> StatementWork:
        return StatementWork(AtStatement(self.execution, self.job, index))

    def _leave_script(self) -> None:
        """:raises StatementFailed: a deferred constraint."""
        try:
            leave_script(self.session.conn)
        except psycopg.Error as error:
            raise self.execution.at_end(self.job, error) from error

    def _commit(self) -> None:
        """Whether a commit that nobody answered was done is not known."""
        try:
            self.session.commit()
        except ConnectionFailed:
            self.nothing_kept = False
            raise

    # Failures

    def _write_failed(self, index: int, effect: Effect) -> None:
        """What is open stays in flight, as if the runner had died."""
        if effect in (Effect.NOTHING, Effect.REPEATABLE):
            self._progress.write(index, index, self._state.kept)
        elif effect is Effect.RAN:
            self._progress.write_ran(index, self._state.kept)


_NOT_READ_ONLY = ("25006", "25001")
"""It would have written; it refuses to run inside a transaction."""
