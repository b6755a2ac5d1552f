"""Which table locks a transaction holds, for whoever has to know what it keeps others from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from psycopg import sql

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


def names_query(ledger_schema: str) -> str:
    """What each relation is called now, by its identifier: a script may drop it, rename it, move it."""
    hidden = sql.Literal(["pg_catalog", "information_schema", ledger_schema]).as_string(None)
    return (
        "SELECT pg_catalog.json_object_agg(c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname))"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f')"
        f" AND n.nspname <> ALL({hidden}) AND n.nspname NOT LIKE 'pg\\_toast%'"
    )


def relation_names(answer: str | None) -> dict[int, str]:
    """What the answer to `names_query` says."""
    return {int(relation): name for relation, name in json.loads(answer or "{}").items()}


def locks_query(server_version: int) -> bytes:
    """The locks that this transaction holds, readers' locks apart, while the search path is pg_catalog alone: then a
    relation of another schema is written with it, and one that is gone as a number.

    It is asked for every migration, so it joins nothing and adds nothing up: to plan that would cost more than all the
    rest.
    """
    kind = b"pg_identify_object(1259, relation, 0)"
    if server_version < 140000:  # where it refuses one that is gone
        kind = b"(SELECT pg_identify_object(1259, oid, 0) FROM pg_class WHERE oid = relation)"
    return (
        b"SELECT relation, relation::regclass, (%s).type, mode FROM pg_lock_status()"
        b" WHERE mode <> 'AccessShareLock' AND locktype = 'relation' AND granted AND pid = pg_backend_pid()" % kind
    )


def locks_taken(
    answer: Iterable[Sequence[str | None]], names: Mapping[int, str], ledger_schema: str
) -> tuple[LockTaken, ...]:
    """The strongest lock on each table, view and the like, from the rows of `locks_query`, the ledger's own apart.

    :param names: what relations were called before, as others know them, also those that are dropped by now.
    """
    hidden = _hidden(ledger_schema)
    strongest: dict[tuple[int, str | None], str] = {}
    for number, name, kind, mode in answer:
        now = None if kind in _GONE else name
        if mode not in _STRENGTH or (now is not None and kind not in _SHOWN):
            continue
        if now is not None and ("." not in now or now.startswith(hidden)):
            continue
        key = int(number or 0), now
        strongest[key] = max(mode, strongest.get(key, mode), key=_STRENGTH.index)
    taken = []
    for (relation, now), mode in strongest.items():
        known = names.get(relation, now)
        if known is not None:  # else the script made it, and dropped it again
            taken.append(LockTaken(known, mode, dropped=now is None))
    return tuple(sorted(taken, key=lambda lock: lock.relation))


@cache
def _hidden(ledger_schema: str) -> tuple[str, ...]:
    """How names begin that are not shown."""
    own = (f"{ledger_schema}.", sql.Identifier(ledger_schema).as_string(None) + ".")
    return ("information_schema.", "pg_toast.", *own)


_SHOWN = ("table", "view", "materialized view", "foreign table")
_GONE = (None, "relation")
"""What the server says of a relation that is gone: it was one of those that are shown if its name is known."""
