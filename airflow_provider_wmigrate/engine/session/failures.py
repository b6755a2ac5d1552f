"""What became of a statement, in the engine's words: from psycopg's error to ours, with its place in the file."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.extensions import remedy
from airflow_provider_wmigrate.engine.catalog.keepable import PREFIX
from airflow_provider_wmigrate.engine.errors import OthersWaited, StatementFailed, TimedOut
from airflow_provider_wmigrate.engine.record import ServerWords
from airflow_provider_wmigrate.engine.sql.masking import masked_error
from airflow_provider_wmigrate.engine.sql.script import Analysis, Part
from airflow_provider_wmigrate.engine.sql.statements import Statement

from .interruption import Spared


class Circumstances(Struct, frozen=True):
    """What the session knows of a failure and the error does not.

    :param lost: the connection is gone.
    :param over_limit: the statement ran for as long as it was allowed to.
    """

    lost: bool
    timed_out: bool
    cancelled: bool
    over_limit: bool
    in_transaction: bool = False
    """It was refused inside a transaction of ours."""
    spared: Spared | None = None
    """Others for whose sake it was cancelled."""

    @property
    def struck(self) -> bool:
        """It was ended from outside. A procedure of TimescaleDB that commits as it goes answers that with 2D000."""
        return self.timed_out or self.cancelled or self.over_limit or self.spared is not None


def failure(
    error: psycopg.Error,
    version: str,
    file: str,
    where: dict[str, Any],
    known: Circumstances,
    *,
    outcome: str,
    script: str = "",
) -> StatementFailed:
    """A psycopg error in the engine's words.

    :param where: line, column and statement, as `place_of` gives them.
    :param outcome: what was kept.
    :param script: the script's text, so that its secrets are masked in what the server says.
    """
    message = masked_error((error.diag.message_primary or str(error)).strip(), script)
    said = _said(error, script)
    where = {"sqlstate": error.sqlstate, "said": said, "outcome": outcome, **where}
    at_end = where.pop("at_end", False)
    if where.pop("in_block", False):  # so the place is the script's own line, and no function is to be told
        where["said"] = replace(said, function=None)
    fix = remedy(error.sqlstate, message) or _advice(error, where.get("statement"), file, known)
    if known.lost:
        if known.timed_out:
            message = "the total budget (timeout_seconds) was used up and the server did not answer any more"
            return TimedOut(version, file, message, retryable=True, **where)
        message = f"the connection was lost: {message}"
        return StatementFailed(version, file, message, server_hint=fix, retryable=fix is None, **where)
    if error.sqlstate == "57014" or (error.sqlstate == "2D000" and known.struck):
        if known.cancelled:
            return StatementFailed(version, file, "cancelled on request", retryable=True, **where)
        if known.spared is not None:
            return _for_others(version, file, known.spared, where)
        if known.timed_out:
            message = "the total budget (timeout_seconds) was used up, the statement was cancelled"
        if known.timed_out or known.over_limit:
            return TimedOut(version, file, message, retryable=True, **where)
    if at_end or error.sqlstate == "2BP01":  # the row, as the statement that made it is over; what depends on it
        message += f" ({'; '.join(said.detail.splitlines())})" if said.detail else ""
    heals = (
        None if "locks_per_transaction" not in (said.hint or "") else False
    )  # a lock table that is too small stays so
    return StatementFailed(version, file, message, server_hint=fix or said.hint, retryable=heals, **where)


def _for_others(version: str, file: str, spared: Spared, where: dict[str, Any]) -> OthersWaited:
    """Where it waited itself, another time may be better. Where its own work keeps others waiting, it would again."""
    limit = f"limit {spared.limit_seconds:g} s (max_bystander_wait_seconds)" if spared.limit_seconds else ""
    message = f"cancelled for others, {limit or 'one of whom it waited for itself'}: {spared.bystanders}"
    hint = "it waited for a lock itself, which may be free at the next try"
    if not spared.blocked:
        hint = "do less in one migration, run it at a quieter time, or raise max_bystander_wait_seconds for it"
    return OthersWaited(version, file, message, server_hint=hint, retryable=spared.blocked, **where)


def _said(error: psycopg.Error, script: str) -> ServerWords:
    diag = error.diag
    detail, hint, context = (
        masked_error(text, script).strip() if text else None
        for text in (diag.message_detail, diag.message_hint, diag.context)
    )
    inside = _FUNCTION.search(context or "")
    return ServerWords(detail, hint, context, diag.constraint_name, inside[0] if inside else None)


_FUNCTION = re.compile(r"^PL/\w+ function .+ line \d+ at .+$|^SQL function .+ statement \d+$", re.MULTILINE)
"""The innermost one: the server tells it first."""


def _advice(error: psycopg.Error, statement: str | None, file: str, known: Circumstances) -> str | None:
    """What to do where the server refuses something because of the transaction around it."""
    rollback = file.endswith(".rollback.sql")
    declare = f"declare transactional: {'{rollback: false}' if rollback else 'false'}"
    if error.sqlstate == "2BP01":  # the server's own hint is CASCADE
        if PREFIX in (error.diag.message_detail or ""):
            return "what is kept needs it: drop it in a later migration, when that was let go (`wmigrate kept`)"
        return "drop that before, by name, or roll back first what made it"
    if error.sqlstate == "22P05":
        return "the database's encoding has no such character, not even in a comment: write it in another way"
    if error.sqlstate == "2D000" and known.in_transaction:
        return f"the script ends transactions itself: {declare} for this migration, so that none is around it"
    if error.sqlstate == "2D000" and (statement or "").upper().startswith("CREATE MATERIALIZED VIEW"):
        return (
            "TimescaleDB answers so when the filling of an aggregate is cancelled, by pg_cancel_backend or a limit that"
            " is not wmigrate's: run it again"
        )
    if error.sqlstate == "55P04":
        return "use it in a later migration: a new value of an enum type can be used only after the commit that adds it"
    if error.sqlstate == "25001" and known.in_transaction:
        if (statement or "").upper().startswith(("SET ", "START ", "BEGIN")):
            return "wmigrate opens the transaction, at READ COMMITTED, and sets its limits: take this statement out"
        if _FUNCTION.search(error.diag.context or ""):
            return f"write it as a statement of its own, outside any function, and {declare} for this migration"
        return f"{declare} for this migration, so that no transaction is around it"
    return None


def place_of(error: psycopg.Error, analysis: Analysis, part: Part | None, index: int | None) -> dict[str, Any]:
    """Where in the file and in which statement: by the server's position if it gave one, else what was next.

    :param index: number of the statement that was next, from 0; None with `part` None: all had run, and a deferred
        constraint was checked.
    """
    if part is None and index is None:
        return {"line": _only_change(analysis), "at_end": True}
    if index is None:
        return {}
    known = index < len(analysis.statements)
    statement = analysis.statements[index] if known else None
    line, column = statement.line if statement else None, None
    row = _COPY_LINE.search(error.diag.context or "")
    if part is not None and part.data and row:
        line = analysis.place(part.data[0])[0] + int(row[1]) - 1
    elif part is not None and (position := _unsendable(error, analysis, part)) is not None:
        line, column = analysis.place(position)
        statement = analysis.statement_at(position)
    elif part is not None and error.diag.statement_position:
        position = part.start + int(error.diag.statement_position) - 1
        line, column = analysis.place(position)
        statement = analysis.statement_at(position)
    elif statement is not None and (found := _line_in_block(error, analysis, statement)):
        return {"line": found, "statement": analysis.excerpt(statement), "in_block": True}
    return {"line": line, "column": column, "statement": analysis.excerpt(statement) if statement else None}


def _unsendable(error: psycopg.Error, analysis: Analysis, part: Part) -> int | None:
    """Where the character stands that the database's encoding does not have. The server names its bytes alone."""
    if error.sqlstate != "22P05":
        return None
    named = bytes(int(byte, 16) for byte in _BYTES.findall(error.diag.message_primary or ""))
    found = analysis.script.text.find(named.decode(errors="replace"), max(part.start, 0)) if named else -1
    return found if found >= 0 else None


def _line_in_block(error: psycopg.Error, analysis: Analysis, statement: Statement) -> int | None:
    """The script's line of an error directly in a DO block, whose lines the server counts from the opening quote."""
    inside = _FUNCTION.search(error.diag.context or "") if statement.kind == "do_stmt" else None
    counted = _BLOCK_LINE.match(inside[0]) if inside else None
    opening = _DOLLAR.search(analysis.script.text, statement.start, statement.end)
    return analysis.place(opening.end())[0] + int(counted[1]) - 1 if counted and opening else None


def _only_change(analysis: Analysis) -> int | None:
    """The line of the one statement that can have changed rows; None: there are several."""
    lines = [s.line for s in analysis.statements if s.kind in _CHANGES_ROWS or s.kind in _MAY_CHANGE_ROWS]
    kinds = {s.kind for s in analysis.statements}
    return lines[0] if len(lines) == 1 and kinds & _CHANGES_ROWS else None


_CHANGES_ROWS = {"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "copy_stmt"}
_MAY_CHANGE_ROWS = {"do_stmt", "call_stmt", "select_stmt", "execute_stmt", "create_table_as_stmt"}
_BLOCK_LINE = re.compile(r"PL/\w+ function inline_code_block line (\d+) ")
_DOLLAR = re.compile(r"\$\w*\$")
_BYTES = re.compile(r"\b0x([0-9a-f]{2})\b")
_COPY_LINE = re.compile(r"^COPY [^\n]*?, line (\d+)", re.MULTILINE)
