"""What a branch does to migrations that another one has already."""

from __future__ import annotations

from typing import Any

import pytest
from in_words import canonical, migration
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.model import Finding, LatePolicy, Migration, Script
from airflow_provider_wmigrate.engine.plan.released_rules import Released, released_findings


def folder(words: str) -> tuple[Migration, ...]:
    return tuple(map(migration, words.split()))


def found(now: str | tuple[Migration, ...], base: str, ahead: str, late: LatePolicy = "apply") -> list[Finding]:
    ours = folder(now) if isinstance(now, str) else now
    return list(released_findings(ours, Released("main", folder(base), folder(ahead)), late))


def finding(code: str, number: str, message: str, nxt: str, severity: Any = "error", **more: Any) -> Finding:
    version = canonical(number)
    return Finding(code, message, nxt, severity, version, **{"file": f"{version}_m.sql", **more})


EDITED = "differs from what main has: databases that have applied it would never get the difference"
RESTORE = "restore it in its folder (git checkout main -- 001_m.sql), and write a new migration"
CHANGED = finding("released_changed", "1", EDITED, RESTORE, line=1)
GONE = finding(
    "released_missing", "1", "is gone, but main has it: databases may have applied it",
    "restore it in its folder: git checkout main -- 001_m.sql",
)  # fmt: skip
ABOVE = "give its files a number above 003, or set settings.execution.late_migrations to apply"
TWICE = "has the number of 002_m.sql, which main has got meanwhile"


def late(severity: str) -> Finding:
    message = "has a number below 003, which main has: databases may have that already"
    return finding("late", "2", message, ABOVE, severity)


@pytest.mark.parametrize(
    ("now", "base", "ahead", "policy", "findings"),
    [
        ("1", "1", "1", "error", []),
        ("1 2", "1", "1", "error", []),
        ("1 2", "", "", "error", []),
        ("1!", "1", "1", "error", [CHANGED]),
        ("1!", "1", "1!", "error", [CHANGED]),
        ("2", "1", "1", "apply", [GONE]),
        ("1! 2", "1 2", "1 2", "apply", [CHANGED]),
        ("1", "1", "1 2", "error", []),
        ("1 2", "1", "1 2", "error", []),
        ("1 2!", "1", "1 2", "error", [finding("number_taken", "2", TWICE, "give its files a number above 002")]),
        ("1 2!", "1", "1 2 10", "error", [finding("number_taken", "2", TWICE, "give its files a number above 010")]),
        ("2! 10", "", "2", "error", [finding("number_taken", "2", TWICE, "give its files a number above 010")]),
        ("1 2 3", "1 3", "1 3", "error", [late("error")]),
        ("1 2 3", "1 3", "1 3", "warn", [late("warning")]),
        ("1 2 3", "1 3", "1 3", "apply", []),
        ("2", "", "3", "error", [late("error")]),
        ("3", "", "3", "error", []),
        ("999 1000", "999", "999", "error", []),
    ],
)
def test_what_a_branch_does_to_another_one(
    now: str, base: str, ahead: str, policy: LatePolicy, findings: list[Finding]
) -> None:
    assert found(now, base, ahead, policy) == findings


def test_the_same_number_and_text_under_another_name_is_taken_too() -> None:
    mine = replace(migration("2"), script=Script.of("002_n.sql", "text 2"))
    assert [f.code for f in found((mine,), "", "2")] == ["number_taken"]


@pytest.mark.parametrize(
    ("was", "now", "line"),
    [("a\nb\nc", "a\nx\nc", 2), ("a\nb", "a\nb\nc", 3), ("a\nb\nc", "a", 2), ("a\nb", "x\ny", 1)],
)
def test_the_line_of_an_edit(was: str, now: str, line: int) -> None:
    one = migration("1")
    before, after = (replace(one, script=Script.of("001_m.sql", text)) for text in (was, now))
    made = list(released_findings([after], Released("main", (before,), (before,)), "error"))
    assert made == [replace(CHANGED, line=line)]


ROLLBACK = "restore it, or choose with --script at each rollback"
LEDGER = "databases that have applied the migration keep theirs in the ledger"


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("undo", None, f"is gone, but main has it: {LEDGER}"),
        ("undo", "other", f"differs from what main has: {LEDGER}"),
        ("undo", "undo", None),
        (None, "undo", None),
        (None, None, None),
    ],
)
def test_a_rollback_script_that_others_keep_in_the_ledger(
    was: str | None, now: str | None, message: str | None
) -> None:
    def with_rollback(text: str | None) -> Migration:
        return replace(migration("1"), rollback=None if text is None else Script.of("001_m.rollback.sql", text))

    made = list(released_findings([with_rollback(now)], Released("main", (with_rollback(was),), ()), "error"))
    told = finding("released_rollback_changed", "1", message or "", ROLLBACK, "warning", file="001_m.rollback.sql")
    assert made == ([told] if message else [])


@pytest.mark.parametrize(("text", "findings"), [("text 1", []), ("edited", [GONE])])
def test_a_squash_stands_for_what_it_was_made_of(text: str, findings: list[Finding]) -> None:
    squash = replace(migration("2"), squashes=(("001", Script.of("", text).checksum), ("002", "x")))
    assert found((squash,), "1", "1") == findings
