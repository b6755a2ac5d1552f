"""What a script takes away of TimescaleDB's, and what its retention policies will: chunks with their rows, aggregates,
jobs, also those that go with something else by CASCADE. Two looks in the script's own transaction, compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from psycopg import Connection, sql

from airflow_provider_wmigrate.engine.record import TakenAway
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.words import Words

from . import refreshes
from .server import readable

_WORDS = Words(
    r"\b(?:drop_chunks|\w+_policy|delete_job|detach_chunk|run_job|refresh_continuous_aggregate"
    r"|drop\s+materialized\s+view|cascade)\b",
    *("chunk", "_policy", "_job", "continuous_aggregate", "materialized", "cascade"),
)
_ROWS_COUNTED = 200
"""Chunks whose rows are counted where the server has no estimate."""


class Objects(Struct, frozen=True):
    """What there is.

    :param chunks: by hypertable; the rows of each chunk, -1 where the server has no estimate.
    :param jobs: by number, in words.
    """

    chunks: dict[str, dict[str, float]]
    aggregates: frozenset[str]
    jobs: dict[int, str]
    closed: tuple[refreshes.Closed, ...] = ()
    """Buckets that a refresh of the script may delete."""


def objects(conn: Connection[Any], analysis: Analysis) -> Objects | None:
    """Before a script that may take something away; None: it may not, or there is no TimescaleDB. A script that
    mentions nothing of the kind costs no question."""
    if not _WORDS.within(analysis.script.text):
        return None
    if not readable(conn):
        return None
    found = _counted(conn, _objects(conn), analysis)
    names = dict.fromkeys(name for _, name in refreshes.unbounded(analysis))
    return replace(found, closed=tuple(filter(None, (refreshes.closed(conn, name) for name in names))))


def _objects(conn: Connection[Any]) -> Objects:
    chunks: dict[str, dict[str, float]] = {}
    for table, schema, chunk, rows in conn.execute(_CHUNKS).fetchall():
        chunks.setdefault(table, {})[f"{schema}.{chunk}"] = rows
    aggregates = frozenset(name for (name,) in conn.execute(_AGGREGATES).fetchall())
    return Objects(chunks, aggregates, dict(conn.execute(_JOBS).fetchall()))


def _counted(conn: Connection[Any], before: Objects, analysis: Analysis) -> Objects:
    """The same with rows counted where the server has no estimate and this role may read them, if the script drops
    chunks and they are not many."""
    if "drop_chunks" not in analysis.script.text.lower():
        return before
    unknown = [(t, c) for t, chunks in before.chunks.items() for c, rows in chunks.items() if rows < 0]
    if len(unknown) > _ROWS_COUNTED:
        return before
    own = {name for (name,) in conn.execute(_MAY_READ, [[chunk for _, chunk in unknown]]).fetchall()}
    for table, chunk in (each for each in unknown if each[1] in own):
        query = sql.SQL("SELECT pg_catalog.count(*) FROM {}").format(sql.Identifier(*chunk.split(".", 1)))
        row = conn.execute(query).fetchone()
        before.chunks[table][chunk] = row[0] if row else -1
    return before


def taken_away(conn: Connection[Any], before: Objects) -> Iterator[TakenAway]:
    """What is gone, and what is going to be."""
    after = _objects(conn)
    for table, chunks in before.chunks.items():
        left = after.chunks.get(table, {})
        if gone := [rows for chunk, rows in chunks.items() if chunk not in left]:
            said = f"{_chunks(len(gone))} of {table} with {_rows(gone)} are gone"
            yield TakenAway("chunks", table, said, len(gone), None if min(gone) < 0 else round(sum(gone)))
    for aggregate in sorted(before.aggregates - after.aggregates):
        yield TakenAway("aggregate", aggregate, f"continuous aggregate {aggregate} is gone")
    for number, job in before.jobs.items():
        if number not in after.jobs:
            yield TakenAway("job", str(number), f"job {number} is gone: {job}")
    yield from _emptied(conn, before, after)
    for number, table, life, due, all_of_it in conn.execute(_RETENTION).fetchall():
        if number not in before.jobs:
            yield TakenAway(
                "due_chunks",
                table,
                f"the retention policy of {table} (job {number}) drops {due} of {_chunks(all_of_it)} at its first run:"
                f" what is older than {life}",
                due,
            )


def _emptied(conn: Connection[Any], before: Objects, after: Objects) -> Iterator[TakenAway]:
    for closed in before.closed:
        if closed.aggregate in after.aggregates and (number := refreshes.gone(conn, closed)):
            many = f"{number:,} bucket{'' if number == 1 else 's'}"
            said = f"{many} of {closed.aggregate} are gone, from {closed.first} on: their raw rows had been dropped"
            yield TakenAway("buckets", closed.aggregate, said, number)


def _chunks(number: int) -> str:
    return f"{number:,} chunk{'' if number == 1 else 's'}"


def _rows(rows: list[float]) -> str:
    if any(each < 0 for each in rows):
        return "an unknown number of rows"
    return f"{round(sum(rows)):,} rows"


_NAME = "pg_catalog.format('%I.%I', {0}_schema, {0}_name)"
_CHUNKS = f"""
SELECT {_NAME.format("hypertable")}, k.chunk_schema, k.chunk_name, c.reltuples::float8
  FROM timescaledb_information.chunks k
  JOIN pg_catalog.pg_namespace n ON n.nspname = k.chunk_schema
  JOIN pg_catalog.pg_class c ON c.relname = k.chunk_name AND c.relnamespace = n.oid
 WHERE k.hypertable_schema <> '_timescaledb_internal'
"""
_AGGREGATES = f"SELECT {_NAME.format('view')} FROM timescaledb_information.continuous_aggregates"
_JOBS = """
SELECT j.job_id, pg_catalog.concat_ws(' of ', j.proc_name,
         coalesce((SELECT pg_catalog.format('%I.%I', a.view_schema, a.view_name)
                     FROM timescaledb_information.continuous_aggregates a
                    WHERE a.materialization_hypertable_schema = j.hypertable_schema
                      AND a.materialization_hypertable_name = j.hypertable_name),
                  CASE WHEN j.hypertable_name IS NOT NULL
                       THEN pg_catalog.format('%I.%I', j.hypertable_schema, j.hypertable_name) END))
  FROM timescaledb_information.jobs j WHERE j.job_id >= 1000 ORDER BY 1
"""
_MAY_READ = """
SELECT name FROM pg_catalog.unnest(%s::pg_catalog.text[]) AS each (name)
  JOIN pg_catalog.pg_class c ON c.relname = pg_catalog.split_part(name, '.', 2)
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = pg_catalog.split_part(name, '.', 1)
 WHERE pg_catalog.has_table_privilege(c.oid, 'SELECT')
"""
_RETENTION = """
SELECT j.job_id, pg_catalog.format('%I.%I', j.hypertable_schema, j.hypertable_name), j.config ->> 'drop_after',
       (SELECT pg_catalog.count(*) FROM timescaledb_information.chunks k
         WHERE k.hypertable_schema = j.hypertable_schema AND k.hypertable_name = j.hypertable_name
           AND k.range_end <= pg_catalog.now() - (j.config ->> 'drop_after')::pg_catalog.interval),
       (SELECT pg_catalog.count(*) FROM timescaledb_information.chunks k
         WHERE k.hypertable_schema = j.hypertable_schema AND k.hypertable_name = j.hypertable_name)
  FROM timescaledb_information.jobs j
 WHERE j.proc_name = 'policy_retention' AND j.config ->> 'drop_after' ~ '[a-z:]' ORDER BY 1
"""
