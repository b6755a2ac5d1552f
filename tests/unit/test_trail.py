"""What an audit row's hash is over, and when a row cannot stand at its place: the pure half of the audit log."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_wmigrate.engine.ledger.anchor import GENESIS
from airflow_provider_wmigrate.engine.ledger.trail import COLUMNS, NOT_SETTLING, AuditRow, _break, damaged

DOCS = Path(__file__).resolve().parents[2] / "docs" / "ledger.md"
ROW = AuditRow(
    position=1,
    at=datetime(2026, 1, 31, 12, tzinfo=timezone.utc),
    event="applied",
    version="002",
    actor="jürgen",
    dag_id="warehouse",
    run_id=None,
    task_id=None,
    try_number=1,
    duration_ms=118,
    details={
        "rows": 3,
        "share": 1.50,
        "name": "price",
        "locks": [],
        "blocked_by": None,
        "session": {"user": "mig", "pid": 4711, "address": None},
    },
    previous_hash=GENESIS,
    hash="",
)
CANONICAL = (
    '{"actor":"jürgen","at":"2026-01-31T12:00:00.000000+00:00","dag_id":"warehouse","details":{"blocked_by":null,'
    '"locks":[],"name":"price","rows":3,"session":{"address":null,"pid":4711,"user":"mig"},"share":1.5},'
    '"duration_ms":118,"event":"applied","position":1,"previous_hash":"' + "0" * 64 + '","run_id":null,"task_id":null,'
    '"try_number":1,"version":"002"}'
)


def test_the_canonical_text_of_a_row() -> None:
    assert ROW.canonical() == CANONICAL
    assert ROW.computed_hash() == hashlib.sha256(CANONICAL.encode("utf-8")).hexdigest()
    assert ROW.computed_hash() == "6b043c1149d892e29a73714f9a24134f2ce5bca306adac6e874e1232916655f2"


def test_the_vector_in_the_docs_is_this_one() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert f"```json\n{CANONICAL}\n```" in text
    assert f"`{ROW.computed_hash()}`" in text


@pytest.mark.parametrize(
    ("at", "written"),
    [
        (datetime(2026, 1, 31, 12, tzinfo=timezone.utc), "2026-01-31T12:00:00.000000+00:00"),
        (datetime(2026, 1, 31, 12, 0, 0, 5, tzinfo=timezone.utc), "2026-01-31T12:00:00.000005+00:00"),
        (datetime(2026, 1, 31, 12, 0, 0, 500000, tzinfo=timezone.utc), "2026-01-31T12:00:00.500000+00:00"),
        (datetime(2026, 1, 31, 23, tzinfo=timezone(timedelta(hours=-2))), "2026-02-01T01:00:00.000000+00:00"),
    ],
    ids=["without microseconds", "with one", "with a half", "in another zone"],
)
def test_when_is_in_utc_with_six_digits(at: datetime, written: str) -> None:
    assert replace(ROW, at=at).canonical() == CANONICAL.replace("2026-01-31T12:00:00.000000+00:00", written)


@pytest.mark.parametrize(
    ("column", "value", "old", "new"),
    [
        ("position", 12, '"position":1,', '"position":12,'),
        ("event", "failed", '"event":"applied"', '"event":"failed"'),
        ("version", None, '"version":"002"', '"version":null'),
        ("actor", 'a "b" \\ \t \x7f 日本 🙂', '"actor":"jürgen"', '"actor":"a \\"b\\" \\\\ \\t \x7f 日本 🙂"'),
        ("dag_id", None, '"dag_id":"warehouse"', '"dag_id":null'),
        ("run_id", "", '"run_id":null', '"run_id":""'),
        ("task_id", "t", '"task_id":null', '"task_id":"t"'),
        ("try_number", None, '"try_number":1', '"try_number":null'),
        ("duration_ms", 0, '"duration_ms":118', '"duration_ms":0'),
        ("previous_hash", "f" * 64, "0" * 64, "f" * 64),
    ],
)
def test_every_column_is_hashed(column: str, value: Any, old: str, new: str) -> None:
    changed = replace(ROW, **{column: value})
    assert changed.canonical() == CANONICAL.replace(old, new)
    assert changed.computed_hash() != ROW.computed_hash()


def test_keys_are_sorted_at_every_level_and_the_hash_itself_is_left_out() -> None:
    assert replace(ROW, hash="x").canonical() == CANONICAL
    nested = replace(ROW, details={"b": {"é": 1, "z": 2, "Z": 3}, "a": [{"y": True, "x": 10**20}]})
    inner = '"details":{"a":[{"x":100000000000000000000,"y":true}],"b":{"Z":3,"z":2,"é":1}},"duration_ms"'
    assert inner in nested.canonical()


# A row at its place


@pytest.fixture
def chained() -> AuditRow:
    row = replace(ROW, position=3, previous_hash="a" * 64)
    return replace(row, hash=row.computed_hash())


def test_a_row_that_follows(chained: AuditRow) -> None:
    assert _break(chained, 3, "a" * 64) is None


@pytest.mark.parametrize("place", [2, 4])
def test_a_row_that_is_out_of_place(chained: AuditRow, place: int) -> None:
    assert _break(chained, place, "a" * 64) == f"row {place} is gone or out of place: found row 3"


def test_a_row_that_does_not_follow(chained: AuditRow) -> None:
    assert _break(chained, 3, "b" * 64) == "row 3 does not follow the row before it"


def test_a_row_that_was_changed(chained: AuditRow) -> None:
    assert _break(replace(chained, actor="bob"), 3, "a" * 64) == "row 3 (applied) was changed"
    assert _break(replace(chained, hash="c" * 64), 3, "a" * 64) == "row 3 (applied) was changed"


def test_the_first_wrong_thing_is_told(chained: AuditRow) -> None:
    wrong = replace(chained, position=9, actor="bob")
    assert _break(wrong, 3, "b" * 64) == "row 3 is gone or out of place: found row 9"


# Names


def test_the_columns_in_their_order() -> None:
    assert COLUMNS == (
        "position", "at", "event", "version", "actor", "dag_id", "run_id", "task_id", "try_number", "duration_ms",
        "details", "previous_hash", "hash",
    )  # fmt: skip


def test_which_events_leave_entries_alone() -> None:
    settling = {"applied", "rolled_back", "repaired", "baselined"}
    assert not settling & NOT_SETTLING
    assert {"started", "failed", "rollback_failed", "refused", "dry_run", "not_tried"} <= NOT_SETTLING
    assert {"planned", "failure_handled", "alerted", "alert_failed", "healed"} <= NOT_SETTLING


def test_a_damaged_ledger_has_a_way_forward() -> None:
    said = "it is gone; restore the ledger, or choose another settings.ledger.schema"
    assert str(damaged("it is gone")) == said
