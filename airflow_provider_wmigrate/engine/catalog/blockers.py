"""Who holds up a server process."""

from __future__ import annotations

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
