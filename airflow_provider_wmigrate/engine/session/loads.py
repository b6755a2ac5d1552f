"""Loads and migrations, kept apart by two session locks in the target database, both shared: one is of the loads, the
other of the migrations. Each side takes its own first and looks for the other's then, so of two that come at one moment
at least one sees the other. Nobody waits in a queue of the server: who has to wait polls, outside any transaction.

A load that sees migrations gives its lock back and waits. A migration that sees loads keeps its own for a while, so
that no other load begins; then it lets loads begin for as long, and so on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import Connection

from airflow_provider_wmigrate.engine.errors import ConnectionFailed, LockTimeout, WMigrateError
from airflow_provider_wmigrate.engine.folder.config.settings import Guard

from .advisory import LOADS, MIGRATIONS, AdvisoryLock, given_back, taken
from .connection import in_words
from .session import Connect, Session, open_session

_POLL = 0.1
"""Seconds between two looks: a look reads what locks there are, and takes none."""


class Holder(Struct, frozen=True):
    """A session that holds one of the two locks."""

    pid: int
    name: str
    """Its application_name."""
    user: str
    since: datetime | None
    """When it was opened; None: this role may not see that."""

    def __str__(self) -> str:
        name = self.name.removeprefix("wmigrate ") or "a session without a name"
        return f"{name} (pid {self.pid}, user {self.user})"


Told = Callable[[float, tuple[Holder, ...]], None]
"""Told who is waited for, and for how many seconds so far: after a second, and each time that it has doubled."""


def holders(conn: Connection[Any], lock: AdvisoryLock) -> tuple[Holder, ...]:
    """The other sessions that hold a lock, in this database."""
    return tuple(Holder(*row) for row in conn.execute(HOLDERS, [[lock.number]]))


HOLDERS = (
    "SELECT DISTINCT l.pid, COALESCE(a.application_name, ''), COALESCE(a.usename::text, ''), a.backend_start"
    " FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid <> pg_catalog.pg_backend_pid()"
    " AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
    " AND (l.classid::bigint << 32) | l.objid::bigint = ANY(%s) ORDER BY l.pid"
)
"""The columns of `Holder`, of whoever else holds one of the locks with these numbers."""


class _Wait:
    """One wait: how long it has lasted, whom it is told, and when it is over."""

    def __init__(self, seconds: float, told: Told) -> None:
        self._start, self._seconds, self._told, self._tell_at = time.monotonic(), seconds, told, 1.0

    @property
    def waited(self) -> float:
        return time.monotonic() - self._start

    def go_on(self, who: tuple[Holder, ...], *, outcome: str, hint: str) -> None:
        """A moment later.

        :raises LockTimeout: it has lasted long enough.
        """
        if self.waited >= self._seconds:
            by = "; ".join(map(str, who)) or "others that came and went"
            raise LockTimeout("the guard", self.waited, outcome=outcome, hint=f"{by} held it; {hint}")
        if self.waited >= self._tell_at:
            self._told(self.waited, who)
            self._tell_at = self.waited * 2
        time.sleep(min(_POLL, self._seconds - self.waited))


# The side of the migrations


def wait_for_loads(session: Session, guard: Guard, told: Told) -> None:
    """Take the migrations' lock as soon as no load is at work; the session holds it then.

    :raises LockTimeout: loads were at work for too long.
    """
    conn, wait = session.conn, _Wait(guard.wait_seconds, told)
    hint = "run it when they have ended, or raise settings.guard.wait_seconds"
    holds, turn = taken(conn, MIGRATIONS), wait.waited
    while (loads := holders(conn, LOADS)) or not holds:
        try:
            if session.interruption.requested:
                raise WMigrateError("cancelled on request while waiting for loads", retryable=True)
            wait.go_on(loads, outcome="nothing was changed", hint=hint)
        except BaseException:
            if holds:
                given_back(conn, MIGRATIONS)
            raise
        if wait.waited - turn >= guard.hold_back_seconds:
            turn = wait.waited
            holds = not given_back(conn, MIGRATIONS) if holds else taken(conn, MIGRATIONS)
        elif not holds and not loads:
            holds = taken(conn, MIGRATIONS)


# The side of the loads

_INSIDE = set[tuple[int, datetime | None]]()
"""Server process of each guard that this process holds: a load within a load is let in, or both would wait for ever."""


@contextmanager
def load_guard(connect: Connect, name: str, *, wait_seconds: float, told: Told) -> Iterator[Callable[[], None]]:
    """While no migration runs: wait for those that are at work, and keep others from beginning.

    :param name: of the load, as migrations that wait for it tell it.
    :return: what tells whether it was held all the time, called when the load has ended; it raises ConnectionFailed.
    :raises ConnectionFailed: no connection, or a pooler gives every transaction another session.
    :raises LockTimeout: migrations were at work for longer than `wait_seconds`.
    """
    with open_session(connect, application_name=f"wmigrate load {name}") as session:
        try:
            me = _entered(session, _Wait(wait_seconds, told))
        except psycopg.Error as error:
            raise in_words(error, "the guard cannot be had") from error
        _INSIDE.add(me)
        try:
            yield lambda: _still_there(session)
        finally:
            _INSIDE.discard(me)


def _entered(session: Session, wait: _Wait) -> tuple[int, datetime | None]:
    conn = session.conn
    if conn.info.server_version >= 140000:
        conn.execute("SET idle_session_timeout = 0")
    while True:
        if not (migrations := holders(conn, MIGRATIONS)) or _inside(conn):
            got = taken(conn, LOADS)
            if got and (not (migrations := holders(conn, MIGRATIONS)) or _inside(conn)):
                break
            if got:
                given_back(conn, LOADS)
        hint = "run it when they have ended, or let it wait longer"
        wait.go_on(migrations, outcome="the load has not begun", hint=hint)
    session.locks.hold([LOADS])  # its end gives them back at once
    query = "SELECT backend_start FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()"
    row = conn.execute(query).fetchone()
    return session.login.pid, row[0] if row else None


def _inside(conn: Connection[Any]) -> bool:
    return bool(_INSIDE) and any((load.pid, load.since) in _INSIDE for load in holders(conn, LOADS))


def _still_there(session: Session) -> None:
    """:raises ConnectionFailed: it is not held any more."""
    try:
        if given_back(session.conn, LOADS):
            return
    except psycopg.Error:
        pass
    raise ConnectionFailed(
        "the guard of this load was lost while it was at work, so a migration may have run meanwhile",
        hint="look at what it has loaded, or run it again",
    )
