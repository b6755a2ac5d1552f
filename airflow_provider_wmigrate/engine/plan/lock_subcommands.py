"""What ALTER TABLE's sub-commands lock beside the table: its children, the other side of keys, sequences. Pure.

Source: the ATPrep... and ATExec... functions of PostgreSQL's tablecmds.c, versions 13 to 18.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from airflow_provider_wmigrate.engine.catalog.relations import Column, Constraint, Thing
from airflow_provider_wmigrate.engine.lock_modes import LockMode, LongWork

from .lock_falling import CASCADE, EXCLUSIVE, beside, fallen
from .lock_kinship import KEY, attached, referenced
from .lock_scope import Lock, Scope, Taken, owner_sequences
from .lock_work import is_check, key_of

SHARED = LockMode.SHARE_UPDATE_EXCLUSIVE
TRIGGERS = (
    *("EnableTrig", "EnableAlwaysTrig", "EnableReplicaTrig", "DisableTrig"),
    *("EnableTrigAll", "DisableTrigAll", "EnableTrigUser", "DisableTrigUser"),
)


class Altering(Struct, frozen=True):
    """One statement.

    :param table: None: it is new.
    :param number: of the table, also if the script has made it.
    :param mode: the strongest of its sub-commands, which all of them take.
    :param whole: with children and partitions: no ONLY.
    :param empty: it is new and has no rows.
    """

    scope: Scope
    table: int | None
    number: int | None
    mode: LockMode
    whole: bool
    empty: bool

    def columns(self, table: int) -> tuple[Column, ...]:
        return self.scope.facts.columns.get(table, ())

    def column(self, table: int, name: str) -> Column | None:
        return next((column for column in self.columns(table) if column.name == name), None)

    def constraint(self, table: int, name: str) -> Constraint | None:
        return next((k for k in self.scope.facts.constraints.get(table, ()) if k.name == name), None)

    def partitions(self) -> Iterator[int]:
        if self.table is not None and self.scope.parted(self.table):
            yield from self.scope.facts.descendants(self.table)

    def below(self) -> Iterator[int]:
        """Children and partitions, unless the statement says ONLY."""
        if self.table is not None and self.whole:
            yield from self.scope.facts.descendants(self.table)


def name_of(command: Any) -> str:
    from postgast.pg_query_pb2 import AlterTableType

    return str(AlterTableType.Name(command.subtype)).removeprefix("AT_")


def constraint_work(constraint: Any) -> LongWork | None:
    if constraint.contype in map(key_of, ("PRIMARY", "UNIQUE", "EXCLUSION")):
        return None if constraint.indexname else "build"
    return None if constraint.skip_validation else "scan"


def nothing(altering: Altering, command: Any) -> Iterator[Taken]:
    return iter(())


def _add_column(altering: Altering, command: Any) -> Iterator[Taken]:
    """PostgreSQL does not check the key of a column that is null in all rows."""
    constraints = [item.constraint for item in getattr(command, "def").column_def.constraints]
    null = {key_of("DEFAULT"), key_of("GENERATED")}.isdisjoint(constraint.contype for constraint in constraints)
    for constraint in constraints:
        if constraint.contype == key_of("FOREIGN"):
            yield from referenced(altering.scope, constraint, empty=altering.empty or null)


def _add_constraint(altering: Altering, command: Any) -> Iterator[Taken]:
    constraint = getattr(command, "def").constraint
    if altering.scope.facts.version >= 180000:  # where all children are locked, whatever the constraint
        yield from (Lock(oid, altering.mode) for oid in altering.below())
    if constraint.contype == key_of("FOREIGN"):
        yield from (Lock(oid, altering.mode, constraint_work(constraint)) for oid in altering.partitions())
        yield from referenced(altering.scope, constraint, empty=altering.empty)
    elif is_check(constraint):
        if not constraint.is_no_inherit:
            yield from (Lock(oid, altering.mode, constraint_work(constraint)) for oid in altering.below())
    elif altering.table is not None:
        yield from _add_index(altering, constraint)


def _add_index(altering: Altering, constraint: Any) -> Iterator[Taken]:
    """PRIMARY KEY, UNIQUE, EXCLUDE: partitions have indexes too, and the columns of a primary key become NOT NULL."""
    table, scope = altering.table, altering.scope
    relation = scope.relation(table) if table is not None else None
    if table is None or relation is None:
        return
    mode = LockMode.SHARE if relation.kind == "p" else altering.mode
    yield from (Lock(oid, mode, constraint_work(constraint)) for oid in altering.partitions())
    if constraint.contype == key_of("PRIMARY"):
        columns = (altering.column(table, key.string.sval) for key in constraint.keys)
        if any(column is not None and not column.not_null for column in columns):
            yield from (Lock(oid, altering.mode, "scan") for oid in altering.below())


def _set_not_null(altering: Altering, command: Any) -> Iterator[Taken]:
    column = altering.column(altering.table, command.name) if altering.table is not None else None
    if column is not None and not column.not_null:
        yield from (Lock(oid, altering.mode, "scan") for oid in altering.below())


def _drop_not_null(altering: Altering, command: Any) -> Iterator[Taken]:
    """Since PostgreSQL 18 it is a constraint, and where there is none the children are left alone."""
    column = altering.column(altering.table, command.name) if altering.table is not None else None
    if altering.scope.facts.version < 180000 or column is None or column.not_null:
        yield from (Lock(oid, altering.mode) for oid in altering.below())


def _drop_column(altering: Altering, command: Any) -> Iterator[Taken]:
    if altering.number is None or altering.column(altering.number, command.name) is None:
        return
    scope, cascade = altering.scope, command.behavior == CASCADE
    yield from (Lock(child, altering.mode) for child in scope.facts.children.get(altering.number, ()))
    for table in scope.family(altering.number, whole=altering.whole):
        column = altering.column(table, command.name)
        if column is not None:
            yield from fallen(scope, [Thing("pg_class", table, column.number)], cascade=cascade)


def _alter_type(altering: Altering, command: Any) -> Iterator[Taken]:
    """Keys and indexes on the column are made anew, which locks the other side of a key too."""
    if altering.number is None:
        return
    yield from _identity(altering, command)
    scope = altering.scope
    for table in scope.family(altering.number, whole=altering.whole):
        column = altering.column(table, command.name)
        if column is not None:
            things = scope.facts.falls([Thing("pg_class", table, column.number)], cascade=True)
            rebuilt = [thing for thing in things if thing.catalog in ("pg_constraint", "pg_trigger")]
            parts = (scope.facts.parts.get((thing.catalog, thing.oid)) for thing in rebuilt)
            yield from (Lock(oid, EXCLUSIVE, None if oid == table else "scan") for oid in parts if oid is not None)
            keys = [key for key in scope.facts.constraints.get(table, ()) if column.number in key.columns]
            yield from (Lock(key.references, KEY) for key in keys if key.references)


def _drop_constraint(altering: Altering, command: Any) -> Iterator[Taken]:
    found = altering.constraint(altering.number, command.name) if altering.number is not None else None
    if altering.number is None or found is None:
        return
    scope = altering.scope
    yield from fallen(scope, [Thing("pg_constraint", found.oid)], cascade=command.behavior == CASCADE)
    if found.references:
        yield Lock(found.references, EXCLUSIVE)
    if found.kind in "cn" and not found.no_inherit:
        children = altering.below() if altering.whole else scope.facts.children.get(altering.number, ())
        yield from (Lock(child, altering.mode) for child in children)


def _alter_constraint(altering: Altering, command: Any) -> Iterator[Taken]:
    """A foreign key's copies in the partitions of the table that has it; to enforce it no more drops triggers."""
    yield from (Lock(oid, altering.mode) for oid in altering.partitions())
    change = getattr(command, "def").atalter_constraint
    found = altering.constraint(altering.table, change.conname) if altering.table is not None else None
    if found is not None and change.alter_enforceability:
        for oid in altering.scope.family(found.references):
            yield Lock(oid, KEY if change.is_enforced else EXCLUSIVE, "scan" if change.is_enforced else None)


def _validate(altering: Altering, command: Any) -> Iterator[Taken]:
    found = altering.constraint(altering.number, command.name) if altering.number is not None else None
    if found is None or found.valid:
        return
    if found.kind == "f":
        yield Lock(found.references, LockMode.ROW_SHARE, None if altering.empty else "scan")
    else:
        yield from (Lock(oid, altering.mode, "scan") for oid in altering.below())


def _triggers(altering: Altering, command: Any) -> Iterator[Taken]:
    """Those for each row, which every partition has too."""
    relation = altering.scope.relation(altering.table) if altering.table is not None else None
    if relation is None or not altering.scope.parted(relation.oid):
        return
    facts, name = altering.scope.facts, name_of(command)
    keyed = facts.incoming.get(relation.oid) or any(k.kind == "f" for k in facts.constraints.get(relation.oid, ()))
    whole = name.endswith("All") and facts.version >= 150000 and bool(keyed)
    rows = [t for t in facts.triggers.get(relation.oid, ()) if t.for_each_row]
    if whole or any(name.endswith(("All", "User")) or trigger.name == command.name for trigger in rows):
        yield from (Lock(oid, altering.mode) for oid in altering.below())


def _owner(altering: Altering, command: Any) -> Iterator[Taken]:
    if altering.table is not None:
        yield from (Lock(oid, altering.mode) for oid in owner_sequences(altering.scope, altering.table))


def _add_identity(altering: Altering, command: Any) -> Iterator[Taken]:
    """Since PostgreSQL 17 it is one for all partitions, but not for chunks."""
    if altering.scope.facts.version >= 170000 and not altering.scope.hypertable(altering.table):
        yield from (Lock(oid, altering.mode) for oid in altering.partitions())


def _identity(altering: Altering, command: Any) -> Iterator[Taken]:
    """Its sequence is altered, or dropped."""
    if name_of(command) != "AlterColumnType":
        yield from _add_identity(altering, command)
    if altering.table is None or (column := altering.column(altering.table, command.name)) is None:
        return
    mode = EXCLUSIVE if name_of(command) == "DropIdentity" else KEY
    for sequence in altering.scope.facts.sequences.get(altering.table, ()):
        if sequence.column == column.number and sequence.how == "identity":
            yield Lock(sequence.oid, mode)


def _inherit(mode: LockMode) -> Callable[[Altering, Any], Iterator[Taken]]:
    def more(altering: Altering, command: Any) -> Iterator[Taken]:
        parent = altering.scope.of(getattr(command, "def").range_var)
        if parent is not None:
            yield Lock(parent, mode)

    return more


def _attach(altering: Altering, command: Any) -> Iterator[Taken]:
    scope = altering.scope
    part = scope.of(getattr(command, "def").partition_cmd.name)
    if part is not None:
        yield from (Lock(oid, EXCLUSIVE, "scan") for oid in scope.family(part))
    if altering.table is not None:
        yield from attached(scope, altering.table)


def _detach(altering: Altering, command: Any) -> Iterator[Taken]:
    scope, detached = altering.scope, getattr(command, "def").partition_cmd
    part = scope.number(detached.name)
    if part is None:
        return
    weak = scope.facts.version < 140000 and not scope.facts.incoming.get(part)
    yield Lock(part, SHARED if weak else EXCLUSIVE)
    yield from (Lock(oid, EXCLUSIVE) for oid in scope.facts.descendants(part))
    if not detached.concurrent:
        yield from beside(scope, part)
    yield from (Lock(key.references, KEY) for key in scope.facts.constraints.get(part, ()) if key.kind == "f")
    yield from (Lock(key.relation, EXCLUSIVE) for key in scope.facts.incoming.get(part, ()))


def changes_persistence(altering: Altering, name: str) -> bool:
    relation = altering.scope.relation(altering.table) if altering.table is not None else None
    return relation is None or relation.unlogged == (name == "SetLogged")


def _persistence(altering: Altering, command: Any) -> Iterator[Taken]:
    """Since PostgreSQL 15 the sequences of a table's columns change with it."""
    changes = altering.scope.facts.version >= 150000 and changes_persistence(altering, name_of(command))
    if altering.table is not None and changes:
        yield from (Lock(oid, EXCLUSIVE) for oid in owner_sequences(altering.scope, altering.table))


MORE: dict[str, Callable[[Altering, Any], Iterator[Taken]]] = {
    "AddColumn": _add_column,
    "AddConstraint": _add_constraint,
    "SetNotNull": _set_not_null,
    "DropColumn": _drop_column,
    "AlterColumnType": _alter_type,
    "DropConstraint": _drop_constraint,
    "AlterConstraint": _alter_constraint,
    "ValidateConstraint": _validate,
    **{name: _triggers for name in TRIGGERS},
    "ChangeOwner": _owner,
    "DropNotNull": _drop_not_null,
    "AddIdentity": _add_identity,
    "SetIdentity": _identity,
    "DropIdentity": _identity,
    "AddInherit": _inherit(SHARED),
    "DropInherit": _inherit(LockMode.ACCESS_SHARE),
    "AttachPartition": _attach,
    "DetachPartition": _detach,
    "SetLogged": _persistence,
    "SetUnLogged": _persistence,
}
"""What else a sub-command locks."""
