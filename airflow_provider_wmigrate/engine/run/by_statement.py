"""A script that cannot run in one transaction, from its row `started` to its last one: segment by segment, journalled
in the entry, which stays `incomplete` until the last one has run."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from airflow_provider_wmigrate.engine.errors import ScriptError
from airflow_provider_wmigrate.engine.ledger.recording import HEAD_AND_TIME, Rows
from airflow_provider_wmigrate.engine.model import Entry
from airflow_provider_wmigrate.engine.plan.journal import kept
from airflow_provider_wmigrate.engine.record import Record
from airflow_provider_wmigrate.engine.session.message import ask, values
from airflow_provider_wmigrate.engine.session.settings import leave_script

from .execution import Execution
from .job import Job
from .journalled_entry import JournalledEntry
from .stepwise import ScriptRun


@dataclass(frozen=True, slots=True)
class ByStatement:
    """Called under the migration's locks."""

    execution: Execution
    job: Job

    def run(self, begun: Entry | None, before: Entry | None) -> Record:
        """:param begun: the incomplete entry of an earlier try in the same direction, or None.
        :param before: the entry as it is, or None.
        """
        execution, job = self.execution, self.job
        start, total, session = time.monotonic(), len(job.analysis.statements), execution.session
        entry = JournalledEntry(
            session, execution.ledger, job.migration, execution.identity, execution.direction, before, total
        )
        with execution.recorded(job, take_back=entry.take_back), execution.limited(job) as watch:
            if job.analysis.unparsed:  # nothing would run, and be recorded as applied
                reason = f"cannot be run statement by statement: {job.analysis.unparsed}"
                raise ScriptError(job.analysis.script.file, None, reason, hint="let it run in one transaction")
            started = entry.started(begun)
            execution.told_start(job, dry_run=False)
            there = execution.objects(job)
            statements, rows = self._statements(started, entry)
            duration = round((time.monotonic() - start) * 1000)
            with execution.ledger_speaks(job, kept(total)), session.transaction():
                leave_script(session.conn)
                locks, outcome = execution.locks(job, watch), execution.done_outcome()
                record = execution.record_of(job, outcome, duration, rows, statements, locks, watch)
                return self._recorded(replace(record, taken_away=execution.taken_away(job, there)))

    def _statements(self, started: Entry, entry: JournalledEntry) -> tuple[int, int]:
        """Run what is left of the script."""
        execution, job = self.execution, self.job
        run = ScriptRun(
            execution.session,
            execution.ledger,
            job.migration,
            job.analysis,
            job.transactional,
            job.repeatable,
            job.budget(execution.settings, lock=execution.settings.concurrent_lock_timeout_seconds),
            lambda attempt: execution.retrying(job, lambda _, budget: attempt(budget)),
            execution.tell,
        )
        try:
            return run.run(started)
        finally:
            entry.nothing_kept = run.nothing_kept

    def _recorded(self, record: Record) -> Record:
        """The head of the chain is locked late: the lock is kept until the commit."""
        conn, schema = self.execution.session.conn, self.execution.ledger.schema
        answer = ask(conn, Rows(conn, schema).lock_head(HEAD_AND_TIME))[0]
        head, at = values(answer) if answer.ntuples else (None, None)
        statements, record = self.execution.statements_of(self.job, record, head, at, begun=True)
        ask(conn, b"; ".join(statements))
        return record
