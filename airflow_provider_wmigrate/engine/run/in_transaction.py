"""A script in one transaction: sent in one message with what shows what it did, recorded and committed in another."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.locks import locks_query, locks_taken
from airflow_provider_wmigrate.engine.errors import ROLLED_BACK
from airflow_provider_wmigrate.engine.ledger.recording import HEAD_AND_TIME, Rows
from airflow_provider_wmigrate.engine.lock_modes import LockNeed
from airflow_provider_wmigrate.engine.record import Record
from airflow_provider_wmigrate.engine.session.message import exchange, refusal, rows, values
from airflow_provider_wmigrate.engine.session.sending import Sent, Tail
from airflow_provider_wmigrate.engine.session.session import TRANSACTION, Budget
from airflow_provider_wmigrate.engine.session.settings import CHECK_CONSTRAINTS, leaving
from airflow_provider_wmigrate.engine.session.watch import Watch

from .execution import Execution
from .failing import recorded
from .job import Job
from .lock_taking import LockTaking, sending_of
from .opening import Opened, with_last_dry_run

if TYPE_CHECKING:
    from .giving_back import GivingBack
    from .keeping import Keeping


class InTransaction(Struct, frozen=True):
    """Script, entry and audit row commit together or not at all.

    :param flushed: its commit waits until the disk has it.
    :param open_again: opens the transaction once more, for another try.
    :param commit: sends the last statements of the transaction and its commit; given them, the record of what is done
        with it, and the head of the audit log before it.
    """

    execution: Execution
    job: Job
    flushed: bool
    open_again: Callable[[Budget], Opened]
    commit: Callable[[Sequence[bytes], Record, str | None], None]

    def run(self, opened: Opened) -> Record:
        """:param opened: the transaction, with nothing sent in it yet."""
        execution, job = self.execution, self.job
        sending = sending_of(execution, job)
        locks = LockTaking(execution.session, job, execution.settings, execution.tell, execution.waits, sending=sending)

        def attempt(number: int, budget: Budget) -> Record:
            begun = opened if number == 1 else self.open_again(locks.limits(budget))
            execution.names.update(begun.names)
            found = begun.locks
            if locks.on:
                with execution.ledger_speaks(job, ROLLED_BACK):
                    found = with_last_dry_run(execution.session.conn, execution.ledger.schema, job, found)
            return self._attempt(number, watch, sending, lambda tail, more: locks.send(found, budget, tail, more))

        with recorded(execution, job), execution.limited(job) as watch:
            execution.told_start(job, dry_run=False)
            return execution.retrying(job, attempt)

    def _attempt(
        self,
        number: int,
        watch: Watch,
        sending: Keeping | GivingBack | None,
        send: Callable[[Tail, Sequence[LockNeed]], Sent],
    ) -> Record:
        """:param send: takes the locks, also those that are given to it, and runs the script."""
        execution, job, session = self.execution, self.job, self.execution.session
        start, version = time.monotonic(), job.version
        paused = execution.jobs_to_pause(job)
        before = execution.objects(job)
        with execution.ledger_speaks(job, ROLLED_BACK):
            sent = send(self._tail(), paused)
            *_, locks, answer = sent.tail or self._look()
        head, at, start_of_transaction, pid = values(answer) if answer.ntuples else [None] * 4
        if sent.tail and answer.ntuples:
            session.check_process(pid)
            session.check_same(version, job.analysis, lambda: int(start_of_transaction or 0))
        gone = execution.taken_away(job, before)
        duration = round((time.monotonic() - start) * 1000)
        taken = execution.held(job, locks_taken(rows(locks), execution.names, execution.ledger.schema), watch)
        kept = tuple(sending.kept) if sending else ()
        record = execution.record_of(job, watch, duration, sent, taken, gone, kept, attempts=number)
        with execution.ledger_speaks(job, ROLLED_BACK):
            statements, record = execution.statements_of(job, record, head, at)
            self.commit(statements, record, head)
        felt = watch.behind_commit(record.bystanders)
        return record if felt is record.bystanders else replace(record, bystanders=felt)

    def _tail(self) -> Tail:
        """What is sent behind the script: from here on the ledger speaks."""
        conn, schema = self.execution.session.conn, self.execution.ledger.schema
        statements = [
            CHECK_CONSTRAINTS,
            leaving(conn.info.user, flushed=self.flushed),
            locks_query(conn.info.server_version),
            Rows(conn, schema).lock_head(b"%s, %s" % (HEAD_AND_TIME, TRANSACTION)),
        ]
        return Tail(b"; ".join(statements), len(statements))

    def _look(self) -> Sequence[Any]:
        """The same as a message of its own, behind COPY data or what the grammar does not understand."""
        answers = exchange(self.execution.session.conn, self._tail().text)
        error = refusal(answers)
        if error is not None and len(answers) == 1:
            raise self.execution.at_end(self.job, error) from error
        if error is not None:
            raise error
        return answers
