"""A commit, alone or in one message with other statements, and the certainty that the server did it."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import Connection

from airflow_provider_wmigrate.engine.errors import ConnectionFailed

from .message import exchange, refusal


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
