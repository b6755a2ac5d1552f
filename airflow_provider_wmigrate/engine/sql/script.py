"""What a SQL script is made of, as `analysis` finds it: statements with their lines, and what is sent of them."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import Struct

from airflow_provider_wmigrate.engine.model import Script

from .pieces import LARGE, Piece, Span, without, without_comments
from .statements import Statement, Statements

if TYPE_CHECKING:
    from .blocks import Block
    from .unread import Unread


@dataclass(frozen=True, slots=True)
class Part:
    """What is sent to the server in one message: the text that begins at character `start` of the script, and the
    COPY data that follows it. `first` is the number, from 0, of its first statement."""

    start: int
    sql: bytes = field(repr=False)
    data: Span | None
    first: int


class Analysis(Struct, frozen=True):
    """A script as the grammar sees it. Every character keeps its position in the file."""

    script: Script
    statements: Statements
    pieces: tuple[Piece, ...]
    blanks: tuple[Span, ...] = ()
    """What is not sent: the script's own BEGIN and COMMIT, and lines for psql."""
    unread: tuple[Unread, ...] = ()
    """What the grammar does not understand; then there are no statements, and the whole is left to the server."""

    blocks: tuple[Block, ...] = ()
    """The transactions that the script opens itself, unless it is one around everything."""
    wrapped: Block | None = None
    """The transaction that the script opens itself, if it is one around everything."""
    whole: bool = False
    """The grammar does not understand all of it, so it is sent without being split."""

    @property
    def unparsed(self) -> str | None:
        """The first thing that the grammar does not understand, with its place."""
        first = next(iter(self.unread), None)
        return f"{self.script.file}:{first.line}:{first.column}: {first.reason}" if first else None

    @property
    def outside(self) -> tuple[Statement, ...]:
        """The statements that cannot run inside a transaction block."""
        return self.statements.outside()

    @property
    def body(self) -> str:
        """The whole text with blanks for what is not sent."""
        return self.sql(0, len(self.script.text))

    def sql(self, start: int, end: int) -> str:
        """The text between two positions, with blanks for what is not sent."""
        return without(self.script.text, self.blanks, start, end)

    def block_of(self, index: int) -> Block | None:
        """The script's own transaction that a statement stands in."""
        near = bisect_right(self.blocks, index, key=lambda block: block.first) - 1
        return self.blocks[near] if near >= 0 and index < self.blocks[near].end else self.wrapped

    def text_of(self, statement: Statement) -> str:
        """A statement without its semicolon; of COPY FROM stdin, with the data."""
        text = self.sql(statement.start, statement.end)
        return text + self.script.text[slice(*statement.data)] if statement.data else text

    def parts(self, first: int = 0, end: int | None = None) -> Iterator[Part]:
        """The statements from `first` to before `end` as they are sent; without a grammar for it, the whole script."""
        if self.whole:
            for piece in self.pieces:
                yield Part(piece.start, self.sql(piece.start, piece.end).encode(), piece.data, 0)
            return
        end = len(self.statements) if end is None else end
        for piece in self.pieces:
            low = max(bisect_left(self.statements.starts, piece.start), first)
            high = min(bisect_left(self.statements.starts, piece.end), end)
            if low < high:
                start = self.statements.starts[low]
                yield Part(start, self.sql(start, self.statements.ends[high - 1]).encode(), piece.data, low)

    def place(self, position: int) -> tuple[int, int]:
        """Line and column of a character of the script."""
        return line_and_column(self.script.text, position)

    def statement_at(self, position: int) -> Statement | None:
        """The statement a character of the script belongs to."""
        index = bisect_right(self.statements.starts, position) - 1
        return self.statements[index] if index >= 0 else None

    def excerpt(self, statement: Statement) -> str:
        """A statement's first words, for a message. Strings are left out: one may be a password."""
        from .masking import masked_sql

        text = masked_sql(self.sql(statement.start, min(statement.end, statement.start + LARGE)))
        words = " ".join(without_comments(text[: 8 * _EXCERPT]).split())
        shown = re.split(r"\S*['$]", words, maxsplit=1)[0].rstrip()
        if shown == words and len(shown) <= _EXCERPT:
            return shown
        whole = shown if len(shown) <= _EXCERPT - 4 else shown[: _EXCERPT - 3].rpartition(" ")[0]
        return f"{whole} ..."


_EXCERPT = 60
"""Characters of a statement that a message shows."""


def line_and_column(text: str, position: int) -> tuple[int, int]:
    """Line and column, both from 1, of a character position from 0."""
    line_start = text.rfind("\n", 0, position) + 1
    return text.count("\n", 0, position) + 1, position - line_start + 1
