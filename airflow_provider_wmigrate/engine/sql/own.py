"""Whether a script touches only what it makes itself, so that nobody else can hold a lock on it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .named import walk
from .script import Analysis
from .statements import Statement

Name = tuple[str, str]
"""Schema ("" where the script gives none) and relation."""


def only_its_own(analysis: Analysis) -> bool:
    """True: no statement names a relation that the script did not make before. False: one does, or may.

    What a function or a block does that the script calls is not seen here.
    """
    if not analysis.kinds() <= _PLAIN:
        return False
    made: set[Name] = set()
    for statement in analysis.statements:
        if statement.node is None or (statement.kind == "variable_set_stmt" and statement.node.name == "search_path"):
            return False
        here = _made(statement)
        if not set(_names(statement.node)) <= made | here:
            return False
        made |= here
    return True


def _made(statement: Statement) -> set[Name]:
    kind, node = statement.kind, statement.node
    if kind == "create_stmt" and not node.if_not_exists:
        return {_name(node.relation)}
    if kind == "create_table_as_stmt" and not node.if_not_exists:
        return {_name(node.into.rel)}
    if kind == "create_seq_stmt" and not node.if_not_exists:
        return {_name(node.sequence)}
    return {_name(node.view)} if kind == "view_stmt" and not node.replace else set()


def _names(node: Any) -> Iterator[Name]:
    for message in walk(node):
        if message.DESCRIPTOR.name == "RangeVar":
            yield _name(message)


def _name(relation: Any) -> Name:
    return relation.schemaname, relation.relname


_PLAIN = {
    "create_stmt", "create_table_as_stmt", "create_seq_stmt", "view_stmt", "index_stmt", "insert_stmt", "update_stmt",
    "select_stmt", "alter_table_stmt", "create_schema_stmt", "create_enum_stmt", "create_function_stmt",
    "variable_set_stmt",
}  # fmt: skip
"""Those that name relations as such, and touch no other object that a relation may hang on."""
