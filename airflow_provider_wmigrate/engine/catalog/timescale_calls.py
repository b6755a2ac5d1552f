"""Whether a call of one of TimescaleDB's functions or procedures that was in flight has run, from its catalogs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from psycopg import Connection

from airflow_provider_wmigrate.engine.sql.arguments import by_name, constants, whole_number

POLICIES = {
    "retention_policy": "policy_retention",
    "compression_policy": "policy_compression",
    "columnstore_policy": "policy_compression",
    "reorder_policy": "policy_reorder",
    "continuous_aggregate_policy": "policy_refresh_continuous_aggregate",
}
"""The procedure of its job, by the name of a policy as it stands behind `add_` and `remove_`."""

_AGAIN = frozenset({
    "refresh_continuous_aggregate", "policy_refresh_continuous_aggregate", "policy_compression", "policy_recompression",
    "policy_compaction", "policy_process_hypertable_invalidations", "policy_retention", "policy_reorder", "drop_chunks",
})  # fmt: skip
"""They do what is still to be done, however often they are called."""


def called(conn: Connection[Any], call: Any) -> bool | None:
    """Of a function call: True, False (calling again is right), or None: only a person can tell."""
    name = call.funcname[-1].string.sval
    if name in _AGAIN:
        return False
    if name == "run_job":
        return _policy(conn, call.args)
    verb, _, policy = name.partition("_")
    if policy in POLICIES and (names := constants(call.args[:1])):
        there = _has_policy(conn, POLICIES[policy], names[0])
        return None if there is None else there is (verb == "add")
    look = _LOOKS.get(name)
    return look(conn, constants(call.args[:2] if name == "merge_chunks" else call.args[:1])) if look else None


def repeatable_for_each(call: Any) -> bool:
    """Of a function that a SELECT calls for each row: whether it passes over what is as it wants it. The versions
    differ in what it does when nothing is said."""
    given = [*by_name(call.args).values()]
    if call.funcname[-1].string.sval not in ("compress_chunk", "decompress_chunk") or len(given) < 2:
        return False
    return bool(given[1].a_const.boolval.boolval)


def half_recompressed(conn: Connection[Any], call: Any) -> str | None:
    """A chunk that recompress_chunk has taken out of the columnstore and not put in again: before 2.18 it did both in
    transactions of their own, and refuses what is not in the columnstore."""
    if call.funcname[-1].string.sval != "recompress_chunk":
        return None
    chunk = next(iter(constants(call.args[:1])), None)
    return chunk if chunk and _status(conn, chunk) == 0 else None


def put_in_columnstore(conn: Connection[Any], chunk: str) -> None:
    """:param chunk: as to_regclass reads it."""
    conn.execute("SELECT compress_chunk(pg_catalog.to_regclass(%s))", [chunk])


def _policy(conn: Connection[Any], arguments: Any) -> bool | None:
    """A job of TimescaleDB's own does what is still to be done; what somebody else's does is not known."""
    job = whole_number(arguments[0]) if arguments else None
    if job is None:
        return None
    row = conn.execute(
        "SELECT proc_schema LIKE '\\_timescaledb\\_%%' FROM timescaledb_information.jobs WHERE job_id = %s",
        [job],
    ).fetchone()
    return False if row == (True,) else None


def _merged(conn: Connection[Any], chunks: Sequence[str]) -> bool | None:
    """The rows of all are in one, and the others are gone."""
    if len(chunks) == 1 and chunks[0].startswith("{"):  # an array written as a string
        ((chunks,),) = conn.execute("SELECT %s::pg_catalog.text[]", [chunks[0]]).fetchall()
    row = conn.execute(
        "SELECT pg_catalog.count(pg_catalog.to_regclass(c)) FROM pg_catalog.unnest(%s::pg_catalog.text[]) c",
        [list(chunks)],
    ).fetchone()
    there = row[0] if row else 0
    if len(chunks) < 2 or there not in (1, len(chunks)):
        return None
    return bool(there == 1)


def _hypertable(conn: Connection[Any], names: Sequence[str]) -> bool | None:
    if not names:
        return None
    row = conn.execute(
        "SELECT EXISTS (SELECT FROM timescaledb_information.hypertables WHERE pg_catalog.to_regclass("
        "pg_catalog.format('%%I.%%I', hypertable_schema, hypertable_name)) = pg_catalog.to_regclass(%s))",
        [names[0]],
    ).fetchone()
    return bool(row and row[0])


_COMPRESSED, _TO_BE_RECOMPRESSED = 1, 2 | 8
"""Bits of a chunk's status: in the columnstore; rows came since, unordered or not in it."""


def _status(conn: Connection[Any], chunk: str) -> int | None:
    """None: there is no such chunk."""
    row = conn.execute(
        "SELECT _timescaledb_functions.chunk_status(pg_catalog.to_regclass(%s)) FROM timescaledb_information.chunks"
        " WHERE pg_catalog.to_regclass(pg_catalog.format('%%I.%%I', chunk_schema, chunk_name))"
        " = pg_catalog.to_regclass(%s)",
        [chunk, chunk],
    ).fetchone()
    return int(row[0]) if row else None


def _in_columnstore(conn: Connection[Any], chunks: Sequence[str]) -> bool | None:
    """Whole."""
    status = _status(conn, chunks[0]) if chunks else None
    return None if status is None else status & (_COMPRESSED | _TO_BE_RECOMPRESSED) == _COMPRESSED


def _in_rowstore(conn: Connection[Any], chunks: Sequence[str]) -> bool | None:
    status = _status(conn, chunks[0]) if chunks else None
    return None if status is None else not status & _COMPRESSED


_LOOKS: dict[str, Callable[[Connection[Any], Sequence[str]], bool | None]] = {
    "merge_chunks": _merged,
    "merge_chunks_concurrently": _merged,
    "create_hypertable": _hypertable,
    "compress_chunk": _in_columnstore,
    "convert_to_columnstore": _in_columnstore,
    "recompress_chunk": _in_columnstore,
    "decompress_chunk": _in_rowstore,
    "convert_to_rowstore": _in_rowstore,
}


# Policies


def _has_policy(conn: Connection[Any], procedure: str, relation: str) -> bool | None:
    """:param relation: as to_regclass reads it.
    :return: None: there is no such hypertable or continuous aggregate.
    """
    row = conn.execute(_HAS, {"name": relation, "procedure": procedure}).fetchone()
    return None if row is None else bool(row[0])


# An aggregate's jobs carry the name of the hypertable that holds its buckets.
_HAS = """
SELECT EXISTS (SELECT FROM timescaledb_information.jobs j
                WHERE j.proc_name = %(procedure)s AND j.hypertable_schema = t.schema AND j.hypertable_name = t.name)
  FROM (SELECT hypertable_schema, hypertable_name, hypertable_schema, hypertable_name
          FROM timescaledb_information.hypertables
        UNION ALL
        SELECT view_schema, view_name, materialization_hypertable_schema, materialization_hypertable_name
          FROM timescaledb_information.continuous_aggregates) t (its_schema, its_name, schema, name)
 WHERE pg_catalog.to_regclass(pg_catalog.format('%%I.%%I', its_schema, its_name)) = pg_catalog.to_regclass(%(name)s)
 LIMIT 1
"""
