"""What stands in a script for psql and not for the server: COPY data below its statement, and its backslash commands.

Read as psql reads it: only where strings, quoted names, dollar quotes and comments begin and end, and where a
statement ends. What a statement is, PostgreSQL's grammar says (analysis.py), which is given one `Piece` at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_provider_wmigrate.engine.errors import ScriptError
from airflow_provider_wmigrate.engine.model import Script

from .pieces import LARGE, PIECE, Cut, Piece, Span


def cut(script: Script, size: int | None = None) -> Cut:
    """Cut a script into pieces. Its characters keep their places.

    :param size: characters from which on a piece ends with the statement it is in; 1: each statement is a piece.
    :raises ScriptError: a psql command, or a COPY ... FROM stdin whose data has no beginning or no end.
    """
    text = script.text
    size = size or PIECE
    if len(text) <= size and "\\" not in text and not _STDIN.search(text):
        return Cut((Piece(0, len(text)),))
    return _Reader(script, size).read()


def comments(script: Script) -> tuple[int, ...]:
    """Where comments begin: no string, quoted name, dollar quote, other comment or COPY data around them.

    :raises ScriptError: as `cut` does.
    """
    reader = _Reader(script, PIECE, comments=[])
    reader.read()
    return tuple(reader.comments or ())


_STDIN = re.compile("stdin", re.IGNORECASE)
_TOKEN = re.compile(r"""['"$;\\()]|--|/\*""")
_SOLID = re.compile(r"\S")
_QUOTE_OR_ESCAPE = re.compile(r"['\\]")
_CONTINUED = re.compile(r"(?:[ \t\f\v]|--[^\n]*)*\n(?:\s|--[^\n]*\n)*'")
# A tag is a name. What it cannot have is named: all that it can would take Python several milliseconds to understand.
_DOLLAR = re.compile(r"\$(?:[^\x00-@\[-^`{-\x7f][^\x00-/:-@\[-^`{-\x7f]*)?\$")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_COMMAND = re.compile(r"""\\([^\s\\;'"]*)""")
_COPY = re.compile(r"\s*copy\b", re.IGNORECASE)
_FROM_STDIN = re.compile(r"\bfrom\s+stdin\b", re.IGNORECASE)
_ROUTINE = re.compile(r"\s*create\s+(?:or\s+replace\s+)?(?:function|procedure)\b", re.IGNORECASE)
_ATOMIC = re.compile(r"\bbegin\s+atomic\b", re.IGNORECASE)

_SKIPPED = {"restrict", "unrestrict"}
"""What pg_dump writes around its output, so that psql refuses all other commands meanwhile. Here they always are."""

_INSTEAD = {
    "copy": "write COPY ... FROM stdin with the data below it",
    **dict.fromkeys(["i", "ir", "include", "include_relative"], "put the other file's SQL here"),
    **dict.fromkeys(["c", "connect"], "a migration has one database; make a folder for the other one"),
    **dict.fromkeys(["g", "gx", "gset", "gexec", "gdesc", ";"], "end the statement with a semicolon"),
}


def _in_identifier(char: str) -> bool:
    return char.isalnum() or char in ("_", "$") or char >= "\x80"


@dataclass(slots=True)
class _Reader:
    script: Script
    size: int
    pieces: list[Piece] = field(default_factory=list)
    blanks: list[Span] = field(default_factory=list)
    piece: int = 0
    """Where the piece begins that is being read."""
    statement: int = 0
    """Where the statement begins, or blanks before it."""
    depth: int = 0
    """Of parentheses: a rule may hold several statements."""
    comments: list[int] | None = None
    """Where they begin, if somebody wants to know."""

    def read(self) -> Cut:
        text, position = self.script.text, 0
        while token := _TOKEN.search(text, position):
            position = _AFTER[token[0]](self, token.start())
        self._end_statement(len(text))
        self._end_piece(len(text))
        return Cut(tuple(self.pieces), tuple(self.blanks))

    # Quotes and comments: each returns where reading goes on

    def _string(self, start: int) -> int:
        text = self.script.text
        before = text[max(start - 2, 0) : start]
        if before[-1:] in ("e", "E") and not (len(before) == 2 and _in_identifier(before[0])):
            return self._escape_string(start)
        return self._after("'", start + 1)

    def _escape_string(self, start: int) -> int:
        text, position = self.script.text, start + 1
        while found := _QUOTE_OR_ESCAPE.search(text, position):
            position = found.end()
            if found[0] == "\\" or text.startswith("'", position):
                position += 1
            elif continued := _CONTINUED.match(text, position):
                position = continued.end()
            else:
                return position
        return len(text)

    def _name(self, start: int) -> int:
        return self._after('"', start + 1)

    def _dollar(self, start: int) -> int:
        text = self.script.text
        tag = _DOLLAR.match(text, start)
        if tag is None or (start and _in_identifier(text[start - 1])):
            return start + 1
        return self._after(tag[0], tag.end())

    def _line_comment(self, start: int) -> int:
        if self.comments is not None:
            self.comments.append(start)
        return self._outside_statement(start, self._after("\n", start))

    def _comment(self, start: int) -> int:
        if self.comments is not None:
            self.comments.append(start)
        text, depth, position = self.script.text, 0, start
        while edge := _COMMENT_EDGE.search(text, position):
            depth, position = depth + (1 if edge[0] == "/*" else -1), edge.end()
            if not depth:
                return self._outside_statement(start, position)
        return len(text)

    def _after(self, what: str, position: int) -> int:
        found = self.script.text.find(what, position)
        return len(self.script.text) if found == -1 else found + len(what)

    def _outside_statement(self, start: int, end: int) -> int:
        """What stands before a statement does not belong to it."""
        if not _SOLID.search(self.script.text, self.statement, start):
            self.statement = end
        return end

    # Statements

    def _open(self, start: int) -> int:
        self.depth += 1
        return start + 1

    def _close(self, start: int) -> int:
        self.depth = max(self.depth - 1, 0)
        return start + 1

    def _semicolon(self, at: int) -> int:
        if self.depth or self._in_body(at):
            return at + 1
        if self._is_copy(at):
            return self._data(at)
        self._end_statement(at + 1)
        if at + 1 - self.piece >= self.size:
            self._end_piece(at + 1)
        self.statement = at + 1
        return at + 1

    def _end_statement(self, end: int) -> None:
        if end - self.statement > LARGE:
            self._end_piece(self.statement)

    def _end_piece(self, end: int) -> None:
        if _SOLID.search(self.script.text, self.piece, end):
            self.pieces.append(Piece(self.piece, end))
        self.piece = end

    def _in_body(self, at: int) -> bool:
        """Whether this semicolon stands inside BEGIN ATOMIC ... END: the grammar finds the statement unfinished."""
        text = self.script.text
        if not _ROUTINE.match(text, self.statement) or not _ATOMIC.search(text, self.statement, at):
            return False
        from postgast import PgQueryError, parse

        try:
            parse(text[self.statement : at])
        except PgQueryError:
            return True
        return False

    # COPY

    def _is_copy(self, at: int) -> bool:
        text = self.script.text
        if not _COPY.match(text, self.statement) or not _STDIN.search(text, self.statement, at):
            return False
        from postgast import PgQueryError, parse

        try:
            (node,) = parse(text[self.statement : at]).stmts
        except PgQueryError:
            return bool(_FROM_STDIN.search(text, self.statement, at))
        copy = node.stmt.copy_stmt
        return bool(copy.is_from and not copy.is_program and not copy.filename)

    def _data(self, at: int) -> int:
        """The data begins on the next line, whatever follows on this one, and ends before a line `\\.`."""
        text = self.script.text
        begin = self._after("\n", at)
        rest = text[at + 1 : begin].strip()
        if rest and not rest.startswith("--"):
            hint = "its data begins on the next line; put the rest below the data"
            raise self._error(at, "something follows COPY FROM stdin on its line", hint)
        end = text.find("\n\\.\n", at)
        if end == -1 and text.endswith("\n\\."):
            end = len(text) - 3
        if end == -1:
            hint = "write it on the lines below, and after it a line that holds only \\."
            if text[begin:].strip():
                raise self._error(at, "the data of COPY FROM stdin does not end", hint)
            raise self._error(at, "COPY FROM stdin waits for data that is not there", hint)
        self._end_piece(self.statement)
        self.pieces.append(Piece(self.statement, at + 1, (begin, end + 1)))
        self.piece = self.statement = min(end + 4, len(text))
        return self.piece

    # Commands

    def _command(self, start: int) -> int:
        text = self.script.text
        found = _COMMAND.match(text, start)
        name = (found[1] if found else "") or text[start + 1 : start + 2]
        end = text.find("\n", start)
        end = len(text) if end == -1 else end
        if name in _SKIPPED and not text[text.rfind("\n", 0, start) + 1 : start].strip():
            self.blanks.append((start, end))
            return self._outside_statement(start, end)
        if name == ".":
            raise self._error(start, "\\. ends the data of COPY FROM stdin, and there is none here", "remove it")
        hint = _INSTEAD.get(name, "remove it, or write what it does in SQL")
        raise self._error(start, f"\\{name} is a command of psql, not SQL", hint)

    def _error(self, position: int, reason: str, hint: str) -> ScriptError:
        return ScriptError(self.script.file, self.script.text.count("\n", 0, position) + 1, reason, hint=hint)


_AFTER: dict[str, Callable[[_Reader, int], int]] = {
    "'": _Reader._string,
    '"': _Reader._name,
    "$": _Reader._dollar,
    "--": _Reader._line_comment,
    "/*": _Reader._comment,
    "(": _Reader._open,
    ")": _Reader._close,
    ";": _Reader._semicolon,
    "\\": _Reader._command,
}
