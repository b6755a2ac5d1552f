"""Takes the locks of a transaction so that the migration pays for a lock that is not free, and never the application.

Nothing is ever waited for while something is held: of all locks one is waited for, briefly, and the others are taken if
they are free. If one is not, all are let go, and that one is waited for next. A deadlock needs somebody who waits while
he holds, so this is never a part of one; and whoever stands behind the one that waits stands there for that moment.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import psycopg
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.waits import holders
from airflow_provider_wmigrate.engine.errors import ROLLED_BACK, OthersWaited, StatementFailed
from airflow_provider_wmigrate.engine.events import Blocked, Listener, Noticed
from airflow_provider_wmigrate.engine.folder.config.settings import Execution
from airflow_provider_wmigrate.engine.lock_modes import LockMode, LockNeed, LockSet
from airflow_provider_wmigrate.engine.plan.lock_order import (
    Late,
    LockOrder,
    better_split,
    lasting,
    lock_order,
    own_patience,
)
from airflow_provider_wmigrate.engine.session.message import ask, exchange, refusal
from airflow_provider_wmigrate.engine.session.sending import Head, HeadRefused, Sent, Tail
from airflow_provider_wmigrate.engine.session.session import Budget, Session
from airflow_provider_wmigrate.engine.session.watch import Waits
from airflow_provider_wmigrate.engine.sql.lock_limit import LockWait, own_limit

from .job import Job
from .lock_tries import BACK, LONGEST_PAUSE, PAUSE, RELEASE, RISES, SAVEPOINT, Tries, lock_statement

if TYPE_CHECKING:
    from .execution import Execution as Acting
    from .giving_back import GivingBack
    from .keeping import Keeping

Send = Callable[[Head], Sent]

_INSIDE = 0.6
"""Of the server's deadlock_timeout: the longest wait of a script. Whoever waits for us looks for a deadlock only after
all of that time."""
_SEEN_IN_TIME = 0.5
"""Seconds of deadlock_timeout from which on it is seen early enough, from outside, that two wait for each other."""


def short(budget: Budget, session: Session) -> Budget:
    """The same limits for a script that holds locks: what it waits for then ends before the server would look for a
    deadlock, and might end somebody else."""
    return replace(budget, lock=min(budget.lock, _INSIDE * session.login.patience_seconds))


def first_limits(job: Job, settings: Execution, session: Session) -> Budget:
    """Of the first attempt, as long as nothing is known of its locks."""
    budget = job.budget(settings)
    return short(budget, session) if job.locks_first(settings) else budget


def sending_of(execution: Acting, job: Job) -> Keeping | GivingBack | None:
    """What sends a script of which something is kept, or gives something back; None: the session does."""
    if job.kept:
        from .giving_back import GivingBack

        return GivingBack(execution, job)
    if not job.migration.keep or execution.direction != "apply":
        return None
    from .keeping import Keeping

    return Keeping(execution, job)


def wait_for(conn: psycopg.Connection[Any], needs: Iterable[LockNeed]) -> None:
    """Take locks one after another, as any statement does."""
    for need in needs:
        conn.execute(lock_statement(need, nowait=False))


@dataclass
class LockTaking:
    """The locks of one script, through all its attempts.

    :param waits: whom the script waits for, as others see it.
    """

    session: Session
    job: Job
    settings: Execution
    tell: Listener
    waits: Waits
    holds: bool = False
    """Locks are held already, so that none may be waited for."""
    sending: Keeping | GivingBack | None = None
    """What sends the script in place of the session, since something is kept or given back."""
    part: range | None = None
    """Numbers of the statements that share the transaction; None: all of them do."""
    on: bool = field(init=False)
    """Off: each statement takes its own locks."""
    all_first: bool = field(default=False, init=False)
    """An attempt did not get a late one."""
    learnt: tuple[LockNeed, ...] = field(default=(), init=False)
    """What attempts have waited for although nobody had foreseen it."""
    rows_met: bool = field(default=False, init=False)
    """An attempt has waited in vain for somebody's row or the like."""
    patient: bool = field(default=False, init=False)
    """No lock on a table spares it that, so the script waits for as long as its budget says."""
    refused: set[str] = field(default_factory=set, init=False)
    """What LOCK TABLE cannot take, as has turned out."""

    _begun: float = field(default_factory=time.monotonic, init=False)
    _said: bool = field(default=False, init=False)
    """What would be better was told."""
    _not_taken: bool = field(default=False, init=False)
    """What an attempt had failed for was a lock of its own, which the script did not wait for."""
    _held_since: float = field(default=0.0, init=False)
    """On the same clock: when this attempt had its first locks."""
    _polled: float = field(default=0.0, init=False)
    """Seconds for which it has tried late ones since."""

    def __post_init__(self) -> None:
        self.on = self.job.locks_first(self.settings)

    def limits(self, budget: Budget) -> Budget:
        """Of the next attempt."""
        return short(budget, self.session) if self.on and not self.patient else budget

    def send(self, found: LockSet, budget: Budget, tail: Tail, more: Sequence[LockNeed] = ()) -> Sent:
        """Take the locks and run the script, in the open transaction, of which nothing was sent yet.

        :param budget: of the attempt; its locks are tried for as long as it says.
        :param tail: as for `Sender.send`.
        :param more: locks that are to be taken first of all.
        :raises StatementFailed: as `Sender.send`; with SQLSTATE 55P03 a lock was not free in time.
        """
        if not self.on:
            wait_for(self.session.conn, more)
            return self._statements(*self._ends, tail)
        self.waits.wanted, self._not_taken = None, False
        self._begun = time.monotonic()
        learnt, analysis = (*more, *self.learnt), self.job.analysis
        order = lock_order(
            analysis, found, learnt=learnt, all_first=self.all_first, rows_met=self.rows_met and not self.patient
        )
        for late in better_split(self.job.version, analysis, order) if not self._said else ():
            self.tell(Noticed(self.job.version, "WARNING", str(late)))
        self._said = True
        try:
            return self._send(order, budget, tail)
        except StatementFailed as error:
            if error.sqlstate in ("55P03", "40P01") or isinstance(error, OthersWaited):
                self._learn(error, found)
            raise

    def _send(self, order: LockOrder, budget: Budget, tail: Tail) -> Sent:
        pieces, (at, end) = self.job.analysis.pieces, self._ends
        in_one = self.sending is None and len(pieces) == 1 and pieces[0].data is None
        if in_one and not order.late:
            whole: Send = lambda head: self._statements(at, end, replace(tail, head=head))  # noqa: E731
            return self._first(order.first, budget, whole)
        self._first(order.first, budget, self._alone)
        self._held_since, self._polled = time.monotonic(), 0.0
        sent = Sent()
        for stop in order.stops:
            sent, at = sent.and_then(self._statements(at, stop)), stop
            self._late([late for late in order.late if late.need.strongest == stop], budget)
        return sent.and_then(self._statements(at, end, tail))

    @property
    def _ends(self) -> tuple[int, int | None]:
        return (self.part.start, self.part.stop) if self.part else (0, None)

    def _statements(self, first: int, end: int | None, tail: Tail | None = None) -> Sent:
        return (self.sending or self.session).send(self.job.version, self.job.analysis, first, end, tail)

    # Before the first statement

    def _first(self, wanted: Sequence[LockNeed], budget: Budget, send: Send) -> Sent:
        needs = [need for need in wanted if need.relation not in self.refused]
        if not needs:
            return send(Head(b"", 0))
        inside, end = self.limits(budget).lock, self._end(needs, budget)
        tries = Tries(self.session, needs, inside, end, self.holds, self._look)
        while True:
            head, asked = tries.head()
            try:
                return send(head)
            except HeadRefused as refused:
                need = asked.get(refused.number)
                if need is None:
                    self._fail(needs[0], refused.error, budget)
                if self._leave(need, refused.error, budget):
                    needs.remove(need)
                elif not tries.again(need):
                    self._fail(need, refused.error, budget)
                if not needs:
                    return send(Head(b"%s; %s;" % (BACK, RELEASE), 2))

    def _alone(self, head: Head) -> Sent:
        """Take them in a message of their own, before a script that is sent in several."""
        _take(self.session.conn, head)
        return Sent()

    # Just before a statement

    def _late(self, group: Sequence[Late], budget: Budget) -> None:
        """Take locks while others are held: without ever standing in a queue."""
        needs = [late.need for late in group if late.need.relation not in self.refused]
        begun, pause, head = time.monotonic(), PAUSE / 2, SAVEPOINT
        end = min(self._end(needs, budget), begun + self._patience(begun))
        while needs:
            text = b"; ".join([head, *(lock_statement(need) for need in needs), RELEASE])
            try:
                _take(self.session.conn, Head(text, len(needs) + 2))
                self._polled += time.monotonic() - begun
                return
            except HeadRefused as refused:
                head, need = BACK, needs[min(max(refused.number - 1, 0), len(needs) - 1)]
                if self._leave(need, refused.error, budget):
                    needs.remove(need)
                elif time.monotonic() >= end or not self.session.interruption.pause(random.uniform(0.5, 1.5) * pause):
                    self.all_first = True
                    self._fail(need, refused.error, budget)
            pause = min(pause * RISES, LONGEST_PAUSE)
        if head is BACK:
            ask(self.session.conn, b"%s; %s" % (BACK, RELEASE))

    def _patience(self, now: float) -> float:
        """Seconds that are left for late locks: whoever wants what is held waits meanwhile, so that these must not be
        many more than the script has taken itself."""
        worked = now - self._held_since - self._polled
        return max(worked, _INSIDE * self.session.login.patience_seconds) - self._polled

    # What is not taken

    def _end(self, needs: Sequence[LockNeed], budget: Budget) -> float:
        """Until when they are tried, on the monotonic clock."""
        own = [own_patience(self.job.analysis, need, budget.lock) for need in needs]
        return time.monotonic() + min(own, default=budget.lock)

    def _leave(self, need: LockNeed, error: psycopg.Error, budget: Budget) -> bool:
        """Whether a lock is left to its statement, since LOCK TABLE cannot take it. False: it is not free.

        :raises StatementFailed: neither.
        """
        if error.sqlstate in _NOT_TO_BE_LOCKED:
            self.refused.add(need.relation)
            return True
        if error.sqlstate != "55P03":
            self._fail(need, error, budget)
        return False

    def _fail(self, need: LockNeed, error: psycopg.Error, budget: Budget) -> NoReturn:
        """End the attempt as if the statement that needs the lock had waited for all of its budget."""
        session, analysis, self._not_taken = self.session, self.job.analysis, True
        if session.interruption.requested or session.interruption.spared is not None:
            error = psycopg.errors.QueryCanceled("not begun")
        file, index = analysis.script.file, need.strongest
        failure = session.failure(error, self.job.version, file, outcome=ROLLED_BACK, analysis=analysis, index=index)
        if failure.sqlstate == "55P03":
            session.lock_wait = LockWait(budget.lock, budget.lock, own_limit(analysis, index))
            session.roll_back()
            with suppress(psycopg.Error):
                self._look(need)
        raise failure from error

    def _look(self, need: LockNeed) -> set[LockMode]:
        """Tell who holds what stands in the way of a lock, and return in which modes."""
        found = holders(self.session.conn, need.oid, need.mode)
        blockers = tuple(blocker for blocker, _ in found)
        if self.waits.met(blockers):
            self.tell(Blocked(self.job.version, blockers, time.monotonic() - self._begun))
        return {mode for _, mode in found}

    def _learn(self, error: StatementFailed, found: LockSet) -> None:
        """Keep what was waited for in vain, for the next attempt."""
        wanted = self.waits.wanted
        if wanted is None and self._not_taken:
            return
        if wanted is None or wanted.mode is None:  # a wait that is too short to be seen was for a row, if anything
            in_time = wanted is not None and self.session.login.deadlock_seconds >= _SEEN_IN_TIME
            self.rows_met, self.patient = True, in_time and (self.rows_met or bool(lasting(found)))
            return
        at = sum(1 for statement in self.job.analysis.statements if statement.line <= (error.line or 0))
        need = LockNeed(wanted.relation, wanted.oid, wanted.mode, max(at - 1, 0), max(at - 1, 0))
        self.learnt = (need, *(each for each in self.learnt if each.relation != need.relation))


def _take(conn: psycopg.Connection[Any], head: Head) -> None:
    """:raises HeadRefused: one is not free, or cannot be taken."""
    answers = exchange(conn, head.text)
    error = refusal(answers)
    if error is not None:
        raise HeadRefused(len(answers) - 1, error)


_NOT_TO_BE_LOCKED = {"42501", "42P01", "42809", "3F000", "0A000"}
"""No right, no such table, no table, no such schema, not of this kind."""
