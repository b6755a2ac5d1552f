"""Which names a script writes, to ask the catalogs for no more than these. Pure.

A name is taken wherever it stands, without its schema: one too many costs a row of the answer, one too few a lock that
nobody foresaw.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

from .arguments import constant
from .script import Analysis
from .statements import Statement


def names_of(analysis: Analysis, statement: Statement) -> set[str]:
    """What a statement names, without schemas."""
    if statement.node is None:
        target = target_of(analysis.script.text[statement.start : statement.start + 1000])
        return {target[1]} if target else set()
    return {name for message in walk_deep(statement.node) for name in _of_message(message)}


_TARGET = re.compile(
    r'\s*(?:insert\s+into|copy)\s+(?:("(?:[^"]|"")+"|[\w$]+)\s*\.\s*)?("(?:[^"]|"")+"|[\w$]+)', re.IGNORECASE
)


def target_of(text: str) -> tuple[str, str] | None:
    """Schema (or "") and name of the table of an INSERT or COPY whose tree was not kept."""
    match = _TARGET.match(text)
    return (_read(match[1] or ""), _read(match[2])) if match else None


def _read(word: str) -> str:
    return word[1:-1].replace('""', '"') if word.startswith('"') else word.lower()


def walk(message: Any, but: frozenset[str] = frozenset()) -> Iterator[Any]:
    """A tree's messages, the outer before the inner, but not its constants: a script's data is mostly these.

    :param but: further kinds that nobody wants, as a Node names them, or a field its type.
    """
    known, todo = _known(but), [message]
    while todo:
        here = todo.pop()
        fields = here.ListFields()
        if type(here).__name__ != "Node":
            yield here
        for field, value in fields:
            holds = known.get(field)
            if holds is None:
                holds = known[field] = _holds(field, but)
            if holds == _MESSAGES:
                todo.extend(value)
            elif holds == _MESSAGE:
                todo.append(value)


_NOTHING, _MESSAGE, _MESSAGES = range(3)


@cache
def _known(but: frozenset[str]) -> dict[Any, int]:
    """By field: to ask the grammar's description of it each time would cost more than all the rest."""
    return {}


def _holds(field: Any, but: frozenset[str]) -> int:
    """What there is to walk in a field. That of a Node is named as what it holds."""
    inner = field.message_type
    of_node = field.containing_type.name == "Node"
    if inner is None or inner.name in but or (of_node and (field.name == "a_const" or field.name in but)):
        return _NOTHING
    return _MESSAGES if field.is_repeated else _MESSAGE


def walk_deep(statement: Any, but: frozenset[str] = frozenset()) -> Iterator[Any]:
    """As `walk`, of a statement, and the body of a function that it makes too."""
    yield from walk(statement, but)
    if statement.DESCRIPTOR.name == "CreateFunctionStmt" and (body := body_of(statement)) is not None:
        yield from walk(body, but)


def body_of(function: Any) -> Any:
    """The tree of a body in SQL that CREATE FUNCTION gives as a string; None: it is in another language."""
    options = {item.def_elem.defname: item.def_elem.arg for item in function.options}
    if "as" not in options or "language" not in options or options["language"].string.sval.lower() != "sql":
        return None
    from postgast import PgQueryError, parse

    with suppress(PgQueryError):
        return parse(options["as"].list.items[0].string.sval)
    return None


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
