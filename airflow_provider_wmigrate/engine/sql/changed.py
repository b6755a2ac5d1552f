"""What the statements of a script change: tables and columns that they make, alter, drop, rename, and rows. Pure.

Names without a schema get the one that the script itself has set, or that of the lock which the server has shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from sys import intern
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.changes import Change, Changes

from .arguments import constant
from .named import names_in, target_of
from .script import Analysis
from .statements import Statement

_MOST = 1_000
"""Changes of one script that are told; more make it one that was not read."""
_UNREAD = frozenset({"do_stmt", "call_stmt", "select_stmt"})


class _Place(Struct, frozen=True):
    """:param schema: that the script has set as the first of its search path.
    :param locked: name -> schema of what the server has locked under this name; "" where there are several.

    A name is kept once for all changes of a run: each node of the grammar gives a text of its own.
    """

    schema: str
    locked: dict[str, str]

    def of(self, node: Any) -> tuple[str, str]:
        """Schema and name of a RangeVar that was there before."""
        return node.schemaname or self.locked.get(node.relname) or self.schema, intern(node.relname)

    def of_new(self, node: Any) -> tuple[str, str]:
        """Of one that is made."""
        return node.schemaname or self.schema, intern(node.relname)

    def of_names(self, names: list[str]) -> tuple[str, str]:
        return (names[-2] if len(names) > 1 else self.locked.get(names[-1]) or self.schema), names[-1]


def changed(analysis: Analysis, locked: Iterable[str] = ()) -> Changes:
    """:param locked: relations, as the server quotes them, that were there before and are locked."""
    place = _Place("", _schemas(locked))
    found: dict[Change, None] = {}
    unread = analysis.unparsed is not None
    for statement in analysis.statements:
        unread = unread or statement.kind in _UNREAD or _has_elements(statement)
        if statement.kind == "variable_set_stmt":
            place = replace(place, schema=_first_schema(statement.node, place.schema))
        found.update(dict.fromkeys(_of(analysis, statement, place)))
        if len(found) > _MOST:
            return Changes(tuple(found)[:_MOST], unread=True)
    return Changes(tuple(found), unread)


def _schemas(locked: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for relation in locked:
        parts = names_in(relation)
        if len(parts) > 1:
            found[parts[-1]] = "" if parts[-1] in found else parts[-2]
    return found


def _first_schema(node: Any, now: str) -> str:
    if node is None or node.name != "search_path":
        return now
    names = [name for argument in node.args if (name := constant(argument)) is not None]
    return next((name for name in names if not name.startswith(("$", "pg_"))), "")


def _has_elements(statement: Statement) -> bool:
    """CREATE SCHEMA with what is in it."""
    return statement.kind == "create_schema_stmt" and bool(statement.node.schema_elts)


def _of(analysis: Analysis, statement: Statement, place: _Place) -> Iterator[Change]:
    kind, node = statement.kind, statement.node
    if node is not None:
        rule = _RULES.get(kind)
        if rule is not None:
            yield from rule(node, place)
    elif kind in ("insert_stmt", "copy_stmt"):
        target = target_of(analysis.script.text[statement.start : statement.start + 1000])
        if target is not None:
            yield Change("rows", "table", *place.of_names([part for part in target if part]))


def _made(node: Any, place: _Place) -> Iterator[Change]:
    if node.relation.relpersistence != "t":
        yield Change("create", "table", *place.of_new(node.relation))


def _made_foreign(node: Any, place: _Place) -> Iterator[Change]:
    yield Change("create", "table", *place.of_new(node.base_stmt.relation))


def _made_of_query(node: Any, place: _Place) -> Iterator[Change]:
    from postgast.pg_query_pb2 import ObjectType

    if node.into.rel.relpersistence != "t":
        kind = "materialized view" if node.objtype == ObjectType.OBJECT_MATVIEW else "table"
        yield Change("create", kind, *place.of_new(node.into.rel))


def _made_view(node: Any, place: _Place) -> Iterator[Change]:
    yield Change("create", "view", *place.of_new(node.view))


def _made_sequence(node: Any, place: _Place) -> Iterator[Change]:
    yield Change("create", "sequence", *place.of_new(node.sequence))


def _made_function(node: Any, place: _Place) -> Iterator[Change]:
    yield Change("create", "function", *place.of_names([part.string.sval for part in node.funcname]))


def _altered_by(field: str) -> Callable[[Any, _Place], Iterator[Change]]:
    def rule(node: Any, place: _Place) -> Iterator[Change]:
        table = getattr(node, field)
        if table.relname:
            yield Change("alter", "table", *place.of(table))

    return rule


_COLUMNS = {"AT_AddColumn": "create", "AT_DropColumn": "drop", "AT_AlterColumnType": "retype"}


def _altered(node: Any, place: _Place) -> Iterator[Change]:
    from postgast.pg_query_pb2 import AlterTableType

    where = place.of(node.relation)
    yield Change("alter", _kind(node.objtype), *where)
    for command in (item.alter_table_cmd for item in node.cmds):
        does: Any = _COLUMNS.get(AlterTableType.Name(command.subtype))
        if does is not None:
            name = command.name or getattr(command, "def").column_def.colname
            yield Change(does, "column", *where, name)


def _kind(object_type: int) -> str:
    from postgast.pg_query_pb2 import ObjectType

    word = str(ObjectType.Name(object_type)).removeprefix("OBJECT_")
    return _KINDS.get(word, word.lower().replace("_", " "))


_KINDS = {"MATVIEW": "materialized view", "PROCEDURE": "function", "ROUTINE": "function", "FOREIGN_TABLE": "table"}
_NAMED = frozenset({"table", "view", "materialized view", "sequence", "function"})


def _dropped(node: Any, place: _Place) -> Iterator[Change]:
    kind = _kind(node.remove_type)
    for item in node.objects:
        parts = item.list.items or item.object_with_args.objname
        if kind in _NAMED:
            yield Change("drop", kind, *place.of_names([part.string.sval for part in parts]))
        elif kind in ("trigger", "rule", "policy"):
            yield Change("alter", "table", *place.of_names([part.string.sval for part in parts][:-1]))


def _renamed(node: Any, place: _Place) -> Iterator[Change]:
    kind = _kind(node.rename_type)
    if kind == "column":
        yield Change("alter", _kind(node.relation_type), *place.of(node.relation))
        yield Change("rename", "column", *place.of(node.relation), node.subname, node.newname)
    elif kind == "function":
        names = [part.string.sval for part in node.object.object_with_args.objname]
        yield Change("rename", kind, *place.of_names(names), to=node.newname)
    elif node.relation.relname:
        where = place.of(node.relation)
        yield Change("rename" if kind in _NAMED else "alter", kind if kind in _NAMED else "table", *where,
                     to=node.newname if kind in _NAMED else "")  # fmt: skip


def _moved(node: Any, place: _Place) -> Iterator[Change]:
    if node.relation.relname:
        to = f"{node.newschema}.{node.relation.relname}"
        yield Change("rename", _kind(node.object_type), *place.of(node.relation), to=to)


def _truncated(node: Any, place: _Place) -> Iterator[Change]:
    for item in node.relations:
        yield Change("truncate", "table", *place.of(item.range_var))


def _rows(node: Any, place: _Place) -> Iterator[Change]:
    if node.relation.relname and getattr(node, "is_from", True):
        yield Change("rows", "table", *place.of(node.relation))


def _refreshed(node: Any, place: _Place) -> Iterator[Change]:
    yield Change("rows", "materialized view", *place.of(node.relation))


_RULES: dict[str, Callable[[Any, _Place], Iterator[Change]]] = {
    "create_stmt": _made,
    "create_foreign_table_stmt": _made_foreign,
    "create_table_as_stmt": _made_of_query,
    "view_stmt": _made_view,
    "create_seq_stmt": _made_sequence,
    "create_function_stmt": _made_function,
    "alter_table_stmt": _altered,
    "index_stmt": _altered_by("relation"),
    "create_trig_stmt": _altered_by("relation"),
    "rule_stmt": _altered_by("relation"),
    "create_policy_stmt": _altered_by("table"),
    "alter_policy_stmt": _altered_by("table"),
    "drop_stmt": _dropped,
    "rename_stmt": _renamed,
    "alter_object_schema_stmt": _moved,
    "truncate_stmt": _truncated,
    "refresh_mat_view_stmt": _refreshed,
    **dict.fromkeys(("insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "copy_stmt"), _rows),
}
