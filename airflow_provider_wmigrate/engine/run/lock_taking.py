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
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import psycopg

from airflow_provider_wmigrate.engine.catalog.blockers import holders
from airflow_provider_wmigrate.engine.errors import ROLLED_BACK, StatementFailed
from airflow_provider_wmigrate.engine.events import Blocked, Listener, Noticed
from airflow_provider_wmigrate.engine.folder.config.settings import Execution
from airflow_provider_wmigrate.engine.lock_modes import LockMode, LockNeed, LockSet
from airflow_provider_wmigrate.engine.plan.lock_order import Late, LockOrder, better_split, lock_order, own_patience
from airflow_provider_wmigrate.engine.session.message import ask, exchange, refusal
from airflow_provider_wmigrate.engine.session.sending import Head, HeadRefused, Sent, Tail
from airflow_provider_wmigrate.engine.session.session import Budget, Session
from airflow_provider_wmigrate.engine.session.watch import Waits
from airflow_provider_wmigrate.engine.sql.lock_limit import LockWait, own_limit
from airflow_provider_wmigrate.engine.sql.script import Analysis

from .job import Job

Send = Callable[[Head], Sent]

_SHORTEST, _RISES = 0.03, 1.6
"""Seconds of the first wait, and how much longer each further one for the same lock is."""
_SHARE = 0.5
"""Of the server's deadlock_timeout: the longest wait with nothing in hand."""
_INSIDE = 0.6
"""Of the same: the longest wait of a script. Whoever waits for us looks for a deadlock only after all of that time."""
_VACUUM = 1.3
"""Of the same: an autovacuum gives way only to somebody who has waited for all of it."""
_LOOKS = 0.1
"""Of the same: after a longer wait in vain it is looked who holds the lock."""
_PAUSE, _LONGEST_PAUSE = 0.01, 0.08
"""Seconds between two tries, about, for those who stood behind us."""


def short(budget: Budget, session: Session) -> Budget:
    """The same limits for a script that holds locks: what it waits for then ends before the server would look for a
    deadlock, and might end somebody else."""
    return budget._replace(lock=min(budget.lock, _INSIDE * session.login.deadlock_seconds))


def first_limits(job: Job, settings: Execution, session: Session) -> Budget:
    """Of the first attempt, as long as nothing is known of its locks."""
    budget = job.budget(settings)
    return short(budget, session) if job.locks_first(settings) else budget


def wait_for(conn: psycopg.Connection[Any], needs: Iterable[LockNeed]) -> None:
    """Take locks one after another, as any statement does."""
    for need in needs:
        conn.execute(_lock(need, nowait=False))


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
    on: bool = field(init=False)
    """Off: each statement takes its own locks."""
    all_first: bool = field(default=False, init=False)
    """An attempt did not get a late one."""
    learnt: tuple[LockNeed, ...] = field(default=(), init=False)
    """What attempts have waited for although nobody had foreseen it."""
    rows_met: bool = field(default=False, init=False)
    """An attempt has waited for somebody's row or the like, which no lock on a table spares it."""
    refused: set[str] = field(default_factory=set, init=False)
    """What LOCK TABLE cannot take, as has turned out."""

    _begun: float = field(default_factory=time.monotonic, init=False)
    _said: bool = field(default=False, init=False)
    """What would be better was told."""
    _held_since: float = field(default=0.0, init=False)
    """On the same clock: when this attempt had its first locks."""
    _polled: float = field(default=0.0, init=False)
    """Seconds for which it has tried late ones since."""

    def __post_init__(self) -> None:
        self.on = self.job.locks_first(self.settings)

    @property
    def analysis(self) -> Analysis:
        return self.job.analysis

    @property
    def version(self) -> str:
        return self.job.migration.version

    def limits(self, budget: Budget) -> Budget:
        """Of the next attempt."""
        return short(budget, self.session) if self.on and not self.rows_met else budget

    def send(self, found: LockSet, budget: Budget, tail: Tail, more: Sequence[LockNeed] = ()) -> Sent:
        """Take the locks and run the script, in the open transaction, of which nothing was sent yet.

        :param budget: of the attempt; its locks are tried for as long as it says.
        :param tail: as for `Sender.send`.
        :param more: locks that are to be taken first of all.
        :raises StatementFailed: as `Sender.send`; with SQLSTATE 55P03 a lock was not free in time.
        """
        if not self.on:
            wait_for(self.session.conn, more)
            return self.session.sender.send(self.version, self.analysis, tail=tail)
        self.waits.wanted = None
        self._begun = time.monotonic()
        order = lock_order(self.analysis, found, learnt=(*more, *self.learnt), all_first=self.all_first)
        for late in better_split(self.version, self.analysis, order) if not self._said else ():
            self.tell(Noticed(self.version, "WARNING", str(late)))
        self._said = True
        try:
            return self._send(order, budget, tail)
        except StatementFailed as error:
            if error.sqlstate in ("55P03", "40P01"):
                self._learn(error)
            raise

    def _send(self, order: LockOrder, budget: Budget, tail: Tail) -> Sent:
        send, pieces = self.session.sender.send, self.analysis.pieces
        if len(pieces) == 1 and pieces[0].data is None and not order.late:
            whole: Send = lambda head: send(self.version, self.analysis, tail=tail._replace(head=head))  # noqa: E731
            return self._first(order.first, budget, whole)
        self._first(order.first, budget, self._alone)
        self._held_since, self._polled = time.monotonic(), 0.0
        sent, at = Sent(), 0
        for stop in order.stops:
            sent, at = sent.and_then(send(self.version, self.analysis, at, stop)), stop
            self._late([late for late in order.late if late.need.strongest == stop], budget)
        return sent.and_then(send(self.version, self.analysis, at, None, tail))

    # Before the first statement

    def _first(self, wanted: Sequence[LockNeed], budget: Budget, send: Send) -> Sent:
        needs = [need for need in wanted if need.relation not in self.refused]
        if not needs:
            return send(Head(b"", 0))
        tries = _Tries(self, budget, self.limits(budget).lock, needs)
        while True:
            head, asked = tries.head()
            try:
                return send(head)
            except HeadRefused as refused:
                need = asked.get(refused.number)
                if need is None:
                    self.fail(tries.needs[0], refused.error, budget)
                tries.not_taken(need, refused.error)
                if not tries.needs:
                    return send(Head(b"%s; %s;" % (_BACK, _RELEASE), 2))

    def _alone(self, head: Head) -> Sent:
        """Take them in a message of their own, before a script that is sent in several."""
        _take(self.session.conn, head)
        return Sent()

    # Just before a statement

    def _late(self, group: Sequence[Late], budget: Budget) -> None:
        """Take locks while others are held: without ever standing in a queue."""
        needs = [late.need for late in group if late.need.relation not in self.refused]
        begun, pause, head = time.monotonic(), _PAUSE / 2, _SAVEPOINT
        end = min(self.end(needs, budget), begun + self._patience(begun))
        while needs:
            text = b"; ".join([head, *(_lock(need) for need in needs), _RELEASE])
            try:
                _take(self.session.conn, Head(text, len(needs) + 2))
                self._polled += time.monotonic() - begun
                return
            except HeadRefused as refused:
                head, need = _BACK, needs[min(max(refused.number - 1, 0), len(needs) - 1)]
                if self.leave(need, refused.error, budget):
                    needs.remove(need)
                elif time.monotonic() >= end or not self.session.interruption.pause(random.uniform(0.5, 1.5) * pause):
                    self.all_first = True
                    self.fail(need, refused.error, budget)
            pause = min(pause * _RISES, _LONGEST_PAUSE)
        if head is _BACK:
            ask(self.session.conn, b"%s; %s" % (_BACK, _RELEASE))

    def _patience(self, now: float) -> float:
        """Seconds that are left for late locks: whoever wants what is held waits meanwhile, so that these must not be
        many more than the script has taken itself."""
        worked = now - self._held_since - self._polled
        return max(worked, _INSIDE * self.session.login.deadlock_seconds) - self._polled

    # What is not taken

    def end(self, needs: Sequence[LockNeed], budget: Budget) -> float:
        """Until when they are tried, on the monotonic clock."""
        own = [own_patience(self.analysis, need, budget.lock) for need in needs]
        return time.monotonic() + min(own, default=budget.lock)

    def leave(self, need: LockNeed, error: psycopg.Error, budget: Budget) -> bool:
        """Whether a lock is left to its statement, since LOCK TABLE cannot take it. False: it is not free.

        :raises StatementFailed: neither.
        """
        if error.sqlstate in _NOT_TO_BE_LOCKED:
            self.refused.add(need.relation)
            return True
        if error.sqlstate != "55P03":
            self.fail(need, error, budget)
        return False

    def fail(self, need: LockNeed, error: psycopg.Error, budget: Budget) -> NoReturn:
        """End the attempt as if the statement that needs the lock had waited for all of its budget."""
        session, analysis = self.session, self.analysis
        if session.interruption.requested or session.interruption.spared is not None:
            error = psycopg.errors.QueryCanceled("not begun")
        file, index = analysis.script.file, need.strongest
        failure = session.sender.failure(error, self.version, file, outcome=ROLLED_BACK, analysis=analysis, index=index)
        if failure.sqlstate == "55P03":
            session.sender.lock_wait = LockWait(budget.lock, budget.lock, own_limit(analysis, index))
            session.roll_back()
            with suppress(psycopg.Error):
                self.look(need)
        raise failure from error

    def look(self, need: LockNeed) -> set[LockMode]:
        """Tell who holds what stands in the way of a lock, and return in which modes."""
        found = holders(self.session.conn, need.oid, need.mode)
        blockers = tuple(blocker for blocker, _ in found)
        if self.waits.met(blockers):
            self.tell(Blocked(self.version, blockers, time.monotonic() - self._begun))
        return {mode for _, mode in found}

    def _learn(self, error: StatementFailed) -> None:
        """Keep what was waited for in vain, for the next attempt."""
        wanted = self.waits.wanted
        if wanted is None:
            return
        if wanted.mode is None:
            self.rows_met = True
            return
        at = sum(1 for statement in self.analysis.statements if statement.line <= (error.line or 0))
        need = LockNeed(wanted.relation, wanted.oid, wanted.mode, max(at - 1, 0), max(at - 1, 0))
        self.learnt = (need, *(each for each in self.learnt if each.relation != need.relation))


@dataclass
class _Tries:
    """One attempt at the locks that come before the first statement.

    :param inside: seconds that the script itself may wait for a lock later.
    :param needs: those that are left, the one that is waited for in front.
    """

    taking: LockTaking
    budget: Budget
    inside: float
    needs: list[LockNeed]
    end: float = field(init=False)
    wait: float = field(default=0.0, init=False)
    """Seconds for the first of them; 0: it has to be free like the others."""
    pause: float = field(default=_PAUSE, init=False)
    begun: bool = field(default=False, init=False)
    aside: bool = field(default=False, init=False)
    """The first of them is in the hands of a VACUUM or the like: it is waited for in that one's own mode, which is in
    nobody's way who reads or writes, and for which an autovacuum gives way too."""

    def __post_init__(self) -> None:
        self.end = self.taking.end(self.needs, self.budget)

    def head(self) -> tuple[Head, dict[int, LockNeed]]:
        """The statements of the next try, and for which lock each of them asks, by its number."""
        waits, aside = self.wait > 0, replace(self.needs[0], mode=LockMode.SHARE_UPDATE_EXCLUSIVE)
        before = [_BACK if self.begun else _SAVEPOINT, *([_limit(self.wait)] if waits else [])]
        behind = [*([_limit(self.inside)] if waits else []), _RELEASE]
        wanted = [aside, *self.needs] if self.aside else self.needs
        locks = [_lock(need, nowait=not waits or at > 0) for at, need in enumerate(wanted)]
        statements = [*before, *locks, *behind]
        self.begun = True
        asked = [self.needs[0], *self.needs] if self.aside else self.needs
        return Head(b"; ".join(statements) + b";\n", len(statements)), dict(enumerate(asked, len(before)))

    def not_taken(self, need: LockNeed, error: psycopg.Error) -> None:
        """Prepare the next try; by now the server has let all of them go.

        :raises StatementFailed: there is no time left for one.
        """
        taking, now = self.taking, time.monotonic()
        if taking.leave(need, error, self.budget):
            self.needs.remove(need)
            return
        left = self.end - now
        if left <= 0 or not taking.session.interruption.pause(min(random.uniform(0.5, 1.5) * self.pause, left)):
            taking.fail(need, error, self.budget)
        self.pause = min(self.pause * _RISES, _LONGEST_PAUSE)
        self.wait = min(self._next_wait(need), left)
        self.needs.sort(key=lambda each: (each is not need, -each.mode))

    def _next_wait(self, need: LockNeed) -> float:
        known = self.taking.session.login.deadlock_seconds
        if self.taking.holds:
            return 0.0
        was_aside, self.aside = self.aside, False
        waited = self.wait if need is self.needs[0] else 0.0
        if waited > _LOOKS * known:
            ask(self.taking.session.conn, _BACK)
            self.aside = LockMode.SHARE_UPDATE_EXCLUSIVE in self.taking.look(need)
        if self.aside:
            return _VACUUM * known
        wanted = _SHORTEST if was_aside or not waited else waited * _RISES
        return random.uniform(0.8, 1.0) * min(wanted, _SHARE * known)


def _take(conn: psycopg.Connection[Any], head: Head) -> None:
    """:raises HeadRefused: one is not free, or cannot be taken."""
    answers = exchange(conn, head.text)
    error = refusal(answers)
    if error is not None:
        raise HeadRefused(len(answers) - 1, error)


def _lock(need: LockNeed, *, nowait: bool = True) -> bytes:
    """Without its children: the server would stand in the queue for each of them, with the others in its hands."""
    end = " NOWAIT" if nowait else ""
    return f"LOCK TABLE ONLY {need.relation} IN {need.mode.keyword} MODE{end}".encode()


def _limit(seconds: float) -> bytes:
    return b"SELECT pg_catalog.set_config('lock_timeout', '%dms', true)" % max(int(seconds * 1000), 1)


_SAVEPOINT, _BACK = b"SAVEPOINT wmigrate_locks", b"ROLLBACK TO SAVEPOINT wmigrate_locks"
_RELEASE = b"RELEASE SAVEPOINT wmigrate_locks"
_NOT_TO_BE_LOCKED = {"42501", "42P01", "42809", "3F000", "0A000"}
"""No right, no such table, no table, no such schema, not of this kind."""
