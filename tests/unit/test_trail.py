"""What an audit row's hash is over, and when a row cannot stand at its place: the pure half of the audit log."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.codes import NOT_SETTLING
from airflow_provider_wmigrate.engine.ledger.trail import (
    COLUMNS,
    GENESIS,
    AuditRow,
    broken,
    broken_at,
    damaged,
    first_break,
    last_left_out,
    settles,
)

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
    assert broken_at(chained, 3, "a" * 64) is None


@pytest.mark.parametrize("place", [2, 4])
def test_a_row_that_is_out_of_place(chained: AuditRow, place: int) -> None:
    assert broken_at(chained, place, "a" * 64) == f"row {place} is gone or out of place: found row 3"


def test_a_row_that_does_not_follow(chained: AuditRow) -> None:
    assert broken_at(chained, 3, "b" * 64) == "row 3 does not follow the row before it"


def test_a_row_that_was_changed(chained: AuditRow) -> None:
    assert broken_at(replace(chained, actor="bob"), 3, "a" * 64) == "row 3 (applied) was changed"
    assert broken_at(replace(chained, hash="c" * 64), 3, "a" * 64) == "row 3 (applied) was changed"


def test_the_first_wrong_thing_is_told(chained: AuditRow) -> None:
    wrong = replace(chained, position=9, actor="bob")
    assert broken_at(wrong, 3, "b" * 64) == "row 3 is gone or out of place: found row 9"


# The whole chain


def chain(count: int, *, start: tuple[int, str] = (0, GENESIS)) -> list[AuditRow]:
    rows: list[AuditRow] = []
    place, previous = start
    for position in range(place + 1, place + count + 1):
        row = replace(ROW, position=position, previous_hash=previous)
        rows.append(replace(row, hash=row.computed_hash()))
        previous = rows[-1].hash
    return rows


def head_of(rows: list[AuditRow]) -> str:
    return f"{rows[-1].position}:{rows[-1].hash}"


def walked(rows: list[AuditRow], *, expected: str | None = None, head: str | None = None) -> Any:
    return first_break(rows, before=(0, GENESIS), expected=expected, head=lambda: head or head_of(rows))


def test_a_whole_chain_is_unbroken_from_any_row_on() -> None:
    rows = chain(4)
    assert walked(rows) is None
    assert first_break(rows[2:], before=(2, rows[1].hash), expected=None, head=lambda: head_of(rows)) is None
    assert first_break([], before=(0, GENESIS), expected=None, head=lambda: f"0:{GENESIS}") is None


def test_the_first_break_is_told_with_its_row_and_nothing_after_it() -> None:
    rows = chain(4)
    changed = [rows[0], replace(rows[1], actor="bob"), replace(rows[2], actor="bob"), rows[3]]
    assert walked(changed, head="?") == broken("row 2 (applied) was changed", 2)
    assert walked([rows[0], *rows[2:]]) == broken("row 2 is gone or out of place: found row 3", 2)
    wrong = first_break(rows[2:], before=(2, rows[0].hash), expected=None, head=lambda: head_of(rows))
    assert wrong == broken("row 3 does not follow the row before it", 3)


def test_the_head_must_be_that_of_the_last_row() -> None:
    rows = chain(3)
    assert walked(rows[:2], head=head_of(rows)) == broken(f"the chain ends at row 2, its head says {head_of(rows)}", 2)
    gone = first_break(rows, before=(0, GENESIS), expected=None, head=lambda: None)
    assert gone == broken("the chain ends at row 3, its head says None", 3)


def test_a_known_head_must_have_been_passed() -> None:
    rows = chain(3)
    for row in rows:
        assert walked(rows, expected=f"{row.position}:{row.hash}") is None
    for known in (f"2:{rows[0].hash}", f"4:{rows[2].hash}", "2:" + "f" * 64):
        assert walked(rows, expected=known) == broken(f"the chain never passed through {known}", 3)


@pytest.mark.parametrize(
    ("head", "last", "before"),
    [("9:aa", 4, 5), ("9:aa", 9, 0), ("9:aa", 10, 0), ("9:aa", 0, 9), ("9:aa", None, 0), (None, 4, 0), ("x:aa", 4, 0)],
)
def test_where_a_look_at_the_newest_rows_begins(head: str | None, last: int | None, before: int) -> None:
    assert last_left_out(head, last) == before


@pytest.mark.parametrize(
    ("event", "version", "said", "expected"),
    [
        ("applied", "002", None, True),
        ("applied", None, None, False),
        ("applied", "002", False, False),
        ("started", "002", None, False),
        ("started", "002", True, True),
        ("started", None, True, False),
    ],
)
def test_which_rows_say_what_an_entry_is(event: str, version: str | None, said: bool | None, expected: bool) -> None:
    assert settles(event, version, said) is expected


def test_who_logged_in_is_apart_from_who_claims() -> None:
    assert ROW.authenticated == {"user": "mig", "pid": 4711, "address": None}
    assert replace(ROW, details={"rows": 3}).authenticated is None
    assert replace(ROW, details={"session": "x"}).authenticated is None
    assert replace(ROW, details=["session"]).authenticated is None  # type: ignore[arg-type]


def test_a_row_is_a_value() -> None:
    with pytest.raises(AttributeError):
        ROW.actor = "bob"  # type: ignore[misc]
    assert not hasattr(ROW, "__dict__")


# Names


def test_the_columns_in_their_order() -> None:
    assert COLUMNS == (
        "position", "at", "event", "version", "actor", "dag_id", "run_id", "task_id", "try_number", "duration_ms",
        "details", "previous_hash", "hash",
    )  # fmt: skip


def test_which_events_leave_entries_alone() -> None:
    settling = {"applied", "rolled_back", "repaired", "baselined", "adopted"}
    assert not settling & NOT_SETTLING
    assert {"started", "failed", "rollback_failed", "refused", "dry_run", "not_tried"} <= NOT_SETTLING
    assert {"planned", "failure_handled", "alerted", "alert_failed", "healed"} <= NOT_SETTLING


def test_a_damaged_ledger_has_a_way_forward() -> None:
    said = "it is gone; restore the ledger, or choose another settings.ledger.schema"
    assert str(damaged("it is gone")) == said
