"""What a script ties together: its foreign keys, views and children. Behind the statement that makes one, a change of
one side goes over to the other, as it does where the facts knew of it before. Pure."""

from __future__ import annotations

from itertools import product
from typing import Any

from airflow_provider_wmigrate.engine.catalog.relations import Column, Constraint, Sequence, Thing, Trigger
from airflow_provider_wmigrate.engine.sql.named import walk

from .lock_calls import harmless
from .lock_falling import objects, parts_of
from .lock_scope import Scope
from .lock_subcommands import name_of
from .lock_work import key_of


def tie_created(node: Any, scope: Scope) -> None:
    """The foreign keys of CREATE TABLE, its own and those of what it is a partition of."""
    table = scope.number(node.relation)
    if table is None or table >= 0 or not scope.ties:  # IF NOT EXISTS
        return
    columns = [item.column_def for item in node.table_elts if item.WhichOneof("node") == "column_def"]
    named = (Column(number, column.colname, "", False) for number, column in enumerate(columns, 1))
    scope.put("columns", table, tuple(named))
    constraints = [(each.constraint, [column.colname]) for column in columns for each in column.constraints]
    constraints += [(item.constraint, _own(item.constraint)) for item in node.table_elts if item.HasField("constraint")]
    for constraint, own in constraints:
        _tie(scope, node.relation, constraint, own)
    for item in node.inh_relations:
        tie_child(scope, item.range_var, node.relation, partition=node.HasField("partbound"))


def tie_altered(node: Any, scope: Scope) -> None:
    """The keys that ALTER TABLE drops and adds; what it drops goes first."""
    commands = [(name_of(item.alter_table_cmd), item.alter_table_cmd) for item in node.cmds]
    table = scope.number(node.relation)
    for name, command in commands:
        if name == "DropConstraint" and table is not None:
            rename_key(scope, table, command.name, None)
    for name, command in commands:
        definition = getattr(command, "def")
        if name == "AddConstraint":
            _tie(scope, node.relation, definition.constraint, _own(definition.constraint))
        elif name == "AddColumn" and table is not None and definition.column_def.constraints:
            column = definition.column_def
            _add(scope, "columns", table, Column(-scope.new_number(), column.colname, "", False))
            for each in column.constraints:
                _tie(scope, node.relation, each.constraint, [column.colname])
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


def _own(constraint: Any) -> list[str]:
    """The columns of a constraint of the table."""
    return [part.string.sval for part in (*constraint.fk_attrs, *constraint.keys)]


def _tie(scope: Scope, relation: Any, constraint: Any, own: list[str]) -> None:
    """A foreign key, or one to which such may point; nothing if it is another constraint."""
    table, kind = scope.number(relation), constraint.contype
    if table is None:
        return
    if kind == key_of("FOREIGN"):
        name = _name(scope, table, constraint.conname or "_".join([relation.relname, *own, "fkey"]))
        _tie_key(scope, table, name, constraint, own)
    elif kind == key_of("PRIMARY"):
        _tie_unique(scope, table, constraint.conname or f"{relation.relname}_pkey", constraint, own)
    elif kind == key_of("UNIQUE"):
        name = _name(scope, table, constraint.conname or "_".join([relation.relname, *own, "key"]))
        _tie_unique(scope, table, name, constraint, own)


def _name(scope: Scope, table: int, base: str) -> str:
    """As the server makes it unlike the others."""
    known = {key.name for key in scope.facts.constraints.get(table, ())}
    return next(name for name in (base, *(f"{base}{n}" for n in range(1, len(known) + 2))) if name not in known)


def _tie_unique(scope: Scope, table: int, name: str, constraint: Any, own: list[str]) -> None:
    """PRIMARY KEY and UNIQUE, which may take an index that is there over."""
    index = scope.number_of_names([constraint.indexname]) if constraint.indexname else None
    taken = (columns for number, columns in scope.facts.uniques.get(table, ()) if number == index)
    columns = next(taken, None) or _numbers(scope, table, own)
    kind = "p" if constraint.contype == key_of("PRIMARY") else "u"
    thing = Thing("pg_constraint", scope.new_number())
    key = Constraint(thing.oid, table, constraint.conname or constraint.indexname or name, kind, 0, True, True, "", "",
                     columns, ())  # fmt: skip
    _add(scope, "constraints", table, key)
    scope.put("parts", (thing.catalog, thing.oid), table)
    if index is not None:
        _depends(scope, Thing("pg_class", index), on=thing, how="i")


def tie_index(scope: Scope, node: Any) -> None:
    """A unique index of columns alone and of all rows, to which a foreign key may point."""
    if not scope.ties:
        return
    table, index = scope.number(node.relation), scope.number_of_names([node.idxname]) if node.idxname else None
    names = [item.index_elem.name for item in node.index_params]
    if table is not None and index is not None and node.unique and all(names) and not node.HasField("where_clause"):
        _add(scope, "uniques", table, (index, _numbers(scope, table, names)))


def _tie_key(scope: Scope, table: int, name: str, constraint: Any, own: list[str]) -> None:
    """Both tables with their parts, each of which has a key of its own."""
    target = scope.number(constraint.pktable)
    if target is None:
        return
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
    below = (index for index, columns in scope.facts.uniques.get(target, ()) if set(columns) == set(theirs))
    if root is not None and (index := next(below, None)) is not None:
        _depends(scope, root, on=Thing("pg_class", index), how="n")


def _numbers(scope: Scope, table: int, names: list[str]) -> tuple[int, ...]:
    return tuple(column.number for column in scope.facts.columns.get(table, ()) if column.name in names)


def _put_key(scope: Scope, key: Constraint, *, acting: bool) -> Thing:
    """It is a part of its table; its triggers are parts of the other one.

    :param acting: it has triggers there. Those of a partition's key are the parent's, and before PostgreSQL 15 a
        partitioned table has none.
    """
    target = scope.relation(key.references)
    acting = acting and (scope.facts.version >= 150000 or target is None or target.kind != "p")
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
    """It fires from now on, and falls with its function, of before or of the script itself."""
    table, names = scope.of(node.relation), [part.string.sval for part in node.funcname]
    if table is not None:
        trigger = Trigger(node.trigname, node.row | node.events | node.timing, "O")
        for one in scope.with_partitions(table, whole=node.row):
            _add(scope, "triggers", one, trigger)
        functions = objects(scope, "pg_proc", names)
        if not functions:
            functions = [Thing("pg_proc", scope.new_number())]
            _add(scope, "objects", ("pg_proc", names[-1]), (functions[0].oid, None))
        for one, function in product(scope.with_partitions(table, whole=node.row), functions):
            _put_trigger(scope, one, on=function, how="n")


def tie_sequence(scope: Scope, node: Any) -> None:
    """It belongs to a column: OWNED BY."""
    sequence = scope.number(node.sequence)
    for option in node.options:
        names = parts_of(option.def_elem.arg) if option.def_elem.defname == "owned_by" else []
        table = scope.number_of_names(names[:-1])
        if table is not None and sequence is not None:
            number = next(iter(_numbers(scope, table, names[-1:])), 0)
            _add(scope, "sequences", table, Sequence(number, sequence, "owned"))
            _depends(scope, Thing("pg_class", sequence), on=Thing("pg_class", table, number), how="a")


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
