"""Which table locks a transaction holds, for whoever has to know what it keeps others from."""

from __future__ import annotations

import json
from collections.abc import Mapping
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


@cache
def locks_query() -> str:
    """The locks that this transaction holds, readers' locks apart, while the search path is pg_catalog alone: then a
    relation of another schema is written with it, and one that is gone as a number.

    It is asked for every migration, so it joins nothing: to plan the join would cost more than all the rest.
    """
    modes = sql.Literal(list(_STRENGTH)).as_string(None)
    return (
        "SELECT json_agg(json_build_array(relation, relation::regclass,"
        " (SELECT relkind FROM pg_class WHERE oid = relation), mode)) FROM pg_lock_status()"
        f" WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted AND mode = ANY({modes})"
    )


def locks_taken(answer: str | None, names: Mapping[int, str], ledger_schema: str) -> tuple[LockTaken, ...]:
    """The strongest lock on each table, view and the like, from the answer to `locks_query`, the ledger's own apart.

    :param names: what relations were called before, as others know them, also those that are dropped by now.
    """
    own = (f"{ledger_schema}.", sql.Identifier(ledger_schema).as_string(None) + ".")
    hidden = ("information_schema.", "pg_toast.", *own)
    strongest: dict[tuple[int, str | None], str] = {}
    for relation, name, kind, mode in json.loads(answer or "[]") or ():
        now = name if kind is not None else None
        if kind not in _SHOWN_KINDS or (now is not None and ("." not in now or now.startswith(hidden))):
            continue
        key = int(relation), now
        strongest[key] = max(mode, strongest.get(key, mode), key=_STRENGTH.index)
    taken = []
    for (relation, now), mode in strongest.items():
        known = names.get(relation, now)
        if known is not None:  # else the script made it, and dropped it again
            taken.append(LockTaken(known, mode, dropped=now is None))
    return tuple(sorted(taken, key=lambda lock: lock.relation))


_SHOWN_KINDS = ("r", "p", "m", "v", "f", None)
"""Of relations; None: it is gone, and was one of them if its name is known."""
