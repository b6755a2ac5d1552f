"""Runs scripts and records what became of them: the part of the migrator that acts, once locks are held and it is
decided that there is something to do."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from airflow_provider_wmigrate.engine.catalog.jobs import pause_jobs as paused_jobs
from airflow_provider_wmigrate.engine.catalog.locks import locks_query, locks_taken, names_query, relation_names
from airflow_provider_wmigrate.engine.catalog.parts import by_table
from airflow_provider_wmigrate.engine.catalog.taken_away import Objects, counted, objects, taken_away
from airflow_provider_wmigrate.engine.errors import (
    RETRYABLE_SQLSTATES,
    ROLLED_BACK,
    LedgerNotWritten,
    ScriptError,
    StatementFailed,
    WMigrateError,
)
from airflow_provider_wmigrate.engine.events import (
    Blocked,
    HeldLong,
    Listener,
    Noticed,
    Retrying,
    Started,
    Waiting,
)
from airflow_provider_wmigrate.engine.folder.config.settings import Execution as ExecutionSettings
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import Direction, Entry, Identity
from airflow_provider_wmigrate.engine.plan.journal import kept
from airflow_provider_wmigrate.engine.record import Blocker, LockTaken, Outcome, Record
from airflow_provider_wmigrate.engine.session.message import ask, rows, values
from airflow_provider_wmigrate.engine.session.session import Budget, Connect, Session
from airflow_provider_wmigrate.engine.session.watch import Waits, Watch
from airflow_provider_wmigrate.engine.sql.lock_limit import LockWait
from airflow_provider_wmigrate.engine.sql.masking import masked_error

from .job import Job
from .ledger_speaks import ledger_speaks as around_ledger

if TYPE_CHECKING:
    from .journalled_entry import JournalledEntry

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Execution:
    """One call's acting half.

    :param connect: opens other connections: to see who blocks this one, and to record a failure when this one is gone.
    :param include_sql: whether an error may show the beginning of the statement that failed.
    """

    session: Session
    ledger: Ledger
    settings: ExecutionSettings
    identity: Identity
    direction: Direction
    tell: Listener
    connect: Connect
    include_sql: bool = True
    waits: Waits = field(default_factory=Waits)
    names: dict[int, str] = field(default_factory=dict)
    """Of relations, by identifier, as others know them before the commit."""

    # Two ways to run; a dry run is a third, in its own module

    def by_statement(self, job: Job, begun: Entry | None, before: Entry | None) -> Record:
        """Segment by segment, journalled in the entry, which stays `incomplete` until the last one has run.

        :param begun: the incomplete entry of an earlier try in the same direction, or None.
        :param before: the entry as it is, or None.
        """
        from .journalled_entry import JournalledEntry  # most scripts run in a transaction, and do not pay for it

        start, total = time.monotonic(), len(job.analysis.statements)
        entry = JournalledEntry(self.session, self.ledger, job.migration, self.identity, self.direction, before, total)
        with self.recorded(job, take_back=entry.take_back), self.limited(job) as watch:
            if job.analysis.unparsed:  # nothing would run, and be recorded as applied
                reason = f"cannot be run statement by statement: {job.analysis.unparsed}"
                raise ScriptError(job.analysis.script.file, None, reason, hint="let it run in one transaction")
            started = entry.started(begun)
            self.told_start(job, dry_run=False)
            statements, rows = self._statements(job, started, entry)
            duration = round((time.monotonic() - start) * 1000)
            with self.ledger_speaks(job, kept(total)), self.session.transaction():
                self.session.leave_script()
                entry.close(duration)
                record = self.record_of(job, self.done_outcome(), duration, rows, statements, self._locks(job, watch))
                return self._last_row(job, record)

    # Parts of them

    def _statements(self, job: Job, started: Entry, entry: JournalledEntry) -> tuple[int, int]:
        """Run what is left of a script."""
        from .stepwise import ScriptRun

        run = ScriptRun(
            self.session,
            self.ledger,
            job.migration,
            job.analysis,
            job.transactional,
            job.repeatable,
            job.budget(self.settings, lock=self.settings.concurrent_lock_timeout_seconds),
            lambda attempt: self.retrying(job, lambda _, budget: attempt(budget)),
            self.tell,
        )
        try:
            return run.run(started)
        finally:
            entry.nothing_kept = run.nothing_kept

    def ledger_speaks(self, job: Job, outcome: str) -> AbstractContextManager[None]:
        return around_ledger(self.session, job.migration.version, job.analysis.script.file, outcome=outcome)

    def script(self, job: Job, outcome: Outcome, watch: Watch, *, last: bool = True) -> Record:
        """Run a script in the open transaction and write its entry.

        :param last: no other script follows in the same transaction.
        """
        start, conn = time.monotonic(), self.session.conn
        version = job.migration.version
        self.names.update(relation_names(values(ask(conn, names_query(self.ledger.schema).encode())[0])[0]))
        self.pause_jobs(job)
        before = self.objects(job)
        sent = self.session.send(version, job.analysis)
        try:
            self.session.leave_script(last=last)
        except psycopg.Error as error:
            raise self.at_end(job, error) from error
        self.tell_taken_away(job, before)
        duration = round((time.monotonic() - start) * 1000)
        with self.ledger_speaks(job, ROLLED_BACK):
            if self.direction == "apply":
                self._insert_entry(job, duration)
            else:
                self.ledger.writer(conn).delete_entry(version)
        return self.record_of(job, outcome, duration, sent.rows, sent.statements, self._locks(job, watch))

    def objects(self, job: Job) -> Objects | None:
        """Before a script, what it may take away."""
        before = objects(self.session.conn, job.analysis)
        return None if before is None else counted(self.session.conn, before, job.analysis)

    def tell_taken_away(self, job: Job, before: Objects | None) -> None:
        """Behind it, in the same transaction, what it took away."""
        for said in taken_away(self.session.conn, before) if before else ():
            self.tell(Noticed(job.migration.version, "WARNING", said))

    def pause_jobs(self, job: Job) -> None:
        for paused in paused_jobs(self.session.conn, job.analysis):
            self.tell(Noticed(job.migration.version, "NOTICE", str(paused)))

    def at_end(self, job: Job, error: psycopg.Error) -> StatementFailed:
        """A deferred constraint: of this script, whatever others share the transaction."""
        version, file = job.migration.version, job.analysis.script.file
        return self.session.failure(error, version, file, outcome=ROLLED_BACK, analysis=job.analysis)

    def _insert_entry(self, job: Job, duration: int) -> None:
        total = len(job.analysis.statements)
        self.ledger.writer(self.session.conn).insert_entry(
            job.migration, self.identity, duration_ms=duration, statements=total
        )

    def _last_row(self, job: Job, record: Record) -> Record:
        """The audit row, appended last: it keeps the head of the chain locked until the commit."""
        self.ledger.writer(self.session.conn).set_schema_version()
        head = self.ledger.log.append(
            self.session.conn,
            record.outcome.value,
            self.identity,
            version=job.migration.version,
            duration_ms=record.duration_ms,
            details=details_of(record),
        )
        return replace(record, audit_head=head)

    def record_of(
        self, job: Job, outcome: Outcome, duration: int, rows: int, statements: int, locks: tuple[LockTaken, ...]
    ) -> Record:
        migration = job.migration
        return Record(
            migration.version,
            migration.name,
            outcome,
            migration.script.checksum,
            self.identity,
            duration,
            rows,
            statements,
            locks,
            blocked_by=tuple(self.waits.blockers.values()),
        )

    def _locks(self, job: Job, watch: Watch) -> tuple[LockTaken, ...]:
        """Read before commit."""
        conn = self.session.conn
        answer = ask(conn, locks_query(conn.info.server_version))[0]
        return self.held(job, locks_taken(rows(answer), self.names, self.ledger.schema), watch)

    def held(self, job: Job, taken: Iterable[LockTaken], watch: Watch) -> tuple[LockTaken, ...]:
        """With the time for which everybody else was kept out."""
        limit = self.settings.lock_hold_warning_seconds
        locks = []
        timed = [
            replace(lock, held_ms=watch.held_ms(lock.relation)) if lock.mode == "AccessExclusiveLock" else lock
            for lock in taken
        ]
        for lock in by_table(self.session.conn, timed):
            if lock.held_ms is not None and lock.held_ms > limit * 1000:
                self.tell(HeldLong(job.migration.version, lock, limit))
            locks.append(lock)
        return tuple(locks)

    def done_outcome(self) -> Outcome:
        return Outcome.APPLIED if self.direction == "apply" else Outcome.ROLLED_BACK

    def told_start(self, job: Job, *, dry_run: bool) -> None:
        migration, undo = job.migration, job.migration.rollback if self.direction == "apply" else None
        version, name, script = migration.version, migration.name, job.analysis.script
        self.tell(Started(version, name, self.direction, script, dry_run, undo, self.session.pid))

    # Limits and failures

    def retrying(self, job: Job, run: Callable[[int, Budget], _T]) -> _T:
        """Run a whole transaction again when a lock was not free: first with little patience, then with more.

        A short wait first, because everybody who wants the table queues up behind whoever waits for it.
        """
        attempts = job.migration.lock_attempts or self.settings.lock_attempts
        for attempt in range(1, attempts + 1):
            try:
                return run(attempt, job.budget(self.settings, attempt=attempt))
            except (StatementFailed, LedgerNotWritten, psycopg.Error) as error:
                self.session.roll_back()
                if error.sqlstate not in RETRYABLE_SQLSTATES or attempt == attempts:
                    raise
                pause = random.uniform(0.5, 1.5) * min(0.25 * 2**attempt, 10.0)
                reason = _RETRY_REASONS[error.sqlstate]
                following = job.budget(self.settings, attempt=attempt + 1).lock
                self.tell(Retrying(job.migration.version, attempt, reason, pause, following))
                if not self.session.interruption.pause(pause):
                    raise
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def limited(self, job: Job, total: float | None = None) -> Iterator[Watch]:
        """Around the acting: the total budget, the server's notices, and an eye on who blocks us.

        :param total: the budget in seconds; None: that of the migration.
        """
        version, script = job.migration.version, job.analysis.script.text
        self.session.on_notice = lambda d: self.tell(
            Noticed(version, d.severity or "", masked_error(_with_detail(d), script))
        )

        def blocked(blockers: tuple[Blocker, ...], waited: float) -> None:
            self.tell(Blocked(version, blockers, waited))

        def unconfirmed() -> None:
            self.tell(Noticed(version, "WARNING", NOT_REPLICATED))

        self.session.on_unconfirmed = unconfirmed

        def standby(waited: float) -> None:
            self.tell(Waiting(version, "a synchronous standby to confirm the commit", waited))

        watch = Watch(self.connect, lambda: self.session.acting_pid, "wmigrate watch", self.waits, blocked, standby)
        with self.session.interruption.limited(total or job.total(self.settings), watch.on_wait), watch:
            yield watch

    @contextmanager
    def recorded(
        self, job: Job, *, dry_run: bool = False, take_back: Callable[[], bool] = lambda: False
    ) -> Iterator[None]:
        """Around the acting: a failure is rolled back, told, recorded and raised in the engine's words.

        :param take_back: called in the failure's transaction; whether it has changed the entry.
        """
        try:
            yield
        except (WMigrateError, psycopg.Error) as error:
            from .failing import Failing

            self.session.roll_back()
            failing = Failing(
                self.session, self.ledger, self.identity, self.direction, self.tell, self.connect, self.include_sql
            )
            limit = job.budget(self.settings).lock
            lock = LockWait(limit, limit)
            failing.fail(job, error, self.session.lock_wait or lock, self.waits, take_back, dry_run=dry_run)
        except BaseException:
            # A signal or a task timeout ends the call from inside: the server must not run on without us.
            self.session.interruption.cancel()
            raise

    def append(self, event: str, job: Job, *, details: dict[str, Any], duration_ms: int | None = None) -> str:
        version = job.migration.version
        with self.session.transaction(confirmed=False):
            return self.ledger.log.append(
                self.session.conn, event, self.identity, version=version, duration_ms=duration_ms, details=details
            )


def _with_detail(diagnostic: psycopg.errors.Diagnostic) -> str:
    """What a notice says, with what it counts only: "drop cascades to 2 other objects"."""
    detail = (diagnostic.message_detail or "").strip().replace("\n", ", ")
    return f"{diagnostic.message_primary or ''}{f' ({detail})' if detail else ''}"


NOT_REPLICATED = (
    "committed here, but not confirmed by a synchronous standby: after a failover to it this may be missing;"
    " see synchronous_standby_names and pg_stat_replication"
)

_RETRY_REASONS = {
    "55P03": "a lock was not free within its budget",
    "40P01": "deadlock",
    "40001": "serialization failure",
}


def details_of(record: Record) -> dict[str, Any]:
    """What the audit log keeps of a record."""
    return {
        "name": record.name,
        "checksum": record.checksum,
        "rows": record.rows,
        "statements": record.statements,
        "locks": [lock.as_dict() for lock in record.locks],
        "attempts": record.attempts,
        "blocked_by": [blocker.as_dict() for blocker in record.blocked_by],
    }
