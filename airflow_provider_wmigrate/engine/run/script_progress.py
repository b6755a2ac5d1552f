"""How far a script has come that runs segment by segment: written into its journal, told, and said of a failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg

from airflow_provider_wmigrate.engine.errors import NOT_KNOWN, LedgerNotWritten, StatementFailed
from airflow_provider_wmigrate.engine.ledger.script_journal import ScriptJournal
from airflow_provider_wmigrate.engine.plan import journal
from airflow_provider_wmigrate.engine.plan.journal import Effect
from airflow_provider_wmigrate.engine.plan.script_session import ScriptSession
from airflow_provider_wmigrate.engine.session.settings import leave_script

from .script_work import ScriptWork


class ScriptProgress(ScriptWork):
    """`done` statements have run, `begun` have been begun; `script` is what is kept of the script's session."""

    @property
    def _journal(self) -> ScriptJournal:
        return ScriptJournal(self.execution.ledger.schema, self.job.version)

    def kept_session(self) -> ScriptSession:
        """Of the script's session, what an earlier try left."""
        return ScriptSession.from_json(self._journal.session(self.session.conn))

    @contextmanager
    def own_statements(self, index: int) -> Iterator[None]:
        """Around what is sent between the script's statements: its failure is not the script's, nor hides what is
        kept."""
        try:
            yield
        except psycopg.Error as error:
            failed = self.session.failure(
                error, self.job.version, self.job.file, outcome=NOT_KNOWN, analysis=self.analysis, index=index
            )
            raise self.told_kept(failed, index, Effect.NOTHING) from error

    def told_kept(self, error: StatementFailed, index: int, effect: Effect) -> StatementFailed:
        """The failure of the statement at `index`, saying what is kept of the script."""
        retryable = error.retryable and effect is not Effect.OPEN
        return error.kept(journal.outcome(index, effect), retryable=retryable)

    def ledger_speaks(self, done: int) -> AbstractContextManager[None]:
        """Around the ledger's own statements."""
        return self.execution.ledger_speaks(self.job, journal.kept(done))

    def write(self, done: int, begun: int, script: ScriptSession) -> None:
        """In a transaction of its own."""
        with self.ledger_speaks(done), self.session.transaction(confirmed=False):
            leave_script(self.session.conn)
            self.record(done, begun, script)

    def write_ran(self, index: int, script: ScriptSession) -> None:
        """That a statement has run is written in any case, also when a cancel that was meant for it comes too late."""
        try:
            self.write(index + 1, index + 1, script)
        except LedgerNotWritten as error:
            if error.sqlstate != psycopg.errors.QueryCanceled.sqlstate:
                raise
            self.write(index + 1, index + 1, script)
            raise

    def record(self, done: int, begun: int, script: ScriptSession) -> None:
        """In the open transaction."""
        self.session.locks.keep()
        hashes = journal.hashes(self.analysis, begun)
        self._journal.write(self.session.conn, done=done, hashes=hashes, session=script.as_json())
