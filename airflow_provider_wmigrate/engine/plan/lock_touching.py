"""Whether a script names any relation that it has not made itself: only then the catalogs are asked. Pure, cheap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_provider_wmigrate.engine.catalog.relations import RelationFacts
from airflow_provider_wmigrate.engine.sql.arguments import constant
from airflow_provider_wmigrate.engine.sql.named import names_in, target_of, walk_deep
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.statements import Statement

from .lock_calls import SEQUENCE_CALLS, harmless
from .lock_falling import CASCADE, RELATIONS, parts_of
from .lock_names import after
from .lock_scope import SYSTEM, Scope

Name = tuple[str, str]


def touches_existing(analysis: Analysis) -> bool:
    """Whether the locks of a script can be foreseen only with the catalogs' facts.

    In doubt they can: what IF NOT EXISTS may find there, a type whose change goes into tables, a function that nobody
    knows.
    """
    scope = Scope(RelationFacts(path=("",)), ties=False)
    for statement in analysis.statements:
        if statement.outside is None and any(not scope.made(*name) for name in _named(analysis, statement, scope)):
            return True
        if statement.node is not None and not getattr(statement.node, "if_not_exists", False):
            after(statement.kind, statement.node, scope)
    return False


def _named(analysis: Analysis, statement: Statement, scope: Scope) -> Iterator[Name]:
    """The relations that a statement names, without the one that it makes; a name of nothing where it may be any."""
    node, kind = statement.node, statement.kind
    if node is None:
        text = analysis.script.text[statement.start : statement.start + 1000]
        yield target_of(text) or _ANY
    elif kind == "drop_stmt":
        yield from _dropped(node)
    elif kind in _NAMED_OBJECT:
        yield from _described(node)
    elif kind in _ANY_RELATION:
        yield _ANY
    else:
        yield from _in_tree(kind, node, scope)


_ANY: Name = ("", "")
_ANY_RELATION = frozenset({"alter_domain_stmt", "alter_publication_stmt"})
_NAMED_OBJECT = frozenset({"comment_stmt", "sec_label_stmt", "alter_extension_contents_stmt"})
_RUN = frozenset(
    {"select_stmt", "insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "create_table_as_stmt", "explain_stmt",
     "prepare_stmt", "copy_stmt"}
)  # fmt: skip
"""Statements whose functions are called."""


def _dropped(node: Any) -> Iterator[Name]:
    from postgast.pg_query_pb2 import ObjectType

    kind = ObjectType.Name(node.remove_type).removeprefix("OBJECT_")
    for item in node.objects:
        names = parts_of(item)
        if kind in RELATIONS:
            yield _name(names)
        elif kind in ("TRIGGER", "RULE", "POLICY"):
            yield _name(names[:-1])
        elif node.behavior == CASCADE or kind == "STATISTIC_EXT":
            yield _ANY


def _described(node: Any) -> Iterator[Name]:
    from postgast.pg_query_pb2 import ObjectType

    kind = ObjectType.Name(node.objtype).removeprefix("OBJECT_")
    if kind in RELATIONS:
        yield _name(parts_of(node.object))
    elif kind in ("COLUMN", "TABCONSTRAINT", "TRIGGER", "RULE", "POLICY"):
        yield _name(parts_of(node.object)[:-1])


def _name(parts: list[str]) -> Name:
    return (parts[-2] if len(parts) > 1 else "", parts[-1]) if parts else _ANY


def _in_tree(kind: str, node: Any, scope: Scope) -> Iterator[Name]:
    used: list[Name] = []
    inner: set[Name] = set()
    for message in walk_deep(node, _NO_RELATION):
        what = type(message).__name__
        if what == "RangeVar" and message.relname and message.schemaname not in SYSTEM:
            used.append((message.schemaname, message.relname))
        elif what == "CommonTableExpr":
            inner.add(("", message.ctename))
        elif what == "FuncCall" and kind in _RUN:
            used += _called(message, scope)
        elif what == "DefElem" and message.defname == "owned_by":
            names = parts_of(message.arg)
            used += [_name(names[:-1])] if len(names) > 1 else []
    made = _made(kind, node)
    if made in used:
        used.remove(made)
    yield from (name for name in used if name not in inner)


_NO_RELATION = frozenset({"TypeName", "type_name", "string", "integer", "a_star", "column_ref"})
"""In these no relation is named that is locked."""


def _called(call: Any, scope: Scope) -> list[Name]:
    parts = [part.string.sval for part in call.funcname]
    if parts[-1] in SEQUENCE_CALLS and call.args:
        return [_name(names_in(constant(call.args[0]) or ""))]
    return [] if harmless(scope, parts[-2] if len(parts) > 1 else "", parts[-1]) else [_ANY]


def _made(kind: str, node: Any) -> Name | None:
    """The relation that a statement makes, unless one of that name may be there already."""
    where = _MAKES.get(kind)
    if where is None or (kind == "view_stmt" and node.replace):
        return None
    for part in where.split("."):
        node = getattr(node, part)
    return (node.schemaname, node.relname) if node.relname else None


_MAKES = {
    "create_stmt": "relation",
    "create_foreign_table_stmt": "base_stmt.relation",
    "create_table_as_stmt": "into.rel",
    "select_stmt": "into_clause.rel",
    "view_stmt": "view",
    "create_seq_stmt": "sequence",
    "composite_type_stmt": "typevar",
}
