"""Keeps TimescaleDB's background jobs away from a hypertable while a script changes it.

A job that starts between two statements of a script can make it fail for good: rows are taken out of the columnstore,
the policy puts others in, and the columnstore cannot be switched off any more. Or both wait for one another. Pausing
the jobs with `alter_job` in the same transaction does not help, since the scheduler does not see it before the commit.
So the lock that the script takes anyway is taken first: every job of the table then waits at its first step, and goes
on after commit or rollback. There is nothing to restore, and a killed runner leaves nothing paused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from psycopg import Connection

from airflow_provider_wmigrate.engine.lock_modes import LockMode, LockNeed
from airflow_provider_wmigrate.engine.sql.pieces import has_word, without_comments
from airflow_provider_wmigrate.engine.sql.script import Analysis

Name = tuple[str, str]
"""Schema ("" where the script gives none) and relation."""


class PausedJobs(NamedTuple):
    """Jobs that wait until the transaction ends."""

    table: str
    jobs: tuple[str, ...]
    need: LockNeed
    """The lock for which they wait."""

    def __str__(self) -> str:
        return f"{self.table} is locked from here on, so that its {', '.join(self.jobs)} waits until this has ended"


def jobs_to_pause(conn: Connection[Any], analysis: Analysis) -> tuple[PausedJobs, ...]:
    """The hypertables with jobs that the script first works on and then changes; they are to be locked first.

    A script without such a table costs nothing, a database without TimescaleDB one query at the most.
    """
    names = used_then_changed(analysis)
    if not names:
        return ()
    schemas, relations = [list(part) for part in zip(*names, strict=True)]
    paused = []
    for schema, table, oid, quoted in conn.execute(_TABLES, [schemas, relations]).fetchall():
        jobs = tuple(f"{procedure} (job {number})" for number, procedure in conn.execute(_JOBS, [schema, table]))
        if jobs:
            paused.append(PausedJobs(f"{schema}.{table}", jobs, LockNeed(quoted, oid, LockMode.ACCESS_EXCLUSIVE, 0, 0)))
    return tuple(paused)


# The jobs' view is there and may be read, the table is there and may be locked: an error would end the transaction.
_TABLES = """
SELECT DISTINCT n.nspname, c.relname, c.oid::pg_catalog.int8, pg_catalog.format('%%I.%%I', n.nspname, c.relname)
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN ROWS FROM (pg_catalog.unnest(%s::pg_catalog.text[]), pg_catalog.unnest(%s::pg_catalog.text[]))
       AS named (schema, relation)
    ON c.relname = named.relation
   AND (n.nspname = named.schema OR (named.schema = '' AND pg_catalog.pg_table_is_visible(c.oid)))
 WHERE c.relkind = 'r' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
   AND pg_catalog.has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE')
   AND EXISTS (SELECT FROM pg_catalog.pg_class v JOIN pg_catalog.pg_namespace s ON s.oid = v.relnamespace
                WHERE s.nspname = 'timescaledb_information' AND v.relname = 'jobs'
                  AND pg_catalog.has_schema_privilege(s.oid, 'USAGE')
                  AND pg_catalog.has_table_privilege(v.oid, 'SELECT'))
 ORDER BY 1, 2
"""
_JOBS = """
SELECT job_id, proc_name FROM timescaledb_information.jobs
 WHERE scheduled AND hypertable_schema = %s AND hypertable_name = %s ORDER BY 1
"""


def used_then_changed(analysis: Analysis) -> tuple[Name, ...]:
    """Tables that the script names before the first statement that takes the strongest lock on them.

    The order is that of those statements. Not among them: what the script itself makes.
    """
    made: set[Name] = set()
    changed: dict[Name, int] = {}
    if _CHANGING.isdisjoint(analysis.statements.kinds()):
        return ()
    for number, statement in enumerate(analysis.statements):
        if statement.kind == "create_stmt":
            made.add(_name(statement.node.relation))
        for name in _changes(statement.kind, statement.node):
            if name not in made:
                changed.setdefault(name, number)
    return tuple(name for name, number in changed.items() if _named_before(analysis, name, number))


_CHANGING = {"alter_table_stmt", "rename_stmt", "alter_object_schema_stmt", "truncate_stmt", "drop_stmt"}


def _changes(kind: str, node: Any) -> Iterator[Name]:
    """What a statement takes an AccessExclusive lock on, as far as it can be a table."""
    if kind in ("alter_table_stmt", "rename_stmt", "alter_object_schema_stmt"):
        if node.relation.relname:
            yield _name(node.relation)
    elif kind == "truncate_stmt":
        yield from (_name(relation.range_var) for relation in node.relations)
    elif kind == "drop_stmt":
        for dropped in node.objects:
            parts = [item.string.sval for item in dropped.list.items]
            if parts:
                yield ("".join(parts[-2:-1]), parts[-1])


def _name(relation: Any) -> Name:
    return relation.schemaname, relation.relname


def _named_before(analysis: Analysis, name: Name, number: int) -> bool:
    """Also in strings, where TimescaleDB's functions take tables; not in comments."""
    return has_word(without_comments(analysis.sql(0, analysis.statements[number].start)), name[1])
