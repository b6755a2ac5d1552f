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

from airflow_provider_wmigrate.engine.errors import ScriptError
from airflow_provider_wmigrate.engine.model import Script

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
    """What is not sent: the script's own outer BEGIN and COMMIT, and lines for psql."""
    unread: tuple[Unread, ...] = ()
    """What the grammar does not understand; then there are no statements, and the whole is left to the server."""

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

    :raises ScriptError: both ways in one file, a psql command, other transaction control, or no statement at all.
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
    _mark_new_values(script.text, statements)
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


def _mark_new_values(text: str, statements: Statements) -> None:
    """A new value of an enum type can be used only after the transaction that added it has committed.

    The value is looked for as a string in what follows: found where it is not meant, it costs a transaction of its own.
    """
    for index, node in statements.nodes("alter_enum_stmt"):
        if node.new_val and text.find(f"'{node.new_val}'", statements.ends[index]) >= 0:
            statements.mark_outside(index, "ALTER TYPE ... ADD VALUE, whose value the script uses,")


_CONTROL = {
    1: "BEGIN",
    2: "START TRANSACTION",
    3: "COMMIT",
    4: "ROLLBACK",
    5: "SAVEPOINT",
    6: "RELEASE SAVEPOINT",
    7: "ROLLBACK TO SAVEPOINT",
    8: "PREPARE TRANSACTION",
    9: "COMMIT PREPARED",
    10: "ROLLBACK PREPARED",
}
# Savepoints stay inside the transaction they are in, so a script may use them.
_HARMLESS = {"SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT"}


def _unwrap(analysis: Analysis) -> Analysis:
    script, statements, blanks = analysis.script, analysis.statements, analysis.blanks
    assert isinstance(statements, Statements)
    control = {index: _CONTROL[node.kind] for index, node in statements.nodes("transaction_stmt")}
    last = len(statements) - 1
    if last > 0 and control.get(0) in ("BEGIN", "START TRANSACTION") and control.get(last) == "COMMIT":
        if statements[0].node.options:
            raise ScriptError(
                script.file,
                statements[0].line,
                f"{control[0]} with options cannot be unwrapped",
                hint="wmigrate runs each script in a READ COMMITTED transaction; write a plain BEGIN or none",
            )
        # The semicolons stay behind; the server reads them as empty statements.
        blanks = tuple(sorted([*blanks, *((s.start, s.end) for s in (statements[0], statements[last]))]))
        statements = statements[1:-1]
        control = {index - 1: word for index, word in control.items() if 0 < index < last}
    for index, word in control.items():
        if word not in _HARMLESS:
            raise ScriptError(
                script.file,
                statements[index].line,
                f"{word} is transaction control",
                hint="wmigrate commits the script together with its ledger entry; remove it",
            )
    if not statements:
        raise ScriptError(script.file, None, "contains no SQL statement", hint="write one or delete the file")
    return Analysis(script, statements, analysis.pieces, blanks)
