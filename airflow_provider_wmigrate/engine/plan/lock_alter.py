"""What ALTER TABLE and its kin lock. Pure.

Source: PostgreSQL's tablecmds.c, AlterTableGetLockLevel, versions 13 to 18.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_provider_wmigrate.engine.catalog.relations import Relation
from airflow_provider_wmigrate.engine.lock_modes import LockMode, LongWork
from airflow_provider_wmigrate.engine.sql.named import walk

from .lock_calls import call
from .lock_falling import CASCADE, EXCLUSIVE
from .lock_kinship import KEY, typed
from .lock_scope import Lasting, Lock, Scope, Taken
from .lock_subcommands import MORE, SHARED, TRIGGERS, Altering, changes_persistence, constraint_work, name_of, nothing
from .lock_work import adding_column, changing_type, key_of

_LEVELS = {
    **dict.fromkeys(
        ("SetStatistics", "SetOptions", "ResetOptions", "ClusterOn", "DropCluster", "ValidateConstraint",
         "AttachPartition", "DetachPartitionFinalize"),
        SHARED,
    ),
    **dict.fromkeys(TRIGGERS, KEY),
}  # fmt: skip
"""Sub-commands that take less than ACCESS EXCLUSIVE, whatever they say."""

_WEAK_OPTIONS = frozenset(
    {"fillfactor", "toast_tuple_target", "parallel_workers", "log_autovacuum_min_duration", "vacuum_index_cleanup",
     "vacuum_truncate", "vacuum_max_eager_freeze_failure_rate", "deduplicate_items", "n_distinct",
     "n_distinct_inherited"}
)  # fmt: skip
"""Storage parameters of SHARE UPDATE EXCLUSIVE, beside all of autovacuum. Source: PostgreSQL's reloptions.c."""

_RECURSING = frozenset(
    {"AddColumn", "ColumnDefault", "DropExpression", "SetExpression", "SetStatistics", "SetStorage",
     "DropColumn", "AlterColumnType"}
)  # fmt: skip
"""Sub-commands that go down to children and partitions."""

_PASSED_ON = frozenset(
    {"SetRelOptions", "ResetRelOptions", "ReplaceRelOptions", "SetOptions", "ResetOptions", "SetCompression",
     "DropCluster", "SetTableSpace", "SetLogged", "SetUnLogged", "ReplicaIdentity", "DropOids", "ChangeOwner",
     "AddConstraint", "DropConstraint", "ValidateConstraint"}
)  # fmt: skip
"""Sub-commands that PostgreSQL keeps to the table, and TimescaleDB does to each chunk of a hypertable or its index.
Source: TimescaleDB's process_utility.c; seen in version 2.28."""


def alter_table(node: Any, scope: Scope) -> Iterator[Taken]:
    """ALTER TABLE, INDEX, SEQUENCE, VIEW, MATERIALIZED VIEW, FOREIGN TABLE, TYPE with sub-commands."""
    commands = [(name_of(item.alter_table_cmd), item.alter_table_cmd) for item in node.cmds]
    mode = max(_level(name, command) for name, command in commands)
    table = scope.of(node.relation)
    relation = scope.relation(table) if table is not None else None
    altering = Altering(scope, table, scope.number(node.relation), mode, node.relation.inh, scope.empty(node.relation))
    for name, command in commands:
        work = _work(altering, name, command)
        if table is not None:
            yield Lock(table, mode, work)
        elif work is not None:
            yield Lasting(work)
        if name in _RECURSING and not _passed_over(altering, name, command):
            yield from (Lock(child, mode, work) for child in altering.below())
        if relation is not None and relation.kind == "c":
            yield from typed(scope, table, cascade=command.behavior == CASCADE)
        if table is None and name in _RECURSING and node.relation.inh:
            yield from (Lock(child, mode, work) for child in scope.behind(node.relation))
        if _passed_on(relation, name, command):
            yield from (Lock(chunk, mode, work) for chunk in scope.chunks(table))
        yield from MORE.get(name, nothing)(altering, command)
        yield from _called(altering, name, command)


def _passed_over(altering: Altering, name: str, command: Any) -> bool:
    """IF [NOT] EXISTS, and there is nothing to do: the server looks at the table before its children."""
    wanted = getattr(command, "def").column_def.colname if name == "AddColumn" else command.name
    there = altering.table is not None and altering.column(altering.table, wanted) is not None
    return bool(command.missing_ok) and there == (name == "AddColumn")


def _passed_on(relation: Relation | None, name: str, command: Any) -> bool:
    """Whether TimescaleDB does it to the chunks too: not its own options, and of an index nothing but its move."""
    own = any(item.def_elem.defnamespace in ("timescaledb", "tsdb") for item in getattr(command, "def").list.items)
    indexed = relation is not None and relation.table is not None
    return name in _PASSED_ON and not own and (not indexed or name == "SetTableSpace")


def _called(altering: Altering, name: str, command: Any) -> Iterator[Taken]:
    """Functions that a sub-command runs for the rows that are there."""
    if name in _RUNNING and not altering.empty and not getattr(command, "def").constraint.skip_validation:
        for message in walk(command):
            if message.DESCRIPTOR.name == "FuncCall":
                yield from call(message, altering.scope)


_RUNNING = ("AddColumn", "AlterColumnType", "AddConstraint", "SetExpression")


def _level(name: str, command: Any) -> LockMode:
    definition = getattr(command, "def")
    if name == "AddConstraint" and definition.constraint.contype == key_of("FOREIGN"):
        return KEY
    if name == "DetachPartition" and definition.partition_cmd.concurrent:
        return SHARED
    if name in ("SetRelOptions", "ResetRelOptions", "ReplaceRelOptions"):
        return max(map(option_level, definition.list.items), default=EXCLUSIVE)
    return _LEVELS.get(name, EXCLUSIVE)


def option_level(option: Any) -> LockMode:
    """The lock for changing a storage parameter."""
    name = option.def_elem.defname.lower()
    return SHARED if name in _WEAK_OPTIONS or name.startswith("autovacuum_") else EXCLUSIVE


_REWRITES = frozenset({"SetLogged", "SetUnLogged", "SetAccessMethod", "SetTableSpace", "SetExpression"})


def _work(altering: Altering, name: str, command: Any) -> LongWork | None:
    """What a sub-command does with a table for longer than a moment."""
    definition, table = getattr(command, "def"), altering.table
    if altering.empty:
        return None
    if name in ("SetLogged", "SetUnLogged") and not changes_persistence(altering, name):
        return None
    if name in _REWRITES:
        return "rewrite"
    if name == "AddColumn":
        return adding_column(definition.column_def, altering.scope)
    if name == "AlterColumnType":
        column = altering.column(table, command.name) if table is not None else None
        return changing_type(column, command.name, definition.column_def)
    if name == "SetNotNull":
        column = altering.column(table, command.name) if table is not None else None
        return None if column is not None and column.not_null else "scan"
    if name == "AddConstraint":
        return constraint_work(definition.constraint)
    if name == "AttachPartition":
        return None if altering.scope.empty(definition.partition_cmd.name) else "scan"
    return "scan" if name == "ValidateConstraint" else None
