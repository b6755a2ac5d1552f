"""What a script takes away of what was there before it: tables, columns, views, rows; through CASCADE too. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from airflow_provider_wmigrate.engine.catalog.relations import RelationFacts, Thing
from airflow_provider_wmigrate.engine.catalog.row_counts import Counted
from airflow_provider_wmigrate.engine.foreseen import Loss
from airflow_provider_wmigrate.engine.sql.named import walk
from airflow_provider_wmigrate.engine.sql.statements import Statement

from .forecast import Ahead
from .lock_falling import CASCADE, roots_of
from .lock_scope import Hidden, Scope
from .lock_subcommands import name_of
from .locks_needed import taken_in_order

_TABLES = {"r": "table", "p": "table", "f": "foreign table"}
KINDS = {**_TABLES, "v": "view", "m": "materialized view", "S": "sequence"}
"""Of relations that have a name of their own, by pg_class.relkind."""
_ROWS, SOME_ROWS = "all rows", "rows"


class Lost(Struct, frozen=True):
    """:param kind: of what goes; `all rows` and `rows` (nobody knows which) leave the table.
    :param column: its number; 0: the relation itself.
    :param through: what takes it along; empty: the statement names it.
    :param why: nobody can see what goes, and why.
    """

    line: int
    kind: str = ""
    relation: int = 0
    column: int = 0
    through: str = ""
    why: str = ""


def lost(scripts: Iterable[Ahead], facts: RelationFacts) -> Mapping[str, tuple[Lost, ...]]:
    """By version, each thing once.

    :param scripts: that run one after the other.
    :param facts: of a moment before the first one.
    """
    scope, found = Scope(facts), dict[str, tuple[Lost, ...]]()
    for script in scripts:
        scope.begin_script()
        if script.analysis.unparsed is not None:
            found[script.version] = (Lost(1, why="PostgreSQL's grammar of this version does not read the script"),)
            continue
        each: dict[tuple[int, int, str], Lost] = {}
        for _, statement, all_taken in taken_in_order(script.analysis, scope):
            for one in (*of_statement(statement, scope), *_hidden(statement, all_taken)):
                each.setdefault((one.relation, one.column, one.kind if one.relation else one.why), one)
        found[script.version] = tuple(each.values())
    return found


def _hidden(statement: Statement, all_taken: Iterable[Any]) -> Iterator[Lost]:
    for taken in all_taken:
        if isinstance(taken, Hidden):
            yield Lost(statement.line, why=taken.why)


def of_statement(statement: Statement, scope: Scope) -> Iterator[Lost]:
    node, kind = statement.node, statement.kind
    if node is None or kind == "rule_stmt":
        return
    rule = _BY_KIND.get(kind)
    if rule is not None:
        yield from rule(statement.line, node, scope)
    for message in walk(node):
        deletes = message.DESCRIPTOR.name == "DeleteStmt" or _merge_deletes(message)
        table = scope.of(message.relation) if deletes else None
        if table is not None:
            every = message.DESCRIPTOR.name == "DeleteStmt" and not message.HasField("where_clause")
            yield Lost(statement.line, _ROWS if every else SOME_ROWS, table)
            yield from _pointing(statement.line, table, scope.facts)


def _merge_deletes(message: Any) -> bool:
    from postgast.pg_query_pb2 import CmdType

    return message.DESCRIPTOR.name == "MergeStmt" and any(
        clause.merge_when_clause.command_type == CmdType.CMD_DELETE for clause in message.merge_when_clauses
    )


def _pointing(line: int, table: int, facts: RelationFacts) -> Iterator[Lost]:
    """Rows that go because those that they point at are deleted."""
    for key in _closure(table, facts, lambda key: key.on_delete == "c"):
        yield Lost(line, SOME_ROWS, key.relation, through=f"foreign key {key.name}")


def _closure(table: int, facts: RelationFacts, counts: Callable[[Any], bool]) -> Iterator[Any]:
    """The foreign keys over which something goes on from a table, the first one to each other table."""
    seen, todo = {table}, [table]
    while todo:
        for key in facts.incoming.get(todo.pop(), ()):
            if counts(key) and key.relation not in seen:
                seen.add(key.relation)
                todo.append(key.relation)
                yield key


def _drop(line: int, node: Any, scope: Scope) -> Iterator[Lost]:
    from postgast.pg_query_pb2 import ObjectType

    kind = ObjectType.Name(node.remove_type).removeprefix("OBJECT_")
    roots = [thing for item in node.objects for thing in roots_of(item, kind, scope)]
    yield from _fallen(line, roots, scope.facts, cascade=node.behavior == CASCADE)


def _alter(line: int, node: Any, scope: Scope) -> Iterator[Lost]:
    table = scope.of(node.relation)
    for command in (item.alter_table_cmd for item in node.cmds):
        if table is None or name_of(command) != "DropColumn":
            continue
        numbers = [column.number for column in scope.facts.columns.get(table, ()) if column.name == command.name]
        roots = [Thing("pg_class", table, number) for number in numbers]
        yield from _fallen(line, roots, scope.facts, cascade=command.behavior == CASCADE)


def _fallen(line: int, roots: Iterable[Thing], facts: RelationFacts, *, cascade: bool) -> Iterator[Lost]:
    """What falls, but not what belongs to something that falls: indexes, partitions, sequences of columns."""
    roots = list(roots)
    all_fallen = facts.falls(roots, cascade=cascade)
    whole = {thing.oid for thing in all_fallen if thing.catalog == "pg_class" and not thing.column}
    for thing in sorted(all_fallen, key=lambda thing: (thing not in roots, thing.oid, thing.column)):
        relation = facts.relations.get(thing.oid) if thing.catalog == "pg_class" else None
        if relation is None or relation.kind not in KINDS or whole & {*facts.parents.get(thing.oid, ())}:
            continue
        through = "" if thing in roots else "CASCADE" if cascade else "what it belongs to"
        if thing.column and thing.oid not in whole and relation.kind in _TABLES:
            yield Lost(line, "column", thing.oid, thing.column, through)
        elif not thing.column and (relation.kind != "S" or not through):
            yield Lost(line, KINDS[relation.kind], thing.oid, through=through)


def _truncate(line: int, node: Any, scope: Scope) -> Iterator[Lost]:
    for item in node.relations:
        table = scope.of(item.range_var)
        if table is None:
            continue
        yield Lost(line, _ROWS, table)
        if node.behavior == CASCADE:
            for key in _closure(table, scope.facts, lambda key: True):
                yield Lost(line, _ROWS, key.relation, through="CASCADE")


_BY_KIND: dict[str, Callable[[int, Any, Scope], Iterator[Lost]]] = {
    "drop_stmt": _drop,
    "alter_table_stmt": _alter,
    "truncate_stmt": _truncate,
}


def to_count(found: Mapping[str, Iterable[Lost]]) -> list[tuple[int, int]]:
    """Relations, and columns of them, whose rows or values go."""
    kinds = {"table", "column", _ROWS, SOME_ROWS}
    return [*dict.fromkeys((one.relation, one.column) for each in found.values() for one in each if one.kind in kinds)]


def told(found: Iterable[Lost], facts: RelationFacts, counted: Mapping[tuple[int, int], Counted]) -> tuple[Loss, ...]:
    """As a person reads it."""
    return tuple(_told(one, facts, counted.get((one.relation, one.column))) for one in found)


def _told(one: Lost, facts: RelationFacts, counted: Counted | None) -> Loss:
    if one.why:
        return Loss(None, None, False, f"line {one.line} may take away more than can be foreseen: {one.why}")
    name = facts.relations[one.relation].quoted
    how = "values" if one.column else "rows"
    if one.column:
        name = f"{name}.{counted.column}" if counted else f"number {one.column} of {name}"
    through = f", through {one.through}" if one.through else ""
    rows, exact = (counted.rows, counted.exact) if counted else (None, False)
    many = _many(rows, how, exact=exact)
    if one.kind == _ROWS:
        words = f"takes {many} of {name} away"
    elif one.kind == SOME_ROWS:
        words = f"takes rows of {name} away, which has {many}"
    else:
        words = f"takes away {one.kind} {name}" + (f" with {many}" if one.kind in ("table", "column") else "")
    return Loss(name, rows, exact, words + through)


def _many(rows: int | None, how: str, *, exact: bool) -> str:
    if rows is None:
        return f"an unknown number of {how}"
    noun = how.removesuffix("s") if rows == 1 else how
    if exact:
        return f"{rows:,} {noun} (counted)"
    return f"{'about' if how == 'rows' else 'at most about'} {rows:,} {noun} (estimated)"
