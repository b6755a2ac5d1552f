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
    return lambda: tuple(sorted(map(_entry, answer.fetchall()), key=lambda e: version_key(e.version)))


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

_FAILED = ("failed", "rollback_failed")
_SETTLING = (*_FAILED, *CHANGED)
"""Events that say how an attempt ended, or that a person has settled it since."""

_SHORT = 16 * 1024 * 1024
"""Bytes of a log that is read faster as a whole, than for each version in it one step through the index."""


def asking_last_events(conn: Connection[Any], schema: str) -> Callable[[], tuple[LastEvent, ...]]:
    """Asks of each version for the last event that settles it, dry runs apart: where that one failed, or a person has
    said since that its file is gone for good. Of the others nobody wants to know.

    Which versions they may be says a look through the log; of a long one, whose length shall cost nothing, steps from
    version to version through the index.
    """
    query = sql.SQL(
        "WITH RECURSIVE whole (is_short) AS"
        " (SELECT pg_catalog.pg_relation_size({name}::pg_catalog.regclass) < {short}),"
        " steps (version) AS ("
        "(SELECT version FROM {log} WHERE version IS NOT NULL AND NOT (SELECT is_short FROM whole)"
        " ORDER BY version LIMIT 1) UNION ALL"
        " SELECT (SELECT l.version FROM {log} l WHERE l.version > steps.version ORDER BY l.version LIMIT 1) FROM steps"
        " WHERE steps.version IS NOT NULL),"
        " known (version) AS (SELECT version FROM steps UNION"
        " SELECT version FROM {log} WHERE (SELECT is_short FROM whole) AND event = ANY(%(told)s))"
        " SELECT known.version, a.*, c.forgotten FROM known, LATERAL ("
        "SELECT event, at, actor, dag_id, run_id, task_id, try_number, details ->> 'error', details ->> 'sqlstate'"
        " FROM {log} l WHERE l.version = known.version AND event = ANY(%(settling)s)"
        " AND coalesce(details ->> 'dry_run', 'false') <> 'true' ORDER BY position DESC LIMIT 1) AS a,"
        " LATERAL (SELECT coalesce(("
        "SELECT details ->> 'decision' = 'forget' FROM {log} l WHERE l.version = known.version"
        " AND event = ANY(%(changed)s) AND details ->> 'decision' IS DISTINCT FROM 'settle'"
        " ORDER BY position DESC LIMIT 1), false)) AS c (forgotten)"
        " WHERE a.event = ANY(%(failed)s) OR c.forgotten"
        " ORDER BY known.version::numeric"
    ).format(
        log=sql.Identifier(schema, "audit_log"),
        name=sql.Literal(sql.Identifier(schema, "audit_log").as_string(None)),
        short=sql.Literal(_SHORT),
    )
    asked = {"settling": _SETTLING, "changed": CHANGED, "failed": _FAILED, "told": (*_FAILED, "repaired")}
    answer = conn.cursor(row_factory=tuple_row).execute(query, {name: list(events) for name, events in asked.items()})
    return lambda: tuple(
        LastEvent(version, event, at, Identity(*who), error or "", sqlstate, forgotten)
        for version, event, at, *who, error, sqlstate, forgotten in answer
    )
