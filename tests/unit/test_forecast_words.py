"""A forecast of locks in words: every mode, how long, and how large. Nothing here asks a server."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.engine.catalog.relations import Relation, RelationFacts
from airflow_provider_wmigrate.engine.lock_modes import LockMode
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.plan.forecast import Ahead, Seen, compared, forecasts, parts_of, told_size
from airflow_provider_wmigrate.engine.sql.analysis import analyse

SIZE = 12 * 1024**3
RELATIONS = {
    number: Relation(number, "public", name, f"public.{name}", kind, 8, SIZE // 8192, None, 0, 0, False)
    for number, (name, kind) in enumerate([("orders", "r"), ("items", "r"), ("seen", "v"), ("parts", "p")], 1)
}
PARTS = {
    number: Relation(number, "public", f"part_{number}", f"public.part_{number}", "r", 8, 0, None, 0, 0, False)
    for number in range(11, 14)
}
ALL = {**RELATIONS, **PARTS}
FACTS = RelationFacts(
    150000,
    "postgres",
    ("pg_catalog", "public"),
    relations=ALL,
    by_name={(each.schema, each.name): each for each in ALL.values()},
    children={4: tuple(PARTS)},
    parents={number: (4,) for number in PARTS},
)


def script(text: str, *, one_by_one: bool = False) -> Ahead:
    analysis = analyse(Script.of("001_a.sql", text))
    return Ahead("001", analysis, parts_of(analysis, False if one_by_one else "auto"), first=not one_by_one)


def said(text: str, *, one_by_one: bool = False) -> list[str]:
    (found,) = forecasts([script(text, one_by_one=one_by_one)], FACTS)[0]
    return found.lines()


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("ACCESS SHARE", None),
        ("ROW SHARE", None),
        ("ROW EXCLUSIVE", "changes rows of {orders}, and blocks only who changes the same rows"),
        (
            "SHARE UPDATE EXCLUSIVE",
            "blocks VACUUM and changes of the schema of {orders}, but no reads and writes for a moment",
        ),
        ("SHARE", "blocks writes of {orders} for a moment"),
        ("SHARE ROW EXCLUSIVE", "blocks writes of {orders} for a moment"),
        ("EXCLUSIVE", "blocks writes and SELECT ... FOR UPDATE of {orders} for a moment"),
        ("ACCESS EXCLUSIVE", "blocks reads and writes of {orders} for a moment"),
    ],
)
def test_who_waits_for_each_mode(mode: str, words: str | None) -> None:
    expected = [words.format(orders="public.orders (12 GB)")] if words else []
    assert said(f"LOCK TABLE orders IN {mode} MODE;") == expected


def test_how_long() -> None:
    text = "ALTER TABLE orders ADD COLUMN n int;\nUPDATE items SET n = 1;\nALTER TABLE seen OWNER TO x;"
    rows = "changes rows of public.items (12 GB), and blocks only who changes the same rows"
    view = "blocks reads and writes of public.seen (12 GB) for a moment"
    long = "blocks reads and writes of public.orders (12 GB) until the migration commits, and line 2 may take long"
    late = "takes just before line 3, since line 2 may take long: public.seen (ACCESS EXCLUSIVE)"
    assert said(text) == [long, view, rows, late]
    moment = "blocks reads and writes of public.orders (12 GB) for a moment"
    assert said(text, one_by_one=True) == [moment, view, rows], "each statement lets go what it has locked"


def test_parts_are_told_with_their_table() -> None:
    whole = "blocks reads and writes of public.parts and its 3 chunks or partitions (12 GB) for a moment"
    assert said("LOCK TABLE parts;") == [whole]
    some = "blocks reads and writes of 2 chunks or partitions of public.parts for a moment"
    assert said("LOCK TABLE part_11; LOCK TABLE part_13;") == [some]


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (8192, "8.0 kB"),
        (1_020_000, "996 kB"),
        (9_600_000, "9.2 MB"),
        (SIZE, "12 GB"),
        (5 * 1024**5, "5120 TB"),
    ],
)
def test_a_size(size: int, words: str) -> None:
    assert told_size(size) == words


def test_what_a_dry_run_saw() -> None:
    here = {number: relation.quoted for number, relation in ALL.items()}
    strong, writes = LockMode.ACCESS_EXCLUSIVE, LockMode.ROW_EXCLUSIVE
    text = script("LOCK TABLE orders; LOCK TABLE items IN SHARE MODE;")

    def told(after: dict[int, LockMode], before: dict[int, LockMode] | None = None, **files: bool) -> tuple[str, ...]:
        rewritten = {1: files.get("orders", False), 2: False}
        return compared(text, FACTS, Seen(here, before or {}, after, rewritten)).differences

    assert told({1: strong, 2: LockMode.SHARE}) == ()
    assert told({1: strong, 2: strong}, {2: strong}) == (), "what was held already says nothing"
    assert told({1: strong, 2: LockMode.SHARE, 3: LockMode.ROW_SHARE}) == (), "in nobody's way"
    assert told({1: strong, 2: writes, 3: writes}, orders=True) == (
        "public.items was locked (RowExclusiveLock), but ShareLock was foreseen",
        "public.orders was written anew, which was not foreseen",
        "public.seen was locked (RowExclusiveLock), which was not foreseen",
    )
    assert told({1: strong}) == ("public.items was not locked, but ShareLock was foreseen",)


def test_plain_values() -> None:
    (found,) = forecasts([script("LOCK TABLE orders; DO $$ BEGIN END $$;")], FACTS)[0]
    assert found.as_dict() == {
        "version": "001",
        "locks": [
            {
                "relation": "public.orders",
                "mode": "AccessExclusiveLock",
                "who_waits": "blocks reads and writes of public.orders (12 GB) until the migration commits, and line 1"
                " may take long",
                "work": None,
                "size_bytes": SIZE,
                "known_by": "script",
            }
        ],
        "unforeseen": ["line 1 may lock more than can be foreseen: a DO block runs"],
        "late": [],
        "differences": [],
    }
