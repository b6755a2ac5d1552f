"""What names mean inside one query: its FROM, its WITH, and the queries around it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from msgspec import Struct

from .named import names_in

Table = tuple[str, str]
"""Schema, "" where none is written, and name."""


class Use(Struct, frozen=True):
    """:param how: `rows`: by the position of its columns; `star`: all columns, whichever there are; `written`: its rows
    are changed, so that triggers fire.
    :param among: other relations that an unqualified column may be of.
    :param sure: False: the name stands there, and may mean something else.
    """

    how: Literal["relation", "column", "star", "rows", "function", "written"]
    schema: str
    name: str
    column: str = ""
    among: tuple[Table, ...] = ()
    sure: bool = True


Rows = Mapping[str, frozenset[Table]]
"""Variables of a function that hold rows: `NEW`, a parameter, a variable of %ROWTYPE."""


class InFrom(Struct, frozen=True):
    """Something in FROM.

    :param tables: whose columns it may have, besides those that it names itself.
    """

    alias: str
    tables: frozenset[Table]
    names: frozenset[str] = frozenset()


class QueryScope:
    """What names mean in one query, and around it."""

    def __init__(self, outer: QueryScope | None = None) -> None:
        self.outer = outer
        self.entries: list[InFrom] = []
        self.queries: dict[str, InFrom] = dict(outer.queries) if outer else {}
        self.output: frozenset[str] = frozenset()

    def chain(self) -> Iterator[QueryScope]:
        scope: QueryScope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer

    def named(self, alias: str) -> InFrom | None:
        return next((e for scope in self.chain() for e in scope.entries if e.alias == alias), None)


def others(table: Table, tables: Iterable[Table]) -> tuple[Table, ...]:
    return tuple(sorted({*tables} - {table}))


def table_of(parts: list[str]) -> Table:
    """Of a name in parts."""
    return (parts[-2] if len(parts) > 1 else "", parts[-1])


def table_in_string(text: str | None) -> Table | None:
    """A name in a string, as nextval and regclass take it; None: it is none."""
    if text and len(text) < _LONGEST and _NAME.fullmatch(text.strip()):
        return table_of(names_in(text))
    return None


_LONGEST = 200
"""Characters of a string that may be a name."""
_NAME = re.compile(r'(?:(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)\.){0,2}(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)')
