"""What the statements of a script do to the names in it. Pure."""

from __future__ import annotations

from typing import Any

from airflow_provider_wmigrate.engine.sql.named import walk

from .lock_falling import HANGING, RELATIONS, parts_of
from .lock_scope import Lock, Scope
from .lock_subcommands import name_of
from .lock_ties import (
    rename_column,
    rename_key,
    tie_altered,
    tie_child,
    tie_created,
    tie_index,
    tie_policy,
    tie_sequence,
    tie_trigger,
    tie_view,
)
from .lock_unrun import unrun

_HANGS = {
    "create_trig_stmt": ("relation", "trigname"),
    "rule_stmt": ("relation", "rulename"),
    **dict.fromkeys(("create_policy_stmt", "alter_policy_stmt"), ("table", "policy_name")),
}
"""What belongs to a table: the fields with the table and its name."""
_MATERIALIZED = 24
"""ObjectType."""
_SAVEPOINTS = {5: Scope.savepoint, 7: Scope.roll_back_to}
"""By TransactionStmtKind."""


def after(kind: str, node: Any, scope: Scope) -> None:
    """What names mean from here on."""
    if kind in ("create_stmt", "create_foreign_table_stmt"):
        made = node.base_stmt if kind == "create_foreign_table_stmt" else node
        scope.make(made.relation, replaces=not made.if_not_exists, empty=kind == "create_stmt")
        tie_created(made, scope)
    elif kind == "create_table_as_stmt":
        scope.make(node.into.rel, replaces=not node.if_not_exists, empty=True)
        if node.objtype == _MATERIALIZED and scope.of(node.into.rel) is None:
            tie_view(scope, node.into.rel, node.query)
    elif kind == "select_stmt":
        _after_select(node, scope)
    elif kind == "view_stmt":
        bases = [taken.relation for taken in unrun(node.query, scope) if isinstance(taken, Lock)]
        named = (message for message in walk(node.query) if message.DESCRIPTOR.name == "RangeVar")
        bases += [oid for each in named for oid in scope.behind(each)]
        scope.make(node.view, replaces=not node.replace)
        scope.put_behind(node.view, bases)
        tie_view(scope, node.view, node.query)
    elif kind == "create_seq_stmt":
        scope.make(node.sequence, replaces=not node.if_not_exists)
        tie_sequence(scope, node)
    elif kind == "composite_type_stmt":
        scope.make(node.typevar)
    elif kind == "index_stmt":
        scope.make_index(node)
        tie_index(scope, node)
    else:
        _after_change(kind, node, scope)


def _after_change(kind: str, node: Any, scope: Scope) -> None:
    from postgast.pg_query_pb2 import ObjectType

    if kind == "rename_stmt":
        _after_rename(ObjectType.Name(node.rename_type).removeprefix("OBJECT_"), node, scope)
    elif kind == "alter_object_schema_stmt" and node.HasField("relation"):
        scope.move(node.relation, node.newschema)
    elif kind == "drop_stmt" and ObjectType.Name(node.remove_type).removeprefix("OBJECT_") in RELATIONS:
        for item in node.objects:
            scope.drop(parts_of(item))
    elif kind in _AFTER:
        _AFTER[kind](scope, node)
    elif kind == "prepare_stmt":
        scope.prepared[node.name] = node.query
    elif kind == "alter_table_stmt":
        tie_altered(node, scope)
        _after_alter(node, scope)
        scope.other_rights |= any(name_of(item.alter_table_cmd) == "ForceRowSecurity" for item in node.cmds)
    elif kind in _HANGS:
        _after_hanging(kind, node, scope)


def _after_savepoint(scope: Scope, node: Any) -> None:
    if node.kind in _SAVEPOINTS:
        _SAVEPOINTS[node.kind](scope, node.savepoint_name)


_AFTER = {"variable_set_stmt": Scope.set, "transaction_stmt": _after_savepoint, "alter_seq_stmt": tie_sequence}


def _after_hanging(kind: str, node: Any, scope: Scope) -> None:
    table, name = _HANGS[kind]
    scope.hang(getattr(node, table), getattr(node, name))
    if kind.endswith("policy_stmt"):
        tie_policy(scope, node)
    elif kind == "create_trig_stmt":
        tie_trigger(scope, node)


def _after_rename(what: str, node: Any, scope: Scope) -> None:
    if what in RELATIONS:
        scope.rename(node.relation, node.newname)
    elif what == "SCHEMA":
        scope.rename_schema(node.subname, node.newname)
    elif what == "TABCONSTRAINT" and (table := scope.number(node.relation)) is not None:
        rename_key(scope, table, node.subname, node.newname)
    elif what == "COLUMN":
        rename_column(scope, node)
    elif what in HANGING:
        scope.hang(node.relation, node.newname)


def _after_alter(node: Any, scope: Scope) -> None:
    """A table has the rows of its children and partitions too."""
    for item in node.cmds:
        name = name_of(item.alter_table_cmd)
        child = node.relation if name == "AddInherit" else getattr(item.alter_table_cmd, "def").partition_cmd.name
        if name not in ("AddInherit", "AttachPartition"):
            continue
        parent = getattr(item.alter_table_cmd, "def").range_var if name == "AddInherit" else node.relation
        own = scope.of(child)
        tie_child(scope, parent, child, partition=name == "AttachPartition")
        scope.put_behind(parent, [*scope.behind(child), *([own] if own is not None else [])])
        if not scope.empty(child):
            scope.rows_came()


def _after_select(node: Any, scope: Scope) -> None:
    if node.HasField("into_clause"):
        scope.make(node.into_clause.rel, empty=True)
    for target in node.target_list:
        call = target.res_target.val.func_call
        if call.funcname and call.funcname[-1].string.sval == "set_config":
            scope.configure(call)
