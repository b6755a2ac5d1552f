"""What errors say (what, where, what next), and which of them may heal by themselves."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine import errors
from airflow_provider_wmigrate.engine.errors import (
    NOT_KNOWN,
    ROLLED_BACK,
    BackupFailed,
    ConfigError,
    ConnectionFailed,
    FolderError,
    HistoryError,
    LedgerDamaged,
    LedgerNotWritten,
    LedgerTooNew,
    LockTimeout,
    OthersWaited,
    OutsideWindow,
    RollbackFailed,
    ScriptError,
    SigningError,
    StatementFailed,
    TimedOut,
    UnknownVersion,
    WMigrateError,
    nearest,
    place,
    retryable_sqlstate,
)
from airflow_provider_wmigrate.engine.model import Finding
from airflow_provider_wmigrate.engine.record import ServerWords

LOST = Finding("missing", "migration 001_a is applied but its file is gone", "restore the file", version="001")
EDITED = Finding("changed", "was edited", "restore it", version="002", file="002_b.sql", line=3)
FAILED = StatementFailed("002", "002_b.rollback.sql", "no such table", outcome=ROLLED_BACK, sqlstate="42P01", line=7)

MESSAGES: list[tuple[WMigrateError, str, bool]] = [
    (WMigrateError("something"), "something", False),
    (WMigrateError("something", hint="do this"), "something; do this", False),
    (WMigrateError("something", retryable=True), "something", True),
    (FolderError("a.sql", "is empty"), "a.sql: is empty", False),
    (FolderError("a.sql", "is not UTF-8", line=3, hint="save it so"), "a.sql:3: is not UTF-8; save it so", False),
    (
        ConfigError("c.yaml", 4, "settings.foo", "unknown key", suggestion="for"),
        "c.yaml:4: settings.foo: unknown key; did you mean for?",
        False,
    ),
    (ConfigError("c.yaml", None, "", "is not a mapping"), "c.yaml: is not a mapping", False),
    (BackupFailed("pg_dump is gone", hint="install it"), "pg_dump is gone; install it", False),
    (HistoryError([LOST]), "migration 001_a is applied but its file is gone; restore the file", False),
    (HistoryError([EDITED, LOST, LOST]), "002_b.sql:3: was edited; restore it (and 2 more)", False),
    (UnknownVersion("012", ["001", "1000", "002"]), "no migration 012 in this folder; did you mean 002?", False),
    (UnknownVersion("77", ["999", "1000"]), "no migration 77 in this folder; the newest one is 1000", False),
    (UnknownVersion("1", []), "no migration 1 in this folder; there is none", False),
    (UnknownVersion("1", [], where="the ledger"), "no migration 1 in the ledger; there is none", False),
    (ScriptError("a.sql", 2, "COMMIT here", hint="remove it"), "a.sql:2: COMMIT here; remove it", False),
    (ScriptError("a.sql", None, "holds nothing"), "a.sql: holds nothing", False),
    (
        StatementFailed(
            "001",
            "a.sql",
            "no such table",
            outcome=ROLLED_BACK,
            sqlstate="42P01",
            line=2,
            column=5,
            server_hint="make it",
        ),
        "a.sql:2:5: no such table (SQLSTATE 42P01); rolled back, nothing of it was kept; make it",
        False,
    ),
    (
        StatementFailed("001", "a.sql", "no", outcome=ROLLED_BACK, sqlstate="42P01", line=2, statement="DROP TABLE a"),
        "a.sql:2: no (SQLSTATE 42P01) in DROP TABLE a; rolled back, nothing of it was kept",
        False,
    ),
    (
        StatementFailed("001", "a.sql", "the connection was lost", outcome=NOT_KNOWN),
        "a.sql: the connection was lost; what of it was kept is not known",
        True,
    ),
    (
        StatementFailed("001", "a.sql", "it ended", outcome="part of it stays", retryable=False),
        "a.sql: it ended; part of it stays",
        False,
    ),
    (
        TimedOut("001", "a.sql", "too slow", outcome=ROLLED_BACK, sqlstate="57014", retryable=True),
        "a.sql: too slow (SQLSTATE 57014); rolled back, nothing of it was kept",
        True,
    ),
    (
        OthersWaited("001", "a.sql", "cancelled for others", outcome=ROLLED_BACK, sqlstate="57014", server_hint="wait"),
        "a.sql: cancelled for others (SQLSTATE 57014); rolled back, nothing of it was kept; wait",
        False,
    ),
    (
        LockTimeout("table a", 1.26, outcome="nothing was changed"),
        "table a was not free within 1.3 s; nothing was changed",
        True,
    ),
    (
        LockTimeout("table a", 5, outcome="nothing was changed", holders=[12, 34], hint="look"),
        "table a was not free within 5.0 s, held by pid 12, 34; nothing was changed; look",
        True,
    ),
    (
        LockTimeout("table a", 5, outcome="statements 1 to 2 were kept"),
        "table a was not free within 5.0 s; statements 1 to 2 were kept",
        True,
    ),
    (
        LockTimeout("table a", 5, outcome="statement 1 was kept", retryable=False),
        "table a was not free within 5.0 s; statement 1 was kept",
        False,
    ),
    (
        LedgerNotWritten("a.sql", "no such table", outcome="statement 1 was kept", sqlstate="42P01"),
        "a.sql: the ledger could not be written: no such table (SQLSTATE 42P01); statement 1 was kept;"
        " look at the ledger's tables: a script must leave them alone",
        False,
    ),
    (
        LedgerNotWritten("a.sql", "a lock", outcome="nothing ran before it", sqlstate="55P03"),
        "a.sql: the ledger could not be written: a lock (SQLSTATE 55P03); nothing ran before it;"
        " look at the ledger's tables: a script must leave them alone",
        True,
    ),
    (
        OutsideWindow("002", "it opens at 22:00", opens=None, waits=False, hint="run it then"),
        "migration 002 may not begin now: it opens at 22:00; run it then",
        False,
    ),
    (
        RollbackFailed("002", FAILED),
        "rollback of 002 failed: 002_b.rollback.sql:7: no such table (SQLSTATE 42P01);"
        " rolled back, nothing of it was kept",
        False,
    ),
    (ConnectionFailed("refused\n"), "no connection to the target database: refused", True),
    (
        LedgerTooNew("wmigrate", 3, 1),
        "the ledger in schema wmigrate has version 3, this wmigrate knows up to 1; upgrade airflow-provider-wmigrate",
        False,
    ),
    (SigningError("k: there is no key", hint="give one"), "k: there is no key; give one", False),
    (LedgerDamaged("no audit_log", hint="restore it"), "no audit_log; restore it", False),
]


@pytest.mark.parametrize(("error", "message", "retryable"), MESSAGES)
def test_messages(error: WMigrateError, message: str, retryable: bool) -> None:
    assert (str(error), error.retryable) == (message, retryable)


def test_every_error_is_in_the_table() -> None:
    classes = {c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, WMigrateError)}
    assert {type(error) for error, _, _ in MESSAGES} == classes


@pytest.mark.parametrize("error", [e for e, _, _ in MESSAGES], ids=lambda e: type(e).__name__)
def test_a_message_is_one_line(error: WMigrateError) -> None:
    assert "\n" not in str(error)
    assert not str(error).endswith((".", ";", " "))


@pytest.mark.parametrize(
    ("sqlstate", "retryable"),
    [
        (None, True),  # no answer at all: the connection died
        ("55P03", True),  # lock_not_available
        ("40P01", True),  # deadlock_detected
        ("40001", True),  # serialization_failure
        ("08006", True),  # connection_failure
        ("53100", True),  # disk_full
        ("53300", True),  # too_many_connections
        ("57P01", True),  # admin_shutdown
        ("57P02", True),  # crash_shutdown
        ("57P03", True),  # cannot_connect_now
        ("57P04", False),  # database_dropped
        ("57014", False),  # query_canceled
        ("55006", False),  # object_in_use
        ("55000", False),  # object_not_in_prerequisite_state
        ("40002", False),  # transaction_integrity_constraint_violation
        ("25006", False),  # read_only_sql_transaction
        ("42601", False),  # syntax_error
        ("42P01", False),  # undefined_table
        ("42501", False),  # insufficient_privilege
        ("23505", False),  # unique_violation
        ("22012", False),  # division_by_zero
        ("P0001", False),  # raise_exception
        ("XX000", False),  # internal_error
    ],
)
def test_what_may_heal_by_itself(sqlstate: str | None, retryable: bool) -> None:
    assert retryable_sqlstate(sqlstate) is retryable
    assert StatementFailed("001", "a.sql", "no", outcome=ROLLED_BACK, sqlstate=sqlstate).retryable is retryable


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [("timeout", ["timeouts", "retry"], "timeouts"), ("zzz", ["timeouts"], None), ("x", [], None)],
)
def test_nearest(word: str, known: list[str], meant: str | None) -> None:
    assert nearest(word, known) == meant


@pytest.mark.parametrize(
    ("parts", "text"),
    [((None,), ""), (("f",), "f"), (("f", 3), "f:3"), (("f", 3, 7), "f:3:7"), (("f", None, None), "f")],
)
def test_place(parts: tuple[str | int | None, ...], text: str) -> None:
    assert place(*parts) == text  # type: ignore[arg-type]


def test_a_failed_statement_is_told_in_other_ways_and_stays_the_same() -> None:
    said = ServerWords("detail", "hint", "SQL statement\nin f()", "key", "function f()")
    failed = StatementFailed(
        "002", "b.sql", "broke", outcome=NOT_KNOWN, sqlstate="40001", line=7, column=3, statement="SELECT 1", said=said,
        retryable=True,
    )  # fmt: skip

    def told(error: StatementFailed) -> dict[str, Any]:
        return {"class": type(error), "text": str(error), "hint": error.hint, **vars(error)}

    before = told(failed)
    hidden = failed.without_sql()
    assert (hidden.statement, hidden.said) == (None, replace(said, context="function f()"))
    assert told(hidden.hinted("look")) != told(hidden)
    assert failed.hinted("look").server_hint == "look"
    kept = failed.kept(ROLLED_BACK, retryable=False)
    assert (kept.outcome, kept.retryable) == (ROLLED_BACK, False)
    assert told(kept.kept(NOT_KNOWN, retryable=True)) == before
    assert type(TimedOut("2", "f", "m", outcome=NOT_KNOWN).hinted("x")) is TimedOut


@pytest.mark.parametrize(
    ("sqlstate", "hint", "said", "retryable"),
    [
        ("25006", None, "take out what makes the transaction read-only", False),
        ("40001", None, "look at the ledger's tables: a script must leave them alone", True),
        ("42P01", "another", "another", False),
        (None, None, "look at the ledger's tables: a script must leave them alone", True),
    ],
)
def test_a_ledger_that_was_not_written(sqlstate: str | None, hint: str | None, said: str, retryable: bool) -> None:
    error = LedgerNotWritten("a.sql", "no", outcome=ROLLED_BACK, sqlstate=sqlstate, hint=hint)
    code = f" (SQLSTATE {sqlstate})" if sqlstate else ""
    assert str(error).startswith(f"a.sql: the ledger could not be written: no{code}; {ROLLED_BACK}")
    assert (error.hint, error.retryable, error.sqlstate, error.file) == (said, retryable, sqlstate, "a.sql")


def test_a_rollback_that_failed_says_why() -> None:
    cause = LockTimeout("t", 1, outcome=ROLLED_BACK)
    cause.audit_head = "7:ab"
    error = RollbackFailed("002", cause)
    assert (error.version, error.cause, error.audit_head) == ("002", cause, "7:ab")
    assert str(error).startswith(f"rollback of 002 failed: {cause}")
    assert error.retryable is cause.retryable is True
    plain = RollbackFailed("002", ValueError("no"))
    assert (str(plain), plain.retryable, plain.audit_head) == ("rollback of 002 failed: no", False, None)


def test_no_connection_a_closed_window_and_a_ledger_that_is_too_new() -> None:
    lost = ConnectionFailed(" gone \n", hint="look", retryable=False)
    assert str(lost).startswith("no connection to the target database: gone")
    assert (lost.hint, lost.retryable, ConnectionFailed("gone").retryable) == ("look", False, True)
    closed = OutsideWindow("002", "it is day", opens=None, waits=True, hint="wait")
    assert str(closed).startswith("migration 002 may not begin now: it is day")
    assert (closed.version, closed.opens, closed.waits, closed.hint) == ("002", None, True, "wait")
    new = LedgerTooNew("wm", 9, 3)
    assert str(new).startswith("the ledger in schema wm has version 9, this wmigrate knows up to 3")
    assert (new.found, new.known, new.hint) == (9, 3, "upgrade airflow-provider-wmigrate")
