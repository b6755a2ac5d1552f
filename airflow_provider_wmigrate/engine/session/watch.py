"""Looks from a second connection at a running migration: who holds it up, and whom it holds up. It only looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import psycopg

from airflow_provider_wmigrate.engine.catalog.blockers import blockers
from airflow_provider_wmigrate.engine.record import Blocker

from .answering import keep_alive, limit_answers
from .connection import Connect, readable, settings
from .message import ask

_FIRST_LOOK = 0.3
"""Seconds before the second connection is opened: most scripts are over by then, and pay neither for it nor for a
thread."""
_BETWEEN_LOOKS = 0.5

Key = tuple[int, "str | None"]
OnBlocked = Callable[[tuple[Blocker, ...], float], None]
OnStandby = Callable[[float], None]


@dataclass
class Waits:
    """Who held up a migration, in the order in which they were seen, and for how long in one go, in seconds."""

    blockers: dict[Key, Blocker] = field(default_factory=dict)
    longest: float = 0.0


class Watch:
    """While its block runs, tells who blocks a server process, whenever it is somebody else than before.

    That the watching fails is no failure of the migration.

    :param pid: gives the server process that runs the migration; a statement may have one of its own.
    :param waits: kept up to date.
    :param on_blocked: called in a thread of its own, with the blockers and the seconds waited for them so far.
    :param on_standby: called likewise while a commit waits for a synchronous standby, now and then, with the seconds.
    """

    def __init__(
        self,
        connect: Connect,
        pid: Callable[[], int],
        application_name: str,
        waits: Waits,
        on_blocked: OnBlocked,
        on_standby: OnStandby,
    ) -> None:
        self._connect, self._pid, self._name = connect, pid, application_name
        self._waits = waits
        self._on_blocked, self._on_standby = on_blocked, on_standby
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._begun = 0.0
        self._held_since: dict[str, float] = {}

    def held_ms(self, relation: str) -> int | None:
        """How long an AccessExclusive lock on a relation that existed before was seen to be held, in milliseconds.

        None: not seen, so for less than about a second, or on a relation the migration itself made.
        """
        since = self._held_since.get(relation)
        return None if since is None else round((time.monotonic() - since) * 1000)

    def __enter__(self) -> Watch:
        self._begun = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=2.0)

    def on_wait(self, now: float) -> None:
        """Told now and then that the migration still runs, with the monotonic clock: begins to look."""
        if self._thread is None and now - self._begun > _FIRST_LOOK:
            self._thread = threading.Thread(target=self._run, name="wmigrate-watch", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        with suppress(psycopg.Error), self._connect() as conn:
            readable(conn)
            keep_alive(conn)
            limit_answers(conn)
            ask(conn, b"SELECT " + settings(conn, self._name, watched=False))
            told: tuple[Key, ...] = ()
            since = time.monotonic() - _FIRST_LOOK
            standby = _Standby(self._on_standby)
            while not self._over.is_set():
                told, since = self._look_at_blockers(conn, told, since)
                self._look_at_locks(conn)
                standby.look(conn, self._pid())
                self._over.wait(_BETWEEN_LOOKS)

    def _look_at_blockers(
        self, conn: psycopg.Connection[Any], told: tuple[Key, ...], since: float
    ) -> tuple[tuple[Key, ...], float]:
        found = blockers(conn, self._pid())
        who = tuple(blocker.key for blocker in found)
        if not who:
            return (), time.monotonic()
        self._waits.longest = max(self._waits.longest, time.monotonic() - since)
        self._waits.blockers.update({blocker.key: blocker for blocker in found})
        if who != told and not self._over.is_set():
            self._on_blocked(found, time.monotonic() - since)
        return who, since

    def _look_at_locks(self, conn: psycopg.Connection[Any]) -> None:
        held = set(_access_exclusive(conn, self._pid()))
        self._held_since = {name: self._held_since.get(name, time.monotonic()) for name in held}


class _Standby:
    """Tells of a commit that waits for a synchronous standby: at once, then after twice the time each."""

    def __init__(self, tell: OnStandby) -> None:
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
