"""What migrations with `keep: true` have put aside: the audit log says what, a schema for each thing has it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection, sql

from airflow_provider_wmigrate.engine.catalog.keepable import PREFIX
from airflow_provider_wmigrate.engine.record import Kept

_LONGEST = 40
"""Digits of a version in the name of a schema."""


def place_of(version: str) -> str:
    """How the names of the schemas begin that keep what a version destroyed; a number follows."""
    return f"{PREFIX}{version[:_LONGEST]}_"


def kept_places(conn: Connection[Any]) -> frozenset[str]:
    """The schemas of kept things that there are."""
    query = "SELECT nspname::text FROM pg_catalog.pg_namespace WHERE pg_catalog.left(nspname::text, %s) = %s"
    return frozenset(name for (name,) in conn.execute(query, [len(PREFIX), PREFIX]).fetchall())


def kept_of(conn: Connection[Any], schema: str, version: str) -> tuple[Kept, ...]:
    """What the version has put aside when it was applied, whether it is still there or not.

    :param schema: of the ledger.
    """
    query = sql.SQL(
        "SELECT event, details -> 'kept' FROM {} WHERE version = %s"
        " AND event IN ('applied', 'rolled_back', 'baselined', 'adopted', 'baseline_undone')"
        " ORDER BY position DESC LIMIT 1"
    ).format(sql.Identifier(schema, "audit_log"))
    row = conn.execute(query, [version]).fetchone()
    return tuple(map(Kept.from_dict, row[1])) if row and row[0] == "applied" and row[1] else ()


class KeptThing(NamedTuple):
    """Something that is still kept."""

    version: str
    since: datetime
    kept: Kept


def all_kept(conn: Connection[Any], schema: str) -> tuple[KeptThing, ...]:
    """What is still kept, the oldest first.

    :param schema: of the ledger.
    """
    places = kept_places(conn)
    if not places:
        return ()
    query = sql.SQL(
        "SELECT version, at, details -> 'kept' FROM {} WHERE event = 'applied' AND details ? 'kept' ORDER BY position"
    ).format(sql.Identifier(schema, "audit_log"))
    rows = conn.execute(query).fetchall()
    things = (KeptThing(version, at, Kept.from_dict(plain)) for version, at, each in rows for plain in each)
    last = {thing.kept.place: thing for thing in things}  # a name may be used again after a rollback
    return tuple(thing for place, thing in last.items() if place in places)
