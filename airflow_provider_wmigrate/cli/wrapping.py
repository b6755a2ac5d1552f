"""How wide a terminal is, and text laid out in it: lines end between words, never inside one.

A word that is wider than the terminal is left whole: the terminal breaks it, and who copies it gets it back.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

_USUAL = 80
_GAP = 2
"""Spaces between two columns of a table."""


def width_of(stream: Any) -> int:
    """Columns of the terminal behind a stream; `COLUMNS` counts before what the terminal says."""
    given = os.environ.get("COLUMNS", "")
    if given.isdigit() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL
    except (OSError, ValueError):
        return _USUAL


def wrapped(text: str, width: int, *, hanging: str = "") -> str:
    """Every line broken between words where it is too long, and what follows indented as the line is.

    :param hanging: what lines that follow have in front beside that.
    """
    return "\n".join(_lines(line, width, hanging) for line in text.split("\n"))


def _lines(line: str, width: int, hanging: str) -> str:
    if len(line) <= width:
        return line
    import textwrap

    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line.strip(),
        width,
        initial_indent=indent,
        subsequent_indent=indent + hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def column_widths(cells: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """How wide each column may be so that all fit and no word is broken; None: they do not fit side by side.

    :param cells: rows of equal length, the heads among them.
    """
    columns = [*zip(*cells, strict=True)]
    widths = [max(len(cell) for cell in column) for column in columns]
    least = [max(len(word) for cell in column for word in (cell.split() or [""])) for column in columns]
    room = width - _GAP * (len(columns) - 1)
    if sum(least) > room:
        return None
    while sum(widths) > room:  # what can give most gives first
        widest = max(range(len(widths)), key=lambda i: (widths[i] - least[i], widths[i]))
        widths[widest] -= 1
    return widths
