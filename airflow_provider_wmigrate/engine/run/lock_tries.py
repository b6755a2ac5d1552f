"""The tries at the locks that come before the first statement, and the statements that take locks."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from airflow_provider_wmigrate.engine.lock_modes import LockMode, LockNeed
from airflow_provider_wmigrate.engine.session.message import ask
from airflow_provider_wmigrate.engine.session.sending import Head
from airflow_provider_wmigrate.engine.session.session import Session

_SHORTEST, RISES = 0.03, 1.6
"""Seconds of the first wait, and how much longer each further one for the same lock is."""
_SHARE = 0.5
"""Of the server's deadlock_timeout: the longest wait with nothing in hand."""
_VACUUM = 1.3
"""Of the same: an autovacuum gives way only to somebody who has waited for all of it."""
_LOOKS = 0.1
"""Of the same: after a longer wait in vain it is looked who holds the lock."""
PAUSE, LONGEST_PAUSE = 0.01, 0.08
"""Seconds between two tries, about, for those who stood behind us."""


@dataclass
class Tries:
    """One attempt at the locks that come before the first statement.

    :param needs: those that are left, the one that is waited for in front.
    :param inside: seconds that the script itself may wait for a lock later.
    :param end: until when they are tried, on the monotonic clock.
    :param holds: locks are held already, so that none may be waited for.
    :param look: finds out in which modes others hold what stands in the way of a lock.
    """

    session: Session
    needs: list[LockNeed]
    inside: float
    end: float
    holds: bool
    look: Callable[[LockNeed], set[LockMode]]
    wait: float = field(default=0.0, init=False)
    """Seconds for the first of them; 0: it has to be free like the others."""
    pause: float = field(default=PAUSE, init=False)
    begun: bool = field(default=False, init=False)
    aside: bool = field(default=False, init=False)
    """The first of them is in the hands of a VACUUM or the like: it is waited for in that one's own mode, which is in
    nobody's way who reads or writes, and for which an autovacuum gives way too."""

    def head(self) -> tuple[Head, dict[int, LockNeed]]:
        """The statements of the next try, and for which lock each of them asks, by its number."""
        waits, aside = self.wait > 0, replace(self.needs[0], mode=LockMode.SHARE_UPDATE_EXCLUSIVE)
        before = [BACK if self.begun else SAVEPOINT, *([_limit(self.wait)] if waits else [])]
        behind = [*([_limit(self.inside)] if waits else []), RELEASE]
        wanted = [aside, *self.needs] if self.aside else self.needs
        locks = [lock_statement(need, nowait=not waits or at > 0) for at, need in enumerate(wanted)]
        statements = [*before, *locks, *behind]
        self.begun = True
        asked = [self.needs[0], *self.needs] if self.aside else self.needs
        return Head(b"; ".join(statements) + b";\n", len(statements)), dict(enumerate(asked, len(before)))

    def again(self, need: LockNeed) -> bool:
        """Pause before the next try, since a lock was not free; by now the server has let all of them go.

        :return: False: there is no time left for one.
        """
        left = self.end - time.monotonic()
        if left <= 0 or not self.session.interruption.pause(min(random.uniform(0.5, 1.5) * self.pause, left)):
            return False
        self.pause = min(self.pause * RISES, LONGEST_PAUSE)
        self.wait = min(self._next_wait(need), left)
        self.needs.sort(key=lambda each: (each is not need, -each.mode))
        return True

    def _next_wait(self, need: LockNeed) -> float:
        known = self.session.login.patience_seconds
        if self.holds:
            return 0.0
        was_aside, self.aside = self.aside, False
        waited = self.wait if need is self.needs[0] else 0.0
        if waited > _LOOKS * known:
            ask(self.session.conn, BACK)
            self.aside = LockMode.SHARE_UPDATE_EXCLUSIVE in self.look(need)
        if self.aside:
            return _VACUUM * self.session.login.deadlock_seconds
        wanted = _SHORTEST if was_aside or not waited else waited * RISES
        return random.uniform(0.8, 1.0) * min(wanted, _SHARE * known)


def lock_statement(need: LockNeed, *, nowait: bool = True) -> bytes:
    """Without its children: the server would stand in the queue for each of them, with the others in its hands."""
    end = " NOWAIT" if nowait else ""
    return f"LOCK TABLE ONLY {need.relation} IN {need.mode.keyword} MODE{end}".encode()


def _limit(seconds: float) -> bytes:
    return b"SELECT pg_catalog.set_config('lock_timeout', '%dms', true)" % max(int(seconds * 1000), 1)


SAVEPOINT, BACK = b"SAVEPOINT wmigrate_locks", b"ROLLBACK TO SAVEPOINT wmigrate_locks"
RELEASE = b"RELEASE SAVEPOINT wmigrate_locks"
