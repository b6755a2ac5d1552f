"""A script in pieces: where each begins and ends, so that a large file costs no more memory than a small one."""

from __future__ import annotations

import re

from msgspec import Struct

PIECE = 64 * 1024
"""Characters from which on a piece ends with the statement it is in."""
LARGE = 16 * PIECE
"""A statement of more characters than this is a piece of its own."""

Span = tuple[int, int]

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


def without_comments(text: str) -> str:
    """With a blank for each. What only looks like one, in a string, goes too."""
    return _COMMENT.sub(" ", text)


def has_word(text: str, word: str) -> bool:
    """Whether a name stands in a text, wherever that may be and however it is written."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


class Piece(Struct, frozen=True):
    """Whole statements, from `start` to before `end`; or one COPY ... FROM stdin and the `data` below it."""

    start: int
    end: int
    data: Span | None = None


class Cut(Struct, frozen=True):
    """A script in pieces, and what in them is not sent: lines for psql that make no difference here."""

    pieces: tuple[Piece, ...]
    blanks: tuple[Span, ...] = ()


def without(text: str, blanks: tuple[Span, ...], start: int, end: int) -> str:
    """The text between two positions, with blanks for what is not sent."""
    parts, at = [], start
    for begin, stop in blanks:
        if begin < end and stop > at:
            parts += [text[at:begin], re.sub(r"[^\n]", " ", text[max(begin, at) : min(stop, end)])]
            at = stop
    return "".join([*parts, text[at:end]])


def joined(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """The same with as few pieces as COPY data allows, for a script of which nobody knows where statements end."""
    found: list[Piece] = []
    for piece in pieces:
        if found and piece.data is None and found[-1].data is None:
            found[-1] = Piece(found[-1].start, piece.end)
        else:
            found.append(piece)
    return tuple(found)
