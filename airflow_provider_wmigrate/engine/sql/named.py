"""Which names a script writes, to ask the catalogs for no more than these. Pure.

A name is taken wherever it stands, without its schema: one too many costs a row of the answer, one too few a lock that
nobody foresaw.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .script import Analysis
from .statements import Statement


@dataclass(frozen=True, slots=True)
class Named:
    """:param all: of relations, types, functions, schemas.
    :param falling: those that a statement may drop or change together with what hangs on them.
    :param spreading: a statement goes along foreign keys: TRUNCATE ... CASCADE, DELETE.
    """

    all: frozenset[str] = frozenset()
    falling: frozenset[str] = frozenset()
    spreading: bool = False


def named(analysis: Analysis) -> Named:
    """What a script writes. What its grammar does not understand has no names."""
    found: set[str] = set()
    falling: set[str] = set()
    spreading = False
    for statement in analysis.statements:
        if statement.outside is None and statement.kind not in _NAMELESS:
            here = _names(analysis, statement)
            found |= here
            if statement.kind in _FELLING and statement.node is not None:
                falling |= here
            spreading = spreading or statement.kind in ("truncate_stmt", "delete_stmt", "merge_stmt")
            spreading = spreading or (statement.kind in _READING and _deletes(statement.node))
    return Named(frozenset(found), frozenset(falling), spreading)


_NAMELESS = frozenset({"do_stmt", "transaction_stmt", "listen_stmt", "notify_stmt", "create_role_stmt", "load_stmt"})
_READING = frozenset({"select_stmt", "insert_stmt", "update_stmt"})
_FELLING = frozenset(
    {"drop_stmt", "alter_table_stmt", "alter_domain_stmt", "alter_type_stmt", "rename_stmt", "alter_extension_stmt"}
)


def _deletes(node: Any) -> bool:
    return node is not None and any(
        cte.common_table_expr.ctequery.WhichOneof("node") in ("delete_stmt", "merge_stmt")
        for cte in node.with_clause.ctes
    )


def _names(analysis: Analysis, statement: Statement) -> set[str]:
    if statement.node is None:
        target = target_of(analysis.script.text[statement.start : statement.start + 1000])
        return {target[1]} if target else set()
    return {name for message in walk(statement.node) for name in _of_message(message)}


_TARGET = re.compile(
    r'\s*(?:insert\s+into|copy)\s+(?:("(?:[^"]|"")+"|[\w$]+)\s*\.\s*)?("(?:[^"]|"")+"|[\w$]+)', re.IGNORECASE
)


def target_of(text: str) -> tuple[str, str] | None:
    """Schema (or "") and name of the table of an INSERT or COPY whose tree was not kept."""
    match = _TARGET.match(text)
    return (_read(match[1] or ""), _read(match[2])) if match else None


def _read(word: str) -> str:
    return word[1:-1].replace('""', '"') if word.startswith('"') else word.lower()


def walk(message: Any) -> Iterator[Any]:
    """A tree's messages, the outer before the inner, but not its constants: a script's data is mostly these."""
    todo = [message]
    while todo:
        here = todo.pop()
        if here.DESCRIPTOR.name == "Node":
            kind = here.WhichOneof("node")
            if kind in (None, "a_const"):
                continue
            here = getattr(here, kind)
        yield here
        for field, value in here.ListFields():
            if field.message_type is not None:
                todo.extend(value if field.is_repeated else (value,))


def _of_message(message: Any) -> Iterator[str]:
    kind = message.DESCRIPTOR.name
    if kind == "RangeVar":
        yield message.relname
        if message.schemaname:
            yield message.schemaname
    elif kind == "String":
        yield message.sval  # a part of a name, also of a function's or a type's
    elif kind in _FIELDS:
        yield from filter(None, (getattr(message, field) for field in _FIELDS[kind]))
    elif kind in ("FuncCall", "VariableSetStmt"):
        for argument in message.args:
            yield from _in_string(constant(argument) or "")
    elif kind == "TypeCast":
        yield from _in_string(constant(message.arg) or "")


def constant(node: Any) -> str | None:
    """The string that an expression is, perhaps with a cast."""
    if node.WhichOneof("node") == "type_cast":
        node = node.type_cast.arg
    return str(node.a_const.sval.sval) if node.a_const.HasField("sval") else None


_FIELDS = {
    "RenameStmt": ("subname",),
    "CreateSchemaStmt": ("schemaname",),
    "AlterObjectSchemaStmt": ("newschema",),
    "AlterPublicationStmt": ("pubname",),
    "AlterExtensionStmt": ("extname",),
    "ReindexStmt": ("name",),
    "ClusterStmt": ("indexname",),
    "IndexStmt": ("idxname",),
}


def _in_string(text: str) -> Iterator[str]:
    """A name in a string, as nextval and the type regclass take it."""
    if len(text) < _LONGEST:
        yield from names_in(text)


def names_in(text: str) -> list[str]:
    """The parts of a name with dots, or of a list of names."""
    return [_read(part) for part in _PART.findall(text)]


_LONGEST = 200
"""Characters of a string that may be a name; others are data."""
_PART = re.compile(r'"(?:[^"]|"")+"|[\w$]+')
