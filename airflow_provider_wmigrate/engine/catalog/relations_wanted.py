"""Which facts about relations a script's locks depend on: only these are asked for, since planning the whole question
costs more than most migrations. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from airflow_provider_wmigrate.engine.sql.named import names_of, walk, walk_deep
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.statements import Statement

Section = Literal[
    "falling", "incoming", "keys", "bases", "sequences", "columns", "triggers", "published", "functions", "domains"
]
"""What falls with an object; foreign keys along all tables; foreign keys and other constraints; what views read; the
columns' sequences; columns; triggers and rules; a publication's tables; functions that are called; domains."""


class Wanted(NamedTuple):
    """:param names: of relations, types, functions, schemas, without their schemas.
    :param falling: those of them that a statement may drop or change together with what hangs on them.
    :param tied: those that a script makes a part of something else, with which they may fall.
    """

    names: frozenset[str] = frozenset()
    falling: frozenset[str] = frozenset()
    sections: frozenset[Section] = frozenset()
    tied: frozenset[str] = frozenset()


def wanted_of_all(scripts: Iterable[Analysis], also: Iterable[str] = ()) -> Wanted:
    """What several scripts name, so that one question does for a plan.

    :param also: further names, without their schemas.
    """
    each = [wanted(analysis) for analysis in scripts]
    return Wanted(
        frozenset(also).union(*(asked.names for asked in each)),
        frozenset[str]().union(*(asked.falling for asked in each)),
        frozenset[Section]().union(*(asked.sections for asked in each)),
        frozenset[str]().union(*(asked.tied for asked in each)),
    )


def wanted(analysis: Analysis) -> Wanted:
    """What a script names, and what has to be known of it. What its grammar does not understand has no names."""
    names: set[str] = set()
    falling: set[str] = set()
    tied: set[str] = set()
    sections: set[Section] = set()
    for statement in analysis.statements:
        if statement.kind not in _NAMELESS:
            here, more = names_of(analysis, statement), set(_sections(statement))
            names |= here
            sections |= more
            if "falling" in more:
                falling |= here
            if _ties(statement):
                tied |= here
    return Wanted(frozenset(names), frozenset(falling), frozenset(sections), frozenset(tied))


def _ties(statement: Statement) -> bool:
    """CREATE OR REPLACE VIEW, INHERIT, ATTACH PARTITION: of something that is there already."""
    from postgast.pg_query_pb2 import AlterTableType

    if statement.kind != "alter_table_stmt":
        return statement.kind == "view_stmt" and statement.node is not None and bool(statement.node.replace)
    tying = (AlterTableType.AT_AddInherit, AlterTableType.AT_AttachPartition)
    return any(item.alter_table_cmd.subtype in tying for item in statement.node.cmds)


_NAMELESS = frozenset({"do_stmt", "transaction_stmt", "listen_stmt", "notify_stmt", "create_role_stmt", "load_stmt"})

_ROWS: tuple[Section, ...] = ("keys", "bases", "sequences", "columns", "triggers")
_READS: tuple[Section, ...] = ("bases",)
_BY_KIND: dict[str, tuple[Section, ...]] = {
    **dict.fromkeys(("insert_stmt", "update_stmt", "copy_stmt"), _ROWS),
    **dict.fromkeys(("delete_stmt", "merge_stmt"), (*_ROWS, "incoming")),
    **dict.fromkeys(("view_stmt", "create_table_as_stmt", "refresh_mat_view_stmt", "lock_stmt", "rule_stmt"), _READS),
    **dict.fromkeys(("create_policy_stmt", "alter_policy_stmt"), _READS),
    "truncate_stmt": ("keys", "incoming", "sequences", "triggers"),
    "drop_stmt": ("falling", "triggers"),
    "alter_domain_stmt": ("falling",),
    "rename_stmt": ("falling", "keys", "columns", "triggers"),
    "alter_object_schema_stmt": ("sequences",),
    "alter_publication_stmt": ("published",),
}
_BY_COMMAND: dict[str, tuple[Section, ...]] = {
    "AT_AddColumn": ("domains", "columns"),
    "AT_DropColumn": ("falling", "keys", "columns"),
    "AT_AlterColumnType": ("falling", "keys", "columns", "sequences"),
    "AT_DropConstraint": ("falling", "keys"),
    **{f"AT_{how}Trig{which}": ("triggers", "keys") for how in ("Enable", "Disable") for which in ("", "All", "User")},
    **dict.fromkeys(("AT_EnableAlwaysTrig", "AT_EnableReplicaTrig"), ("triggers",)),
    "AT_AlterConstraint": ("keys",),
    **dict.fromkeys(("AT_SetNotNull", "AT_DropNotNull"), ("columns",)),
    "AT_AddConstraint": ("columns",),
    **dict.fromkeys(("AT_SetIdentity", "AT_DropIdentity"), ("columns", "sequences")),
    **dict.fromkeys(("AT_ChangeOwner", "AT_SetLogged", "AT_SetUnLogged"), ("sequences",)),
    **dict.fromkeys(("AT_AttachPartition", "AT_DetachPartition", "AT_ValidateConstraint"), ("keys",)),
}
"""By sub-command of ALTER TABLE."""


def _sections(statement: Statement) -> Iterator[Section]:
    yield from _BY_KIND.get(statement.kind, ())
    node = statement.node
    if node is None:
        return
    if statement.kind == "alter_table_stmt":
        yield from _of_commands(node)
    elif statement.kind == "create_stmt" and node.HasField("partbound"):
        yield "keys"
    elif statement.kind in _QUERIES:
        yield from _of_parts(node)
    calls = [message for message in walk(node) if message.DESCRIPTOR.name == "FuncCall"]
    if calls:
        yield "functions"
    if any(call.funcname[-1].string.sval == _SERIAL for call in calls):
        yield "sequences"
        yield "columns"


def _of_commands(node: Any) -> Iterator[Section]:
    from postgast.pg_query_pb2 import AlterTableType, ObjectType

    if node.objtype == ObjectType.OBJECT_TYPE:
        yield "falling"
    for item in node.cmds:
        yield from _BY_COMMAND.get(AlterTableType.Name(item.alter_table_cmd.subtype), ())


_QUERIES = frozenset(
    {"select_stmt", "insert_stmt", "update_stmt", "explain_stmt", "prepare_stmt", "declare_cursor_stmt", "rule_stmt",
     "create_table_as_stmt", "create_function_stmt"}
)  # fmt: skip
"""Statements with parts that may change rows: WITH ... AS (DELETE ...)."""
_PARTS = {
    "InsertStmt": "insert_stmt",
    "UpdateStmt": "update_stmt",
    "DeleteStmt": "delete_stmt",
    "MergeStmt": "merge_stmt",
}


_SERIAL = "pg_get_serial_sequence"
"""It says which sequence a column has."""


def _of_parts(node: Any) -> Iterator[Section]:
    for message in walk_deep(node):
        kind = message.DESCRIPTOR.name
        if kind == "RangeVar":
            yield "bases"
        yield from _BY_KIND.get(_PARTS.get(kind, ""), ())
