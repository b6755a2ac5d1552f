"""Who holds up a server process."""

from __future__ import annotations

from typing import Any

from psycopg import Connection

from airflow_provider_wmigrate.engine.record import Blocker

_CONFLICTS = {
    "AccessShareLock": {"AccessExclusiveLock"},
    "RowShareLock": {"ExclusiveLock", "AccessExclusiveLock"},
    "RowExclusiveLock": {"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"},
    "ShareUpdateExclusiveLock": {
        "ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
    },
    "ShareLock": {
        "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
    },
}  # fmt: skip
"""Which locks keep each lock waiting (PostgreSQL's manual, table 13.2); those that are not here wait for nearly all."""
_FREE_OF = {"ShareRowExclusiveLock": {"AccessShareLock", "RowShareLock"}, "ExclusiveLock": {"AccessShareLock"}}


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
        " WHERE w.pid = %s AND NOT w.granted AND h.granted AND h.pid IS NULL ORDER BY p.prepared, p.gid",
        [pid],
    ).fetchall()
    found = {
        gid: Blocker(0, owner, None, since, gid)
        for gid, owner, since, wanted, held in rows
        if held in _CONFLICTS.get(wanted, {held} - _FREE_OF.get(wanted, set()))
    }
    return tuple(found.values())
