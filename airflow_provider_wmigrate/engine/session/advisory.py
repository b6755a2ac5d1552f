"""Session locks in the target database, by which runners keep out of one another's way. They end with the session, and
are waited for outside any transaction, with a bound."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct
from psycopg import Connection

from airflow_provider_wmigrate.engine.errors import LockTimeout, WMigrateError

from .connection import not_one_session
from .interruption import Interruption


class AdvisoryLock(Struct, frozen=True):
    """A session lock in the target database. `key` is its name; the number is a hash of it."""

    key: str
    shared: bool = False

    @property
    def number(self) -> int:
        return int.from_bytes(hashlib.sha256(self.key.encode()).digest()[:8], "big", signed=True)


def ledger_lock(schema: str, *, shared: bool = False) -> AdvisoryLock:
    """Of the whole ledger in a schema: shared for who acts on one migration, exclusive for who changes the ledger."""
    return AdvisoryLock(f"wmigrate:{schema}", shared)


def version_lock(schema: str, version: str, *, shared: bool = False) -> AdvisoryLock:
    """Of one migration: exclusive for who acts on it, shared for who needs it to stay as it is."""
    return AdvisoryLock(f"wmigrate:{schema}:{version}", shared)


def report_lock(schema: str) -> AdvisoryLock:
    """Of what consumers are told of a ledger: exclusive for who looks whether they know, until they have been told."""
    return AdvisoryLock(f"wmigrate:{schema}:report")


def snapshot_lock(schema: str) -> AdvisoryLock:
    """Of the known schema that a ledger keeps: exclusive for who reads the schema and writes it down."""
    return AdvisoryLock(f"wmigrate:{schema}:snapshot")


LOADS = AdvisoryLock("wmigrate:loads", shared=True)
"""Of the whole database: held by each load that has a guard, while it is at work."""
MIGRATIONS = AdvisoryLock("wmigrate:migrations", shared=True)
"""Of the whole database: held by each migration that keeps clear of loads; see `loads`."""

_HANDOVER_SECONDS = 10.0
"""How long the server may take to end a closed session, until which that one's locks are held."""


class SessionLocks:
    """:param conn: gives the session's connection, which may be renewed."""

    def __init__(self, conn: Callable[[], Connection[Any]], interruption: Interruption) -> None:
        self._conn, self._interruption = conn, interruption
        self._held: tuple[AdvisoryLock, ...] = ()

    def acquire(
        self,
        locks: Sequence[AdvisoryLock],
        *,
        wait_seconds: float,
        on_wait: Callable[[float, tuple[int, ...]], None],
        what: str = "the advisory lock of this migration",
    ) -> None:
        """Take all locks or none, polling outside any transaction.

        A waiter that sits in a transaction would hold a snapshot, and CREATE INDEX CONCURRENTLY of the runner it waits
        for would wait for that snapshot: neither would ever end.

        :param what: they are, for the one who reads that they were not free.
        :raises LockTimeout: not free within `wait_seconds`.
        """
        start, told, pause = time.monotonic(), 1.0, 0.05
        while not _try_all(self._conn(), locks):
            waited = time.monotonic() - start
            if self._interruption.requested:
                raise WMigrateError("cancelled on request while waiting for another runner", retryable=True)
            if waited >= wait_seconds:
                hint = "another runner is at work; look at pg_stat_activity, or raise lock_wait_seconds"
                by = _holders(self._conn(), locks)
                raise LockTimeout(what, waited, outcome="nothing was changed", holders=by, hint=hint)
            if waited >= told:
                on_wait(waited, _holders(self._conn(), locks))
                told = waited * 2 + 1
            time.sleep(min(pause * random.uniform(0.5, 1.5), max(min(wait_seconds, told) - waited, 0.0)))
            pause = min(pause * 1.5, 1.0)
        self.hold(locks)

    def hold(self, locks: Sequence[AdvisoryLock]) -> None:
        """These are held now, and no others."""
        self._held = tuple(locks)

    def keep(self) -> None:
        """Take them once more, should a script have given them back (DISCARD ALL, pg_advisory_unlock_all).

        :raises LockTimeout: another runner has them now.
        """
        if not _try_all(self._conn(), self._held):
            outcome = "what ran before is kept, and another runner goes on"
            hint = "the script gave the locks back that keep other runners away: take DISCARD ALL out"
            what = "the advisory lock of this migration"
            raise LockTimeout(what, 0.0, holders=_holders(self._conn(), self._held), outcome=outcome, hint=hint)
        self._refuse_loads()

    def _refuse_loads(self) -> None:
        """Where the locks were given back for a moment, a load may have begun in it.

        :raises LockTimeout: it has, and goes on.
        """
        loads = _holders(self._conn(), [LOADS]) if MIGRATIONS in self._held else ()
        if loads:
            outcome = "what ran before is kept, and a load that began meanwhile goes on"
            raise LockTimeout("the guard", 0.0, holders=loads, outcome=outcome, hint="it is resumed by the next run")

    def release(self, lock: AdvisoryLock) -> None:
        """Give one back.

        :raises ConnectionFailed: it was not held any more.
        """
        if not given_back(self._conn(), lock):
            raise not_one_session()

    def release_all(self) -> None:
        """Give all of them back, and those that scripts took."""
        self._conn().execute("SELECT pg_catalog.pg_advisory_unlock_all()")
        self.hold(())

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(lock.number for lock in self._held)

    def take_over(self) -> None:
        """The same locks on a new connection.

        :raises LockTimeout: another runner was quicker, and goes on.
        """
        self.acquire(self._held, wait_seconds=_HANDOVER_SECONDS, on_wait=lambda waited, pids: None)
        self._refuse_loads()


def taken(conn: Connection[Any], lock: AdvisoryLock) -> bool:
    """Take one lock, if it is free."""
    return _try_all(conn, [lock])


def given_back(conn: Connection[Any], lock: AdvisoryLock) -> bool:
    """Give one back; whether it was held."""
    query = f"SELECT pg_catalog.pg_advisory_unlock{'_shared' if lock.shared else ''}(%s)"
    return conn.execute(query.encode(), [lock.number]).fetchone() == (True,)


def _try_all(conn: Connection[Any], locks: Sequence[AdvisoryLock]) -> bool:
    """Take all locks, or none."""
    calls = ", ".join(f"pg_catalog.pg_try_advisory_lock{'_shared' if lock.shared else ''}(%s)" for lock in locks)
    got = conn.execute(f"SELECT {calls}".encode(), [lock.number for lock in locks]).fetchone() or ()
    if all(got):
        return True
    for lock, held in zip(locks, got, strict=True):
        if held:
            given_back(conn, lock)
    return False


def is_held(lock: AdvisoryLock) -> bytes:
    """Whether anybody in this database holds it: an expression, whatever operators the search_path may show."""
    return (
        b"EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND granted"
        b" AND objsubid OPERATOR(pg_catalog.=) 1 AND classid OPERATOR(pg_catalog.=) '%d'::pg_catalog.oid"
        b" AND objid OPERATOR(pg_catalog.=) '%d'::pg_catalog.oid AND database OPERATOR(pg_catalog.=)"
        b" (SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))"
        % (lock.number >> 32 & 0xFFFFFFFF, lock.number & 0xFFFFFFFF)
    )


def _holders(conn: Connection[Any], locks: Sequence[AdvisoryLock]) -> tuple[int, ...]:
    """The other server processes that hold any of them."""
    rows = conn.execute(
        "SELECT DISTINCT pid FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
        " AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
        " AND (classid::bigint << 32) | objid::bigint = ANY(%s) AND pid <> pg_catalog.pg_backend_pid()"
        " ORDER BY pid",
        [[lock.number for lock in locks]],
    )
    return tuple(pid for (pid,) in rows)
