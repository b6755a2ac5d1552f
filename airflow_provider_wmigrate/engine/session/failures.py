"""What became of a statement, in the engine's words: from psycopg's error to ours, with its place in the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import psycopg

from airflow_provider_wmigrate.engine.catalog.extensions import remedy
from airflow_provider_wmigrate.engine.errors import StatementFailed, TimedOut
from airflow_provider_wmigrate.engine.sql.script import Analysis, Part


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the session knows of a failure and the error does not.

    :param lost: the connection is gone.
    :param over_limit: the statement ran for as long as it was allowed to.
    """

    lost: bool
    timed_out: bool
    cancelled: bool
    over_limit: bool


def failure(
    error: psycopg.Error, version: str, file: str, where: dict[str, Any], known: Circumstances
) -> StatementFailed:
    """A psycopg error in the engine's words.

    :param where: line, column and statement, as `place_of` gives them.
    """
    message = (error.diag.message_primary or str(error)).strip()
    where = {"sqlstate": error.sqlstate, **where}
    fix = remedy(error.sqlstate, message)
    if known.lost:
        if known.timed_out:
            message = "the total budget (timeout_seconds) was used up and the server did not answer any more"
            return TimedOut(version, file, message, retryable=True, **where)
        message = f"the connection was lost: {message}"
        return StatementFailed(version, file, message, server_hint=fix, retryable=fix is None, **where)
    if error.sqlstate == "57014":
        if known.cancelled:
            return StatementFailed(version, file, "cancelled on request", retryable=True, **where)
        if known.timed_out:
            message = "the total budget (timeout_seconds) was used up, the statement was cancelled"
        if known.timed_out or known.over_limit:
            return TimedOut(version, file, message, retryable=True, **where)
    return StatementFailed(version, file, message, server_hint=fix or error.diag.message_hint, **where)


def place_of(error: psycopg.Error, analysis: Analysis, part: Part | None, index: int | None) -> dict[str, Any]:
    """Where in the file and in which statement: by the server's position if it gave one, else what was next."""
    known = index is not None and index < len(analysis.statements)
    statement = analysis.statements[index or 0] if known else None
    line, column = statement.line if statement else None, None
    row = _COPY_LINE.search(error.diag.context or "")
    if part is not None and part.data and row:
        line = analysis.place(part.data[0])[0] + int(row[1]) - 1
    elif part is not None and error.diag.statement_position:
        position = part.start + int(error.diag.statement_position) - 1
        line, column = analysis.place(position)
        statement = analysis.statement_at(position)
    return {"line": line, "column": column, "statement": analysis.excerpt(statement) if statement else None}


_COPY_LINE = re.compile(r"^COPY [^\n]*?, line (\d+)", re.MULTILINE)
