"""Questions about the ledger's rows. Each is sent, and gives what takes its answer, so that several can go together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from sys import intern
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import tuple_row

from airflow_provider_wmigrate.engine.model import IDENTITY_COLUMNS, Entry, Identity, LastEvent, version_key


def asking_entries(
    conn: Connection[Any], schema: str, versions: Collection[str] | None = None
) -> Callable[[], tuple[Entry, ...]]:
    """Asks for rows of schema_migrations, in numeric order, without the rollback scripts.

    :param versions: of these alone; None: all.
    """
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in (*_SELF, *IDENTITY_COLUMNS))
    only = sql.SQL(" WHERE version = ANY(%s)" if versions is not None else "")
    query = sql.SQL("SELECT {} FROM {}{}").format(columns, sql.Identifier(schema, "schema_migrations"), only)
    answer = conn.cursor(row_factory=tuple_row).execute(query, [list(versions)] if versions is not None else None)
    return lambda: tuple(sorted((_entry(row) for row in answer), key=lambda e: version_key(e.version)))


def asking_metadata(conn: Connection[Any], schema: str) -> Callable[[], dict[str, str]]:
    """Asks for application_metadata."""
    query = sql.SQL("SELECT key, value FROM {}").format(sql.Identifier(schema, "application_metadata"))
    answer = conn.cursor(row_factory=tuple_row).execute(query)
    return lambda: dict(answer.fetchall())


_SELF = (
    "version", "name", "status", "checksum", "checksum_algorithm", "dependencies", "rollback_checksum", "applied_at",
    "duration_ms", "statements_done", "statements_total", "statement_hashes", "direction",
)  # fmt: skip
"""Columns, as `_entry` takes them, before those of an identity."""
_same_identity = lru_cache(maxsize=256)(Identity)
"""Thousands of entries are of one account, or of a few runs."""


def _entry(row: Sequence[Any]) -> Entry:
    *itself, hashes, direction = row[: len(_SELF)]
    version, name, status, digest, algorithm, needs, *others = itself
    who, way = _same_identity(*row[len(_SELF) :]), intern(direction)
    known = (name, intern(status), digest, intern(algorithm), tuple(needs), *others, tuple(hashes), who, way)
    return Entry(version, *known)


# How the last attempt at each migration ended, from the audit log

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
