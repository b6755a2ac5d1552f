"""What a SQL script is made of: statements with their lines, transaction control, what cannot run in a transaction.

The grammar is PostgreSQL's own (libpg_query, through postgast). A script newer than that grammar is not refused:
the server decides, and `Analysis.unparsed` says what the parser did not understand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .errors import ScriptError
from .model import Script


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a script. `start` and `end` are character offsets, `line` counts from 1."""

    kind: str
    start: int
    end: int
    line: int
    outside: str | None = None
    """Why it cannot run inside a transaction block, in words; None when it can."""
    node: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Analysis:
    """A script as the grammar sees it."""

    script: Script
    statements: tuple[Statement, ...]
    body: str = field(repr=False)
    """What is sent to the server: the text with its own outer BEGIN and COMMIT blanked out, so that every character
    keeps its position."""
    unparsed: str | None = None

    @property
    def outside(self) -> tuple[Statement, ...]:
        """The statements that cannot run inside a transaction block."""
        return tuple(s for s in self.statements if s.outside)

    def text_of(self, statement: Statement) -> str:
        return self.body[statement.start : statement.end]


def line_and_column(text: str, position: int) -> tuple[int, int]:
    """Line and column, both from 1, of a character position from 0."""
    line_start = text.rfind("\n", 0, position) + 1
    return text.count("\n", 0, position) + 1, position - line_start + 1


def analyse(script: Script) -> Analysis:
    """Split a script into statements and unwrap its own outer transaction.

    :raises ScriptError: transaction control anywhere else, or no statement at all.
    """
    # The parser's shared library costs some 50 ms; whoever only reads a ledger does not pay for it.
    from postgast import PgQueryError

    try:
        statements = tuple(_statements(script.text))
    except PgQueryError as error:
        return Analysis(script, (), script.text, unparsed=_where(script, error))
    if not statements:
        raise ScriptError(script.file, None, "contains no SQL statement", hint="write one or delete the file")
    return _unwrap(script, statements)


def _where(script: Script, error: Any) -> str:
    line, column = line_and_column(script.text, max((error.cursorpos or 1) - 1, 0))
    return f"{script.file}:{line}:{column}: {error.message}"


def _statements(text: str) -> Iterator[Statement]:
    """Statements with character offsets; the parser counts bytes of UTF-8."""
    from postgast import parse

    raw = text.encode()
    byte_at = char_at = 0
    line = 1
    for node in parse(text).stmts:
        skipped = raw[byte_at : node.stmt_location].decode()
        length = node.stmt_len or len(raw) - node.stmt_location
        body = raw[node.stmt_location : node.stmt_location + length].decode()
        start = char_at + len(skipped)
        line += skipped.count("\n")
        kind = node.stmt.WhichOneof("node")
        inner = getattr(node.stmt, kind)
        yield Statement(kind, start, start + len(body), line, _outside(kind, inner), inner)
        line += body.count("\n")
        char_at, byte_at = start + len(body), node.stmt_location + length


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


def _control(statement: Statement) -> str | None:
    return _CONTROL[statement.node.kind] if statement.kind == "transaction_stmt" else None


def _unwrap(script: Script, statements: tuple[Statement, ...]) -> Analysis:
    body = script.text
    first, last = _control(statements[0]), _control(statements[-1])
    if len(statements) > 1 and first in ("BEGIN", "START TRANSACTION") and last == "COMMIT":
        if statements[0].node.options:
            raise ScriptError(
                script.file,
                statements[0].line,
                f"{first} with options cannot be unwrapped",
                hint="wmigrate runs each script in a READ COMMITTED transaction; write a plain BEGIN or none",
            )
        for control in (statements[0], statements[-1]):
            blank = re.sub(r"[^\n]", " ", body[control.start : control.end])
            body = body[: control.start] + blank + body[control.end :]
        # The semicolons stay behind; the server reads them as empty statements.
        statements = statements[1:-1]
    for statement in statements:
        word = _control(statement)
        if word and word not in _HARMLESS:
            raise ScriptError(
                script.file,
                statement.line,
                f"{word} is transaction control",
                hint="wmigrate commits the script together with its ledger entry; remove it",
            )
    if not statements:
        raise ScriptError(script.file, None, "contains no SQL statement", hint="write one or delete the file")
    return Analysis(script, statements, body)


def _option_names(options: Any) -> set[str]:
    return {o.def_elem.defname for o in options}


def _call_name(node: Any) -> str:
    return str(node.funccall.funcname[-1].string.sval)


def _continuous_with_data(node: Any) -> bool:
    options = {(o.def_elem.defnamespace, o.def_elem.defname) for o in node.into.options}
    return ("timescaledb", "continuous") in options and not node.into.skip_data


def _detaches_concurrently(node: Any) -> bool:
    return any(getattr(c.alter_table_cmd, "def").partition_cmd.concurrent for c in node.cmds)


_CALLS_OUTSIDE = {"refresh_continuous_aggregate", "run_job"}

# kind of statement -> (does this one need to run outside a transaction block?, why)
_OUTSIDE: dict[str, tuple[Callable[[Any], bool], str]] = {
    "index_stmt": (
        lambda n: bool(n.concurrent) or "transaction_per_chunk" in _option_names(n.options),
        "CREATE INDEX CONCURRENTLY",
    ),
    "drop_stmt": (lambda n: bool(n.concurrent), "DROP INDEX CONCURRENTLY"),
    "reindex_stmt": (
        lambda n: n.kind > 2 or "concurrently" in _option_names(n.params),
        "REINDEX CONCURRENTLY or of more than a table",
    ),
    "discard_stmt": (lambda n: n.target == 1, "DISCARD ALL"),
    "vacuum_stmt": (lambda n: bool(n.is_vacuumcmd), "VACUUM"),
    "cluster_stmt": (lambda n: not n.HasField("relation"), "CLUSTER of all tables"),
    "alter_system_stmt": (lambda n: True, "ALTER SYSTEM"),
    "createdb_stmt": (lambda n: True, "CREATE DATABASE"),
    "dropdb_stmt": (lambda n: True, "DROP DATABASE"),
    "create_table_space_stmt": (lambda n: True, "CREATE TABLESPACE"),
    "drop_table_space_stmt": (lambda n: True, "DROP TABLESPACE"),
    "create_subscription_stmt": (lambda n: True, "CREATE SUBSCRIPTION"),
    "alter_subscription_stmt": (lambda n: True, "ALTER SUBSCRIPTION"),
    "drop_subscription_stmt": (lambda n: True, "DROP SUBSCRIPTION"),
    "alter_table_stmt": (_detaches_concurrently, "DETACH PARTITION CONCURRENTLY"),
    "call_stmt": (lambda n: _call_name(n) in _CALLS_OUTSIDE, "this TimescaleDB procedure"),
    "create_table_as_stmt": (_continuous_with_data, "a continuous aggregate WITH DATA"),
}


def _outside(kind: str, node: Any) -> str | None:
    rule = _OUTSIDE.get(kind)
    return rule[1] if rule and rule[0](node) else None
