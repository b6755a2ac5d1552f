"""Which locks come first, which late, and what is told of it: pure."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.relations import relation_facts
from airflow_provider_wmigrate.engine.lock_modes import KnownLock, LockMode, LockNeed, LockSet, LongWork, Unforeseen
from airflow_provider_wmigrate.engine.model import Finding, Script
from airflow_provider_wmigrate.engine.plan.lock_order import (
    SMALL,
    Late,
    LockOrder,
    better_split,
    lock_order,
    names_of,
    own_patience,
    rules_its_waits,
    some_of,
    with_known,
)
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.script import Analysis

AE, SHARE, WRITE = LockMode.ACCESS_EXCLUSIVE, LockMode.SHARE, LockMode.ROW_EXCLUSIVE


def script(*statements: str) -> Analysis:
    return analyse(Script.of("001_a.sql", "".join(f"{statement};\n" for statement in statements)))


def need(
    name: str, mode: LockMode = AE, at: int = 0, first: int | None = None, work: LongWork | None = None, size: int = 0
) -> LockNeed:
    start, worked = at if first is None else first, (at,) if work else ()
    return LockNeed(f"public.{name}", ord(name), mode, start, at, work=work, size_bytes=size, worked=worked)


TWO = script("ALTER TABLE a ADD x int", "ALTER TABLE b ADD x int")
LONG = script("ALTER TABLE a ADD x int", "UPDATE c SET x = 1", "ALTER TABLE b ADD x int")


def test_without_anything_long_all_come_first() -> None:
    needs = (need("a"), need("b", at=1))
    assert lock_order(TWO, LockSet(needs)) == LockOrder(first=needs)


def test_a_strong_lock_behind_something_long_comes_late() -> None:
    a, b, c = need("a"), need("b", at=2), need("c", WRITE, at=1, work="rows", size=SMALL)
    order = lock_order(LONG, LockSet((a, b, c), long=(1,)))
    assert order == LockOrder(first=(a, c), late=(Late(b, behind=1),))
    assert order.stops == (2,)
    assert [*order.late_words(LONG)] == [
        "takes just before line 3, since line 2 may take long: public.b (ACCESS EXCLUSIVE)",
    ]


def test_after_a_wait_for_a_row_whoever_has_one_is_waited_for_like_any_holder_of_a_lock() -> None:
    """Not where it would keep writers away for long."""
    a, b, c = need("a"), need("b", WRITE, at=1, work="rows"), need("c", LockMode.ROW_SHARE, at=1)
    kept_away = (a, *(replace(each, mode=LockMode.EXCLUSIVE) for each in (b, c)))
    assert lock_order(TWO, LockSet((a, b, c), long=(1,)), rows_met=True) == LockOrder(first=kept_away)
    large = replace(b, size_bytes=SMALL)
    assert lock_order(TWO, LockSet((a, large, c), long=(1,)), rows_met=True) == LockOrder(first=(a, large, c))


@pytest.mark.parametrize("mode", [m for m in LockMode if m < SHARE])
def test_a_lock_that_keeps_no_rows_from_anybody_comes_first(mode: LockMode) -> None:
    b = need("b", mode, at=2)
    assert lock_order(LONG, LockSet((b,), long=(1,))) == LockOrder(first=(b,))


def test_small_tables_do_not_take_long() -> None:
    b, c = need("b", at=2), need("c", WRITE, at=1, work="rows", size=SMALL - 1)
    assert lock_order(LONG, LockSet((b, c), long=(1,))) == LockOrder(first=(b, c))
    big = replace(c, size_bytes=SMALL)
    assert lock_order(LONG, LockSet((b, big), long=(1,))).late == (Late(b, behind=1),)


def test_nobody_knows_how_long_a_call_takes() -> None:
    b, c = need("b", at=2), need("c", WRITE, at=1, work="call", size=1)
    assert lock_order(LONG, LockSet((b, c), long=(1,))).late == (Late(b, behind=1),)
    assert lock_order(LONG, LockSet((b,), long=(1,))).late == (Late(b, behind=1),), "on no table that is known"


def test_what_is_used_before_is_not_waited_for_then_either() -> None:
    b = need("b", at=2, first=1, work="rows", size=SMALL)
    order = lock_order(LONG, LockSet((b,), long=(1,)))
    assert order == LockOrder(first=(replace(b, mode=WRITE, strongest=1),), late=(Late(b, behind=1),))


def test_after_a_late_one_was_not_had_all_come_first() -> None:
    b = need("b", at=2)
    assert lock_order(LONG, LockSet((b,), long=(1,)), all_first=True) == LockOrder(first=(b,))


def test_what_was_learnt_comes_first_of_all() -> None:
    a, b = need("a"), need("b", at=1)
    learnt, weak = need("z", SHARE), need("a", WRITE)
    assert lock_order(TWO, LockSet((a, b)), learnt=(learnt,)).first == (learnt, a, b)
    assert lock_order(TWO, LockSet((a, b)), learnt=(b,)).first == (b, a)
    assert lock_order(TWO, LockSet((a, b)), learnt=(weak,)).first == (a, b)


def test_what_cannot_be_locked_is_left_to_its_statement() -> None:
    view = LockNeed("public.v", 1, AE, 0, 0, lockable=False)
    assert lock_order(TWO, LockSet((view,))) == LockOrder()


def test_a_statement_that_does_not_wait_is_left_alone() -> None:
    analysis = script("LOCK TABLE a NOWAIT", "LOCK TABLE b")
    b = need("b", at=1)
    assert lock_order(analysis, LockSet((need("a"), b))) == LockOrder(first=(b,))


def test_many_relations_are_not_all_named() -> None:
    order = LockOrder(late=tuple(Late(need(name, at=1), behind=0) for name in "abcdefghij"))
    (said,) = order.late_words(TWO)
    assert said.endswith("public.f (ACCESS EXCLUSIVE), and 4 others")


def test_one_more_than_a_sentence_bears_is_named_all_the_same() -> None:
    names = [*"abcdefgh"]
    assert some_of(names[:7]) == "a, b, c, d, e, f, g"
    assert some_of(names) == "a, b, c, d, e, f, and 2 others"


def test_late_ones_come_by_statement() -> None:
    late = need("b", at=3), need("c", SHARE, at=2)
    analysis = script(
        "ALTER TABLE a ADD x int", "UPDATE d SET x = 1", "CREATE INDEX ON c (x)", "ALTER TABLE b ADD x int"
    )
    order = lock_order(analysis, LockSet((need("a"), *late), long=(1,)))
    assert order == LockOrder(first=(need("a"),), late=(Late(late[1], behind=1), Late(late[0], behind=1)))
    assert order.stops == (2, 3)


RELATIONS = relation_facts({
    **dict.fromkeys([
        "defaults", "constraints", "bases", "sequences", "columns", "triggers", "rules", "published", "functions",
        "domains", "objects", "parts", "depends",
    ]),
    "version": 150000, "user": "me", "path": ["app"], "schemas": ["app"],
    "relations": [
        [oid, "app", name, f"app.{name}", kind, right, 2, None, 0, 0, False]
        for oid, name, kind, right in [(1, "p", "p", 8), (2, "p1", "p", 8), (3, "p2", "r", 4)]
    ],
    "inherits": [[2, 1], [3, 2]],
})  # fmt: skip


@pytest.mark.parametrize(
    ("whole", "parts", "names"),
    [(True, True, ["p", "p1", "p2"]), (True, False, ["p"]), (False, True, ["p1", "p2"]), (False, False, [])],
)
def test_a_lock_that_is_known_counts_for_the_table_its_parts_or_both(
    whole: bool, parts: bool, names: list[str]
) -> None:
    about = {"p": (1, True, "p"), "p1": (2, True, "p"), "p2": (3, False, "r")}
    found = LockSet(unforeseen=(Unforeseen(5, 9, "a DO block runs"), Unforeseen(4, 7, "a DO block runs")))
    known = [KnownLock("app.p", AE, "dry run", whole, parts), KnownLock("app.gone", AE)]
    assert with_known(found, RELATIONS, known) == replace(
        found,
        needs=tuple(
            LockNeed(f"app.{name}", oid, AE, 4, 4, lockable, None, 16384, kind, known_by="dry run")
            for name in names
            for oid, lockable, kind in [about[name]]
        ),
    )
    assert names_of(known) == ["app", "p", "app", "gone"]


def test_eight_megabytes_are_small() -> None:
    assert SMALL == 8_388_608


def test_splitting_the_file_would_be_better() -> None:
    order = lock_order(LONG, LockSet((need("a"), need("b", at=2)), long=(1,)))
    assert [*better_split("001", LONG, order)] == [
        Finding(
            "late_lock",
            "locks public.b (ACCESS EXCLUSIVE) behind line 2, which may take long, so that what was locked before waits"
            " for it",
            "put it into a migration of its own",
            "warning",
            version="001",
            file="001_a.sql",
            line=3,
        )
    ]
    assert [*better_split("001", TWO, LockOrder(first=(need("a"),)))] == []


# What the script itself says about waiting


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("ALTER TABLE a ADD x int", False),
        ("SET lock_timeout = '1s'; ALTER TABLE a ADD x int", False),
        ("SET LOCAL LOCK_TIMEOUT TO '1s'; ALTER TABLE a ADD x int", False),
        ("-- lock_timeout is set by the runner\nALTER TABLE a ADD x int", False),
        ("RESET lock_timeout; ALTER TABLE a ADD x int", True),
        ("SET lock_timeout TO DEFAULT; ALTER TABLE a ADD x int", True),
        ("RESET ALL; ALTER TABLE a ADD x int", True),
        ("SELECT set_config('lock_timeout', '1s', true); ALTER TABLE a ADD x int", True),
        ("DO $$ BEGIN SET LOCAL lock_timeout = '1s'; END $$; ALTER TABLE a ADD x int", True),
        ("no sql at all", True),
    ],
)
def test_a_script_that_limits_its_waits_unseen_keeps_its_way(text: str, rules: bool) -> None:
    assert rules_its_waits(script(text)) is rules


def test_the_patience_is_the_one_that_the_script_asks_for() -> None:
    analysis = script("ALTER TABLE a ADD x int", "SET lock_timeout = '5s'", "ALTER TABLE b ADD x int")
    assert own_patience(analysis, need("a"), 2.0) == 2.0
    assert own_patience(analysis, need("b", at=2), 2.0) == 5.0
