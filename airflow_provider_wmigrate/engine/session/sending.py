"""Sends a piece of a script to the server: over the simple protocol, which splits it there, or as COPY with data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
from msgspec import Struct
from psycopg import Connection, pq

from airflow_provider_wmigrate.engine.errors import ScriptError

from .message import exchange

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.sql.script import Analysis, Part

Failed = Callable[[psycopg.Error, "int | None"], Exception]
"""What to raise for a psycopg error; with the number, from 0, of the statement that was next, if it is known."""

_COPY_CHUNK = 64 * 1024
"""Characters of COPY data that are encoded and handed over at a time."""

_COPY = {
    pq.ExecStatus.COPY_IN: ("COPY FROM stdin waits for data that is not there", "write the data below it"),
    pq.ExecStatus.COPY_OUT: ("COPY TO stdout has nobody to read it", "select into a table instead"),
    pq.ExecStatus.COPY_BOTH: ("replication is no migration", "remove it"),
}
_COUNTED = (b"INSERT", b"UPDATE", b"DELETE", b"MERGE", b"COPY")


class Head(Struct, frozen=True):
    """Statements of ours that go to the server in one message with a script of one piece, before it."""

    text: bytes
    statements: int
    """How many."""


class Tail(Struct, frozen=True):
    """Statements of ours that go to the server in one message with a piece of a script, behind it."""

    text: bytes
    statements: int
    """How many."""
    head: Head = Head(b"", 0)
    """What goes before it."""


class HeadRefused(Exception):
    """The server refused a statement of the head, so nothing of the script was run.

    :param number: of the statement, from 0.
    """

    def __init__(self, number: int, error: psycopg.Error) -> None:
        self.number, self.error = number, error
        super().__init__(str(error))


class Sent(Struct, frozen=True):
    """What a piece of a script, or a whole one, came to."""

    statements: int = 0
    """Run."""
    rows: int = 0
    """Inserted, updated, deleted or copied."""
    tail: tuple[Any, ...] = ()
    """The answers to the statements of the tail."""

    def and_then(self, other: Sent) -> Sent:
        """Both together."""
        return Sent(self.statements + other.statements, self.rows + other.rows, other.tail)


def as_sent(part: Part, tail: Tail | None) -> Part:
    """A piece as it stands in its message, where the server counts characters."""
    before = len(tail.head.text.decode()) if tail else 0
    return replace(part, start=part.start - before) if before else part


def send_part(conn: Connection[Any], analysis: Analysis, part: Part, failed: Failed, tail: Tail | None = None) -> Sent:
    """Run one piece.

    :param tail: only with a piece whose statements are known and that has no data.
    :raises WMigrateError: what `failed` made of the server's refusal.
    :raises HeadRefused: the server refused a statement before the piece.
    :raises ScriptError: a COPY that has nothing to read from or to write to.
    """
    return _copy(conn, analysis, part, failed) if part.data else _simple(conn, analysis, part, failed, tail)


def _simple(conn: Connection[Any], analysis: Analysis, part: Part, failed: Failed, tail: Tail | None) -> Sent:
    before = tail.head if tail else Head(b"", 0)
    try:
        results = exchange(conn, b"%s%s\n;%s" % (before.text, part.sql, tail.text) if tail else part.sql)
    except psycopg.Error as error:
        raise failed(error, None) from error
    done = rows = 0
    for number, result in enumerate(results):
        index = part.first + done
        if result.status == pq.ExecStatus.FATAL_ERROR:
            refused = psycopg.errors.error_from_result(result, "utf-8")
            if 0 < number < before.statements:  # the first one cannot fail, unless the server cannot read the message
                raise HeadRefused(number, refused)
            raise failed(refused, index)
        if number < before.statements:
            continue
        if result.status in _COPY:
            conn.close()  # the server waits for the other end; the transaction goes with the connection
            raise _refused(analysis, index, *_COPY[pq.ExecStatus(result.status)])
        done += result.status != pq.ExecStatus.EMPTY_QUERY
        rows += _rows(result)
    if tail is None:
        return Sent(done, rows)
    return Sent(done - tail.statements, rows, tuple(results[len(results) - tail.statements :]))


def _copy(conn: Connection[Any], analysis: Analysis, part: Part, failed: Failed) -> Sent:
    """COPY ... FROM stdin with the data that stands below it, in chunks."""
    text, (begin, end) = analysis.script.text, part.data or (0, 0)
    try:
        with conn.cursor() as cursor:
            with cursor.copy(part.sql) as copy:
                for at in range(begin, end, _COPY_CHUNK):
                    copy.write(text[at : min(at + _COPY_CHUNK, end)].encode())
            return Sent(1, cursor.rowcount)
    except psycopg.Error as error:
        raise failed(error, part.first) from error


def _refused(analysis: Analysis, index: int, reason: str, hint: str) -> ScriptError:
    line = analysis.statements[index].line if index < len(analysis.statements) else None
    return ScriptError(analysis.script.file, line, reason, hint=hint)


def _rows(result: Any) -> int:
    status = result.command_status or b""
    return int(result.command_tuples or 0) if status.startswith(_COUNTED) else 0
