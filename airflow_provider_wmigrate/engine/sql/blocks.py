"""The transactions that a script opens itself. BEGIN and COMMIT are taken off, since the ledger joins each of them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from airflow_provider_wmigrate.engine.errors import ScriptError
from airflow_provider_wmigrate.engine.model import Script

from .pieces import Span
from .statements import Statements

_BEGINS = {1: "BEGIN", 2: "START TRANSACTION"}
_COMMIT = 3
_CONTROL = {
    **_BEGINS,
    _COMMIT: "COMMIT",
    4: "ROLLBACK",
    8: "PREPARE TRANSACTION",
    9: "COMMIT PREPARED",
    10: "ROLLBACK PREPARED",
}
"""Savepoints are not here: they stay inside the transaction they are in, so a script may use them."""


class Block(Struct, frozen=True):
    """The statements from `first` to before `end` stood between BEGIN, which was at `line`, and COMMIT."""

    first: int
    end: int
    line: int


class Unwrapped(Struct, frozen=True):
    """Statements without transaction control, where that stood, and the blocks that are left.

    A single block around everything is none of them: it says what is so anyway, unless the script is declared to run
    statement by statement.
    """

    statements: Statements
    blanks: tuple[Span, ...]
    blocks: tuple[Block, ...]
    wrapped: Block | None = None


def unwrap(script: Script, statements: Statements) -> Unwrapped:
    """Take a script's BEGIN and COMMIT off.

    :raises ScriptError: any other transaction control, one without its counterpart, or what cannot run inside a block.
    """
    pairs = _pairs(script, statements)
    control = {index: None for pair in pairs for index in pair}
    # The semicolons stay behind; the server reads them as empty statements.
    blanks = tuple((statements.starts[i], statements.ends[i]) for i in control)
    if pairs == [(0, len(statements) - 1)]:
        kept = statements[1:-1]
        return Unwrapped(kept, blanks, (), Block(0, len(kept), statements[0].line))
    blocks = []
    for number, (begin, commit) in enumerate(pairs):
        _refuse_outside(script, statements, begin, commit)
        first = begin - 2 * number
        if commit > begin + 1:
            blocks.append(Block(first, first + commit - begin - 1, statements[begin].line))
    kept = statements.without(control) if control else statements
    if len(blocks) == 1 and blocks[0].end - blocks[0].first == len(kept):
        return Unwrapped(kept, blanks, (), blocks[0])
    return Unwrapped(kept, blanks, tuple(blocks))


def _pairs(script: Script, statements: Statements) -> list[tuple[int, int]]:
    """The numbers of BEGIN and COMMIT of each block."""
    pairs: list[tuple[int, int]] = []
    begin: int | None = None
    for index, node in statements.nodes("transaction_stmt"):
        if node.kind not in _CONTROL:
            continue
        if node.kind in _BEGINS and begin is None:
            _refuse_options(script, statements[index].line, node)
            begin = index
        elif node.kind == _COMMIT and begin is not None and not node.chain:
            pairs.append((begin, index))
            begin = None
        else:
            raise _refusal(script, statements, index)
    if begin is not None:
        raise _refusal(script, statements, begin)
    return pairs


def _refusal(script: Script, statements: Statements, index: int) -> ScriptError:
    statement = statements[index]
    hint = "wmigrate commits the script together with its ledger entry; remove it"
    return ScriptError(
        script.file, statement.line, f"{_CONTROL[statement.node.kind]} is transaction control", hint=hint
    )


def _refuse_options(script: Script, line: int, node: Any) -> None:
    if node.options:
        hint = "wmigrate runs each script in a READ COMMITTED transaction; write a plain BEGIN or none"
        raise ScriptError(script.file, line, f"{_BEGINS[node.kind]} with options cannot be unwrapped", hint=hint)


def _refuse_outside(script: Script, statements: Statements, begin: int, commit: int) -> None:
    """In a block among others nothing can be taken out of its transaction."""
    for statement in statements[begin:commit].outside():
        line = statements[begin].line
        reason = f"{statement.outside} cannot run inside a transaction, but it is in the one that begins at line {line}"
        raise ScriptError(script.file, statement.line, reason, hint="move it after the COMMIT")
