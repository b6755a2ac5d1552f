"""Who holds up a server process, and who waits for whom: who waits because of us is worked out of it.

Never what anybody runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from psycopg import Connection

from airflow_provider_wmigrate.engine.lock_modes import LockMode
from airflow_provider_wmigrate.engine.record import Blocker


class Wanted(NamedTuple):
    """A lock that a server process waits for."""

    relation: str = ""
    """Schema and name, quoted; empty: it is on no table."""
    oid: int = 0
    mode: LockMode | None = None
    """None: it waits for a row, for a transaction to end, or for another thing that is no table."""


def wanted(conn: Connection[Any], pid: int) -> Wanted | None:
    """What a process waits for; None: for nothing."""
    row = conn.execute(
        "SELECT CASE WHEN c.oid IS NOT NULL THEN pg_catalog.format('%%I.%%I', n.nspname, c.relname) END,"
        " c.oid::pg_catalog.int8, l.mode"
        " FROM pg_catalog.pg_locks l LEFT JOIN (pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
        " ON n.oid = c.relnamespace) ON l.locktype = 'relation' AND c.oid = l.relation AND c.relkind IN ('r', 'p')"
        " WHERE l.pid = %s AND NOT l.granted LIMIT 1",
        [pid],
    ).fetchone()
    if row is None:
        return None
    return Wanted(row[0], row[1], LockMode.of(row[2])) if row[1] else Wanted()


def blockers(conn: Connection[Any], pid: int) -> tuple[Blocker, ...]:
    """The sessions and prepared transactions that a process waits for.

    Their queries are left out: they may hold values.
    """
    rows = conn.execute(
        "SELECT b.pid, coalesce(a.usename, a.backend_type), a.application_name, a.query_start"
        " FROM (SELECT DISTINCT unnest(pg_catalog.pg_blocking_pids(%s)) AS pid) b"
        " LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid ORDER BY b.pid",
        [pid],
    ).fetchall()
    sessions = tuple(Blocker(*row) for row in rows if row[0])
    prepared = _prepared(conn, pid) if len(sessions) < len(rows) else ()
    return (*sessions, *prepared)


def _prepared(conn: Connection[Any], pid: int) -> tuple[Blocker, ...]:
    """A prepared transaction has no session: the server gives process 0 for every one of them."""
    rows = conn.execute(
        "SELECT p.gid, p.owner, p.prepared, w.mode, h.mode FROM pg_catalog.pg_locks w JOIN pg_catalog.pg_locks h"
        " ON (h.locktype, h.database, h.relation, h.page, h.tuple, h.transactionid, h.classid, h.objid, h.objsubid)"
        " IS NOT DISTINCT FROM"
        " (w.locktype, w.database, w.relation, w.page, w.tuple, w.transactionid, w.classid, w.objid, w.objsubid)"
        " JOIN pg_catalog.pg_locks x ON x.locktype = 'transactionid' AND x.pid IS NULL AND x.mode = 'ExclusiveLock'"
        " AND x.virtualtransaction = h.virtualtransaction"
        " JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid"
        " WHERE w.pid = %s AND NOT w.granted AND h.granted AND h.pid IS NULL AND h.mode <> 'SIReadLock'"
        " ORDER BY p.prepared, p.gid",
        [pid],
    ).fetchall()
    found = {
        gid: Blocker(0, owner, None, since, gid)
        for gid, owner, since, wanted, held in rows
        if LockMode.of(wanted).conflicts(LockMode.of(held))
    }
    return tuple(found.values())


def holders(conn: Connection[Any], relation: int, mode: LockMode) -> tuple[tuple[Blocker, LockMode], ...]:
    """Who holds what keeps a lock on a table from being taken, whether or not somebody waits for it.

    :param relation: its identifier.
    """
    conflicting = [other.shown for other in LockMode if mode.conflicts(other)]
    rows = conn.execute(
        "SELECT DISTINCT coalesce(l.pid, 0), coalesce(p.owner, a.usename, a.backend_type), a.application_name,"
        " coalesce(p.prepared, a.query_start), p.gid, l.mode FROM pg_catalog.pg_locks l"
        " LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid LEFT JOIN pg_catalog.pg_locks x ON l.pid IS NULL"
        " AND x.pid IS NULL AND x.locktype = 'transactionid' AND x.virtualtransaction = l.virtualtransaction"
        " LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid"
        " WHERE l.locktype = 'relation' AND l.granted AND l.relation = %s AND l.mode = ANY (%s)"
        " AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())"
        " AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() ORDER BY 1, 5",
        [relation, conflicting],
    ).fetchall()
    return tuple((Blocker(*row), LockMode.of(held)) for *row, held in rows)


# Who waits

_OURS = "wmigrate "
"""How the name of every session of ours begins."""


class Waiter(NamedTuple):
    """A session that waits for a lock."""

    pid: int
    behind: tuple[int, ...]
    """Sessions that hold the lock, or stand before it in the queue."""
    seconds: float | None
    """For how long it has waited for this lock; None: the server does not say it (before PostgreSQL 14)."""
    relation: str | None
    """The table of the lock, as far as it can be seen: of a row, only for the first that waits for it."""
    counts: bool
    """It is a client's, and none of ours."""


def waiters(conn: Connection[Any]) -> tuple[Waiter, ...]:
    """All sessions that wait for a lock. Everybody may ask for it, unless the server's owner has taken that away.

    :raises psycopg.errors.InsufficientPrivilege: the owner has.
    """
    since = "waitstart" if conn.info.server_version >= 140000 else "NULL::pg_catalog.timestamptz"
    rows = conn.execute(_QUERY.replace("{waitstart}", since).encode()).fetchall()
    return tuple(Waiter(pid, tuple(behind), *more) for pid, behind, *more in rows)


_QUERY = f"""
WITH locks AS MATERIALIZED (
    SELECT pid, granted, {{waitstart}} AS since, relation, database = (
        SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) AS here
    FROM pg_catalog.pg_locks WHERE NOT granted OR locktype = 'tuple'),
waiting AS (
    SELECT DISTINCT ON (w.pid) w.pid, w.since, coalesce(CASE WHEN w.here THEN w.relation END, held.relation) AS relation
    FROM locks w LEFT JOIN locks held ON held.pid = w.pid AND held.granted AND held.here
    WHERE NOT w.granted AND w.pid <> pg_catalog.pg_backend_pid())
SELECT w.pid, pg_catalog.pg_blocking_pids(w.pid),
    pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - w.since),
    (SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = coalesce(
            (SELECT i.indrelid FROM pg_catalog.pg_index i WHERE i.indexrelid = w.relation), w.relation)),
    coalesce(a.backend_type <> 'autovacuum worker', true)
        AND NOT coalesce(pg_catalog.starts_with(a.application_name, '{_OURS}'), false)
FROM waiting w LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid
"""
"""A session waits for one lock at a time. Who waits for a row holds the row's `tuple` lock meanwhile, which names the
table, or waits for that."""


def deadlocks(conn: Connection[Any]) -> int | None:
    """How many transactions of the database the server has ended as deadlocked so far; None: it does not count them.

    A session tells it when it is idle after its ROLLBACK, at most once a second; before PostgreSQL 15 it may take half
    a second more. A statement of ours is a transaction of its own, so no older answer is kept for it.
    """
    row = conn.execute(
        b"SELECT CASE WHEN pg_catalog.current_setting('track_counts') = 'on'"
        b" THEN pg_catalog.pg_stat_get_db_deadlocks(oid) END"
        b" FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()"
    ).fetchone()
    return row[0] if row else None


def because_of(waiting: Iterable[Waiter], ours: Collection[int], going_on: float) -> dict[int, float]:
    """For how many seconds each session has waited because of us: for us, or for one that waits for us.

    Nobody waits longer because of us than the one for whom it waits.

    :param ours: our server processes.
    :param going_on: seconds for which the migration goes on.
    """
    by_pid = {waiter.pid: waiter for waiter in waiting if waiter.pid not in ours}
    known = dict.fromkeys(ours, going_on)
    changed = True
    while changed:
        changed = False
        for pid, waiter in by_pid.items():
            before = max((known[other] for other in waiter.behind if other in known), default=None)
            if before is None:
                continue
            seconds = min(waiter.seconds or 0.0, before)
            if pid not in known or seconds > known[pid]:
                known[pid], changed = seconds, True
    return {pid: seconds for pid, seconds in known.items() if pid not in ours}


def in_a_circle(waiting: Iterable[Waiter], ours: Collection[int]) -> set[int]:
    """Sessions that wait for us while we wait for them. Only the end of a transaction gets anybody out of it."""
    by_pid = {waiter.pid: waiter for waiter in waiting}
    awaited = {other for pid in ours if pid in by_pid for other in by_pid[pid].behind}
    return {pid for pid in awaited if pid in by_pid and not set(ours).isdisjoint(by_pid[pid].behind)}
