"""Whether a call of one of TimescaleDB's functions or procedures that was in flight has run, from its catalogs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

_AGAIN = frozenset({
    "refresh_continuous_aggregate", "policy_refresh_continuous_aggregate", "policy_compression", "policy_recompression",
    "policy_compaction", "policy_process_hypertable_invalidations", "policy_retention", "policy_reorder",
})  # fmt: skip
"""Procedures that do what is still to be done, however often they are called."""


def called(conn: Connection[Any], call: Any) -> bool | None:
    """Of a function call: True, False (calling again is right), or None: only a person can tell."""
    name = call.funcname[-1].string.sval
    if name in _AGAIN:
        return False
    if name == "run_job":
        return _policy(conn, call.args)
    if name == "merge_chunks":
        return _merged(conn, constants(call.args[:2]))
    if name == "create_hypertable":
        return _hypertable(conn, constants(call.args[:1]))
    return None


def constants(arguments: Any) -> list[str]:
    """The strings among arguments, with or without a cast; one that is anything else makes them none."""
    found = []
    for argument in arguments:
        node = argument.type_cast.arg if argument.WhichOneof("node") == "type_cast" else argument
        if node.WhichOneof("node") == "named_arg_expr":
            continue
        if node.WhichOneof("node") != "a_const" or node.a_const.WhichOneof("val") != "sval":
            return []
        found.append(node.a_const.sval.sval)
    return found


def _policy(conn: Connection[Any], arguments: Any) -> bool | None:
    """A job of TimescaleDB's own does what is still to be done; what somebody else's does is not known."""
    constant = arguments[0].a_const if arguments and arguments[0].WhichOneof("node") == "a_const" else None
    if constant is None or constant.WhichOneof("val") != "ival":
        return None
    row = conn.execute(
        "SELECT proc_schema LIKE '\\_timescaledb\\_%%' FROM timescaledb_information.jobs WHERE job_id = %s",
        [constant.ival.ival],
    ).fetchone()
    return False if row == (True,) else None


def _merged(conn: Connection[Any], chunks: Sequence[str]) -> bool | None:
    """The rows of all are in one, and the others are gone."""
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
