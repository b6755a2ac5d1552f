"""Every way the engine can fail, each one sentence: what, where, what next.

`retryable` answers one question: may the same call succeed later with nothing changed by a person?
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from .model import ConfigFinding, Finding
from .wording import nearest as nearest
from .wording import place as place

if TYPE_CHECKING:
    from .record import ServerWords

RETRYABLE_SQLSTATES = frozenset({"55P03", "40P01", "40001"})
"""Lock not available, deadlock detected, serialization failure: the whole transaction may simply be run again."""

RETRYABLE_SQLSTATE_CLASSES = ("08", "53", "57P")
"""Connection trouble, resources short, an operator's intervention (restart, cancel): later may be better."""

_NEVER_RETRYABLE = frozenset({"57014", "57P04"})
"""Cancelled (a person or a timeout did it; the same statement takes as long again), database dropped."""


def retryable_sqlstate(sqlstate: str | None) -> bool:
    """Whether an error of this SQLSTATE may heal by itself. No SQLSTATE means that the connection died."""
    if sqlstate is None:
        return True
    if sqlstate in _NEVER_RETRYABLE:
        return False
    return sqlstate in RETRYABLE_SQLSTATES or sqlstate.startswith(RETRYABLE_SQLSTATE_CLASSES)


class WMigrateError(Exception):
    """An error that belongs to no other class."""

    remedy: str = "read the message: it says what happened, where, and what to do"
    """What a person does about it, in a few words; each class has its own."""
    retryable: bool = False
    hint: str = ""
    audit_head: str | None = None
    """Head of the audit log behind the row that tells of this error; None: no such row was written."""

    def __init__(self, message: str, *, hint: str = "", retryable: bool | None = None) -> None:
        self.hint = hint
        if retryable is not None:
            self.retryable = retryable
        super().__init__(f"{message}; {hint}" if hint else message)


class FolderError(WMigrateError):
    """The files of the folder are wrong or contradict one another. `findings` lists everything that is wrong."""

    remedy = "rename or fix the file it names"

    def __init__(
        self,
        file: str | None,
        reason: str,
        *,
        line: int | None = None,
        hint: str = "",
        findings: Sequence[Finding] = (),
    ) -> None:
        self.file, self.line, self.reason = file, line, reason
        self.findings = tuple(findings) or (Finding("folder_error", reason, hint, file=file, line=line),)
        said = f"{place(file, line)}: {reason}" if file else reason
        super().__init__(said, hint=hint + _and_more(self.findings))

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> FolderError:
        """One error for everything that was found; it names the first."""
        first = findings[0]
        return cls(first.file, first.message, line=first.line, hint=first.next_step, findings=findings)


class ConfigError(WMigrateError):
    """A key or a value of migration_config.yaml is wrong. `findings` lists everything that is wrong."""

    remedy = "correct the key at that line"

    def __init__(
        self,
        file: str,
        line: int | None,
        key: str,
        reason: str,
        *,
        suggestion: str | None = None,
        findings: Sequence[Finding] = (),
    ) -> None:
        self.file, self.line, self.key, self.reason, self.suggestion = file, line, key, reason, suggestion
        hint = f"did you mean {suggestion}?" if suggestion else ""
        message = f"{key + ': ' if key else ''}{reason}"
        self.findings = tuple(findings) or (ConfigFinding.of(file, line, key, reason, suggestion),)
        more = _and_more(self.findings)
        super().__init__(f"{place(file, line)}: {message}{'' if hint else more}", hint=hint and hint + more)

    @classmethod
    def of(cls, findings: Sequence[ConfigFinding], *, others: Sequence[Finding] = ()) -> ConfigError:
        """One error for everything that was found; it names the first.

        :param others: all that was found, where that is more than what is wrong in the config.
        """
        first = findings[0]
        more = tuple(others) or findings
        return cls(first.file or "", first.line, first.key, first.reason, suggestion=first.suggestion, findings=more)


def _and_more(findings: Sequence[Finding]) -> str:
    """That an error is not alone, and where to see the others."""
    more = len(findings) - 1
    return f" (and {more} more; `wmigrate check` shows all)" if more else ""


class HistoryError(WMigrateError):
    """Folder and ledger contradict one another, so nothing was changed."""

    remedy = "read its findings, in the table below"

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        first, more = self.findings[0], len(self.findings) - 1
        super().__init__(f"{first}{f' (and {more} more)' if more else ''}")


class UnknownVersion(WMigrateError):
    """Neither the folder nor the ledger has this version."""

    remedy = "use a version that `wmigrate status` shows"

    def __init__(self, version: str, known: Iterable[str], *, where: str = "this folder") -> None:
        self.version = version
        known = sorted(known, key=lambda v: (len(v), v))
        self.suggestion = nearest(version, known)
        if self.suggestion:
            hint = f"did you mean {self.suggestion}?"
        else:
            hint = f"the newest one is {known[-1]}" if known else "there is none"
        super().__init__(f"no migration {version} in {where}", hint=hint)


class ScriptError(WMigrateError):
    """A script contains something that wmigrate does not run."""

    remedy = "remove it, at that line"

    def __init__(self, file: str, line: int | None, reason: str, *, hint: str = "") -> None:
        self.file, self.line, self.reason = file, line, reason
        super().__init__(f"{place(file, line)}: {reason}", hint=hint)


ROLLED_BACK = "rolled back, nothing of it was kept"
NOT_KNOWN = "what of it was kept is not known"
PERHAPS_COMMITTED = "part of it may have been committed, the ledger does not know it"


class StatementFailed(WMigrateError):
    """The server refused a statement. `line` and `column` count from 1 in the file.

    :param outcome: what was kept, by whoever knows it: `ROLLED_BACK`, `NOT_KNOWN`, or what the journal says.
    :param statement: its first words, without strings: one may be a password.
    :param said: what else the server said.
    """

    remedy = "fix the statement and run the migration again"

    def __init__(
        self,
        version: str,
        file: str,
        message: str,
        *,
        outcome: str,
        sqlstate: str | None = None,
        line: int | None = None,
        column: int | None = None,
        server_hint: str | None = None,
        statement: str | None = None,
        said: ServerWords | None = None,
        retryable: bool | None = None,
    ) -> None:
        from .record import ServerWords

        self.version, self.file, self.sqlstate = version, file, sqlstate
        self.line, self.column, self.server_hint, self.statement = line, column, server_hint, statement
        self.server_message, self.outcome, self.said = message, outcome, said or ServerWords()
        code = (f" (SQLSTATE {sqlstate})" if sqlstate else "") + (f" in {statement}" if statement else "")
        code += f", {self.said.function}" if self.said.function else ""
        super().__init__(
            f"{place(file, line, column)}: {message}{code}; {outcome}",
            hint=server_hint or "",
            retryable=retryable_sqlstate(sqlstate) if retryable is None else retryable,
        )

    def without_sql(self) -> StatementFailed:
        """The same failure for where no SQL may be shown: neither the statement nor those that CONTEXT quotes."""
        return self._with(statement=None, said=replace(self.said, context=self.said.function))

    def kept(self, outcome: str, *, retryable: bool) -> StatementFailed:
        """The same failure, once it is known what was kept."""
        return self._with(outcome=outcome, retryable=retryable)

    def hinted(self, hint: str) -> StatementFailed:
        """The same failure, once it is known what to do."""
        return self._with(server_hint=hint)

    def _with(self, **changes: Any) -> StatementFailed:
        same = ("outcome", "sqlstate", "line", "column", "server_hint", "statement", "said", "retryable")
        values = {name: getattr(self, name) for name in same} | changes
        return type(self)(self.version, self.file, self.server_message, **values)


class LedgerNotWritten(WMigrateError):
    """The script ran, but the ledger could not be written: it was dropped, altered, or is locked.

    :param outcome: what of the script was kept.
    :param hint: the way forward, where the server's words tell it.
    """

    remedy = "look at the ledger's tables, then run again"
    _LEAVE = "look at the ledger's tables: a script must leave them alone"

    def __init__(self, file: str, message: str, *, outcome: str, sqlstate: str | None, hint: str | None = None) -> None:
        self.file, self.sqlstate, self.outcome = file, sqlstate, outcome
        code = f" (SQLSTATE {sqlstate})" if sqlstate else ""
        hint = hint or ("take out what makes the transaction read-only" if sqlstate == "25006" else self._LEAVE)
        super().__init__(
            f"{file}: the ledger could not be written: {message}{code}; {outcome}",
            hint=hint,
            retryable=retryable_sqlstate(sqlstate),
        )


class TimedOut(StatementFailed):
    """A time limit ended, and the statement was cancelled on the server."""

    remedy = "raise `timeout_seconds` or `statement_timeout_seconds`, or do less in one migration"


class OthersWaited(StatementFailed):
    """Others waited because of the migration for longer than `max_bystander_wait_seconds`, or it waited for one of them
    itself. So it was cancelled."""

    remedy = "split the migration, run it at a quieter time, or raise `max_bystander_wait_seconds`"


class LockTimeout(WMigrateError):
    """Another session held a lock for longer than the time limit.

    :param outcome: what was kept.
    :param limit: whose limit it was, where it was not wmigrate's.
    """

    remedy = "find out who holds the lock; the migration is tried again"
    retryable = True

    def __init__(
        self,
        what: str,
        waited_seconds: float,
        *,
        outcome: str,
        holders: Sequence[int] = (),
        limit: str = "",
        hint: str = "",
        retryable: bool | None = None,
    ) -> None:
        self.what, self.waited_seconds, self.outcome, self.holders = what, waited_seconds, outcome, tuple(holders)
        by = f", held by pid {', '.join(map(str, holders))}" if holders else ""
        within = f"{waited_seconds:.1f}" if waited_seconds >= 1 else f"{waited_seconds:.2g}"
        message = f"{what} was not free within {within} s{limit}{by}; {outcome}"
        super().__init__(message, hint=hint, retryable=retryable)


class OutsideWindow(WMigrateError):
    """By `settings.window` the environment may not be changed before `opens` (None: never), which a run `waits` for."""

    remedy = "run it when the window opens, or now with `--outside-window` (in Airflow `outside_window`)"

    def __init__(self, version: str, said: str, *, opens: datetime | None, waits: bool, hint: str) -> None:
        self.version, self.opens, self.waits = version, opens, waits
        super().__init__(f"migration {version} may not begin now: {said}", hint=hint)


class RollbackFailed(WMigrateError):
    """A rollback script failed. `cause` is its error."""

    remedy = "fix the rollback script and roll back again"

    def __init__(self, version: str, cause: Exception) -> None:
        self.version, self.cause = version, cause
        self.audit_head = getattr(cause, "audit_head", None)
        super().__init__(f"rollback of {version} failed: {cause}", retryable=getattr(cause, "retryable", False))


class ConnectionFailed(WMigrateError):
    """The target database cannot be reached, or the connection broke."""

    remedy = "check server and network; the migration is tried again"
    retryable = True

    def __init__(self, reason: str, *, hint: str = "", retryable: bool | None = None) -> None:
        super().__init__(f"no connection to the target database: {reason.strip()}", hint=hint, retryable=retryable)


class BackupFailed(WMigrateError):
    """A backup could not be made, or not be shown to be whole. What needed it was not touched."""

    remedy = "follow the message, then run again: what is missing, or what it may not read"


class LedgerTooNew(WMigrateError):
    """The ledger was upgraded by a newer wmigrate than this one."""

    remedy = "upgrade airflow-provider-wmigrate here"

    def __init__(self, schema: str, found: int, known: int) -> None:
        self.found, self.known = found, known
        super().__init__(
            f"the ledger in schema {schema} has version {found}, this wmigrate knows up to {known}",
            hint="upgrade airflow-provider-wmigrate",
        )


class SigningError(WMigrateError):
    """A key, or a file of signed heads of the audit log, cannot be used."""

    remedy = "follow the message: give another key or file, or correct the one that is named"


class LedgerDamaged(WMigrateError):
    """A part of the ledger is missing or cannot be read."""

    remedy = "restore the ledger from a backup, or choose another `settings.ledger.schema`"
