"""Whether TimescaleDB's catalogs still have what the applied migrations made: a restore without TimescaleDB's own steps
leaves plain tables and views, and jobs that are doubled or call what is gone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from psycopg import Connection

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.sql.analysis import analyse

from .builds import quoted
from .timescale_calls import constants

_MAKES = re.compile(r"\b(?:create_hypertable|timescaledb\s*\.\s*continuous)\b", re.IGNORECASE)


def contradictions(conn: Connection[Any], applied: Iterable[Script]) -> Iterator[str]:
    """What is not as it was made, one sentence each. Without TimescaleDB, and without a script that uses it, nothing is
    asked.

    :param applied: scripts of applied migrations, in order.
    """
    made = [script for script in applied if _MAKES.search(script.text)]
    if not made:
        return
    row = conn.execute("SELECT pg_catalog.to_regclass('timescaledb_information.jobs') IS NOT NULL").fetchone()
    if row != (True,):
        yield "TimescaleDB is not in this database, and applied migrations use it"
        return
    for what, name in dict.fromkeys(pair for script in made for pair in _made(script)):
        if conn.execute(_LOST[what], {"name": name}).fetchone() == (True,):
            yield f"{name.replace(chr(34), '')} was made a {what}, and is none any more"
    for number, procedure in conn.execute(_PROCEDURE_GONE).fetchall():
        yield f"job {number} calls {procedure}, which is gone"
    for procedure, numbers in conn.execute(_DOUBLED).fetchall():
        yield f"jobs {numbers} do the same ({procedure})"


def _made(script: Script) -> Iterator[tuple[str, str]]:
    from postgast import find_nodes
    from postgast.pg_query_pb2 import FuncCall

    try:
        statements = analyse(script).statements
    except WMigrateError:
        return
    for statement in statements:
        if statement.node is None:
            continue
        if statement.kind == "create_table_as_stmt" and statement.node.into.options:
            yield "continuous aggregate", quoted(statement.node.into.rel)
        elif statement.kind == "select_stmt":
            for call in find_nodes(statement.node, FuncCall):
                names = constants(call.args[:1])
                if call.funcname[-1].string.sval == "create_hypertable" and names:
                    yield "hypertable", names[0]


_LOST = {
    "hypertable": "SELECT pg_catalog.to_regclass(%(name)s) IS NOT NULL AND NOT EXISTS (SELECT"
    " FROM timescaledb_information.hypertables WHERE pg_catalog.to_regclass(pg_catalog.format('%%I.%%I',"
    " hypertable_schema, hypertable_name)) = pg_catalog.to_regclass(%(name)s))",
    "continuous aggregate": "SELECT pg_catalog.to_regclass(%(name)s) IS NOT NULL AND NOT EXISTS (SELECT"
    " FROM timescaledb_information.continuous_aggregates WHERE pg_catalog.to_regclass(pg_catalog.format('%%I.%%I',"
    " view_schema, view_name)) = pg_catalog.to_regclass(%(name)s))",
}
"""What is there under the name, and is not what it was. What is gone may have been dropped by a later migration."""
_PROCEDURE_GONE = """
SELECT job_id, pg_catalog.format('%I.%I', proc_schema, proc_name) FROM timescaledb_information.jobs j
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
                    WHERE n.nspname = j.proc_schema AND p.proname = j.proc_name) ORDER BY 1
"""
_DOUBLED = """
SELECT pg_catalog.format('%I.%I', proc_schema, proc_name), pg_catalog.string_agg(job_id::text, ', ' ORDER BY job_id)
  FROM timescaledb_information.jobs WHERE job_id >= 1000
 GROUP BY proc_schema, proc_name, hypertable_schema, hypertable_name, config HAVING pg_catalog.count(*) > 1 ORDER BY 1
"""
