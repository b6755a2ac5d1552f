"""Questions about the ledger's rows. Each is sent, and gives what takes its answer, so that several can go together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from functools import lru_cache
from sys import intern
from typing import Any

from psycopg import Connection, sql
from psycopg.rows import tuple_row

from airflow_provider_wmigrate.engine.model import Entry, Identity, version_key


def asking_entries(
    conn: Connection[Any], schema: str, versions: Collection[str] | None = None
) -> Callable[[], tuple[Entry, ...]]:
    """Asks for rows of schema_migrations, in numeric order, without the rollback scripts.

    :param versions: of these alone; None: all.
    """
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in (*_SELF, *_WHO))
    only = sql.SQL(" WHERE version = ANY(%s)" if versions is not None else "")
    query = sql.SQL("SELECT {} FROM {}{}").format(columns, sql.Identifier(schema, "schema_migrations"), only)
    answer = conn.cursor(row_factory=tuple_row).execute(query, [list(versions)] if versions is not None else None)
    return lambda: tuple(sorted((_entry(row) for row in answer), key=lambda e: version_key(e.version)))


def asking_metadata(conn: Connection[Any], schema: str) -> Callable[[], dict[str, str]]:
    """Asks for application_metadata."""
    query = sql.SQL("SELECT key, value FROM {}").format(sql.Identifier(schema, "application_metadata"))
    answer = conn.cursor(row_factory=tuple_row).execute(query)
    return lambda: dict(answer.fetchall())


_WHO = tuple(field.name for field in fields(Identity))
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
