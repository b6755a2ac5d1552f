"""What a script ties together: its foreign keys, views and children. Behind the statement that makes one, a change of
one side goes over to the other, as it does where the facts knew of it before. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

from airflow_provider_wmigrate.engine.catalog.relations import Column, Constraint, Thing
from airflow_provider_wmigrate.engine.sql.named import walk

from .lock_calls import harmless
from .lock_falling import objects
from .lock_scope import Scope
from .lock_subcommands import name_of
from .lock_work import key_of


def tie_created(node: Any, scope: Scope) -> None:
    """The foreign keys of CREATE TABLE, its own and those of what it is a partition of."""
    table = scope.number(node.relation)
    if table is None or table >= 0:  # IF NOT EXISTS
        return
    columns = [item.column_def for item in node.table_elts if item.WhichOneof("node") == "column_def"]
    keys = [key for column in columns for key in _keys(column)]
    keys += [key for item in node.table_elts for key in _key(item.constraint, item.constraint.fk_attrs)]
    if keys:
        for number, column in enumerate(columns, 1):
            _add(scope, "columns", table, Column(number, column.colname, "", False))
    for constraint, own in keys:
        _tie_key(scope, node.relation, constraint, own)
    for item in node.inh_relations:
        tie_child(scope, item.range_var, node.relation, partition=node.HasField("partbound"))


def tie_altered(node: Any, scope: Scope) -> None:
    """The foreign keys that ALTER TABLE drops and adds; what it drops goes first."""
    commands = [(name_of(item.alter_table_cmd), item.alter_table_cmd) for item in node.cmds]
    table = scope.number(node.relation)
    for name, command in commands:
        if name == "DropConstraint" and table is not None:
            rename_key(scope, table, command.name, None)
    for name, command in commands:
        definition = getattr(command, "def")
        if name == "AddConstraint":
            for constraint, own in _key(definition.constraint, definition.constraint.fk_attrs):
                _tie_key(scope, node.relation, constraint, own)
        elif name == "AddColumn" and table is not None:
            for constraint, own in _keys(definition.column_def):
                _add(scope, "columns", table, Column(-scope.new_number(), own[0], "", False))
                _tie_key(scope, node.relation, constraint, own)
        elif name == "DetachPartition":
            _free(scope, scope.number(definition.partition_cmd.name))


def _free(scope: Scope, partition: int | None) -> None:
    """A partition that is detached has its keys for itself, with triggers in the other tables."""
    if partition is None:
        return
    for parent in scope.facts.parents.get(partition, ()):
        others = scope.facts.children.get(parent, ())
        scope.put("children", parent, tuple(child for child in others if child != partition))
    scope.put("parents", partition, ())
    for key in scope.facts.constraints.get(partition, ()):
        if key.kind == "f":
            _put_trigger(scope, key.references, on=Thing("pg_constraint", key.oid), how="i")


def _put_trigger(scope: Scope, table: int, *, on: Thing, how: str) -> None:
    trigger = Thing("pg_trigger", scope.new_number())
    scope.put("parts", ("pg_trigger", trigger.oid), table)
    _depends(scope, trigger, on=on, how=how)


def _keys(column: Any) -> Iterator[tuple[Any, list[str]]]:
    for each in column.constraints:
        yield from ((constraint, [column.colname]) for constraint, _ in _key(each.constraint, ()))


def _key(constraint: Any, columns: Iterable[Any]) -> Iterator[tuple[Any, list[str]]]:
    """A foreign key with the names of its columns; nothing if it is another constraint."""
    if constraint.contype == key_of("FOREIGN"):
        yield constraint, [part.string.sval for part in columns]


def _tie_key(scope: Scope, relation: Any, constraint: Any, own: list[str]) -> None:
    """Both tables with their parts, each of which has a key of its own."""
    table, target = scope.number(relation), scope.number(constraint.pktable)
    if table is None or target is None:
        return
    known = {key.name for key in scope.facts.constraints.get(table, ())}
    name = base = constraint.conname or "_".join([relation.relname, *own, "fkey"])
    number = 0
    while name in known:
        number += 1
        name = f"{base}{number}"
    unique = [key for key in scope.facts.constraints.get(target, ()) if key.kind in "pu"]
    named = [part.string.sval for part in constraint.pk_attrs]
    theirs = _numbers(scope, target, named) or next((key.columns for key in unique if key.kind == "p"), ())
    actions = constraint.fk_del_action or "a", constraint.fk_upd_action or "a"
    pairs = [(one, other) for one in scope.with_partitions(table) for other in scope.with_partitions(target)]
    root: Thing | None = None
    for one, other in pairs:
        key = Constraint(scope.new_number(), one, name, "f", other, not constraint.skip_validation, False, *actions,
                         _numbers(scope, one, own), theirs)  # fmt: skip
        thing = _put_key(scope, key, acting=one == table)
        root = root or thing
        _depends(scope, thing, on=root, how="P")
    for each in unique:
        if root is not None and set(each.columns) == set(theirs):
            _depends(scope, root, on=Thing("pg_constraint", each.oid), how="n")


def _numbers(scope: Scope, table: int, names: list[str]) -> tuple[int, ...]:
    return tuple(column.number for column in scope.facts.columns.get(table, ()) if column.name in names)


def _put_key(scope: Scope, key: Constraint, *, acting: bool) -> Thing:
    """It is a part of its table; its triggers are parts of the other one.

    :param acting: it has triggers there. Those of a partition's key are the parent's.
    """
    thing = Thing("pg_constraint", key.oid)
    _add(scope, "constraints", key.relation, key)
    _add(scope, "incoming", key.references, key)
    scope.put("parts", ("pg_constraint", key.oid), key.relation)
    for number in key.columns or (0,):
        _depends(scope, thing, on=Thing("pg_class", key.relation, number), how="a")
    for number in key.their_columns or (0,):
        _depends(scope, thing, on=Thing("pg_class", key.references, number), how="n")
    if acting:
        _put_trigger(scope, key.references, on=thing, how="i")
    return thing


def rename_key(scope: Scope, table: int, name: str, new: str | None) -> None:
    """:param new: None: the constraint is dropped."""
    for fact in ("constraints", "incoming"):
        grouped = getattr(scope.facts, fact)
        for one in [each for each, keys in grouped.items() if any(_is(key, table, name) for key in keys)]:
            kept = (key for key in grouped[one] if new is not None or not _is(key, table, name))
            scope.put(fact, one, tuple(key._replace(name=new) if _is(key, table, name) else key for key in kept))


def rename_column(scope: Scope, node: Any) -> None:
    """Of a table, and of those below it."""
    table = scope.number(node.relation)
    for one in scope.family(table, whole=node.relation.inh) if table is not None else ():
        columns = scope.facts.columns.get(one, ())
        new = (each._replace(name=node.newname) if each.name == node.subname else each for each in columns)
        scope.put("columns", one, tuple(new))


def _is(key: Constraint, table: int, name: str) -> bool:
    return key.relation == table and key.name == name


def tie_child(scope: Scope, parent: Any, child: Any, *, partition: bool) -> None:
    """A partition has the keys of its parent, and is dropped with it. Both are named by a RangeVar."""
    above, below = scope.number(parent), scope.number(child)
    if above is None or below is None:
        return
    _add(scope, "children", above, below)
    _add(scope, "parents", below, above)
    _depends(scope, Thing("pg_class", below), on=Thing("pg_class", above), how="a" if partition else "n")
    if partition:
        keys = [key._replace(relation=below) for key in scope.facts.constraints.get(above, ()) if key.kind == "f"]
        keys += [key._replace(references=below) for key in scope.facts.incoming.get(above, ())]
        for key in keys:
            made = _put_key(scope, key._replace(oid=scope.new_number()), acting=key.references == below)
            _depends(scope, made, on=Thing("pg_constraint", key.oid), how="P")


def tie_view(scope: Scope, view: Any, query: Any) -> None:
    """What a view reads from now on. Both what was there before and what the script has made."""
    named = [message for message in walk(query) if message.DESCRIPTOR.name in ("RangeVar", "CommonTableExpr")]
    inner = {message.ctename for message in named if message.DESCRIPTOR.name == "CommonTableExpr"}
    read = [each for each in named if each.DESCRIPTOR.name == "RangeVar" and each.relname]
    numbers = [scope.number(each) for each in read if each.schemaname or each.relname not in inner]
    bases = tuple(dict.fromkeys(number for number in numbers if number is not None))
    here = scope.number(view)
    if here is not None:
        scope.put("bases", here, bases)
        for base in bases:
            _depends(scope, Thing("pg_class", here), on=Thing("pg_class", base), how="n")


def tie_trigger(scope: Scope, node: Any) -> None:
    """It falls with its function, of before or of the script itself."""
    table, names = scope.of(node.relation), [part.string.sval for part in node.funcname]
    if table is not None:
        functions = objects(scope, "pg_proc", names)
        if not functions:
            functions = [Thing("pg_proc", scope.new_number())]
            _add(scope, "objects", ("pg_proc", names[-1]), (functions[0].oid, None))
        for one, function in product(scope.with_partitions(table, whole=node.row), functions):
            _put_trigger(scope, one, on=function, how="n")


def tie_policy(scope: Scope, node: Any) -> None:
    """The functions that a policy calls."""
    table = scope.of(node.table)
    for message in walk(node):
        if table is not None and message.DESCRIPTOR.name == "FuncCall":
            parts = [part.string.sval for part in message.funcname]
            if not harmless(scope, parts[-2] if len(parts) > 1 else "", parts[-1]):
                _add(scope, "runs", table, ("policy", parts[-1]))


def _depends(scope: Scope, thing: Thing, *, on: Thing, how: str) -> None:
    if thing != on:
        _add(scope, "dependents", (on.catalog, on.oid), (on.column, thing, how))


def _add(scope: Scope, fact: str, key: Any, value: Any) -> None:
    scope.put(fact, key, (*getattr(scope.facts, fact).get(key, ()), value))
