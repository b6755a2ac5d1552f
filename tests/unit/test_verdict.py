"""Whether a rollback gives back what was there, judged from what was seen before and after."""

from __future__ import annotations

from typing import Any

import pytest
from in_words import migration
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.row_sums import Counter, Sums, TableSums
from airflow_provider_wmigrate.engine.catalog.snapshot.facts import Snapshot, canonical, fact, ordered
from airflow_provider_wmigrate.engine.extension import RequiredExtension
from airflow_provider_wmigrate.engine.folder.verdict_file import Grade
from airflow_provider_wmigrate.engine.plan.verdict import Seen, SeenApplied, Verdict, judge

ITEMS = TableSums(2, "whole", {"id": "a", "note": "b"}, 11)
SUMS = Sums({"app.items": ITEMS}, {}, {"app.items_id": Counter(5, 1, True)}, 0)


def a_schema(*things: tuple[str, str]) -> Snapshot:
    return Snapshot(
        ordered(fact(kind, name, "app", "", canonical({"owner": "me"})) for kind, name in things), {}, {}, 15
    )


WAS = a_schema(("table", "app.items"))
DONE = a_schema(("table", "app.items"), ("table", "app.new"))


def verdict(back: Sums = SUMS, *, schema: Snapshot = WAS, again: Snapshot = DONE, **more: Any) -> Verdict:
    before, files = more.get("before", SUMS), more.get("files", {"app.items": 11})
    made = more.get("migration", migration("1"))
    applied = SeenApplied(DONE, files)
    return judge(made, Seen(WAS, before), applied, Seen(schema, back), again, more.get("unproven", {}))


def of(**changes: Any) -> Sums:
    return SUMS._replace(tables={"app.items": ITEMS._replace(**changes)})


EXACT = Verdict("001", "m", Grade.EXACT)


def test_all_as_it_was_is_exact() -> None:
    assert verdict() == EXACT
    assert EXACT.lines() == []


@pytest.mark.parametrize(
    ("back", "rows"),
    [
        (SUMS._replace(tables={}), "table app.items: 2 rows are gone with it"),
        (of(rows=1), "table app.items: 2 rows -> 1"),
        (of(rows=3), "table app.items: 2 rows -> 3"),
        (of(whole="another", columns={"id": "a", "note": "c"}), "table app.items: other values in note"),
        (of(columns={"id": "a", "note": "c"}), "table app.items: other values in note"),
        (of(whole="another", columns={"id": "x"}), "table app.items: other values in id, note"),
        (of(whole="another"), "table app.items: the same values stand in other rows"),
        (SUMS._replace(large_objects=1), "large objects: 0 -> 1"),
        (
            SUMS._replace(sequences={"app.items_id": Counter(4, 1, True)}),
            "sequence app.items_id: next 5 -> 4, so it gives numbers twice",
        ),
    ],
)
def test_rows_that_are_not_what_they_were(back: Sums, rows: str) -> None:
    assert verdict(back) == replace(EXACT, grade=Grade.ROWS_LOST, rows=(rows,))


@pytest.mark.parametrize(
    ("before", "back"),
    [
        (SUMS, of(whole="another", columns={**ITEMS.columns, "more": "c"})),
        (of(rows=0), SUMS._replace(tables={})),
        (SUMS, SUMS._replace(sequences={"app.items_id": Counter(6, 1, True)})),
        (SUMS, SUMS._replace(sequences={})),
        (SUMS._replace(tables={}), SUMS),
    ],
)
def test_what_nobody_loses(before: Sums, back: Sums) -> None:
    """A column more is the schema's; an empty table has no rows; a sequence ahead leaves some out."""
    assert verdict(back, before=before) == EXACT


@pytest.mark.parametrize(("now", "lost"), [(-6, False), (-4, True), (-5, False)])
def test_a_sequence_that_counts_down_is_set_back_by_going_up(now: int, lost: bool) -> None:
    before = SUMS._replace(sequences={"app.s": Counter(-5, -1, True)})
    rows = (f"sequence app.s: next -5 -> {now}, so it gives numbers twice",) if lost else ()
    made = verdict(SUMS._replace(sequences={"app.s": Counter(now, -1, True)}), before=before)
    assert made == replace(EXACT, grade=Grade.ROWS_LOST if lost else Grade.EXACT, rows=rows)


def test_a_schema_that_is_not_what_it_was() -> None:
    gone = verdict(schema=a_schema())
    assert gone == replace(EXACT, grade=Grade.DEFINITION_LOST, differences=("table app.items is gone",))
    other = verdict(again=WAS)
    said = "applied again, it is not the same: table app.new is gone"
    assert other == replace(EXACT, grade=Grade.DEFINITION_LOST, differences=(said,))


def test_rows_lost_count_more_than_definitions() -> None:
    made = verdict(of(rows=1), schema=a_schema())
    assert (made.grade, made.differences) == (Grade.ROWS_LOST, ("table app.items is gone",))


@pytest.mark.parametrize(
    ("kind", "name", "required", "is_exact"),
    [
        ("extension", "postgis", "postgis", True),
        ("extension", "postgis", "hstore", False),
        ("table", "postgis", "postgis", False),
    ],
)
def test_an_extension_that_is_required_stays(kind: str, name: str, required: str, is_exact: bool) -> None:
    made = replace(migration("1"), requires_extensions=(RequiredExtension(required),))
    found = verdict(schema=a_schema(("table", "app.items"), (kind, name)), migration=made)
    said = () if is_exact else (f"{kind} {name} is new",)
    assert (found.grade is Grade.EXACT, found.differences) == (is_exact, said)


def test_an_extension_that_is_required_and_went_is_a_difference() -> None:
    made = replace(migration("1"), requires_extensions=(RequiredExtension("postgis"),))
    with_it = a_schema(("table", "app.items"), ("extension", "postgis"))
    found = judge(made, Seen(with_it, SUMS), SeenApplied(DONE, {}), Seen(WAS, SUMS), DONE, {})
    assert found == replace(EXACT, grade=Grade.DEFINITION_LOST, differences=("extension postgis is gone",))


@pytest.mark.parametrize(
    ("applied", "back", "rewritten"),
    [
        ({"app.items": 11}, 11, False),
        ({"app.items": 12}, 12, True),
        ({"app.items": 12}, 11, True),
        ({"app.items": 11}, 12, True),
        ({}, 12, False),
    ],
)
def test_a_table_in_another_file_was_rewritten(applied: dict[str, int], back: int, rewritten: bool) -> None:
    assert verdict(of(file=back), files=applied).rewritten == (("app.items",) if rewritten else ())


def test_a_table_that_was_rewritten_and_then_dropped() -> None:
    gone = SUMS._replace(tables={})
    assert verdict(gone, before=of(rows=0), files={"app.items": 12}).rewritten == ("app.items",)
    assert verdict(gone, before=of(rows=0), files={"app.items": 11}).rewritten == ()


def test_what_could_not_be_read_is_unproven_and_not_lost() -> None:
    before = SUMS._replace(unread={"app.big": "is too large"})
    back = SUMS._replace(tables={}, unread={"app.items": "no right"})
    found = verdict(back, before=before, unproven={"app.seen": "is made by a function"})
    unproven = {"app.seen": "is made by a function", "app.big": "is too large", "app.items": "no right"}
    assert found == replace(EXACT, unproven=unproven)


def test_what_is_said_of_a_verdict() -> None:
    all_of_it = Verdict("001", "m", Grade.FAILS, ("d",), ("r",), ("a", "b"), {"t": "is large"}, "why")
    assert all_of_it.lines() == ["why", "d", "r", "rewritten or emptied: a, b", "unproven: t is large"]
    assert all_of_it.as_dict() == {
        "version": "001",
        "name": "m",
        "grade": "fails",
        "differences": ["d"],
        "rows": ["r"],
        "rewritten": ["a", "b"],
        "unproven": {"t": "is large"},
        "reason": "why",
    }
