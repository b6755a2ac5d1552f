"""What PostgreSQL's grammar cannot read in a script, with the place of each: syntax errors, and variables for a tool
that would put values in. Here nothing is templated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from airflow_provider_wmigrate.engine.model import Script

from .pieces import LARGE, Piece, without
from .psql import cut


class Unread(Struct, frozen=True):
    """A place that is not SQL, or not what its author meant. Line and column count from 1.

    :param reason: the grammar's words, with secrets masked.
    :param variable: what stands there for a value, such as `:name`.
    """

    position: int
    line: int
    column: int
    reason: str
    variable: str | None = None


_NAME = r"[A-Za-z_][\w.]*"
_VARIABLE = re.compile(
    rf":'\w+'|:\"\w+\"|:\w+|:\{{\?\w+\}}"  # psql
    rf"|\$\{{[^}}\n]*\}}|\$\({_NAME}\)|\$[A-Za-z_]\w*\$?"  # a shell, Flyway; sqlcmd
    rf"|\{{\{{.*?\}}\}}|\{{%.*?%\}}|\{{#.*?#\}}|#?\{{{_NAME}\}}"  # Jinja and others
    rf"|%\({_NAME}\)s|%s\b",  # Python
    re.DOTALL,
)
_ALONE = re.compile(rf"\$\{{{_NAME}(?::[^}}\n]*)?\}}|\{{\{{\s+[^{{}}\n]+?\s+\}}\}}")
"""A string that is nothing but a variable. Without blanks `{{a}}` may be an array."""
_PERHAPS_ALONE = re.compile(r"['\"]\s*(?:\$\{|\{\{\s)")
_INSTEAD = ("_", "'", "1", " ")
"""What is put in the place of a variable to read on: a name, a string, a number, nothing."""


def unread(script: Script) -> tuple[Unread, ...]:
    """Every place of a script that the grammar cannot read: in each statement the first, and all variables.

    :raises ScriptError: as `cut` does.
    """
    from .masking import masked_error

    found = cut(script, 1)
    places = []
    for piece in found.pieces:
        if piece.end - piece.start <= LARGE:
            text = without(script.text, found.blanks, piece.start, piece.end)
            places += [_place(script, piece.start + at, masked_error(m, text), v) for at, m, v in _errors(text)]
    return tuple(places)


def refused(script: Script, piece: Piece, text: str, error: Any) -> Unread:
    """The place at which the grammar gave up, of a statement so large that nobody reads on behind it.

    :param error: a PgQueryError, of this text of the piece.
    """
    from .masking import masked_error

    at = (error.cursorpos or 1) - 1
    return _place(script, piece.start + at, masked_error(error.message, text), None)


def placeholders(script: Script) -> tuple[Unread, ...]:
    """Strings and quoted names that are nothing but a variable: SQL, but they would be taken as they stand."""
    if not _PERHAPS_ALONE.search(script.text):
        return ()
    from .tokens import scanned  # few scripts have what looks like one

    return tuple(
        _place(script, token.start + 1, "", inner)
        for token in scanned(script.text).tokens
        if _ALONE.fullmatch(inner := token.text[1:-1].strip())
    )


def _place(script: Script, position: int, reason: str, variable: str | None) -> Unread:
    begin = script.text.rfind("\n", 0, position) + 1
    line = script.text.count("\n", 0, position) + 1
    return Unread(position, line, position - begin + 1, reason, variable)


def _errors(text: str) -> Iterator[tuple[int, str, str | None]]:
    """Position, message and variable of each error in one statement, from left to right."""
    error = _error(text)
    while error:
        at, message = error
        if text[at - 1 : at] == "#":  # an operator to the grammar
            at -= 1
        variable = _VARIABLE.match(text, at)
        yield at, message, variable[0] if variable else None
        if variable is None:
            return
        end = variable.end()
        tries = [text[:at] + _instead(what, end - at) + text[end:] for what in _INSTEAD]
        ahead = [(again, left) for left in tries if not (again := _error(left)) or again[0] >= end]
        error, text = min(ahead, key=lambda tried: tried[0] is not None, default=(None, text))


def _instead(what: str, length: int) -> str:
    return "'" + "x" * (length - 2) + "'" if what == "'" else what * length


def _error(text: str) -> tuple[int, str] | None:
    from postgast import PgQueryError, parse

    try:
        parse(text)
    except PgQueryError as error:
        return (error.cursorpos or 1) - 1, error.message
    return None
