"""Session locks in the target database, by which runners keep out of one another's way. They end with the session."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg import Connection

from .connection import not_one_session


class AdvisoryLock(NamedTuple):
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


def try_all(conn: Connection[Any], locks: Sequence[AdvisoryLock]) -> bool:
    """Take all locks, or none."""
    calls = ", ".join(f"pg_catalog.pg_try_advisory_lock{'_shared' if lock.shared else ''}(%s)" for lock in locks)
    got = conn.execute(f"SELECT {calls}".encode(), [lock.number for lock in locks]).fetchone() or ()
    if all(got):
        return True
    for lock, taken in zip(locks, got, strict=True):
        if taken:
            query = f"SELECT pg_catalog.pg_advisory_unlock{'_shared' if lock.shared else ''}(%s)"
            conn.execute(query.encode(), [lock.number])
    return False


def holders(conn: Connection[Any], locks: Sequence[AdvisoryLock]) -> tuple[int, ...]:
    """The other server processes that hold any of them."""
    rows = conn.execute(
        "SELECT DISTINCT pid FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
        " AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
        " AND (classid::bigint << 32) | objid::bigint = ANY(%s) AND pid <> pg_catalog.pg_backend_pid()"
        " ORDER BY pid",
        [[lock.number for lock in locks]],
    )
    return tuple(pid for (pid,) in rows)


def give_back(conn: Connection[Any], lock: AdvisoryLock) -> None:
    """Give one back.

    :raises ConnectionFailed: it was not held any more.
    """
    if conn.execute("SELECT pg_catalog.pg_advisory_unlock(%s)", [lock.number]).fetchone() != (True,):
        raise not_one_session()
