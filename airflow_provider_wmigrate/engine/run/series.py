"""Migrations one after another on one session. The commit of one and the beginning of the next are one message.

Nothing is asked again that the ledger's head shows to be as it was: every change of the ledger moves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import psycopg

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.ledger.access import LedgerAccess
from airflow_provider_wmigrate.engine.ledger.trail import damaged
from airflow_provider_wmigrate.engine.model import Entry
from airflow_provider_wmigrate.engine.plan.script_session import leaves_what_nobody_sees
from airflow_provider_wmigrate.engine.record import Record
from airflow_provider_wmigrate.engine.session.advisory import AdvisoryLock
from airflow_provider_wmigrate.engine.session.message import ask, refusal
from airflow_provider_wmigrate.engine.session.session import Budget, Session

from .commits import Commits
from .directions import LARGE, Decided, Directed
from .in_transaction import InTransaction
from .job import Job
from .lock_taking import first_limits
from .opening import Opened, Opening

CATCH_UP = 16
"""A run of so many migrations does not wait for the disk after each."""


@dataclass
class Series:
    """:param versions: in the order in which they are run.
    :param go_on: asked before each; False: the rest is left.
    """

    session: Session
    direct: Directed
    versions: Sequence[str]
    go_on: Callable[[], bool] = lambda: True
    access: LedgerAccess = field(init=False)
    entries: dict[str, Entry] = field(default_factory=dict, init=False)
    head: str | None = field(default=None, init=False)
    """Of the audit log, as of which the entries are."""
    _decisions: dict[str, Decided] = field(default_factory=dict, init=False)
    """By version, as the entries are now."""
    opened: Opened | None = field(default=None, init=False)
    """The transaction of the next version, begun behind the last commit."""
    _commits: Commits = field(init=False)
    _spoils: bool = field(default=False, init=False)
    """The script that runs may leave what no statement takes away."""

    def __post_init__(self) -> None:
        self.access = self.direct.access
        self._commits = Commits(self.session, self.access.ledger, self.access.tell, self.ledger)

    def run(self) -> list[Record]:
        """Run all of them, or those before the first that fails.

        :raises WMigrateError: one failed; those before it are told.
        """
        try:
            self._read(self.direct.seen(self.versions))
            for at, version in enumerate(self.versions):
                if not self.go_on():
                    break
                self._commits.add(*self._one(at, version))
            self._commits.flush()
        except BaseException:
            with suppress(WMigrateError, psycopg.Error):
                self._commits.flush()
            raise
        return self._commits.records

    # One version

    def _one(self, at: int, version: str) -> tuple[Record, bool]:
        """:return: its record, and whether the disk has what was done."""
        if self.session.spoilt:
            self.session.begin_anew()
        self.name_session(version)
        for following in self.versions[at + 1 : at + 3]:
            self.direct.prepare(following)
        decided = self._decided(version)
        if decided.done is None:
            self._pass_gate(version)
        opened, self.opened = self.opened, None
        if decided.in_one_transaction and decided.job is not None and self.head is not None:
            turn = _Turn(self, at, decided.job, flushed=self.is_flushed(at))
            opened = opened or turn.open(self.direct.locks(version))
            if opened.locked and opened.head == self.head:
                return self._run(turn, opened), turn.flushed
        self.session.roll_back()
        return self._under_lock(at, version)

    def _under_lock(self, at: int, version: str) -> tuple[Record, bool]:
        """Wait for the locks, look at the ledger, and decide anew."""
        with self.access.reaching(self.session):
            self.session.refresh()
        if self.direct.gate.guard is not None:
            self.access.wait_for_loads(self.session, self.direct.gate.guard, version)
        self.access.lock(self.session, self.direct.locks(version), version)
        with self.ledger():  # another runner may have upgraded it while none of our locks was held
            self.access.ledger.version(self.session.conn)
        self._read(self.direct.seen(self.versions[at:]))
        decided = self.direct.decide(version, self.entries, self.session)
        if decided.done is not None:
            return decided.done, self._commits.all_flushed
        if decided.refused or decided.job is None:
            self.direct.refuse(self.session, version, decided.refused)
        self.direct.check(version)
        if decided.in_one_transaction:
            turn = _Turn(self, at, decided.job, flushed=self.is_flushed(at))
            return self._run(turn, turn.open(None)), turn.flushed
        return self._by_statement(decided, decided.job), True

    def _pass_gate(self, version: str) -> None:
        """:raises OutsideWindow: it may not begin now."""
        outside = self.direct.check(version)
        if outside is not None:
            self.session.roll_back()
            self.opened = self.head = None  # the row moves the ledger's head
            details = {"direction": self.direct.direction, **outside}
            with self.access.reaching(self.session), self.session.transaction(confirmed=False):
                self.access.append(self.session, "outside_window", details, version)

    def _run(self, turn: _Turn, opened: Opened) -> Record:
        lacking = self.direct.lacking(self.session, turn.job)
        self._spoils = _spoils(turn.job)
        if lacking:
            self.session.roll_back()
            self.direct.refuse(self.session, turn.job.version, lacking)
        execution, open_again = self.direct.execution(self.session), partial(turn.open, None)
        return InTransaction(execution, turn.job, turn.flushed, open_again, turn.commit).run(opened)

    def _by_statement(self, decided: Decided, job: Job) -> Record:
        lacking = self.direct.lacking(self.session, job)
        if lacking:
            self.direct.refuse(self.session, job.version, lacking)
        self.session.used, self._spoils = True, _spoils(job)
        begun = decided.entry if decided.unfinished else None
        from .by_statement import run_by_statement  # most scripts run in a transaction, and do not pay for it

        record = run_by_statement(self.direct.execution(self.session), job, begun, decided.entry)
        with self.done(job, record):
            return record

    def name_session(self, version: str) -> None:
        """As others will see the session from its next beginning on."""
        self.session.application_name = self.access.name(f"{self.direct.direction} {version}")

    @contextmanager
    def done(self, job: Job, record: Record) -> Iterator[None]:
        """Around its commit: what is known of the ledger follows, unless it fails."""
        version, entry = job.version, self.direct.entry_after(job, record)
        before = self.entries.pop(version, None)
        if entry is not None:
            self.entries[version] = entry
        self._decisions.clear()
        try:
            yield
        except BaseException:
            self._decisions.clear()
            self.entries.pop(version, None)
            if before is not None:
                self.entries[version] = before
            raise
        self.head = record.audit_head
        self.session.spoilt = self._spoils
        self.direct.analyses.drop(job.analysis.script)

    def next_job(self, at: int) -> Job | None:
        """The script behind this one, if it may begin behind this one's commit."""
        if at + 1 >= len(self.versions) or self._spoils or not self.go_on():
            return None
        if self.direct.gate.closed(self.direct.takes(self.versions[at + 1])):
            return None  # what is to be told of it is told in its turn
        decided = self._ahead(at + 1)
        return decided.job if decided.in_one_transaction else None

    def _ahead(self, at: int) -> Decided:
        """What is to be done with a version whose turn has not come. What is wrong with it will be told then."""
        if not self.direct.is_prepared(self.versions[at]):
            return Decided()
        try:
            return self._decided(self.versions[at])
        except WMigrateError:
            return Decided()

    def _decided(self, version: str) -> Decided:
        found = self._decisions.get(version)
        if found is None:
            found = self._decisions[version] = self.direct.decide(version, self.entries, None)
        return found

    def opening(
        self, job: Job, locks: Sequence[AdvisoryLock] | None, *, flushed: bool, budget: Budget | None = None
    ) -> Opening:
        """:param budget: None: that of the first attempt."""
        settings = self.direct.settings.execution
        budget = budget or first_limits(job, settings, self.session)
        return Opening(self.access.ledger.schema, job, budget, locks, job.foresees(settings), flushed)

    # The ledger

    def _read(self, versions: set[str] | None) -> None:
        conn, ledger = self.session.conn, self.access.ledger
        with self.ledger():
            self.head = ledger.log.head(conn)
            found = {e.version: e for e in ledger.entries(conn, versions)}
        kept = {v: e for v, e in self.entries.items() if versions is not None and v not in versions}
        self.entries = kept | found
        self._decisions.clear()

    @contextmanager
    def ledger(self) -> Iterator[None]:
        """Around what relies on the ledger's tables.

        :raises LedgerDamaged: they are not what they were.
        """
        with self.access.reaching(self.session):
            try:
                yield
            except psycopg.errors.Error as error:
                if error.sqlstate not in ("42P01", "42703", "3F000"):
                    raise
                self.session.roll_back()
                self.access.ledger.version(self.session.conn)
                raise damaged(f"the ledger in schema {self.access.ledger.schema} is gone") from error

    # The disk

    def is_flushed(self, at: int) -> bool:
        """Whether a commit waits for the disk: the last one does, and the one before whatever is in no transaction."""
        if self._commits.late or len(self.versions) < CATCH_UP or at + 1 >= len(self.versions):
            return True
        following = self._ahead(at + 1)
        return following.job is None or following.unfinished or following.job.by_statement


def _spoils(job: Job) -> bool:
    """Of a large script a new session costs less than the answer."""
    return job.analysis.script.size > LARGE or leaves_what_nobody_sees(job.analysis)


@dataclass
class _Turn:
    """A migration's place among those that run on one session.

    :param flushed: its commit waits until the disk has it.
    """

    series: Series
    at: int
    job: Job
    flushed: bool

    def open(self, locks: Sequence[AdvisoryLock] | None, budget: Budget | None = None) -> Opened:
        """Open its transaction, in a message of its own.

        :raises OutsideWindow: it may not begin now, or not once more.
        """
        series = self.series
        series.direct.check(self.job.version)
        opening = series.opening(self.job, locks, flushed=self.flushed, budget=budget)
        with series.ledger():
            return opening.read(series.session, ask(series.session.conn, opening.message(series.session)))

    def commit(self, statements: Sequence[bytes], record: Record, seen: str | None) -> None:
        series = self.series
        alone = seen == series.head
        with series.done(self.job, record):
            following = series.next_job(self.at) if alone else None
            opening = self._following(following) if following else None
            message = [*statements, b"UNLISTEN *", b"COMMIT", *([opening.message(series.session)] if opening else [])]
            answers = series.session.commit_with(b"; ".join(message), len(statements) + 1)
        if not alone:  # others have changed the ledger, so the next one looks at it under its lock
            series.head = None
        if opening is None:
            return
        try:
            if refusal(answers) is None:  # else it will meet in its own turn what stands in its way
                series.opened = opening.read(series.session, answers)
        except WMigrateError:
            series.opened = None
        if series.opened is None:
            series.session.roll_back()

    def _following(self, job: Job) -> Opening:
        series = self.series
        series.name_session(job.version)
        return series.opening(job, series.direct.locks(job.version), flushed=series.is_flushed(self.at + 1))
