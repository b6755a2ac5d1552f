"""What a statement uses that is no query, such as CREATE INDEX: every name in it may be a column of every relation in
it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .named import walk
from .query_scope import Use


def of_definition(statement: Any) -> Iterator[Use]:
    messages = [*walk(statement)]
    names = {text for message in messages for text in _texts(message)}
    for message in messages:
        kind = message.DESCRIPTOR.name
        if kind == "RangeVar":
            yield Use("relation", message.schemaname, message.relname)
            yield from (Use("column", message.schemaname, message.relname, name, sure=False) for name in sorted(names))
        elif kind == "List":  # a name in parts: of a relation, or of a column of one
            parts = [item.string.sval for item in message.items]
            yield Use("relation", "", parts[-1], sure=False)
            if len(parts) > 1:
                yield Use("column", "", parts[-2], parts[-1], sure=False)


def _texts(message: Any) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING and field.name != "relpersistence":
            yield from value if field.is_repeated else (value,)
