"""What a SQL script is made of: statements with their lines, transaction control, what cannot run in a transaction.

The grammar is PostgreSQL's own (libpg_query, through postgast). A script newer than that grammar is not refused:
the server decides, and `Analysis.unparsed` says what the parser did not understand.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_wmigrate.engine.model import Script

from .blocks import Block, Unwrapped, unwrap
from .both_ways import refuse_both_ways
from .masking import masked_sql
from .no_transaction import outside
from .psql import LARGE, Piece, Span, cut, joined, without
from .statements import Statement, Statements
from .unread import Unread, unread


@dataclass(frozen=True, slots=True)
class Part:
    """What is sent to the server in one message: the text that begins at character `start` of the script, and the
    COPY data that follows it. `first` is the number, from 0, of its first statement."""

    start: int
    sql: bytes = field(repr=False)
    data: Span | None
    first: int


@dataclass(frozen=True, slots=True)
class Analysis:
    """A script as the grammar sees it. Every character keeps its position in the file."""

    script: Script
    statements: Sequence[Statement]
    pieces: tuple[Piece, ...] = field(repr=False)
    blanks: tuple[Span, ...] = ()
    """What is not sent: the script's own BEGIN and COMMIT, and lines for psql."""
    unread: tuple[Unread, ...] = ()
    """What the grammar does not understand; then there are no statements, and the whole is left to the server."""

    blocks: tuple[Block, ...] = ()
    """The transactions that the script opens itself, unless it is one around everything."""

    @property
    def unparsed(self) -> str | None:
        """The first thing that the grammar does not understand, with its place."""
        first = next(iter(self.unread), None)
        return f"{self.script.file}:{first.line}:{first.column}: {first.reason}" if first else None

    @property
    def outside(self) -> tuple[Statement, ...]:
        """The statements that cannot run inside a transaction block."""
        return self.statements.outside() if isinstance(self.statements, Statements) else ()

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
        return self.blocks[near] if near >= 0 and index < self.blocks[near].end else None

    def text_of(self, statement: Statement) -> str:
        """A statement without its semicolon; of COPY FROM stdin, with the data."""
        text = self.sql(statement.start, statement.end)
        return text + self.script.text[slice(*statement.data)] if statement.data else text

    def parts(self, first: int = 0, end: int | None = None) -> Iterator[Part]:
        """The statements from `first` to before `end` as they are sent; without a grammar for it, the whole script."""
        if not isinstance(self.statements, Statements):
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
        if not isinstance(self.statements, Statements):
            return None
        index = bisect_right(self.statements.starts, position) - 1
        return self.statements[index] if index >= 0 else None

    def excerpt(self, statement: Statement) -> str:
        """A statement's first words, for a message. Strings are left out: one may be a password."""
        text = masked_sql(self.sql(statement.start, min(statement.end, statement.start + LARGE)))
        words = " ".join(_COMMENT.sub(" ", text[: 8 * _EXCERPT]).split())
        shown = re.split(r"\S*['$]", words, maxsplit=1)[0].rstrip()
        if shown == words and len(shown) <= _EXCERPT:
            return shown
        whole = shown if len(shown) <= _EXCERPT - 4 else shown[: _EXCERPT - 3].rpartition(" ")[0]
        return f"{whole} ..."


_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_EXCERPT = 60
"""Characters of a statement that a message shows."""


def line_and_column(text: str, position: int) -> tuple[int, int]:
    """Line and column, both from 1, of a character position from 0."""
    line_start = text.rfind("\n", 0, position) + 1
    return text.count("\n", 0, position) + 1, position - line_start + 1


def analyse(script: Script) -> Analysis:
    """Split a script into statements and unwrap its own outer transaction.

    :raises ScriptError: both ways in one file, a psql command, or other transaction control.
    """
    # The parser's shared library costs some 50 ms; whoever only reads a ledger does not pay for it.
    from postgast import PgQueryError

    refuse_both_ways(script)
    found = cut(script)
    statements, line, at = Statements(), 1, 0
    for piece in found.pieces:
        line, at = line + script.text.count("\n", at, piece.start), piece.start
        if piece.end - piece.start > LARGE and _INSERT.match(script.text, piece.start):
            # A tree of it would take twenty times its room, and say nothing more.
            statements.append(_large_insert(script.text, piece, line))
            continue
        text = without(script.text, found.blanks, piece.start, piece.end)
        try:
            for statement in _statements(text, piece, line, whole=len(found.pieces) == 1):
                statements.append(statement)
        except PgQueryError:
            return Analysis(script, (), joined(found.pieces), found.blanks, unread(script))
    return _unwrap(Analysis(script, statements, found.pieces, found.blanks))


_INSERT = re.compile(r"\s*(?=insert\s)", re.IGNORECASE)


def _large_insert(text: str, piece: Piece, line: int) -> Statement:
    found = _INSERT.match(text, piece.start)
    start, end = found.end() if found else piece.start, piece.end
    while text[end - 1].isspace() or text[end - 1] == ";":
        end -= 1
    return Statement("insert_stmt", start, end, line + text.count("\n", piece.start, start))


def _statements(text: str, piece: Piece, line: int, *, whole: bool) -> Iterator[Statement]:
    """A piece's statements, with character offsets in the script; the parser counts bytes of UTF-8.

    :param line: of the piece's first character.
    :param whole: the piece is the whole script, so that nobody minds keeping all nodes.
    """
    from postgast import parse

    raw = text.encode()
    byte_at, char_at = 0, piece.start
    for node in parse(text).stmts:
        skipped = raw[byte_at : node.stmt_location].decode()
        length = node.stmt_len or len(raw) - node.stmt_location
        body = raw[node.stmt_location : node.stmt_location + length].decode()
        start = char_at + len(skipped)
        line += skipped.count("\n")
        kind = node.stmt.WhichOneof("node")
        inner = getattr(node.stmt, kind)
        kept = inner if whole else _small(kind, inner)
        yield Statement(kind, start, start + len(body), line, outside(kind, inner), kept, piece.data)
        line += body.count("\n")
        char_at, byte_at = start + len(body), node.stmt_location + length


def _small(kind: str, node: Any) -> Any:
    """A node as it is kept of a large script: a copy, since every node keeps its whole tree in memory."""
    plain_select = kind == "select_stmt" and not node.HasField("with_clause") and not node.HasField("into_clause")
    if plain_select or kind in ("insert_stmt", "copy_stmt"):
        return None
    return type(node).FromString(node.SerializeToString())


def _unwrap(analysis: Analysis) -> Analysis:
    script, statements = analysis.script, analysis.statements
    assert isinstance(statements, Statements)
    found = unwrap(script, statements)
    _mark_new_values(script.text, found)
    blanks = tuple(sorted([*analysis.blanks, *found.blanks]))
    return Analysis(script, found.statements, analysis.pieces, blanks, blocks=found.blocks)


def _mark_new_values(text: str, found: Unwrapped) -> None:
    """A new value of an enum type can be used only after the transaction that added it has committed.

    The value is looked for as a string in what follows: found where it is not meant, it costs a transaction of its own.
    In a block of the script's own it has one, and whether that is enough the server says.
    """
    for index, node in found.statements.nodes("alter_enum_stmt"):
        inside = any(block.first <= index < block.end for block in found.blocks)
        if not inside and node.new_val and text.find(f"'{node.new_val}'", found.statements.ends[index]) >= 0:
            found.statements.mark_outside(index, "ALTER TYPE ... ADD VALUE, whose value the script uses,")
