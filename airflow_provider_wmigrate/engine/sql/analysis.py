"""Finds what a SQL script is made of: statements, transaction control, what cannot run in a transaction.

The grammar is PostgreSQL's own (libpg_query, through postgast). A script newer than that grammar is not refused:
the server decides, and `Analysis.unparsed` says what the parser did not understand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from airflow_provider_wmigrate.engine.model import Script

from .blocks import Unwrapped, unwrap
from .both_ways import refuse_both_ways
from .no_transaction import outside
from .pieces import LARGE, Piece, joined, without
from .psql import cut
from .script import Analysis
from .statements import Statement, Statements
from .unread import refused, unread


def analyse(script: Script) -> Analysis:
    """Split a script into statements and unwrap its own outer transaction.

    :raises ScriptError: both ways in one file, a psql command, or other transaction control.
    :raises FolderError: it was edited since the folder was read.
    """
    # The parser's shared library costs some 50 ms; whoever only reads a ledger does not pay for it.
    from postgast import PgQueryError

    script = script.with_text()
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
        except PgQueryError as error:
            places = unread(script) or (refused(script, piece, text, error),)
            return Analysis(script, Statements(), joined(found.pieces), found.blanks, places, whole=True)
    return _unwrap(Analysis(script, statements, found.pieces, found.blanks))


ROOM = 128 * 1024
"""Bytes of scripts. An analysis takes some fifty times as many."""


class Analyses:
    """Scripts as the grammar sees them: what was parsed to look for mistakes need not be parsed again to be run.

    The first ones are kept, until their texts together have `ROOM` bytes; a folder may have ten thousand.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Analysis] = {}
        self._room = ROOM

    def of(self, script: Script, *, soon: bool = False) -> Analysis:
        """:param soon: it is wanted again in a moment, so it is kept in any case.
        :raises WMigrateError: as `analyse` does.
        """
        key = script.file, script.checksum
        found = self._kept.get(key)
        if found is None:
            found = analyse(script)
            if soon or script.size <= self._room:
                self._room -= script.size
                self._kept[key] = found
        return found

    def has(self, script: Script) -> bool:
        return (script.file, script.checksum) in self._kept

    def drop(self, script: Script) -> None:
        """Nobody wants it any more."""
        if self._kept.pop((script.file, script.checksum), None) is not None:
            self._room += script.size


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
        yield Statement(kind, start, start + len(body), line, outside(kind, inner, body), kept, piece.data)
        line += body.count("\n")
        char_at, byte_at = start + len(body), node.stmt_location + length


def _small(kind: str, node: Any) -> Any:
    """A node as it is kept of a large script: a copy, since every node keeps its whole tree in memory."""
    plain_select = kind == "select_stmt" and not node.HasField("with_clause") and not node.HasField("into_clause")
    if plain_select or kind in ("insert_stmt", "copy_stmt"):
        return None
    return type(node).FromString(node.SerializeToString())


def _unwrap(analysis: Analysis) -> Analysis:
    script = analysis.script
    found = unwrap(script, analysis.statements)
    _mark_new_values(script.text, found)
    blanks = tuple(sorted([*analysis.blanks, *found.blanks]))
    # What cannot run inside a transaction is taken out of a block around everything.
    wrapped = None if found.statements.outside() else found.wrapped
    return Analysis(script, found.statements, analysis.pieces, blanks, blocks=found.blocks, wrapped=wrapped)


def _mark_new_values(text: str, found: Unwrapped) -> None:
    """A new value of an enum type can be used only after the transaction that added it has committed.

    The value is looked for as a string in what follows: found where it is not meant, it costs a transaction of its own.
    In a block of the script's own it has one, and whether that is enough the server says.
    """
    for index, node in found.statements.nodes("alter_enum_stmt"):
        inside = any(block.first <= index < block.end for block in found.blocks)
        if not inside and node.new_val and text.find(f"'{node.new_val}'", found.statements.ends[index]) >= 0:
            found.statements.mark_outside(index, "ALTER TYPE ... ADD VALUE, whose value the script uses,")
