"""A script that cannot run in one transaction, from its row `started` to its last one: segment by segment, journalled
in the entry, which stays `incomplete` until the last one has run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_wmigrate.engine.errors import ScriptError
from airflow_provider_wmigrate.engine.ledger.recording import HEAD_AND_TIME, Rows
from airflow_provider_wmigrate.engine.ledger.script_journal import ScriptJournal
from airflow_provider_wmigrate.engine.model import Entry
from airflow_provider_wmigrate.engine.plan.journal import kept
from airflow_provider_wmigrate.engine.record import Record
from airflow_provider_wmigrate.engine.session.message import ask, values
from airflow_provider_wmigrate.engine.session.settings import leave_script

from .execution import Execution
from .failing import recorded
from .job import Job
from .script_work import ScriptWork
from .stepwise import ScriptRun


def run_by_statement(execution: Execution, job: Job, begun: Entry | None, before: Entry | None) -> Record:
    """Called under the migration's locks.

    :param begun: the incomplete entry of an earlier try in the same direction, or None.
    :param before: the entry as it is, or None.
    """
    start, total, session = time.monotonic(), len(job.analysis.statements), execution.session
    run, entry = ScriptRun(execution, job), _JournalledEntry(execution, job, before)

    def take_back() -> bool:
        return run.nothing_kept and entry.take_back()

    with recorded(execution, job, take_back=take_back), execution.limited(job) as watch:
        if job.analysis.unparsed:  # nothing would run, and be recorded as applied
            reason = f"cannot be run statement by statement: {job.analysis.unparsed}"
            raise ScriptError(job.file, None, reason, hint="let it run in one transaction")
        started = entry.started(begun)
        execution.told_start(job, dry_run=False)
        there = execution.objects(job)
        sent = run.run(started)
        duration = round((time.monotonic() - start) * 1000)
        with execution.ledger_speaks(job, kept(total)), session.transaction():
            leave_script(session.conn)
            locks, gone = execution.locks(job, watch), execution.taken_away(job, there)
            return _recorded(execution, job, execution.record_of(job, watch, duration, sent, locks, gone))


def _recorded(execution: Execution, job: Job, record: Record) -> Record:
    """The head of the chain is locked late: the lock is kept until the commit."""
    conn = execution.session.conn
    answer = ask(conn, Rows(conn, execution.ledger.schema).lock_head(HEAD_AND_TIME))[0]
    head, at = values(answer) if answer.ntuples else (None, None)
    statements, record = execution.statements_of(job, record, head, at, begun=True)
    ask(conn, b"; ".join(statements))
    return record


@dataclass(slots=True)
class _JournalledEntry(ScriptWork):
    """Opened before the script's first statement, and taken back where nothing of the script was kept.

    :param before: the entry as it is, or None.
    """

    before: Entry | None
    _begun: bool = field(default=False, init=False)
    _session_before: Mapping[str, Any] | None = field(default=None, init=False)

    def started(self, begun: Entry | None) -> Entry:
        """The row `started`, and together with it the entry of a script that begins.

        :param begun: the incomplete entry of an earlier try, which goes on.
        :return: the incomplete entry.
        """
        conn, version, ledger = self.session.conn, self.job.version, self.execution.ledger
        with self.session.transaction(confirmed=False):
            if begun is None:
                self._open()
            done = begun.statements_done if begun else 0
            details = {"direction": self.execution.direction, "statements_done": done}
            ledger.log.append(
                conn, "started", self.execution.identity, version=version, details=details, settles=begun is None
            )
        self._begun = begun is None
        entry = begun or ledger.entry(conn, version)
        assert entry is not None  # written just now
        return entry

    @property
    def _journal(self) -> ScriptJournal:
        return ScriptJournal(self.execution.ledger.schema, self.job.version)

    def _open(self) -> None:
        conn, execution, total = self.session.conn, self.execution, len(self.analysis.statements)
        if execution.direction == "apply":
            execution.ledger.writer(conn).insert_entry(
                self.job.migration, execution.identity, duration_ms=0, statements=total, status="incomplete"
            )
        else:
            self._session_before = self._journal.session(conn)
            self._journal.begin_rollback(conn, statements=total)

    def take_back(self) -> bool:
        """In the open transaction: make the entry what it was before, since nothing of the script was kept.

        :return: whether it was changed.
        """
        if not self._begun:
            return False
        if self.execution.direction == "apply" or self.before is None:
            self.execution.ledger.writer(self.session.conn).delete_entry(self.job.version)
        else:
            self._journal.undo_rollback(self.session.conn, self.before, self._session_before)
        return True
