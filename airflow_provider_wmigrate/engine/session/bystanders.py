"""What others felt of a migration, put together from looks at who waits. Knows no connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence

from airflow_provider_wmigrate.engine.catalog.waits import Waiter, because_of, in_a_circle
from airflow_provider_wmigrate.engine.record import NO_LOOK, Bystanders

from .interruption import Spared

_AT_THE_LATEST = 2.0
"""Seconds after which the first look is late."""
Spare = Callable[["Spared | None"], None]


class Felt:
    """One migration's account. One thread looks, and another one says when a try of it is over.

    Times are those of the monotonic clock.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._last = self._ended = time.monotonic()
        self._unseen = 0.0
        self.looks = self._sessions = 0
        self._longest = 0.0
        self._relations: dict[str, None] = {}
        self._waits: dict[int, float] = {}
        """Since when each session waits that did at the last look."""
        self._deadlocks = _Deadlocks()
        self.trouble: str | None = None
        """Why nothing more will be seen."""
        self._limit: float | None = None
        self._spare: Spare = lambda spared: None
        self._gives_way = False
        self._done = False
        self.tries = 0
        """Over so far, the last one with its commit."""

    def begin(self, limit: float | None, spare: Spare, *, gives_way: bool = False) -> None:
        """The migration begins.

        :param limit: seconds that others may wait because of it; None: as long as it takes.
        :param spare: told that they have waited for longer, and with None that this is over.
        :param gives_way: it also spares those who wait for it while it waits for them.
        """
        self._last = self._ended = time.monotonic()
        self._limit, self._spare, self._gives_way = limit, spare, gives_way

    def saw(self, waiting: Sequence[Waiter], ours: Collection[int], tries: int) -> Bystanders | None:
        """A look.

        :param tries: the number of tries that were over when it began.
        :return: who waits now; None: nobody.
        """
        with self._mutex:
            if tries != self.tries:  # what it saw is over
                return None
            now = time.monotonic()
            timed = [w if w.seconds is not None else w._replace(seconds=self._seen_for(w.pid, now)) for w in waiting]
            circle = in_a_circle(timed, ours)
            self._deadlocks.saw(circle)
            felt = because_of(timed, ours, now - self._ended)
            waits = {w.pid: now - felt[w.pid] for w in timed if w.counts and w.pid in felt}
            self._end_waits(self._waits.keys() - waits.keys(), (self._last + now) / 2)
            self._waits = waits
            self._unseen = max(self._unseen, now - self._last)
            self._last, self.looks = now, self.looks + 1
            if not waits:
                return None
            longest = now - min(waits.values())
            relations = dict.fromkeys(w.relation for w in timed if w.pid in waits and w.relation)
            self._sessions, self._longest = max(self._sessions, len(waits)), max(self._longest, longest)
            self._relations |= relations
            found = Bystanders(0, 1, len(waits), round(longest * 1000), tuple(relations))
            limit = self._limit if self._limit is not None and longest > self._limit else None
            if (limit or (self._gives_way and circle)) and not self._done:
                self._spare(Spared(found, limit, not {w.pid for w in timed}.isdisjoint(ours)))
            return found

    def done(self) -> Bystanders:
        """The script has run: the commit comes next, and lets all of them go. No one is spared by a cancel now."""
        with self._mutex:
            self._done = True
            self._spare(None)
        return self.told()

    def _seen_for(self, pid: int, now: float) -> float:
        return now - self._waits.get(pid, now)

    def _end_waits(self, pids: Collection[int], at: float) -> None:
        """They ended between two looks, nobody knows when: half way, or with the try, which lets all of them go."""
        for pid in pids:
            self._longest = max(self._longest, at - self._waits[pid])

    def counted(self, deadlocks: int | None) -> None:
        """The server's count, from which that of the first look is taken off."""
        self._deadlocks.counted(deadlocks)

    def cannot(self, why: str) -> None:
        """Nothing more will be seen."""
        self.trouble = self.trouble or why

    def try_over(self, *, deadlock: bool = False) -> None:
        """The try has failed and is rolled back, and nobody waits for it any more.

        :param deadlock: the server ended it for a deadlock, so it was nobody else.
        """
        with self._mutex:
            self._all_let_go()
            self._deadlocks.try_over(ours=deadlock)
            self._done = False
            self._spare(None)

    def committed(self) -> Bystanders:
        """The commit is over, and nobody waits for it any more."""
        with self._mutex:
            self._all_let_go()
        return self.told()

    def _all_let_go(self) -> None:
        now = time.monotonic()
        self._end_waits(self._waits.keys(), now)
        self._waits, self._ended, self.tries = {}, now, self.tries + 1

    def told(self) -> Bystanders:
        """What was felt until now."""
        with self._mutex:
            unseen = round(1000 * max(self._unseen, time.monotonic() - self._last))
            if not self.looks:
                late = "there was no second connection in time" if unseen > 1000 * _AT_THE_LATEST else NO_LOOK
                return Bystanders(unseen, not_measured=self.trouble or late)
            known = self.trouble is None or self._sessions > 0  # nothing seen by a look that failed is not nobody
            return Bystanders(
                unseen,
                self.looks,
                self._sessions if known else None,
                round(self._longest * 1000) if known else None,
                tuple(sorted(self._relations)),
                self._deadlocks.told(),
                self.trouble,
            )


class _Deadlocks:
    """How many transactions of others were ended for a deadlock: by the server's count, and by what was seen.

    The server tells it late, often only when the one that was ended is rolled back by its client. A deadlock lasts for
    `deadlock_timeout`, so it is seen: who waits for us while we wait for it can only be ended, or we.
    """

    def __init__(self) -> None:
        self._first: int | None = None
        self._newest: int | None = None
        self._ours = self._ended = 0
        self._circle: set[int] = set()
        self._left = 0
        """Left it by the last look. It counts once we are seen to go on: else it was our end."""

    def saw(self, circle: set[int]) -> None:
        self._ended += self._left
        self._left, self._circle = len(self._circle - circle), circle

    def try_over(self, *, ours: bool) -> None:
        self._circle, self._left = set(), 0
        self._ours += ours

    def counted(self, so_far: int | None) -> None:
        self._newest = so_far
        self._first = so_far if self._first is None else self._first

    def told(self) -> int | None:
        seen = self._ended + self._left
        if self._first is None or self._newest is None:
            return seen or None
        return max(self._newest - self._first - self._ours, seen)
