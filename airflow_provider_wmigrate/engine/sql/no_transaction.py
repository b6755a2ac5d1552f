"""Which statements PostgreSQL and TimescaleDB refuse inside a transaction block, and why. Pure: a table of rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .arguments import by_name


def outside(kind: str, node: Any, text: str = "") -> str | None:
    """Why a statement cannot run inside a transaction block, in words; None when it can.

    :param text: the statement's, in which a function is looked for before its tree is gone through.
    """
    found = next((why for applies, why in _RULES.get(kind, ()) if applies(node)), None)
    return found or (_rewriting(node) if kind in _CALLING and _REWRITES.search(text) else None)


_REWRITES = re.compile(r"\b(?:reorder_chunk|move_chunk)\b", re.IGNORECASE)
"""TimescaleDB's functions that refuse a transaction block, in every version from 2.13 to 2.29."""
_CALLING = ("select_stmt", "insert_stmt", "update_stmt", "delete_stmt", "create_table_as_stmt")


def _rewriting(node: Any) -> str | None:
    from postgast import find_nodes
    from postgast.pg_query_pb2 import FuncCall

    names = (call.funcname[-1].string.sval for call in find_nodes(node, FuncCall))
    return next((name for name in names if _REWRITES.fullmatch(name)), None)


def first_in_session(kind: str, node: Any) -> bool:
    """Whether a statement must be the very first one of its session: TimescaleDB's update is refused as soon as the old
    version is loaded, and any statement before it loads it."""
    return kind == "alter_extension_stmt" and node.extname == "timescaledb"


def is_on(options: Any, name: str, *, default: bool = False) -> bool:
    """A boolean option as the server reads it: `name`, `name = on`, `name 1` ..."""
    for option in (o.def_elem for o in options):
        if option.defname == name:
            return not option.HasField("arg") or _truth(option.arg)
    return default


def _truth(arg: Any) -> bool:
    kind = arg.WhichOneof("node")
    if kind == "integer":
        return bool(arg.integer.ival)
    word = arg.type_name.names[-1].string.sval if kind == "type_name" else arg.string.sval
    return str(word).lower() not in ("false", "off", "0")


def _has_option(options: Any, *names: str) -> bool:
    return any(o.def_elem.defname in names for o in options)


def timescale_option(options: Any, name: str) -> bool:
    """Whether `timescaledb.name`, or `tsdb.name`, is among the options of WITH."""
    return any(o.def_elem.defnamespace in ("timescaledb", "tsdb") and o.def_elem.defname == name for o in options)


def continuous_with_data(node: Any) -> bool:
    """Of CREATE MATERIALIZED VIEW: whether it makes a continuous aggregate and then fills it."""
    return timescale_option(node.into.options, "continuous") and not node.into.skip_data


def _detaches_concurrently(node: Any) -> bool:
    return any(getattr(c.alter_table_cmd, "def").partition_cmd.concurrent for c in node.cmds)


def _creates_slot(node: Any) -> bool:
    """A replication slot on the other server is made by default, unless nothing is to be asked there."""
    return is_on(node.options, "create_slot", default=is_on(node.options, "connect", default=True))


# postgast.pg_query_pb2.AlterSubscriptionType and ReindexObjectType, without paying for that module's import
_OPTIONS, _SET_PUBLICATION, _ADD_PUBLICATION, _DROP_PUBLICATION, _REFRESH = 1, 3, 4, 5, 6
_REINDEX_TABLE = 2


def _talks_to_publisher(node: Any) -> bool:
    if node.kind in (_SET_PUBLICATION, _ADD_PUBLICATION, _DROP_PUBLICATION):
        return is_on(node.options, "refresh", default=True)
    if node.kind == _OPTIONS:
        return _has_option(node.options, "failover", "two_phase")
    return bool(node.kind == _REFRESH)


_CALLS = {
    "refresh_continuous_aggregate", "run_job", "merge_chunks_concurrently", "recompress_chunk", "cagg_migrate",
    "policy_refresh_continuous_aggregate", "policy_compression", "policy_recompression", "policy_compaction",
    "policy_process_hypertable_invalidations",
}  # fmt: skip
"""TimescaleDB's procedures that commit as they go, each in some version from 2.13 to 2.29 at least."""


def _commits(node: Any) -> bool:
    name = node.funccall.funcname[-1].string.sval
    return name in _CALLS or (name == "merge_chunks" and _concurrently(node.funccall.args))


def _concurrently(arguments: Any) -> bool:
    """The third argument of `merge_chunks(chunk, chunk, concurrently)`, by its name or by its place."""
    given = by_name(arguments)
    argument = given.get("concurrently", given.get(2))
    if argument is None:
        return False
    # What is not written as false may be true.
    return argument.WhichOneof("node") != "a_const" or bool(argument.a_const.boolval.boolval)


_Rule = tuple[Callable[[Any], bool], str]


def _always(_: Any) -> bool:
    return True


_RULES: dict[str, tuple[_Rule, ...]] = {
    "index_stmt": (
        (lambda n: bool(n.concurrent), "CREATE INDEX CONCURRENTLY"),
        (lambda n: is_on(n.options, "transaction_per_chunk"), "CREATE INDEX with transaction_per_chunk"),
    ),
    "drop_stmt": ((lambda n: bool(n.concurrent), "DROP INDEX CONCURRENTLY"),),
    "reindex_stmt": (
        (
            lambda n: n.kind > _REINDEX_TABLE or is_on(n.params, "concurrently"),
            "REINDEX CONCURRENTLY or of more than a table",
        ),
    ),
    "discard_stmt": ((lambda n: n.target == 1, "DISCARD ALL"),),
    "vacuum_stmt": ((lambda n: bool(n.is_vacuumcmd), "VACUUM"),),
    "cluster_stmt": ((lambda n: not n.HasField("relation"), "CLUSTER of all tables"),),
    "alter_system_stmt": ((_always, "ALTER SYSTEM"),),
    "createdb_stmt": ((_always, "CREATE DATABASE"),),
    "dropdb_stmt": ((_always, "DROP DATABASE"),),
    "alter_database_stmt": ((lambda n: _has_option(n.options, "tablespace"), "ALTER DATABASE SET TABLESPACE"),),
    "create_table_space_stmt": ((_always, "CREATE TABLESPACE"),),
    "drop_table_space_stmt": ((_always, "DROP TABLESPACE"),),
    "create_subscription_stmt": ((_creates_slot, "CREATE SUBSCRIPTION"),),
    "alter_subscription_stmt": ((_talks_to_publisher, "ALTER SUBSCRIPTION"),),
    "drop_subscription_stmt": ((_always, "DROP SUBSCRIPTION"),),
    "alter_table_stmt": ((_detaches_concurrently, "DETACH PARTITION CONCURRENTLY"),),
    "alter_extension_stmt": (
        (lambda n: first_in_session("alter_extension_stmt", n), "ALTER EXTENSION timescaledb UPDATE"),
    ),
    "call_stmt": ((_commits, "this TimescaleDB procedure"),),
    "create_table_as_stmt": ((continuous_with_data, "a continuous aggregate WITH DATA"),),
}
