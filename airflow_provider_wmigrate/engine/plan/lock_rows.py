"""What statements lock that read and change rows: their targets, what they read, the other sides of foreign keys. Pure.

Which partition a new row goes to, and whether there is any row at all, only the run tells: a target's partitions are
left out for INSERT and COPY, and all are taken for UPDATE and DELETE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from airflow_provider_wmigrate.engine.catalog.relations import Constraint
from airflow_provider_wmigrate.engine.lock_modes import LockMode, LongWork
from airflow_provider_wmigrate.engine.sql.named import walk

from .lock_calls import DELETE, INSERT, INSTEAD, UPDATE, call, calling, fired, guarded, ruled
from .lock_scope import Hidden, Lasting, Lock, Scope, Taken

_READ, _ROWS, _WRITE = LockMode.ACCESS_SHARE, LockMode.ROW_SHARE, LockMode.ROW_EXCLUSIVE


def rows(node: Any, scope: Scope) -> Iterator[Taken]:
    """SELECT, INSERT, UPDATE, DELETE, MERGE, and whatever holds one of them: all parts of the statement."""
    read: list[tuple[str, str]] = []
    written: list[tuple[str, str]] = []
    inner: set[str] = set()
    work: LongWork | None = None
    for message in walk(node):
        kind = message.DESCRIPTOR.name
        if kind == "RangeVar" and message.relname:
            read.append((message.schemaname, message.relname))
        elif kind == "CommonTableExpr":
            inner.add(message.ctename)
        elif kind in _RUN:
            yield from _RUN[kind](message, scope)
        elif kind in _CHANGES:
            written.append((message.relation.schemaname, message.relation.relname))
            changed = list(_CHANGES[kind](message, scope))
            yield from changed
            work = work or _work_of(changed)
        elif kind == "SelectStmt" and message.locking_clause:
            yield from for_update(message, scope)
    for target in written:
        read.remove(target)
    for schema, name in read:
        oid = scope.find(schema, name) if schema or name not in inner else None
        if oid is not None:
            yield from reading(scope, oid, _READ, work)


def executed(node: Any, scope: Scope, does: Callable[[Any, Scope], Iterator[Taken]] = rows) -> Iterator[Taken]:
    """EXECUTE, alone or as the query of another statement.

    :param does: what the statement that was prepared comes to.
    """
    if node.name in scope.prepared:
        yield from does(scope.prepared[node.name], scope)
    else:
        yield Hidden(f"EXECUTE {node.name} runs what was prepared elsewhere")


_RUN: dict[str, Callable[[Any, Scope], Iterator[Taken]]] = {"FuncCall": call, "ExecuteStmt": executed}


def _work_of(changed: Iterable[Taken]) -> LongWork | None:
    """What is done for long with the rows that are changed: what is read for it is worked on as long."""
    return next((taken.work for taken in changed if isinstance(taken, Lock) and taken.work), None)


def reading(scope: Scope, oid: int, mode: LockMode, work: LongWork | None = None) -> Iterator[Taken]:
    """A relation that is read; of a view, also what it reads and calls."""
    seen, todo = set(), [oid]
    while todo:
        here = todo.pop()
        if here not in seen:
            seen.add(here)
            yield Lock(here, mode, work)
            yield from calling(scope, here, "view")
            yield from guarded(scope, here, through_view=here != oid)
            todo.extend(scope.facts.bases.get(here, ()))


def selecting(node: Any, scope: Scope) -> Iterator[Taken]:
    """SELECT as a statement; INTO makes a table of what it reads."""
    yield from rows(node, scope)
    if node.from_clause or node.HasField("larg"):
        yield Lasting("rows")


def for_update(node: Any, scope: Scope) -> Iterator[Taken]:
    """FOR UPDATE and its kin, of the tables that they name, or of all in FROM."""
    names = {row.range_var.relname for clause in node.locking_clause for row in clause.locking_clause.locked_rels}
    every = any(not clause.locking_clause.locked_rels for clause in node.locking_clause)
    for item in node.from_clause:
        for message in walk(item):
            if message.DESCRIPTOR.name != "RangeVar":
                continue
            alias = message.alias.aliasname or message.relname
            oid = scope.of(message) if every or alias in names else None
            if oid is not None:
                for member in scope.family(oid, whole=message.inh):
                    yield from reading(scope, member, _ROWS)


def _insert(node: Any, scope: Scope) -> Iterator[Taken]:
    select = node.select_stmt.select_stmt
    many: LongWork | None = "rows" if select.from_clause or select.HasField("larg") else None
    target = scope.of(node.relation)
    if target is None:
        if many:
            yield Lasting(many)
        if len(behind := [*scope.behind(node.relation)]) == 1:
            yield from inserted(scope, behind[0], _given(node, scope, behind[0]), many)
        return
    yield from inserted(scope, target, _given(node, scope, target), many)
    if node.HasField("on_conflict_clause"):
        changed = {item.res_target.name for item in node.on_conflict_clause.target_list}
        if changed:
            yield from _updated(scope, target, changed)


def _given(node: Any, scope: Scope, target: int) -> set[str]:
    """The columns that an INSERT gives values for."""
    if node.cols:
        return {item.res_target.name for item in node.cols}
    select = node.select_stmt.select_stmt
    count = len(select.values_lists[0].list.items) if select.values_lists else len(select.target_list)
    return {column.name for column in scope.facts.columns.get(target, ())[:count]}


def inserted(scope: Scope, target: int, given: set[str], work: LongWork | None) -> Iterator[Taken]:
    """:param given: columns that get a value; others have their default, which may come from a sequence."""
    yield Lock(target, _WRITE, work)
    for base in updatable(scope, target, INSERT):
        yield from inserted(scope, base, given, work)
    names = {column.number: column.name for column in scope.facts.columns.get(target, ())}
    for sequence in scope.facts.sequences.get(target, ()):
        if sequence.how != "owned" and names.get(sequence.column) not in given:
            yield Lock(sequence.oid, _WRITE)
    for key in _keys(scope, target):
        if any(names.get(number) in given for number in key.columns):
            yield from _key_read(scope, key)
    yield from fired(scope, target, INSERT)


def updatable(scope: Scope, view: int, event: int) -> tuple[int, ...]:
    """The table below a view through which rows are changed: it reads no other, and no trigger does that instead."""
    bases = scope.facts.bases.get(view, ())
    instead = any(t.kind & INSTEAD and t.kind & event for t in scope.facts.triggers.get(view, ()))
    return bases if len(bases) == 1 and not instead else ()


def _keys(scope: Scope, table: int) -> Iterator[Constraint]:
    yield from (key for key in scope.facts.constraints.get(table, ()) if key.kind == "f")


def _key_read(scope: Scope, key: Constraint) -> Iterator[Lock]:
    """The check of a foreign key locks a row of the other table."""
    yield from (Lock(oid, _ROWS) for oid in scope.with_partitions(key.references))


def _update(node: Any, scope: Scope) -> Iterator[Taken]:
    target = scope.of(node.relation)
    changed = {item.res_target.name for item in node.target_list}
    if target is None:
        yield from _of_new(node, scope)
        for oid in scope.behind(node.relation):
            yield from _updated(scope, oid, changed)
        return
    for oid in scope.family(target, whole=node.relation.inh):
        yield from _updated(scope, oid, changed)


def _of_new(node: Any, scope: Scope) -> Iterator[Taken]:
    """UPDATE and DELETE of a table that the script has made: without rows a moment, unless others are read for it."""
    named = sum(message.DESCRIPTOR.name == "RangeVar" for message in walk(node))
    if named > 1 or not scope.empty(node.relation):
        yield Lasting("rows")


def _updated(scope: Scope, table: int, changed: set[str]) -> Iterator[Taken]:
    yield Lock(table, _WRITE, "rows")
    for base in updatable(scope, table, UPDATE):
        yield from _updated(scope, base, changed)
    numbers = {column.number for column in scope.facts.columns.get(table, ()) if column.name in changed}
    for key in _keys(scope, table):
        if not numbers.isdisjoint(key.columns):
            yield from _key_read(scope, key)
    for key in scope.facts.incoming.get(table, ()):
        if not numbers.isdisjoint(key.their_columns):
            yield Lock(key.relation, _WRITE if key.on_update in _SPREADS else _ROWS)
    yield from fired(scope, table, UPDATE)


_SPREADS = ("c", "n", "d")
"""CASCADE, SET NULL, SET DEFAULT, as pg_constraint has them: they change the other table's rows."""


def _delete(node: Any, scope: Scope) -> Iterator[Taken]:
    target = scope.of(node.relation)
    if target is None:
        yield from _of_new(node, scope)
        for oid in scope.behind(node.relation):
            yield from _deleted(scope, oid, set())
        return
    for oid in scope.family(target, whole=node.relation.inh):
        yield from _deleted(scope, oid, set())


def _deleted(scope: Scope, table: int, seen: set[int]) -> Iterator[Taken]:
    """Rows go, and with them those of tables whose keys cascade."""
    seen.add(table)
    yield Lock(table, _WRITE, "rows")
    if any(ruled(scope, table, "4")):
        yield from fired(scope, table, DELETE)
        return
    for base in updatable(scope, table, DELETE):
        yield from _deleted(scope, base, seen)
    for key in scope.facts.incoming.get(table, ()):
        if key.on_delete == "c" and key.relation not in seen:
            yield from _deleted(scope, key.relation, seen)
        else:
            yield Lock(key.relation, _WRITE if key.on_delete in _SPREADS else _ROWS)
    yield from fired(scope, table, DELETE)


def _merge(node: Any, scope: Scope) -> Iterator[Taken]:
    target = scope.of(node.relation)
    if target is None:
        yield Lasting("rows")
        return
    clauses = [item.merge_when_clause for item in node.merge_when_clauses]
    for oid in scope.family(target, whole=node.relation.inh):
        yield Lock(oid, _WRITE, "rows")
        for clause in clauses:
            names = {item.res_target.name for item in clause.target_list}
            if clause.command_type == _CMD_DELETE:
                yield from _deleted(scope, oid, set())
            elif clause.command_type == _CMD_UPDATE:
                yield from _updated(scope, oid, names)
            elif oid == target:
                yield from inserted(scope, oid, names, "rows")


_CMD_UPDATE, _CMD_DELETE = 3, 5
"""CmdType of the grammar."""

_CHANGES: dict[str, Callable[[Any, Scope], Iterator[Taken]]] = {
    "InsertStmt": _insert,
    "UpdateStmt": _update,
    "DeleteStmt": _delete,
    "MergeStmt": _merge,
}
