"""What a look at a target reads beside the ledger's entries: who holds its locks. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.session.advisory import ledger_lock, version_lock


@dataclass(frozen=True, slots=True)
class LockHolder:
    """A session that holds advisory locks of this ledger now: a runner at work, or what is left of one."""

    pid: int
    application: str | None
    versions: tuple[str, ...]
    """Versions it holds exclusively: what it applies or rolls back. Empty: it holds the ledger alone."""
    seconds: float
    """Since its transaction began, or else its last statement."""
    waiting: tuple[int, ...]
    """Sessions that wait for a lock it holds, on a table or anything else."""


def lock_holders(conn: Connection[Any], ledger: Ledger, versions: Sequence[str]) -> tuple[LockHolder, ...]:
    """Who holds the ledger's lock or that of one of these versions, longest first."""
    numbers = {version_lock(ledger.schema, v).number: v for v in versions}
    rows = conn.execute(
        "SELECT l.pid, a.application_name,"
        " pg_catalog.array_agg((l.classid::bigint << 32) | l.objid::bigint) FILTER (WHERE l.mode = 'ExclusiveLock'),"
        " coalesce(extract(epoch FROM pg_catalog.clock_timestamp()"
        " - coalesce(a.xact_start, a.query_start, a.backend_start)), 0)::float8,"
        " ARRAY(SELECT w.pid FROM pg_catalog.pg_locks w WHERE NOT w.granted"
        " AND l.pid = ANY(pg_catalog.pg_blocking_pids(w.pid)) ORDER BY w.pid)"
        " FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        " AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
        " AND (l.classid::bigint << 32) | l.objid::bigint = ANY(%s)"
        " GROUP BY l.pid, a.application_name, a.xact_start, a.query_start, a.backend_start ORDER BY 4 DESC, 1",
        [[ledger_lock(ledger.schema).number, *numbers]],
    )
    return tuple(
        LockHolder(pid, application, tuple(numbers[n] for n in held or () if n in numbers), float(age), tuple(waiting))
        for pid, application, held, age, waiting in rows
    )


def only_read(conn: Connection[Any], *, statement_seconds: float, lock_seconds: float) -> None:
    """From here on this connection writes nothing, and no statement of it takes longer than that."""
    settings = {
        "default_transaction_read_only": "on",
        "statement_timeout": f"{max(round(statement_seconds * 1000), 1)}ms",
        "lock_timeout": f"{max(round(lock_seconds * 1000), 1)}ms",
    }
    for name, value in settings.items():
        conn.execute("SELECT pg_catalog.set_config(%s, %s, false)", [name, value])
