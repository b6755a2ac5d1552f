"""What scripts drop, rename or give another type, of what was there before them: the things of which others know the
names. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.relations import RelationFacts, Thing
from airflow_provider_wmigrate.engine.sql.statements import Statement
from airflow_provider_wmigrate.engine.usage import Gone

from .forecast import Ahead
from .lock_falling import RELATIONS, objects, parts_of, roots_of
from .lock_scope import Hidden, Scope
from .lock_subcommands import name_of
from .locks_needed import taken_in_order
from .losses import KINDS, of_statement

_MAY_TAKE = frozenset({"drop_stmt", "rename_stmt", "alter_table_stmt", "alter_object_schema_stmt", "do_stmt"})
_ROUTINES = ("FUNCTION", "PROCEDURE", "ROUTINE", "AGGREGATE")


class Going(Struct, frozen=True):
    """:param things: by the object that each is; those that the server knows, and which column of it.
    :param hidden: statements of which nobody can see what they take away, and why.
    """

    gone: tuple[Gone, ...] = ()
    things: tuple[Thing, ...] = ()
    hidden: tuple[str, ...] = ()


def may_take(scripts: Iterable[Ahead]) -> bool:
    """Whether it is worth a question to the catalogs."""
    return any(_takes(statement) for script in scripts for statement in _candidates(script))


def _candidates(script: Ahead) -> Iterator[Statement]:
    statements = script.analysis.statements
    if statements.kinds() & _MAY_TAKE:
        yield from (statement for statement in statements if statement.kind in _MAY_TAKE)


def _takes(statement: Statement) -> bool:
    if statement.kind != "alter_table_stmt":
        return statement.kind != "do_stmt"
    commands = (item.alter_table_cmd for item in statement.node.cmds)
    return any(name_of(command) in ("DropColumn", "AlterColumnType") for command in commands)


def going(scripts: Iterable[Ahead], facts: RelationFacts) -> Mapping[str, Going]:
    """By version.

    :param scripts: that run one after the other.
    :param facts: of a moment before the first one.
    """
    scope, found = Scope(facts), dict[str, Going]()
    for script in scripts:
        scope.begin_script()
        each: dict[tuple[str, str], tuple[Gone, Thing]] = {}
        hidden: list[str] = []
        for _, statement, all_taken in taken_in_order(script.analysis, scope):
            for gone, thing in _of(statement, scope):
                each.setdefault((gone.action, gone.what), (replace(gone, version=script.version), thing))
            hides = statement.kind in _MAY_TAKE and any(isinstance(taken, Hidden) for taken in all_taken)
            if hides:
                hidden.append(f"what line {statement.line} of {script.analysis.script.file} takes away")
        all_gone = tuple(_made_again(gone, scope) for gone, _ in each.values())
        found[script.version] = Going(all_gone, tuple(thing for _, thing in each.values()), tuple(hidden))
    return found


def _made_again(gone: Gone, scope: Scope) -> Gone:
    return replace(gone, again=not gone.column and gone.action == "drop" and scope.made(gone.schema, gone.name))


_Found = Iterator[tuple[Gone, Thing]]


def _of(statement: Statement, scope: Scope) -> _Found:
    rule = _BY_KIND.get(statement.kind)
    if rule is not None and statement.node is not None:
        yield from rule(statement, scope)


def _dropped(statement: Statement, scope: Scope) -> _Found:
    facts = scope.facts
    for lost in of_statement(statement, scope):
        relation = facts.relations.get(lost.relation)
        if relation is None or lost.kind not in (*KINDS.values(), "column"):
            continue
        column = _name_of_column(facts, lost.relation, lost.column)
        kind = "column" if lost.column else lost.kind
        if lost.column and not column:
            continue
        thing = Thing("pg_class", lost.relation, lost.column)
        place = (relation.schema, relation.name)
        yield Gone("", statement.line, "drop", kind, *place, column, through=lost.through), thing
        yield from _inherited(statement.line, lost.relation, column, scope, "drop")
    if statement.kind == "drop_stmt":
        yield from _dropped_routines(statement, scope)


def _name_of_column(facts: RelationFacts, table: int, number: int) -> str:
    return next((column.name for column in facts.columns.get(table, ()) if column.number == number), "")


def _inherited(line: int, table: int, column: str, scope: Scope, action: Any, to: str = "") -> _Found:
    """The same column of children and partitions."""
    for child in scope.facts.descendants(table) if column else ():
        relation = scope.relation(child)
        if relation is not None:
            gone = Gone("", line, action, "column", relation.schema, relation.name, column, to, "what it inherits from")
            yield gone, Thing("pg_class", child, _number_of_column(scope.facts, child, column))


def _number_of_column(facts: RelationFacts, table: int, name: str) -> int:
    """-1: it is not known, so that nothing depends on it."""
    return next((column.number for column in facts.columns.get(table, ()) if column.name == name), -1)


def _dropped_routines(statement: Statement, scope: Scope) -> _Found:
    from postgast.pg_query_pb2 import ObjectType

    kind = ObjectType.Name(statement.node.remove_type).removeprefix("OBJECT_")
    if kind not in _ROUTINES:
        return
    for item in statement.node.objects:
        for thing in roots_of(item, kind, scope):
            schema = _schema_of(scope.facts, thing, parts_of(item)[-1])
            yield Gone("", statement.line, "drop", "function", schema, parts_of(item)[-1]), thing


def _schema_of(facts: RelationFacts, thing: Thing, name: str) -> str:
    known = facts.objects.get((thing.catalog, name), ())
    return next((schema or "" for oid, schema in known if oid == thing.oid), "")


def _altered(statement: Statement, scope: Scope) -> _Found:
    yield from _dropped(statement, scope)
    table = scope.of(statement.node.relation)
    relation = scope.relation(table) if table is not None else None
    for command in (item.alter_table_cmd for item in statement.node.cmds):
        if relation is None or name_of(command) != "AlterColumnType":
            continue
        to = getattr(command, "def").column_def.type_name.names[-1].string.sval
        yield _column(statement.line, "retype", relation.oid, command.name, to, scope)
        yield from _inherited(statement.line, relation.oid, command.name, scope, "retype", to)


def _column(line: int, action: Any, table: int, name: str, to: str, scope: Scope) -> tuple[Gone, Thing]:
    relation = scope.facts.relations[table]
    gone = Gone("", line, action, "column", relation.schema, relation.name, name, to)
    return gone, Thing("pg_class", table, _number_of_column(scope.facts, table, name))


def _renamed(statement: Statement, scope: Scope) -> _Found:
    from postgast.pg_query_pb2 import ObjectType

    node, line = statement.node, statement.line
    what = ObjectType.Name(node.rename_type).removeprefix("OBJECT_")
    if what == "COLUMN":
        table = scope.of(node.relation)
        if table is not None:
            yield _column(line, "rename", table, node.subname, node.newname, scope)
            yield from _inherited(line, table, node.subname, scope, "rename", node.newname)
    elif what in RELATIONS:
        yield from _moved(line, scope.of(node.relation), node.newname, scope)
    elif what == "SCHEMA":
        for relation in scope.facts.relations.values():
            if relation.schema == node.subname:
                yield from _moved(line, relation.oid, f"{node.newname}.{relation.name}", scope)
    elif what in _ROUTINES:
        name = parts_of(node.object)[-1]
        for thing in objects(scope, "pg_proc", parts_of(node.object)):
            schema = _schema_of(scope.facts, thing, name)
            yield Gone("", line, "rename", "function", schema, name, to=node.newname), thing


def _moved(line: int, oid: int | None, to: str, scope: Scope) -> _Found:
    relation = scope.relation(oid) if oid is not None else None
    kind = KINDS.get(relation.kind) if relation is not None else None
    if relation is not None and kind is not None:
        yield Gone("", line, "rename", kind, relation.schema, relation.name, to=to), Thing("pg_class", relation.oid)


def _rehomed(statement: Statement, scope: Scope) -> _Found:
    node = statement.node
    if node.HasField("relation"):
        yield from _moved(statement.line, scope.of(node.relation), f"{node.newschema}.{node.relation.relname}", scope)


_BY_KIND: dict[str, Callable[[Statement, Scope], _Found]] = {
    "drop_stmt": _dropped,
    "alter_table_stmt": _altered,
    "rename_stmt": _renamed,
    "alter_object_schema_stmt": _rehomed,
}
