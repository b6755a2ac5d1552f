"""Which table locks a transaction holds, for whoever has to know what it keeps others from."""

from __future__ import annotations

from typing import Any

import psycopg

from airflow_provider_wmigrate.engine.model import LockTaken

_STRENGTH = (
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
"""PostgreSQL's table lock modes that stand in somebody's way, from weak to strong (its manual, section 13.3)."""


def locks_taken(conn: psycopg.Connection[Any], ledger_schema: str) -> tuple[LockTaken, ...]:
    """The strongest lock this transaction holds on each relation, readers' locks and the ledger's own apart."""
    rows = conn.execute(
        "SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname), pg_catalog.array_agg(l.mode)"
        " FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted"
        " AND l.mode = ANY(%s) AND c.relkind IN ('r', 'p', 'm', 'v', 'f')"
        " AND n.nspname <> ALL(%s) AND n.nspname NOT LIKE 'pg\\_toast%%' GROUP BY 1 ORDER BY 1",
        [list(_STRENGTH), ["pg_catalog", "information_schema", ledger_schema]],
    )
    return tuple(LockTaken(relation, max(modes, key=_STRENGTH.index)) for relation, modes in rows)
