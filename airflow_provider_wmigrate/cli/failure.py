"""Any exception -> one sentence, a code for programs, and an exit code. Never a stack trace, never a password."""

from __future__ import annotations

import re
import sys
from typing import Any

from airflow_provider_wmigrate.engine.errors import (
    ConfigError,
    ConnectionFailed,
    FolderError,
    HistoryError,
    RollbackFailed,
    SigningError,
    StatementFailed,
    UnknownVersion,
    WMigrateError,
    nearest,
)
from airflow_provider_wmigrate.engine.plain import plain

DONE, FAILED, USAGE, FOUND = 0, 1, 2, 3
"""Exit codes: done, failed, wrong usage, a check found something."""


class UsageError(WMigrateError):
    """What was typed makes no sense; nothing was looked at or touched."""

    remedy = "correct what was typed"

    @classmethod
    def unknown(cls, what: str, word: str, known: Any, *, meant: str | None = None) -> UsageError:
        """A word that is not known, with the one that is meant, or else the nearest one."""
        known = list(known)
        meant = meant or nearest(word, known)
        hint = (
            f"did you mean {meant}?"
            if meant
            else f"known: {', '.join(known)}"
            if known
            else "none is declared: leave it out"
        )
        return cls(f"unknown {what} {word}", hint=hint)


class EnvFileError(UsageError):
    """A line of the `.env` file cannot be read. What stands there is not repeated: it may be a password."""

    remedy = "correct that line, or leave the file out with --no-env-file"

    def __init__(self, file: str, line: int | None, reason: str) -> None:
        self.file, self.line = file, line
        where = f"{file}:{line}" if line else file
        super().__init__(f"{where}: {reason}", hint="correct it, or leave the file out with --no-env-file")


class NotReady(WMigrateError):
    """`wait` has waited for as long as it was told to."""

    remedy = "find out why the server does not answer, or give a longer --timeout"
    retryable = True


class Interrupted(WMigrateError):
    """A person or the system stopped the call."""

    remedy = "look at `wmigrate status`: it says what was kept"


def exit_code(error: BaseException) -> int:
    """The code the process ends with."""
    if isinstance(error, UsageError | UnknownVersion | SigningError):
        return USAGE
    return FOUND if isinstance(error, HistoryError | NotReady) else FAILED


def as_wmigrate_error(error: BaseException) -> WMigrateError:
    """Every exception in the engine's words."""
    if isinstance(error, WMigrateError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted; nothing was changed")
    psycopg = sys.modules.get("psycopg")  # where it is not loaded, nothing of its kind was raised
    if psycopg is not None and isinstance(error, psycopg.Error):
        return _database_error(error)
    if type(error).__module__.startswith("airflow."):
        return WMigrateError(_one_line(str(error)))
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return WMigrateError(f"{where}{error.strerror or error}")
    return WMigrateError(f"unexpected {type(error).__name__}: {_one_line(str(error))}", hint="please report this")


def server_words(error: WMigrateError) -> list[str]:
    """What else the server said, line by line."""
    cause = error.cause if isinstance(error, RollbackFailed) else error
    return cause.said.lines() if isinstance(cause, StatementFailed) else []


def as_document(error: WMigrateError) -> dict[str, Any]:
    """The error as programs get it."""
    document: dict[str, Any] = {
        "code": _snake(type(error).__name__),
        "message": str(error),
        "hint": error.hint or None,
        "retryable": error.retryable,
        "exit_code": exit_code(error),
    }
    cause = error.cause if isinstance(error, RollbackFailed) else error
    if hasattr(cause, "file") and hasattr(cause, "line"):
        document["file"], document["line"] = cause.file, cause.line
    if isinstance(cause, StatementFailed):
        document |= {"version": cause.version, "sqlstate": cause.sqlstate, "column": cause.column}
        document["server"] = plain(cause.said)
    if isinstance(error, HistoryError | FolderError | ConfigError):
        document["findings"] = plain(error.findings)
    return document


def _database_error(error: Any) -> WMigrateError:
    message = _one_line(error.diag.message_primary or str(error) or type(error).__name__)
    if error.sqlstate == "42501":
        hint = "grant the role USAGE on the ledger's schema and SELECT on its tables"
        return WMigrateError(f"the ledger cannot be used: {message}", hint=hint)
    if error.sqlstate is None or error.sqlstate.startswith(("08", "57P")):
        return ConnectionFailed(message)
    return WMigrateError(f"the server refused: {message} (SQLSTATE {error.sqlstate})")


def _one_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _snake(name: str) -> str:
    return "failed" if name == "WMigrateError" else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
