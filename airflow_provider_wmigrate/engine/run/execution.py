"""Runs scripts and records what became of them: the part of the migrator that acts, once locks are held and it is
decided that there is something to do."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from msgspec import Struct, field
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.extensions import remedy
from airflow_provider_wmigrate.engine.catalog.jobs import jobs_to_pause
from airflow_provider_wmigrate.engine.catalog.locks import by_table, locks_query, locks_taken
from airflow_provider_wmigrate.engine.catalog.taken_away import Objects, objects, taken_away
from airflow_provider_wmigrate.engine.errors import ROLLED_BACK, LedgerNotWritten, OthersWaited, StatementFailed
from airflow_provider_wmigrate.engine.events import HeldLong, Listener, Noticed, Retrying, Started, Stepped
from airflow_provider_wmigrate.engine.folder.config.settings import Execution as ExecutionSettings
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.ledger.recording import Rows, recorded, server_time
from airflow_provider_wmigrate.engine.lock_modes import LockNeed
from airflow_provider_wmigrate.engine.locks_taken import LockTaken
from airflow_provider_wmigrate.engine.model import Direction, Identity
from airflow_provider_wmigrate.engine.plain import plain
from airflow_provider_wmigrate.engine.record import Kept, Outcome, Record, TakenAway
from airflow_provider_wmigrate.engine.session.message import ask, rows
from airflow_provider_wmigrate.engine.session.sending import Sent
from airflow_provider_wmigrate.engine.session.session import Budget, Connect, Session
from airflow_provider_wmigrate.engine.session.watch import Waits, Watch
from airflow_provider_wmigrate.engine.sql.changed import changed

from .job import Job

_T = TypeVar("_T")


class Execution(Struct, frozen=True):
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

    # Parts of a run

    @contextmanager
    def ledger_speaks(self, job: Job, outcome: str) -> Iterator[None]:
        """Around the ledger's own statements: when they fail, the script's are not blamed, and what was kept is said.

        :param outcome: what of the script is kept if the ledger cannot be written.
        :raises LedgerNotWritten: the server refused.
        :raises StatementFailed: the connection was lost.
        """
        try:
            yield
        except psycopg.Error as error:
            if self.session.conn.closed:
                raise self.session.failure(error, job.version, job.file, outcome=outcome) from error
            message = (error.diag.message_primary or str(error)).strip()
            fix = remedy(error.sqlstate, message)
            raise LedgerNotWritten(job.file, message, outcome=outcome, sqlstate=error.sqlstate, hint=fix) from error

    def objects(self, job: Job) -> Objects | None:
        """Before a script, what it may take away."""
        before = objects(self.session.conn, job.analysis)
        for closed in before.closed if before else ():
            said = f"a refresh without a lower bound deletes up to {closed}"
            self.tell(Noticed(job.version, "WARNING", said))
        return before

    def taken_away(self, job: Job, before: Objects | None) -> tuple[TakenAway, ...]:
        """Behind it, before the commit, what it took away."""
        found = tuple(taken_away(self.session.conn, before)) if before else ()
        for each in found:
            self.tell(Noticed(job.version, "WARNING", str(each)))
        return found

    def jobs_to_pause(self, job: Job) -> tuple[LockNeed, ...]:
        """The locks that keep background jobs away from what the script changes."""
        found = jobs_to_pause(self.session.conn, job.analysis)
        for paused in found:
            self.tell(Noticed(job.version, "NOTICE", str(paused)))
        return tuple(paused.need for paused in found)

    def at_end(self, job: Job, error: psycopg.Error) -> StatementFailed:
        """A deferred constraint: of this script, whatever others share the transaction."""
        return self.session.failure(error, job.version, job.file, outcome=ROLLED_BACK, analysis=job.analysis)

    def statements_of(
        self, job: Job, record: Record, head: str | None, at: str | None, *, begun: bool = False
    ) -> tuple[tuple[bytes, ...], Record]:
        """What records it in the ledger, as the last statements of the transaction; and the record with the head that
        the audit log has then.

        :param head: as `HEAD_AND_TIME` was answered, under its lock; `at` as well.
        :param begun: there is an entry, which says that it was begun.
        """
        statements, head = recorded(
            Rows(self.session.conn, self.ledger.schema),
            self.session.login,
            job.migration,
            self.direction,
            record,
            head=head,
            at=server_time(at),
            statements=len(job.analysis.statements),
            details=details_of(record),
            begun=begun,
        )
        return statements, replace(record, audit_head=head)

    def record_of(
        self, job: Job, watch: Watch, duration: int, sent: Sent, locks: tuple[LockTaken, ...],
        gone: tuple[TakenAway, ...], kept: tuple[Kept, ...] = (), *, attempts: int = 1, tried: bool = False,
    ) -> Record:  # fmt: skip
        """What has run, just before the commit.

        :param tried: in a dry run.
        """
        done = Outcome.APPLIED if self.direction == "apply" else Outcome.ROLLED_BACK
        return Record.of(
            job.migration,
            Outcome.DRY_RUN if tried else done,
            self.identity,
            duration_ms=duration,
            rows=sent.rows,
            statements=sent.statements,
            locks=locks,
            attempts=attempts,
            blocked_by=tuple(self.waits.blockers.values()),
            bystanders=watch.last_look(commits=not tried),
            taken_away=gone,
            kept=kept,
            rollback_script=job.source,
            changes=changed(job.analysis, (lock.relation for lock in locks)),
        )

    def locks(self, job: Job, watch: Watch) -> tuple[LockTaken, ...]:
        """Read before commit."""
        conn = self.session.conn
        answer = ask(conn, locks_query(conn.info.server_version))[0]
        return self.held(job, locks_taken(rows(answer), self.names, self.ledger.schema), watch)

    def held(self, job: Job, taken: Iterable[LockTaken], watch: Watch) -> tuple[LockTaken, ...]:
        """With the time for which everybody else was kept out."""
        limit = self.settings.lock_hold_warning_seconds
        locks = []
        timed = [
            replace(lock, held_ms=held)
            if lock.mode == "AccessExclusiveLock" and (held := watch.held_ms(lock.relation)) is not None
            else lock
            for lock in taken
        ]
        for lock in by_table(self.session.conn, timed):
            if lock.held_ms is not None and lock.held_ms > limit * 1000:
                self.tell(HeldLong(job.version, lock, limit))
            locks.append(lock)
        return tuple(locks)

    def told_start(self, job: Job, *, dry_run: bool) -> None:
        migration, undo = job.migration, job.migration.rollback if self.direction == "apply" else None
        version, name, script = migration.version, migration.name, job.analysis.script
        self.tell(Started(version, name, self.direction, script, dry_run, undo, self.session.login.pid))

    def stepped(self, job: Job, first: int, end: int, note: str) -> None:
        """Tell what becomes of the statements from `first` to before `end`."""
        total, line = len(job.analysis.statements), job.analysis.statements[first].line
        self.tell(Stepped(job.version, first + 1, end, total, line, note))

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
                self.waits.felt.try_over(deadlock=error.sqlstate == "40P01")
                self.session.roll_back()
                reason = _reason_to_retry(error)
                if reason is None or attempt == attempts:
                    raise
                pause = random.uniform(0.5, 1.5) * min(0.25 * 2**attempt, 10.0)
                following = job.budget(self.settings, attempt=attempt + 1).lock
                self.tell(Retrying(job.version, attempt, reason, pause, following))
                if not self.session.interruption.pause(pause):
                    raise
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def limited(self, job: Job, total: float | None = None) -> Iterator[Watch]:
        """Around the acting: the total budget, the server's notices, and an eye on who blocks us.

        :param total: the budget in seconds; None: that of the migration.
        """
        version, script = job.version, job.analysis.script.text

        def notice(said: psycopg.errors.Diagnostic) -> None:
            from airflow_provider_wmigrate.engine.sql.masking import masked_error  # most servers say nothing

            self.tell(Noticed(version, said.severity or "", masked_error(_with_detail(said), script)))

        def unconfirmed() -> None:
            self.tell(Noticed(version, "WARNING", NOT_REPLICATED))

        self.session.on_notice, self.session.on_unconfirmed = notice, unconfirmed

        limit = job.bystander_limit(self.settings)
        gives_way = job.locks_first(self.settings)
        watch = Watch(self.connect, self.session, version, self.waits, self.tell, limit, gives_way=gives_way)
        with self.session.interruption.limited(total or job.total(self.settings), watch.on_wait), watch:
            yield watch


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


def _reason_to_retry(error: StatementFailed | LedgerNotWritten | psycopg.Error) -> str | None:
    """Why the whole transaction may simply be run again; None: it may not."""
    if isinstance(error, OthersWaited) and error.retryable:
        return "others waited because of it, while it waited for a lock"
    return _RETRY_REASONS.get(error.sqlstate or "")


def details_of(record: Record) -> dict[str, Any]:
    """What the audit log keeps of a record."""
    return {
        "name": record.name,
        "checksum": record.checksum,
        "rows": record.rows,
        "statements": record.statements,
        "locks": plain(record.locks),
        "attempts": record.attempts,
        "blocked_by": plain(record.blocked_by),
        "bystanders": plain(record.bystanders),
        "changes": record.changes.as_dict(),
        **({"taken_away": plain(record.taken_away)} if record.taken_away else {}),
        **({"kept": plain(record.kept)} if record.kept else {}),
        **({"rollback_script": record.rollback_script} if record.rollback_script else {}),
    }
