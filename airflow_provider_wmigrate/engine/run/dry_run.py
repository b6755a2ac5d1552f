"""What a dry run does: scripts are really executed in one transaction, each is measured, and all of it is rolled back.

What would not be the same inside a transaction, or not together with the scripts before it, is not tried, and said so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import psycopg
from msgspec import Struct, field
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.locks import names_query, relation_names
from airflow_provider_wmigrate.engine.catalog.probe import any_exists
from airflow_provider_wmigrate.engine.catalog.server import enum_values
from airflow_provider_wmigrate.engine.errors import ROLLED_BACK, StatementFailed, place
from airflow_provider_wmigrate.engine.ledger.access import reaching_the_ledger
from airflow_provider_wmigrate.engine.ledger.creation import make_current
from airflow_provider_wmigrate.engine.lock_modes import LockNeed, LockSet
from airflow_provider_wmigrate.engine.record import Outcome, Record
from airflow_provider_wmigrate.engine.session.message import ask, values
from airflow_provider_wmigrate.engine.session.sending import Sent, Tail
from airflow_provider_wmigrate.engine.session.settings import leave_script
from airflow_provider_wmigrate.engine.session.watch import Watch
from airflow_provider_wmigrate.engine.sql.lasting import lasting

from .execution import Execution, details_of
from .failing import recorded
from .foreseeing import Foreseeing
from .giving_back import GivingBack
from .job import Job
from .keeping import Keeping
from .lock_taking import LockTaking, first_limits, sending_of
from .opening import facts_query, foreseen

_NEW_ENUM_VALUE, _OUT_OF_MEMORY = "55P04", "53200"


def reason_not_to_try(job: Job, *, begun: bool) -> str | None:
    """Why a script is not run inside a transaction that is rolled back; None: it can be.

    :param begun: it was begun outside a transaction and is not finished.
    """
    file = job.file
    if begun:
        return f"{file}: it was begun before and is not finished, and a dry run goes on with nothing"
    for statement in job.analysis.outside:
        return f"{place(file, statement.line)}: {statement.outside} cannot be undone by a transaction"
    if job.by_statement and (block := next(iter(job.analysis.blocks), None)):
        return f"{place(file, block.line)}: it commits more than once, and a dry run is one transaction"
    if job.by_statement:
        return f"{file}: it is declared transactional: false, and a dry run is one transaction"
    return None


class _Chain(Struct, frozen=True):
    """What is known of the scripts of one dry run, by version, while it goes on."""

    jobs: Sequence[Job]
    needs: Mapping[str, set[str]]
    not_tried: dict[str, str] = field(default_factory=dict)
    """With the reason."""
    added: dict[str, str] = field(default_factory=dict)
    """Values added to enum types, with the migration that added each."""
    locked: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What each script itself has locked."""

    def needs_untried(self, job: Job) -> str | None:
        """Why a script is not tried that another one must run before."""
        for other in self.jobs:
            if other.migration.version in self.needs[job.version] & self.not_tried.keys():
                return f"{job.file}: it needs {other.migration.stem}, which was not tried"
        return None

    def before(self, job: Job) -> str:
        """The scripts that ran before one, for a message."""
        names = [j.migration.version for j in self.jobs[: self.jobs.index(job)]]
        return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"

    def only_after_commit(self, job: Job, error: StatementFailed) -> str | None:
        """Why a script that failed may be as it should be: it needs the commit of those before it. None: it failed."""
        where = place(error.file, error.line, error.column)
        if error.sqlstate == _NEW_ENUM_VALUE and self.added:
            said = [stem for value, stem in self.added.items() if value in error.server_message]
            stem = said[-1] if said else [*self.added.values()][-1]
            return f"{where}: it uses a value that {stem} adds to an enum type, which is possible only after a commit"
        if error.sqlstate == _OUT_OF_MEMORY and job is not self.jobs[0]:
            before = self.before(job)
            return (
                f"{where}: its locks and those of {before} together are more than the server has room for"
                " (max_locks_per_transaction); each commit would free some"
            )
        return None


class DryRun(Struct, frozen=True):
    """One dry run of scripts and of those that have to run before them.

    :param wanted: versions of those that are not there only for the sake of another.
    :param begun: versions that were begun outside a transaction and are not finished.
    :param on_tried: told the record of each script but the last, as soon as it is there.
    """

    execution: Execution
    wanted: Collection[str]
    begun: frozenset[str]
    on_tried: Callable[[Record], Record]

    def run(self, jobs: Sequence[Job]) -> list[Record]:
        """Try all scripts, in order.

        :return: their records. If none of the wanted ones can be tried, nothing is run, and there are theirs alone.
        :raises StatementFailed: one of them failed, as it would fail for good.
        """
        chain = _Chain(jobs, self._needs(jobs))
        for job in jobs:
            version = job.version
            reason = reason_not_to_try(job, begun=version in self.begun) or self._would_stay(job)
            reason = reason or chain.needs_untried(job)
            if reason:
                chain.not_tried[version] = reason
        if chain.not_tried.keys() >= {*self.wanted}:  # so nothing is run for their sake
            jobs = [job for job in jobs if job.version in self.wanted]
            records = [self._not_tried(job, chain) for job in jobs]
            for record in records[:-1]:
                self.on_tried(record)
        else:
            records = self._try_all(chain)
        return self._recorded(jobs, records, chain)

    def _would_stay(self, job: Job) -> str | None:
        """Why a script is not tried that does what no ROLLBACK takes back."""
        for each in lasting(job.analysis):
            names = each.of_sequence
            if names is None or not names or any_exists(self.execution.session.conn, names):
                where = place(job.file, each.statement.line)
                return f"{where}: {each.what} cannot be undone by a transaction"
        return None

    def _needs(self, jobs: Sequence[Job]) -> dict[str, set[str]]:
        """What must run before each script: when rolling back, whatever depends on it."""
        needs: dict[str, set[str]] = {job.version: set() for job in jobs}
        for version, parent in self._pairs(jobs):
            if self.execution.direction == "apply":
                needs[version].add(parent)
            elif parent in needs:
                needs[parent].add(version)
        return needs

    def _pairs(self, jobs: Sequence[Job]) -> Iterator[tuple[str, str]]:
        return ((job.version, parent) for job in jobs for parent in job.migration.dependencies)

    # Trying

    def _try_all(self, chain: _Chain) -> list[Record]:
        """Each in a savepoint, so that one which needs a commit leaves the others as they are."""
        execution, session = self.execution, self.execution.session
        foreseeing = Foreseeing(session.conn, execution.ledger.schema, execution.settings)
        records = list[Record]()
        total = sum(job.total(execution.settings) for job in chain.jobs)
        with execution.limited(chain.jobs[-1], total) as watch:
            for job in chain.jobs:
                with recorded(execution, job, dry_run=True):
                    self._prepare(job, chain)
                    records.append(self._try(job, chain, watch, foreseeing))
                if job is not chain.jobs[-1]:
                    self.on_tried(records[-1])
            session.roll_back()
        return records

    def _prepare(self, job: Job, chain: _Chain) -> None:
        execution, session = self.execution, self.execution.session
        limits = first_limits(job, execution.settings, session)
        if job is not chain.jobs[0]:
            session.next_script(limits)
            return
        session.begin(limits)
        with reaching_the_ledger(execution.ledger, session.conn):  # so that it is not told as the script's error
            if execution.ledger.version(session.conn) is None:
                make_current(execution.ledger, session.conn, execution.identity)

    def _try(self, job: Job, chain: _Chain, watch: Watch, foreseeing: Foreseeing) -> Record:
        execution, session = self.execution, self.execution.session
        reason = chain.not_tried.get(job.version) or chain.needs_untried(job)
        if reason is None:
            before = enum_values(session.conn)
            session.conn.execute("SAVEPOINT wmigrate_dry_run")
            execution.told_start(job, dry_run=True)
            try:
                told = foreseeing.beside(job)
                record = self._script(job, chain, watch)
            except StatementFailed as error:
                reason = chain.only_after_commit(job, error)
                if reason is None:
                    raise
                session.conn.execute("ROLLBACK TO SAVEPOINT wmigrate_dry_run")
            else:
                session.conn.execute("RELEASE SAVEPOINT wmigrate_dry_run")
                new = enum_values(session.conn).items() - before.items()
                chain.added.update({value: job.migration.stem for _, value in new})
                forecast, rewritten, chain.locked[job.version] = told()
                return replace(record, forecast=forecast, rewritten=rewritten)
        chain.not_tried[job.version] = reason
        return self._not_tried(job, chain)

    def _send(self, job: Job, paused: Sequence[LockNeed], sending: Keeping | GivingBack | None, *, holds: bool) -> Sent:
        """As for good, but there is one attempt.

        :param holds: there are locks of a script before it.
        """
        execution, session = self.execution, self.execution.session
        taking = LockTaking(session, job, execution.settings, execution.tell, execution.waits, holds, sending)
        found = LockSet()
        if job.foresees(execution.settings):
            found = foreseen(job, ask(session.conn, facts_query(session.conn, job))[1])
        return taking.send(found, job.budget(execution.settings), Tail(b"", 0), paused)

    def _script(self, job: Job, chain: _Chain, watch: Watch) -> Record:
        """Run a script in the open transaction and write its entry."""
        execution, session = self.execution, self.execution.session
        start, version, schema = time.monotonic(), job.version, execution.ledger.schema
        execution.names.update(relation_names(values(ask(session.conn, names_query(schema).encode())[0])[0]))
        paused, before = execution.jobs_to_pause(job), execution.objects(job)
        sending = sending_of(execution, job)
        sent = self._send(job, paused, sending, holds=job is not chain.jobs[0])
        try:
            leave_script(session.conn, last=job is chain.jobs[-1])
        except psycopg.Error as error:
            raise execution.at_end(job, error) from error
        gone = execution.taken_away(job, before)
        duration = round((time.monotonic() - start) * 1000)
        writer, total = execution.ledger.writer(session.conn), len(job.analysis.statements)
        with execution.ledger_speaks(job, ROLLED_BACK):
            if execution.direction == "apply":
                writer.insert_entry(job.migration, execution.identity, duration_ms=duration, statements=total)
            else:
                writer.delete_entry(version)
        locks = execution.locks(job, watch)
        kept = tuple(sending.kept) if sending else ()
        return execution.record_of(job, watch, duration, sent, locks, gone, kept, tried=True)

    def _not_tried(self, job: Job, chain: _Chain) -> Record:
        execution, reason = self.execution, chain.not_tried[job.version]
        forecast = Foreseeing(execution.session.conn, execution.ledger.schema, execution.settings).untried(job)
        return Record.of(job.migration, Outcome.NOT_TRIED, execution.identity, reason=reason, forecast=forecast)

    # Recording

    def _recorded(self, jobs: Sequence[Job], records: list[Record], chain: _Chain) -> list[Record]:
        """One audit row for what was tried, one for each that was not. Without a ledger a dry run leaves no trace."""
        execution = self.execution
        head = None
        if execution.ledger.version(execution.session.conn) is None:
            return records
        tried = [record for record in records if record.outcome is Outcome.DRY_RUN]
        for job, record in zip(jobs, records, strict=True):
            details = {**details_of(record), "direction": execution.direction, "dry_run": True}
            if record.outcome is Outcome.NOT_TRIED:
                head = self._append("not_tried", job, details={**details, "reason": record.reason})
            elif record is tried[-1]:
                details["chain"] = {r.version: r.duration_ms for r in tried}
                details["locked"] = chain.locked
                head = self._append("dry_run", job, details=details, duration_ms=record.duration_ms)
        return [*records[:-1], replace(records[-1], audit_head=head)]

    def _append(self, event: str, job: Job, *, details: dict[str, Any], duration_ms: int | None = None) -> str:
        session, append, version = self.execution.session, self.execution.ledger.log.append, job.version
        with session.transaction(confirmed=False):
            identity = self.execution.identity
            return append(session.conn, event, identity, version=version, duration_ms=duration_ms, details=details)
