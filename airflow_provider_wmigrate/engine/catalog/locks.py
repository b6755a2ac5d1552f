"""Which table locks a transaction holds, for whoever has to know what it keeps others from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from airflow_provider_wmigrate.engine.record import LockTaken

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


_SHOWN = "c.relkind IN ('r', 'p', 'm', 'v', 'f') AND n.nspname <> ALL(%s) AND n.nspname NOT LIKE 'pg\\_toast%%'"


def _hidden(ledger_schema: str) -> list[str]:
    return ["pg_catalog", "information_schema", ledger_schema]


def relation_names(conn: psycopg.Connection[Any], ledger_schema: str) -> dict[int, str]:
    """What each relation is called now, by its identifier: a script may drop it, rename it, move it."""
    rows = conn.execute(
        "SELECT c.oid, pg_catalog.format('%%I.%%I', n.nspname, c.relname) FROM pg_catalog.pg_class c"
        f" JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {_SHOWN}".encode(),
        [_hidden(ledger_schema)],
    )
    return dict(rows.fetchall())


def locks_taken(
    conn: psycopg.Connection[Any], ledger_schema: str, names: Mapping[int, str] | None = None
) -> tuple[LockTaken, ...]:
    """The strongest lock this transaction holds on each relation, readers' locks and the ledger's own apart.

    :param names: what relations were called before, as others know them, also those that are dropped by now.
    """
    rows = conn.execute(
        "SELECT l.relation, CASE WHEN c.oid IS NOT NULL THEN pg_catalog.format('%%I.%%I', n.nspname, c.relname) END,"
        " pg_catalog.array_agg(l.mode)"
        " FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation"
        " LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND l.mode = ANY(%s)"
        " AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())"
        f" AND (c.oid IS NULL OR {_SHOWN}) GROUP BY 1, 2".encode(),
        [list(_STRENGTH), _hidden(ledger_schema)],
    )
    taken = []
    for relation, name, modes in rows:
        known = (names or {}).get(relation, name)
        if known is not None:  # else the script made it, and dropped it again
            taken.append(LockTaken(known, max(modes, key=_STRENGTH.index), dropped=name is None))
    return tuple(sorted(taken, key=lambda lock: lock.relation))
