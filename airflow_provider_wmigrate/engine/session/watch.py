"""Looks from a second connection at a running migration: who holds it up, and whom it holds up. It only looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

import psycopg

from airflow_provider_wmigrate.engine.catalog.waits import Wanted, blockers, deadlocks, waiters, wanted
from airflow_provider_wmigrate.engine.events import Blocked, Listener, Noticed, OthersWait, Waiting
from airflow_provider_wmigrate.engine.record import Blocker, Bystanders

from .answering import keep_alive, limit_answers
from .bystanders import Felt
from .connection import Connect, not_let_in, readable, settings
from .message import ask

if TYPE_CHECKING:
    from .session import Session

_FIRST_LOOK = 0.2
"""Seconds before the second connection is opened: most scripts are over by then, and pay neither for it nor for a
thread."""
_BETWEEN_LOOKS = 0.05
"""Seconds between two looks at who waits, at first. Of a long script they become rarer while nobody does: a short wait
counts less."""
_BETWEEN_OTHERS = 0.5
_FOR_LAST_LOOK = 0.1
"""Seconds that a script which is done waits for the last look, with its locks held."""
_WARN_AFTER = 1.0
"""Seconds of waiting after which it is told; then again each time after twice as long."""

Key = tuple[int, "str | None"]


@dataclass
class Waits:
    """Who held up a migration, in the order in which they were seen, and for how long in one go, in seconds; and what
    others felt of it."""

    blockers: dict[Key, Blocker] = field(default_factory=dict)
    longest: float = 0.0
    felt: Felt = field(default_factory=Felt)
    wanted: Wanted | None = None
    """What it was last seen to wait for."""
    _told: tuple[Key, ...] = ()

    def met(self, found: Sequence[Blocker]) -> bool:
        """Keep in mind who holds it up, and return whether it is somebody else than before."""
        self.blockers.update({blocker.key: blocker for blocker in found})
        before, self._told = self._told, tuple(blocker.key for blocker in found)
        return bool(found) and self._told != before


class Watch:
    """While its block runs, looks at it from outside: who blocks it, and who waits because of it.

    That the watching fails is no failure of the migration.

    :param waits: kept up to date.
    :param tell: called in a thread of its own.
    :param limit: seconds; when others have waited for longer, what runs is cancelled for their sake. None: never.
    :param gives_way: it is cancelled too when it waits for somebody who waits for it.
    """

    def __init__(
        self,
        connect: Connect,
        session: Session,
        version: str,
        waits: Waits,
        tell: Listener,
        limit: float | None,
        *,
        gives_way: bool,
    ) -> None:
        self._connect, self._session, self._version = connect, session, version
        self._waits, self._felt = waits, waits.felt
        self._tell, self._limit, self._gives_way = tell, limit, gives_way
        self._thread: threading.Thread | None = None
        self._begun = self._done_at = 0.0
        self._held_since: dict[str, float] = {}
        self._warned = _WARN_AFTER
        self._connected = self._others_wait = False

    def held_ms(self, relation: str) -> int | None:
        """How long an AccessExclusive lock on a relation that existed before was seen to be held, in milliseconds.

        None: not seen, so for less than about a second, or on a relation the migration itself made.
        """
        since = self._held_since.get(relation)
        return None if since is None else round((time.monotonic() - since) * 1000)

    def last_look(self, *, commits: bool) -> Bystanders:
        """What others felt of a script that has run.

        :param commits: the commit comes next.
        """
        if self._thread is not None and self._felt.looks and not self._felt.trouble:
            self._seen.clear()
            self._wanted.set()
            self._seen.wait(_FOR_LAST_LOOK)
        self._done_at = time.monotonic()
        return self._felt.done() if commits else self._felt.told()

    def behind_commit(self, before: Bystanders | None) -> Bystanders | None:
        """What others felt with the commit, if that took long: it keeps all locks while it waits for a standby.

        :param before: what they had felt when it began.
        """
        return self._felt.committed() if time.monotonic() - self._done_at > _FIRST_LOOK else before

    def __enter__(self) -> Watch:
        self._begun = time.monotonic()
        self._felt.begin(self._limit, self._session.interruption.spare, gives_way=self._gives_way)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is None:
            return
        self._over.set()
        self._wanted.set()
        if self._connected:  # nobody waits for a pooler that has no connection left
            self._thread.join(timeout=2.0)

    def on_wait(self, now: float) -> None:
        """Told now and then that the migration still runs, with the monotonic clock: begins to look."""
        if self._thread is None and now - self._begun > _FIRST_LOOK:
            self._over, self._wanted, self._seen = threading.Event(), threading.Event(), threading.Event()
            self._thread = threading.Thread(target=self._run, name="wmigrate-watch", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        try:
            conn = self._connect()
        except psycopg.Error as error:
            self._blind(str(not_let_in(error)))
            return
        self._connected = True
        try:
            with conn:
                readable(conn)
                keep_alive(conn)
                limit_answers(conn)
                ask(conn, b"SELECT " + settings(conn, "wmigrate watch", watched=False))
                self._look(conn)
        except psycopg.Error as error:
            self._blind(f"the second connection failed ({(str(error).splitlines() or [type(error).__name__])[0]})")

    def _blind(self, why: str) -> None:
        if self._over.is_set() or self._felt.trouble:
            return
        self._felt.cannot(why)
        if self._limit is not None:
            said = f"max_bystander_wait_seconds has no effect on this migration: {why}"
            self._tell(Noticed(self._version, "WARNING", said))

    def _look(self, conn: psycopg.Connection[Any]) -> None:
        since = time.monotonic() - _FIRST_LOOK
        standby, others_at = _Standby(self._standby), 0.0
        prompt = conn.info.server_version >= 150000  # before, its statistics may let one wait
        while not self._over.is_set():
            last, begun = self._wanted.is_set(), time.monotonic()
            if last:
                self._wanted.clear()
            self._look_at_bystanders(conn)
            self._waits.wanted = wanted(conn, self._session.acting_pid) or self._waits.wanted
            cost = time.monotonic() - begun
            if last and prompt:
                self._felt.counted(deadlocks(conn))
            if last:
                self._seen.set()
            if begun >= others_at:
                others_at = begun + _BETWEEN_OTHERS
                self._felt.counted(deadlocks(conn))
                since = self._look_at_blockers(conn, since)
                self._look_at_locks(conn)
                standby.look(conn, self._session.acting_pid)
            self._wanted.wait(self._pause(cost))

    def _pause(self, cost: float) -> float:
        """Seconds until the next look: a fortieth of what the script has taken so far unless somebody waits, and much
        more than a look takes.

        :param cost: seconds that the last one took.
        """
        rarer = 0.0 if self._others_wait else (time.monotonic() - self._begun) / 40
        wanted = max(_BETWEEN_LOOKS, rarer, 10 * cost)
        return min(wanted, _BETWEEN_OTHERS, (self._limit or _BETWEEN_OTHERS) / 4)

    def _look_at_bystanders(self, conn: psycopg.Connection[Any]) -> None:
        if self._felt.trouble:
            return
        tries, ours = self._felt.tries, {self._session.login.pid, self._session.acting_pid}
        try:
            waiting = waiters(conn)
        except psycopg.errors.InsufficientPrivilege as error:
            self._blind(f"this role has no right to look ({error.diag.message_primary})")
            return
        now = self._felt.saw(waiting, ours, tries)
        self._others_wait = now is not None
        if now is None:
            return
        longest = (now.longest_wait_ms or 0) / 1000
        if longest >= self._warned and not self._over.is_set():
            self._warned = 2 * longest
            self._tell(OthersWait(self._version, now))

    def _standby(self, waited: float) -> None:
        self._tell(Waiting(self._version, "a synchronous standby to confirm the commit", waited))

    def _look_at_blockers(self, conn: psycopg.Connection[Any], since: float) -> float:
        """:return: since when it waits, on the monotonic clock."""
        found = blockers(conn, self._session.acting_pid)
        if not found:
            return time.monotonic()
        self._waits.longest = max(self._waits.longest, time.monotonic() - since)
        if self._waits.met(found) and not self._over.is_set():
            self._tell(Blocked(self._version, found, time.monotonic() - since))
        return since

    def _look_at_locks(self, conn: psycopg.Connection[Any]) -> None:
        held = set(_access_exclusive(conn, self._session.acting_pid))
        self._held_since = {name: self._held_since.get(name, time.monotonic()) for name in held}


class _Standby:
    """Tells of a commit that waits for a synchronous standby: at once, then after twice the time each."""

    def __init__(self, tell: Callable[[float], None]) -> None:
        self._tell, self._since, self._next = tell, 0.0, 0.0

    def look(self, conn: psycopg.Connection[Any], pid: int) -> None:
        query = "SELECT true FROM pg_catalog.pg_stat_activity WHERE pid = %s AND wait_event = 'SyncRep'"
        if conn.execute(query, [pid]).fetchone() is None:
            self._since = self._next = 0.0
            return
        now = time.monotonic()
        self._since = self._since or now
        if now >= self._next:
            self._tell(now - self._since)
            self._next = self._since + 2 * (now - self._since) + 2.0


def _access_exclusive(conn: psycopg.Connection[Any], pid: int) -> list[str]:
    """Relations the migration has locked against everybody. One it made itself is not visible from here."""
    rows = conn.execute(
        "SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname) FROM pg_catalog.pg_locks l"
        " JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE l.pid = %s AND l.locktype = 'relation' AND l.granted AND l.mode = 'AccessExclusiveLock'"
        " AND c.relkind IN ('r', 'p', 'm') AND n.nspname <> 'pg_catalog' AND n.nspname NOT LIKE 'pg\\_toast%%'",
        [pid],
    ).fetchall()
    return [name for (name,) in rows]
