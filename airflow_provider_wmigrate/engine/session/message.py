"""One message to the server: statements of our own in PostgreSQL's simple protocol, which takes many in one round trip.

Values stand in it as literals, escaped by libpq.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import psycopg
from psycopg import Connection, generators, pq, sql

from airflow_provider_wmigrate.engine.errors import ConnectionFailed


def literal(conn: Connection[Any], value: str | int | bytes | Sequence[str] | None) -> bytes:
    """A value as it stands in a statement; a sequence as an array of text. Bytes are an expression."""
    if isinstance(value, str):
        if value.isascii() and not ("'" in value or "\\" in value or "\0" in value):
            return b"'%s'" % value.encode()
        return bytes(pq.Escaping(conn.pgconn).escape_literal(value.encode()))
    if value is None:
        return b"NULL"
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, bytes):
        return value
    return b"ARRAY[%s]::pg_catalog.text[]" % b", ".join(literal(conn, item) for item in value)


@cache
def table(schema: str, name: str) -> bytes:
    """The name of a table as it stands in a statement."""
    return sql.Identifier(schema, name).as_bytes(None)


def exchange(conn: Connection[Any], message: bytes) -> list[pq.abc.PGresult]:
    """Send one message, and take the answers until the last one or the first refusal, which is the last then.

    :raises psycopg.Error: the connection broke.
    """
    conn.pgconn.send_query(message)
    return list(conn.wait(generators.execute(conn.pgconn)))


def refusal(answers: Sequence[pq.abc.PGresult]) -> psycopg.Error | None:
    """The server's refusal of the last statement that was answered; None: there is none."""
    last = answers[-1] if answers else None
    if last is None or last.status != pq.ExecStatus.FATAL_ERROR:
        return None
    return psycopg.errors.error_from_result(last, "utf-8")


def ask(conn: Connection[Any], message: bytes) -> list[pq.abc.PGresult]:
    """As `exchange`, for a message no statement of which may be refused.

    :raises psycopg.Error: the server refused one; what of the message was in no transaction of its own is undone.
    """
    answers = exchange(conn, message)
    error = refusal(answers)
    if error is not None:
        raise error
    return answers


def values(answer: pq.abc.PGresult) -> list[str | None]:
    """The first row of an answer, as text."""
    return _row(answer, 0)


def rows(answer: pq.abc.PGresult) -> list[list[str | None]]:
    """All rows of an answer, as text."""
    return [_row(answer, row) for row in range(answer.ntuples)]


def _row(answer: pq.abc.PGresult, row: int) -> list[str | None]:
    found = [answer.get_value(row, column) for column in range(answer.nfields)]
    return [None if value is None else value.decode() for value in found]


def commit_with(conn: Connection[Any], message: bytes, at: int) -> tuple[list[Any], bool]:
    """Send a message in which a COMMIT stands, and make sure that the server did it.

    A warning beside its answer means that the wait for a synchronous standby was cut short: committed here, and not
    confirmed there. The server's words for it depend on its language.

    :param at: number, from 0, of the COMMIT among the message's statements.
    :return: the answers, and whether the commit was confirmed. The last answer may be the refusal of a statement behind
        the COMMIT.
    :raises psycopg.Error: the server refused the COMMIT, or a statement before it.
    :raises ConnectionFailed: the connection broke meanwhile. Only the ledger knows what became of it.
    """
    warnings: list[psycopg.errors.Diagnostic] = []

    def hear(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            warnings.append(diagnostic)

    conn.add_notice_handler(hear)
    try:
        answers = exchange(conn, message)
        error = refusal(answers)
        if error is not None and len(answers) <= at + 1:
            raise error
    except psycopg.OperationalError as error:
        if not conn.closed:
            raise
        hint = "whether it was committed stands in the ledger, where the next try looks first"
        raise ConnectionFailed(f"it broke during the commit ({error})", hint=hint) from error
    finally:
        conn.remove_notice_handler(hear)
    answer = (answers[at].command_status or b"").decode() if len(answers) > at else "nothing"
    if answer != "COMMIT":
        raise ConnectionFailed(f"the server answered COMMIT with {answer}")
    return answers, not warnings
