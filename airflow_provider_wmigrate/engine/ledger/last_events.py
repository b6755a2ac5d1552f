"""How the last attempt at each migration ended, from the audit log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import tuple_row

from airflow_provider_wmigrate.engine.model import Identity, LastEvent

CHANGED = ("applied", "rolled_back", "repaired", "baselined", "adopted", "baseline_undone")
"""Events after which the ledger says something else, or a person has settled something."""

_SETTLING = ("failed", "rollback_failed", *CHANGED)
"""Events that say how an attempt ended, or that a person has settled it since."""


def asking_last_events(conn: Connection[Any], schema: str) -> Callable[[], tuple[LastEvent, ...]]:
    """Asks of each version for the last event that settles it; dry runs apart.

    The versions are found by steps through the index, and each one's event by one look into it: the length of the log
    costs nothing.
    """
    query = sql.SQL(
        "WITH RECURSIVE known (version) AS ("
        "(SELECT version FROM {log} WHERE version IS NOT NULL ORDER BY version LIMIT 1) UNION ALL"
        " SELECT (SELECT l.version FROM {log} l WHERE l.version > known.version ORDER BY l.version LIMIT 1) FROM known"
        " WHERE known.version IS NOT NULL)"
        " SELECT known.version, a.*, coalesce(("
        "SELECT details ->> 'decision' = 'forget' FROM {log} l WHERE l.version = known.version AND event = ANY(%s)"
        " AND details ->> 'decision' IS DISTINCT FROM 'settle' ORDER BY position DESC LIMIT 1), false)"
        " FROM known, LATERAL ("
        "SELECT event, at, actor, dag_id, run_id, task_id, try_number, details ->> 'error', details ->> 'sqlstate'"
        " FROM {log} l WHERE l.version = known.version AND event = ANY(%s)"
        " AND coalesce(details ->> 'dry_run', 'false') <> 'true' ORDER BY position DESC LIMIT 1) AS a"
        " ORDER BY known.version::numeric"
    ).format(log=sql.Identifier(schema, "audit_log"))
    answer = conn.cursor(row_factory=tuple_row).execute(query, [list(CHANGED), list(_SETTLING)])
    return lambda: tuple(
        LastEvent(version, event, at, Identity(*who), error or "", sqlstate, forgotten)
        for version, event, at, *who, error, sqlstate, forgotten in answer
    )
