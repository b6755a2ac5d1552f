"""Which statements of a script destroy tables, columns or rows that they name: those that `keep` puts aside. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from .script import Analysis

What = Literal["table", "column", "all rows", "rows"]


class Destroying(NamedTuple):
    """:param number: of the statement, from 0.
    :param tables: schema (empty: as the search path finds it) and name.
    :param columns: that go.
    :param cascade: what depends on it goes too.
    """

    number: int
    what: What
    tables: tuple[tuple[str, str], ...]
    columns: tuple[str, ...] = ()
    cascade: bool = False


def destroying(analysis: Analysis) -> tuple[Destroying, ...]:
    """In order. What stands inside another statement, as in WITH or DO, is none of them."""
    found = (find(*each) for kind, find in _FOUND.items() for each in analysis.statements.nodes(kind))
    return tuple(sorted(filter(None, found)))


def _dropped(index: int, node: Any) -> Destroying | None:
    from postgast.pg_query_pb2 import ObjectType

    if node.remove_type != ObjectType.OBJECT_TABLE:
        return None
    names = ([part.string.sval for part in item.list.items] for item in node.objects)
    return Destroying(index, "table", tuple(_parts(parts) for parts in names), cascade=_cascades(node))


def _altered(index: int, node: Any) -> Destroying | None:
    from postgast.pg_query_pb2 import AlterTableType, ObjectType

    commands = [item.alter_table_cmd for item in node.cmds]
    dropped = [each for each in commands if each.subtype == AlterTableType.AT_DropColumn]
    if node.objtype != ObjectType.OBJECT_TABLE or not dropped:
        return None
    columns = tuple(each.name for each in dropped)
    return Destroying(index, "column", (_of(node.relation),), columns, any(map(_cascades, dropped)))


def _emptied(index: int, node: Any) -> Destroying:
    return Destroying(index, "all rows", tuple(_of(item.range_var) for item in node.relations), cascade=_cascades(node))


def _deleted(index: int, node: Any) -> Destroying:
    return Destroying(index, "rows", (_of(node.relation),))


def _of(relation: Any) -> tuple[str, str]:
    return relation.schemaname, relation.relname


def _parts(parts: list[str]) -> tuple[str, str]:
    return ("", *parts)[-2], parts[-1]


def _cascades(node: Any) -> bool:
    from postgast.pg_query_pb2 import DropBehavior

    return bool(node.behavior == DropBehavior.DROP_CASCADE)


_FOUND = {
    "drop_stmt": _dropped,
    "alter_table_stmt": _altered,
    "truncate_stmt": _emptied,
    "delete_stmt": _deleted,
}


def made_names(analysis: Analysis) -> set[str]:
    """Names of tables, without schemas, that a script makes."""
    made = (node.relation.relname for _, node in analysis.statements.nodes("create_stmt"))
    copied = (node.into.rel.relname for _, node in analysis.statements.nodes("create_table_as_stmt"))
    return {*made, *copied, *_renamed(node for _, node in analysis.statements.nodes("rename_stmt"))}


def _renamed(nodes: Iterable[Any]) -> Iterator[str]:
    from postgast.pg_query_pb2 import ObjectType

    yield from (node.newname for node in nodes if node.rename_type == ObjectType.OBJECT_TABLE)
