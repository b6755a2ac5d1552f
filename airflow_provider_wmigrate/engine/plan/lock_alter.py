"""What ALTER TABLE and its kin lock. Pure.

Source: PostgreSQL's tablecmds.c, AlterTableGetLockLevel and the ATPrep... and ATExec... functions, versions 13 to 18.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from airflow_provider_wmigrate.engine.catalog.relations import Column, Constraint, Thing
from airflow_provider_wmigrate.engine.lock_modes import LockMode, LongWork

from .lock_falling import CASCADE, EXCLUSIVE, beside, fallen
from .lock_scope import Lasting, Lock, Scope, Taken, owner_sequences
from .lock_work import adding_column, changing_type, is_check, key_of

_SELF_EXCLUSIVE = LockMode.SHARE_UPDATE_EXCLUSIVE
_KEY = LockMode.SHARE_ROW_EXCLUSIVE

_LEVELS = {
    **dict.fromkeys(
        ("SetStatistics", "SetOptions", "ResetOptions", "ClusterOn", "DropCluster", "ValidateConstraint",
         "AttachPartition", "DetachPartitionFinalize"),
        _SELF_EXCLUSIVE,
    ),
    **dict.fromkeys(
        ("EnableTrig", "EnableAlwaysTrig", "EnableReplicaTrig", "DisableTrig", "EnableTrigAll", "DisableTrigAll",
         "EnableTrigUser", "DisableTrigUser"),
        _KEY,
    ),
}  # fmt: skip
"""Sub-commands that take less than ACCESS EXCLUSIVE, whatever they say."""

_WEAK_OPTIONS = frozenset(
    {"fillfactor", "toast_tuple_target", "parallel_workers", "log_autovacuum_min_duration", "vacuum_index_cleanup",
     "vacuum_truncate", "vacuum_max_eager_freeze_failure_rate", "deduplicate_items", "n_distinct",
     "n_distinct_inherited"}
)  # fmt: skip
"""Storage parameters of SHARE UPDATE EXCLUSIVE, beside all of autovacuum. Source: PostgreSQL's reloptions.c."""

_RECURSING = frozenset(
    {"AddColumn", "ColumnDefault", "DropNotNull", "DropExpression", "SetExpression", "SetStatistics", "SetStorage",
     "DropColumn", "AlterColumnType"}
)  # fmt: skip
"""Sub-commands that go down to children and partitions."""


class Altering(NamedTuple):
    """One statement.

    :param table: None: it is new.
    :param mode: the strongest of its sub-commands, which all of them take.
    :param whole: with children and partitions: no ONLY.
    """

    scope: Scope
    table: int | None
    mode: LockMode
    whole: bool

    def columns(self, table: int) -> tuple[Column, ...]:
        return self.scope.facts.columns.get(table, ())

    def column(self, table: int, name: str) -> Column | None:
        return next((column for column in self.columns(table) if column.name == name), None)

    def constraint(self, table: int, name: str) -> Constraint | None:
        return next((k for k in self.scope.facts.constraints.get(table, ()) if k.name == name), None)

    def below(self) -> Iterator[int]:
        if self.table is not None and self.whole:
            yield from self.scope.facts.descendants(self.table)


def alter_table(node: Any, scope: Scope) -> Iterator[Taken]:
    """ALTER TABLE, INDEX, SEQUENCE, VIEW, MATERIALIZED VIEW, FOREIGN TABLE, TYPE with sub-commands."""
    commands = [(_name(item.alter_table_cmd), item.alter_table_cmd) for item in node.cmds]
    mode = max(_level(name, command) for name, command in commands)
    table = scope.of(node.relation)
    relation = scope.relation(table) if table is not None else None
    altering = Altering(scope, table, mode, node.relation.inh)
    for name, command in commands:
        work = _work(altering, name, command)
        if table is not None:
            yield Lock(table, mode, work)
        elif work is not None:
            yield Lasting(work)
        if name in _RECURSING:
            yield from (Lock(child, mode, work) for child in altering.below())
        if relation is not None and relation.kind == "c":
            yield from typed(scope, table, cascade=command.behavior == CASCADE)
        yield from _MORE.get(name, _nothing)(altering, command)


def typed(scope: Scope, composite: int | None, *, cascade: bool) -> Iterator[Lock]:
    """The tables OF a composite type, which change with it."""
    kind = scope.relation(composite) if composite is not None else None
    if kind is not None and cascade:
        for relation in scope.facts.relations.values():
            if relation.of_type == kind.row_type:
                yield from (Lock(oid, EXCLUSIVE) for oid in scope.family(relation.oid))


def _name(command: Any) -> str:
    from postgast.pg_query_pb2 import AlterTableType

    return str(AlterTableType.Name(command.subtype)).removeprefix("AT_")


def _level(name: str, command: Any) -> LockMode:
    definition = getattr(command, "def")
    if name == "AddConstraint" and definition.constraint.contype == key_of("FOREIGN"):
        return _KEY
    if name == "DetachPartition" and definition.partition_cmd.concurrent:
        return _SELF_EXCLUSIVE
    if name in ("SetRelOptions", "ResetRelOptions", "ReplaceRelOptions"):
        return max(map(option_level, definition.list.items), default=EXCLUSIVE)
    return _LEVELS.get(name, EXCLUSIVE)


def option_level(option: Any) -> LockMode:
    """The lock for changing a storage parameter."""
    name = option.def_elem.defname.lower()
    return _SELF_EXCLUSIVE if name in _WEAK_OPTIONS or name.startswith("autovacuum_") else EXCLUSIVE


_REWRITES = frozenset({"SetLogged", "SetUnLogged", "SetAccessMethod", "SetTableSpace", "SetExpression"})


def _work(altering: Altering, name: str, command: Any) -> LongWork | None:
    """What a sub-command does with a table for longer than a moment."""
    definition, table = getattr(command, "def"), altering.table
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
        return _constraint_work(definition.constraint)
    return "scan" if name in ("ValidateConstraint", "AttachPartition") else None


def _constraint_work(constraint: Any) -> LongWork | None:
    if constraint.contype in map(key_of, ("PRIMARY", "UNIQUE", "EXCLUSION")):
        return None if constraint.indexname else "build"
    return None if constraint.skip_validation else "scan"


def _nothing(altering: Altering, command: Any) -> Iterator[Taken]:
    return iter(())


def _add_column(altering: Altering, command: Any) -> Iterator[Taken]:
    for item in getattr(command, "def").column_def.constraints:
        if item.constraint.contype == key_of("FOREIGN"):
            yield from referenced(altering.scope, item.constraint)


def referenced(scope: Scope, constraint: Any) -> Iterator[Lock]:
    """The table that a new foreign key points at, with its partitions."""
    target = scope.of(constraint.pktable)
    if target is not None:
        work: LongWork | None = None if constraint.skip_validation else "scan"
        yield from (Lock(oid, _KEY, work) for oid in scope.family(target))


def _add_constraint(altering: Altering, command: Any) -> Iterator[Taken]:
    constraint = getattr(command, "def").constraint
    if constraint.contype == key_of("FOREIGN"):
        yield from (Lock(oid, altering.mode, _constraint_work(constraint)) for oid in altering.below())
        yield from referenced(altering.scope, constraint)
    elif is_check(constraint):
        if not constraint.is_no_inherit:
            yield from (Lock(oid, altering.mode, _constraint_work(constraint)) for oid in altering.below())
    elif altering.table is not None:
        yield from _add_index(altering, constraint)


def _add_index(altering: Altering, constraint: Any) -> Iterator[Taken]:
    """PRIMARY KEY, UNIQUE, EXCLUDE: partitions have indexes too, and the columns of a primary key become NOT NULL."""
    table, scope = altering.table, altering.scope
    relation = scope.relation(table) if table is not None else None
    if table is None or relation is None:
        return
    if relation.kind == "p":
        yield from (Lock(oid, LockMode.SHARE, "build") for oid in altering.below())
    if constraint.contype == key_of("PRIMARY"):
        columns = (altering.column(table, key.string.sval) for key in constraint.keys)
        if any(column is not None and not column.not_null for column in columns):
            yield from (Lock(oid, altering.mode, "scan") for oid in altering.below())


def _set_not_null(altering: Altering, command: Any) -> Iterator[Taken]:
    column = altering.column(altering.table, command.name) if altering.table is not None else None
    if column is not None and not column.not_null:
        yield from (Lock(oid, altering.mode, "scan") for oid in altering.below())


def _drop_column(altering: Altering, command: Any) -> Iterator[Taken]:
    if altering.table is None or altering.column(altering.table, command.name) is None:
        return
    scope, cascade = altering.scope, command.behavior == CASCADE
    yield from (Lock(child, altering.mode) for child in scope.facts.children.get(altering.table, ()))
    for table in scope.family(altering.table, whole=altering.whole):
        column = altering.column(table, command.name)
        if column is not None:
            yield from fallen(scope, [Thing("pg_class", table, column.number)], cascade=cascade)


def _alter_type(altering: Altering, command: Any) -> Iterator[Taken]:
    """Keys and indexes on the column are made anew, which locks the other side of a key too."""
    if altering.table is None:
        return
    scope = altering.scope
    for table in scope.family(altering.table, whole=altering.whole):
        column = altering.column(table, command.name)
        if column is not None:
            things = scope.facts.falls([Thing("pg_class", table, column.number)], cascade=True)
            rebuilt = [thing for thing in things if thing.catalog in ("pg_constraint", "pg_trigger")]
            for thing in rebuilt:
                other = scope.facts.parts.get((thing.catalog, thing.oid))
                if other is not None:
                    yield Lock(other, EXCLUSIVE)


def _drop_constraint(altering: Altering, command: Any) -> Iterator[Taken]:
    found = altering.constraint(altering.table, command.name) if altering.table is not None else None
    if altering.table is None or found is None:
        return
    scope = altering.scope
    yield from fallen(scope, [Thing("pg_constraint", found.oid)], cascade=command.behavior == CASCADE)
    if found.kind in "cn" and not found.no_inherit:
        children = altering.below() if altering.whole else scope.facts.children.get(altering.table, ())
        yield from (Lock(child, altering.mode) for child in children)


def _alter_constraint(altering: Altering, command: Any) -> Iterator[Taken]:
    """A foreign key's copies in the partitions of the table that has it."""
    yield from (Lock(oid, altering.mode) for oid in altering.below())


def _validate(altering: Altering, command: Any) -> Iterator[Taken]:
    found = altering.constraint(altering.table, command.name) if altering.table is not None else None
    if found is None or found.valid:
        return
    if found.kind == "f":
        yield Lock(found.references, LockMode.ROW_SHARE, "scan")
    else:
        yield from (Lock(oid, altering.mode, "scan") for oid in altering.below())


def _triggers(altering: Altering, command: Any) -> Iterator[Taken]:
    relation = altering.scope.relation(altering.table) if altering.table is not None else None
    if relation is not None and relation.kind == "p":
        yield from (Lock(oid, altering.mode) for oid in altering.below())


def _owner(altering: Altering, command: Any) -> Iterator[Taken]:
    if altering.table is not None:
        yield from (Lock(oid, altering.mode) for oid in owner_sequences(altering.scope, altering.table))


def _identity(altering: Altering, command: Any) -> Iterator[Taken]:
    """Its sequence is altered, or dropped."""
    if altering.table is None or (column := altering.column(altering.table, command.name)) is None:
        return
    mode = EXCLUSIVE if _name(command) == "DropIdentity" else _KEY
    for sequence in altering.scope.facts.sequences.get(altering.table, ()):
        if sequence.column == column.number and sequence.how == "identity":
            yield Lock(sequence.oid, mode)


def _inherit(mode: LockMode) -> Callable[[Altering, Any], Iterator[Taken]]:
    def more(altering: Altering, command: Any) -> Iterator[Taken]:
        parent = altering.scope.of(getattr(command, "def").range_var)
        if parent is not None:
            yield Lock(parent, mode)

    return more


def attached(scope: Scope, parent: int) -> Iterator[Lock]:
    """What a new partition concerns: the default one, which must have none of its rows, and both sides of keys."""
    facts = scope.facts
    if parent in facts.defaults:
        yield from (Lock(oid, EXCLUSIVE, "scan") for oid in scope.family(facts.defaults[parent]))
    yield from (Lock(key.references, _KEY) for key in facts.constraints.get(parent, ()) if key.kind == "f")
    yield from (Lock(key.relation, _KEY) for key in facts.incoming.get(parent, ()))


def _attach(altering: Altering, command: Any) -> Iterator[Taken]:
    scope = altering.scope
    part = scope.of(getattr(command, "def").partition_cmd.name)
    if part is not None:
        yield from (Lock(oid, EXCLUSIVE, "scan") for oid in scope.family(part))
    if altering.table is not None:
        yield from attached(scope, altering.table)


def _detach(altering: Altering, command: Any) -> Iterator[Taken]:
    scope = altering.scope
    part = scope.of(getattr(command, "def").partition_cmd.name)
    if part is None:
        return
    yield from (Lock(oid, EXCLUSIVE) for oid in scope.family(part))
    yield from beside(scope, part)
    yield from (Lock(key.references, _KEY) for key in scope.facts.constraints.get(part, ()) if key.kind == "f")
    yield from (Lock(key.relation, EXCLUSIVE) for key in scope.facts.incoming.get(part, ()))


def _persistence(altering: Altering, command: Any) -> Iterator[Taken]:
    """Since PostgreSQL 15 the sequences of a table's columns change with it."""
    if altering.table is not None and altering.scope.facts.version >= 150000:
        yield from (Lock(oid, EXCLUSIVE) for oid in owner_sequences(altering.scope, altering.table))


_MORE: dict[str, Callable[[Altering, Any], Iterator[Taken]]] = {
    "AddColumn": _add_column,
    "AddConstraint": _add_constraint,
    "SetNotNull": _set_not_null,
    "DropColumn": _drop_column,
    "AlterColumnType": _alter_type,
    "DropConstraint": _drop_constraint,
    "AlterConstraint": _alter_constraint,
    "ValidateConstraint": _validate,
    **{name: _triggers for name in _LEVELS if "Trig" in name},
    "ChangeOwner": _owner,
    "SetIdentity": _identity,
    "DropIdentity": _identity,
    "AddInherit": _inherit(_SELF_EXCLUSIVE),
    "DropInherit": _inherit(LockMode.ACCESS_SHARE),
    "AttachPartition": _attach,
    "DetachPartition": _detach,
    "SetLogged": _persistence,
    "SetUnLogged": _persistence,
}
"""What else a sub-command locks."""
