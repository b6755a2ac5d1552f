"""Whether TimescaleDB's catalogs still have what the applied migrations made: a restore without TimescaleDB's own steps
leaves plain tables and views without policies, and jobs that are doubled or call what is gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from psycopg import Connection

from airflow_provider_wmigrate.engine.model import Finding, Script
from airflow_provider_wmigrate.engine.sql.made import AGGREGATE, HYPERTABLE, JOB, Made, made

from .server import readable
from .timescale_calls import POLICIES


def lost(conn: Connection[Any], applied: Iterable[Script]) -> Iterator[Finding]:
    """What is not as it was made. Without a script that makes something of TimescaleDB's, nothing is asked.

    :param applied: scripts of applied migrations, in order.
    """
    expected = [one for one in made(applied) if one.what in (HYPERTABLE, AGGREGATE, JOB) or one.what in POLICIES]
    if not expected:
        return
    state = readable(conn)
    if state is None:
        yield _finding("TimescaleDB is not in this database, and applied migrations use it", _RESTORE)
    if not state:
        return
    yield from _missing(conn, expected)
    for number, procedure in conn.execute(_PROCEDURE_GONE).fetchall():
        yield _finding(
            f"job {number} calls {procedure}, which is gone", f"make it again, or SELECT delete_job({number})"
        )
    for procedure, numbers in conn.execute(_DOUBLED).fetchall():
        yield _finding(
            f"jobs {numbers} do the same ({procedure})", "keep one, and take the others away with delete_job"
        )


def _missing(conn: Connection[Any], expected: list[Made]) -> Iterator[Finding]:
    columns = [[*each] for each in zip(*((m.schema, m.name, POLICIES.get(m.what)) for m in expected), strict=True)]
    for one, (relation, hypertable, aggregate, policy, job) in zip(expected, conn.execute(_LOOK, columns), strict=True):
        here = {HYPERTABLE: hypertable, AGGREGATE: aggregate, JOB: job}.get(one.what, policy)
        if here:
            continue
        if one.what == JOB:
            yield _finding(f"a job that calls {one} was added, and is gone", _AGAIN, one)
        elif one.what in POLICIES and (hypertable or aggregate):
            yield _finding(f"the {one.what.replace('_', ' ')} of {one} was added, and is gone", _AGAIN, one)
        elif one.what in (HYPERTABLE, AGGREGATE):
            how = "is none any more" if relation else "is gone"
            yield _finding(f"{one} was made a {one.what}, and {how}", _RESTORE, one)


_RESTORE = "restore with timescaledb_pre_restore() and timescaledb_post_restore(), or make it again in a migration"
_AGAIN = "add it again, or write a migration that takes it away"


def _finding(message: str, nxt: str, one: Made | None = None) -> Finding:
    file, line = (one.file, one.line) if one else (None, None)
    return Finding("timescaledb_lost", message, nxt, "warning", file=file, line=line)


# A name without a schema is looked for in all of them: the script may have had a search path of its own.
_LOOK = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relname = m.name AND c.relkind IN ('r', 'p', 'v', 'm') AND m.schema IN ('', n.nspname)),
       EXISTS (SELECT FROM timescaledb_information.hypertables h
                WHERE h.hypertable_name = m.name AND m.schema IN ('', h.hypertable_schema)),
       EXISTS (SELECT FROM timescaledb_information.continuous_aggregates a
                WHERE a.view_name = m.name AND m.schema IN ('', a.view_schema)),
       EXISTS (SELECT FROM timescaledb_information.jobs j
                 LEFT JOIN timescaledb_information.continuous_aggregates a
                   ON a.materialization_hypertable_schema = j.hypertable_schema
                  AND a.materialization_hypertable_name = j.hypertable_name
                WHERE j.proc_name = m.policy AND coalesce(a.view_name, j.hypertable_name) = m.name
                  AND m.schema IN ('', coalesce(a.view_schema, j.hypertable_schema))),
       EXISTS (SELECT FROM timescaledb_information.jobs j
                WHERE j.proc_name = m.name AND m.schema IN ('', j.proc_schema))
  FROM ROWS FROM (pg_catalog.unnest(%s::pg_catalog.text[]), pg_catalog.unnest(%s::pg_catalog.text[]),
                  pg_catalog.unnest(%s::pg_catalog.text[])) WITH ORDINALITY AS m (schema, name, policy, number)
 ORDER BY m.number
"""
_PROCEDURE_GONE = """
SELECT job_id, pg_catalog.format('%I.%I', proc_schema, proc_name) FROM timescaledb_information.jobs j
 WHERE j.job_id >= 1000 AND NOT EXISTS (
           SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
            WHERE n.nspname = j.proc_schema AND p.proname = j.proc_name) ORDER BY 1
"""
_DOUBLED = """
SELECT pg_catalog.format('%I.%I', proc_schema, proc_name), pg_catalog.string_agg(job_id::text, ', ' ORDER BY job_id)
  FROM timescaledb_information.jobs WHERE job_id >= 1000
 GROUP BY proc_schema, proc_name, hypertable_schema, hypertable_name, config HAVING pg_catalog.count(*) > 1 ORDER BY 1
"""
