"""Which table locks a transaction holds, for whoever has to know what it keeps others from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from msgspec.structs import replace
from psycopg import Connection, sql

from airflow_provider_wmigrate.engine.locks_taken import LockTaken

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
def locks_query(server_version: int) -> bytes:
    """The locks that this transaction holds, readers' locks apart, while the search path is pg_catalog alone: then a
    relation of another schema is written with it, and one that is gone as a number.

    It is asked for every migration, so it joins nothing and adds nothing up: to plan that would cost more than all the
    rest.
    """
    kind = b"(pg_identify_object(1259, relation, 0)).type"
    if server_version < 140000:  # where it refuses one that is gone
        kind = b"(SELECT (pg_identify_object(1259, oid, 0)).type FROM pg_class WHERE oid = relation)"
    return (
        b"SELECT relation, relation::regclass, %s, mode FROM pg_lock_status()"
        b" WHERE mode <> 'AccessShareLock' AND locktype = 'relation' AND granted AND pid = pg_backend_pid()" % kind
    )


def locks_taken(
    answer: Iterable[Sequence[str | None]], names: Mapping[int, str], ledger_schema: str
) -> tuple[LockTaken, ...]:
    """The strongest lock on each table, view and the like, from the rows of `locks_query`, the ledger's own apart.

    :param names: what relations were called before, as others know them, also those that are dropped by now.
    """
    hidden = _hidden(ledger_schema)
    strongest: dict[tuple[int, str | None], int] = {}
    for number, name, kind, mode in answer:
        now = None if kind in _GONE else name
        if mode not in _STRENGTH or (now is not None and kind not in _SHOWN):
            continue
        if now is not None and ("." not in now or now.startswith(hidden)):
            continue
        key = int(number or 0), now
        strongest[key] = max(_STRENGTH.index(mode), strongest.get(key, 0))
    taken = []
    for (relation, now), strength in strongest.items():
        known = names.get(relation, now)
        if known is not None:  # else the script made it, and dropped it again
            taken.append(LockTaken(known, _STRENGTH[strength], dropped=now is None))
    return tuple(sorted(taken, key=lambda lock: lock.relation))


@cache
def _hidden(ledger_schema: str) -> tuple[str, ...]:
    """How names begin that are not shown."""
    own = (f"{ledger_schema}.", sql.Identifier(ledger_schema).as_string(None) + ".")
    return ("information_schema.", "pg_toast.", *own)


_SHOWN = ("table", "view", "materialized view", "foreign table")
_GONE = (None, "relation")
"""What the server says of a relation that is gone: it was one of those that are shown if its name is known."""


# Chunks and partitions, told as parts of their table: whoever locks 2,500 chunks of it has locked one table

_MANY = 10
_INTERNAL = "_timescaledb_internal."
_CHUNK = re.compile(r"_timescaledb_internal\._hyper_(\d+)_\d+_chunk")


def by_table(conn: Connection[Any], taken: Sequence[LockTaken]) -> tuple[LockTaken, ...]:
    """Locks with those on chunks and partitions gathered. A few locks that are on no chunk cost no question."""
    names = [lock.relation for lock in taken]
    internal = any(name.startswith(_INTERNAL) for name in names)
    if not internal and len(names) <= _MANY:
        return tuple(taken)
    tables = dict(conn.execute(_PARTITIONS, [names]).fetchall())
    if internal:
        numbers = {name: int(found[1]) for name in names if (found := _CHUNK.fullmatch(name))}
        hypertables = dict(conn.execute(_HYPERTABLES, [[*numbers.values()]]).fetchall())
        tables |= {name: hypertables[number] for name, number in numbers.items() if number in hypertables}
        tables |= dict(conn.execute(_STORED_IN if _has_settings(conn) else _CHUNKS, [names]).fetchall())
    return gathered(taken, tables)


def _has_settings(conn: Connection[Any]) -> bool:
    """Whether TimescaleDB's settings say which table of the columnstore belongs to a chunk: from 2.19 on; from 2.29 on
    nothing else does."""
    row = conn.execute(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attname = 'compress_relid' AND attrelid ="
        " pg_catalog.to_regclass('_timescaledb_catalog.compression_settings'))"
    ).fetchone()
    return row == (True,)


def gathered(taken: Iterable[LockTaken], tables: Mapping[str, str]) -> tuple[LockTaken, ...]:
    """:param tables: by the name of a chunk or a partition, what it is a part of."""
    found: dict[tuple[str, str, bool], LockTaken] = {}
    for lock in taken:
        table = tables.get(lock.relation)
        relation = table or lock.relation
        key = (relation, lock.mode, lock.dropped)
        known = found.get(key)
        parts, whole = int(table is not None), table is None
        held = [ms for ms in (lock.held_ms, known.held_ms if known else None) if ms is not None]
        found[key] = replace(
            lock,
            relation=relation,
            held_ms=max(held, default=None),
            parts=parts + (known.parts if known else 0),
            whole=whole or bool(known and known.whole),
        )
    return tuple(sorted(found.values(), key=lambda lock: (lock.relation, not lock.whole)))


_PARTITIONS = """
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname), pg_catalog.format('%%I.%%I', pn.nspname, p.relname)
  FROM pg_catalog.pg_inherits i
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class p ON p.oid = coalesce(pg_catalog.pg_partition_root(c.oid), i.inhparent)
  JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
 WHERE pg_catalog.format('%%I.%%I', n.nspname, c.relname) = ANY(%s)
"""
_OF = """pg_catalog.format('%%I.%%I', coalesce(raw.schema_name, h.schema_name), coalesce(raw.table_name, h.table_name))
  FROM _timescaledb_catalog.hypertable h
  LEFT JOIN _timescaledb_catalog.hypertable raw ON raw.compressed_hypertable_id = h.id
"""
_HYPERTABLES = f"SELECT h.id, {_OF} WHERE h.id = ANY(%s)"
_CHUNKS = f"""
SELECT pg_catalog.format('%%I.%%I', c.schema_name, c.table_name), {_OF}
  JOIN _timescaledb_catalog.chunk c ON c.hypertable_id = h.id
 WHERE pg_catalog.format('%%I.%%I', c.schema_name, c.table_name) = ANY(%s)
"""
_STORED_IN = """
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname), pg_catalog.format('%%I.%%I', pn.nspname, p.relname)
  FROM _timescaledb_catalog.compression_settings s
  JOIN pg_catalog.pg_class c ON c.oid = s.compress_relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_inherits i ON i.inhrelid = s.relid
  JOIN pg_catalog.pg_class p ON p.oid = i.inhparent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
 WHERE pg_catalog.format('%%I.%%I', n.nspname, c.relname) = ANY(%s)
"""


def room_for_locks(conn: Connection[Any], script: str) -> str:
    """What a lock table that was too small for a script would need, in words.

    The server has one place for each relation a transaction locks: max_locks_per_transaction times the number of
    connections (its manual, "Lock Management"). Counted are the chunks and partitions of the tables that the script
    names, also where the columnstore keeps them, with their indexes and TOAST tables. Dropping and emptying lock
    three objects more of each (measured, see docs/timescaledb.md).
    """
    timescale = conn.execute("SELECT pg_catalog.to_regclass('_timescaledb_catalog.chunk') IS NOT NULL").fetchone()
    stored = "" if timescale != (True,) else _STORED if _has_settings(conn) else _STORED_OF_OLD
    objects = 3 if _DROPPING.search(script) else 0
    query = _ROOM.format(stored=stored).encode()
    row = conn.execute(query, {"script": script, "objects": objects}).fetchone()
    parts, needed, setting, connections = row or (0, 0, 64, 100)
    wanted = max(setting + 1, -(-(needed * 5 // 4) // connections) + setting)
    return (
        f"the tables it names have {parts:,} chunks or partitions, for which it needs {needed:,} places in the lock"
        f" table, and all sessions share {setting * connections:,}: set max_locks_per_transaction to {wanted} or more"
        f" (now {setting}) and restart the server, or change fewer chunks in one migration"
    )


_DROPPING = re.compile(r"\b(?:drop|drop_chunks|truncate)\b", re.IGNORECASE)
_ROOM = """
WITH parts AS (
  SELECT i.inhrelid AS oid FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
   WHERE p.relkind IN ('r', 'p') AND pg_catalog.strpos(pg_catalog.lower(%(script)s), pg_catalog.lower(p.relname)) > 0),
each AS (SELECT oid FROM parts{stored})
SELECT (SELECT pg_catalog.count(*) FROM parts),
       coalesce(pg_catalog.sum(1 + %(objects)s + CASE c.reltoastrelid WHEN 0 THEN 0 ELSE 2 END + (
           SELECT pg_catalog.count(*) FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid)), 0)::int8,
       pg_catalog.current_setting('max_locks_per_transaction')::int8,
       pg_catalog.current_setting('max_connections')::int8
       + pg_catalog.current_setting('max_prepared_transactions')::int8
  FROM each JOIN pg_catalog.pg_class c USING (oid)
"""
_STORED = """
  UNION ALL
  SELECT s.compress_relid::oid FROM parts JOIN _timescaledb_catalog.compression_settings s ON s.relid = parts.oid
   WHERE s.compress_relid IS NOT NULL"""
"""What the columnstore keeps of them."""
_STORED_OF_OLD = """
  UNION ALL
  SELECT pg_catalog.to_regclass(pg_catalog.format('%%I.%%I', s.schema_name, s.table_name))::oid
    FROM parts JOIN pg_catalog.pg_class c USING (oid) JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN _timescaledb_catalog.chunk k ON k.schema_name = n.nspname AND k.table_name = c.relname
    JOIN _timescaledb_catalog.chunk s ON s.id = k.compressed_chunk_id"""
