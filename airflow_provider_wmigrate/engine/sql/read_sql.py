"""What SQL uses that somebody else runs: with Jinja and other variables in it, or as the body of a function. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from .arguments import constant
from .named import names_in
from .query_scope import Rows, Table, Use, table_of
from .uses import uses

UNKNOWN = "wmigrate_unknown"
"""What stands in the place of a variable: a name that nobody has."""

_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_VARIABLE = re.compile(r"%\(\w+\)s|%s\b|(?<![:\w]):'?[A-Za-z_]\w*'?|\$\{[^}]*\}|\{[\w.!:\[\]]*\}|\?")
_STRING_QUERY = re.compile(r"^\s*(?:select|insert|update|delete|with|merge|copy|truncate|alter|call)\b", re.IGNORECASE)


class ReadSql(Struct, frozen=True):
    """:param path: the search path that the text itself sets; None: it sets none.
    :param filled: something stood in for a variable.
    :param unread: what PostgreSQL's grammar did not read, and what stands in Jinja's braces.
    """

    uses: tuple[Use, ...]
    path: tuple[str, ...] | None = None
    filled: bool = False
    unread: tuple[str, ...] = ()


def is_template(text: str) -> bool:
    """Whether Jinja would change it."""
    return _JINJA.search(text) is not None


def read_sql(text: str, rows: Rows | None = None) -> ReadSql:
    """:param rows: variables around it that hold rows."""
    trees: list[Any] = []
    filled, unread = False, list[str]()
    plain = _JINJA.sub(lambda found: UNKNOWN if found[0].startswith("{{") else " ", text)
    for piece in _statements(plain):
        tree, stood_in = _parsed(piece)
        filled = filled or stood_in or UNKNOWN in piece
        if tree is None:
            unread.append(piece)
        else:
            trees.append(tree)
    unread += _JINJA.findall(text)
    statements = [item.stmt for tree in trees for item in tree.stmts]
    return ReadSql(uses(statements, rows), _path(statements), filled or plain != text, tuple(unread))


def _statements(text: str) -> list[str]:
    """Each alone, so that one that cannot be read hides no other."""
    from postgast import PgQueryError, split

    with suppress(PgQueryError):
        return list(split(text))
    with suppress(PgQueryError):
        return list(split(text, method="scanner"))
    return [text]


def _parsed(text: str) -> tuple[Any | None, bool]:
    """The tree, and whether variables were filled in."""
    from postgast import PgQueryError, parse

    with suppress(PgQueryError):
        return parse(text), False
    filled = _VARIABLE.sub(lambda found: f"'{UNKNOWN}'" if found[0].startswith(":'") else UNKNOWN, text)
    if filled != text:
        with suppress(PgQueryError):
            return parse(filled), True
    return None, False


def _path(statements: list[Any]) -> tuple[str, ...] | None:
    found: tuple[str, ...] | None = None
    for statement in statements:
        node = statement.variable_set_stmt
        if node.name == "search_path" and node.args:
            found = tuple(name for item in node.args if (name := constant(item)) is not None)
    return found


# Functions


def read_function(definition: str, language: str, rows: Rows) -> ReadSql:
    """What the body of a function uses that the server keeps as text.

    :param definition: CREATE FUNCTION, as pg_get_functiondef gives it.
    :param rows: what its variables may hold, such as NEW and OLD of a trigger.
    """
    from postgast import PgQueryError, parse

    try:
        function = parse(definition).stmts[0].stmt.create_function_stmt
        options = {item.def_elem.defname: item.def_elem.arg for item in function.options}
        body = options["as"].list.items[0].string.sval if "as" in options else ""
        held = {**rows, **_parameters(function)}
        if language == "sql":
            return read_sql(body, held)
        found = _plpgsql(definition)
    except (PgQueryError, IndexError, json.JSONDecodeError):
        return ReadSql((), unread=(definition,))
    return _of_plpgsql(found, held)


_PROMISE = re.compile(r"(?<=[,\[])\{\}\}")
"""A variable of a trigger's function, which libpg_query writes with one brace too many."""


def _plpgsql(definition: str) -> Any:
    from postgast import parse_plpgsql

    try:
        return parse_plpgsql(definition)
    except json.JSONDecodeError as error:
        return json.loads(_PROMISE.sub("{}", error.doc))


def _parameters(function: Any) -> dict[str, frozenset[Table]]:
    found = {}
    for item in function.parameters:
        parts = [part.string.sval for part in item.function_parameter.arg_type.names]
        found[item.function_parameter.name] = frozenset({table_of(parts)})
    return found


def _of_plpgsql(tree: Any, rows: Mapping[str, frozenset[Table]]) -> ReadSql:
    """Its queries and expressions; those that EXECUTE puts together are read where they are one string."""
    held, columns, texts = dict(rows), list[Use](), list[str]()
    for name, value in _walk(tree):
        if name == "PLpgSQL_var" or name == "PLpgSQL_rec":
            typename = str(value.get("datatype", {}).get("PLpgSQL_type", {}).get("typname", ""))
            columns += _declared(value.get("refname", ""), typename, held)
        elif name == "PLpgSQL_expr":
            texts.append(_whole(str(value.get("query", "")), value.get("parseMode", 0)))
    read = read_sql(";\n".join(texts), held)
    dynamic = [read_sql(text) for text in _strings(texts)]
    unsure = [replace(use, sure=False) for each in dynamic for use in each.uses]
    unread = (*read.unread, *(text for each in dynamic for text in each.unread))
    return ReadSql(tuple(dict.fromkeys((*columns, *read.uses, *unsure))), None, read.filled, unread)


def _declared(variable: str, typename: str, held: dict[str, frozenset[Table]]) -> Iterator[Use]:
    """A variable of `table%ROWTYPE` or of the table's own type, and of `table.column%TYPE`."""
    base, _, kind = typename.partition("%")
    parts = names_in(base)
    if kind.lower() == "type" and len(parts) > 1:
        yield Use("column", *table_of(parts[:-1]), parts[-1])
    elif parts:
        held[variable] = frozenset({table_of(parts)})
        if kind:
            yield Use("relation", *table_of(parts))


def _whole(query: str, mode: int) -> str:
    """An expression, or an assignment, as a statement."""
    if mode == 2:
        return f"SELECT {query}"
    if mode > 2:
        target, _, value = query.replace(":=", "=", 1).partition("=")
        return f"SELECT {target}, {value}"
    return query


def _strings(texts: list[str]) -> Iterator[str]:
    """Strings in expressions that look like a statement, with something for each place that format fills."""
    from postgast import PgQueryError, parse
    from postgast.pg_query_pb2 import A_Const

    from .named import walk

    for text in texts:
        if "'" not in text:
            continue
        with suppress(PgQueryError):
            for string in _constants(parse(text), walk, A_Const):
                if _STRING_QUERY.match(string):
                    yield re.sub(r"%(?:\d+\$)?[sIL]", UNKNOWN, string)


def _constants(tree: Any, walk: Any, kind: Any) -> Iterator[str]:
    from postgast import find_nodes

    yield from (node.sval.sval for node in find_nodes(tree, kind) if node.HasField("sval"))


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    todo = [value]
    while todo:
        here = todo.pop(0)
        if isinstance(here, list):
            todo = [*here, *todo]
        elif isinstance(here, dict):
            for name, inner in here.items():
                if isinstance(inner, dict):
                    yield name, inner
                todo.append(inner)
