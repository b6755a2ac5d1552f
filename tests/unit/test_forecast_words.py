"""A forecast of locks in words: every mode, how long, and how large. Nothing here asks a server."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.catalog.relations import Relation, RelationFacts
from airflow_provider_wmigrate.engine.folder.config.settings import Execution
from airflow_provider_wmigrate.engine.lock_modes import KnownLock, Learnt, LockMode
from airflow_provider_wmigrate.engine.model import Direction, Migration, Plan, Script, Step
from airflow_provider_wmigrate.engine.plan.forecast import Ahead, Seen, ahead, compared, forecasts, parts_of
from airflow_provider_wmigrate.engine.record import Kept
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.wording import told_size

SIZE = 12 * 1024**3
RELATIONS = {
    number: Relation(number, "public", name, f"public.{name}", kind, 8, SIZE // 8192, None, 0, 0, False)
    for number, (name, kind) in enumerate([("orders", "r"), ("items", "r"), ("seen", "v"), ("parts", "p")], 1)
}
PARTS = {
    number: Relation(number, "public", f"part_{number}", f"public.part_{number}", "r", 8, 0, None, 0, 0, False)
    for number in range(11, 14)
}
FAR = Relation(5, "public", "far", "public.far", "f", 8, 0, None, 0, 0, False)
ALL = {**RELATIONS, 5: FAR, **PARTS}
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
        (10_600, "10 kB"),
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


def test_a_rewrite_lasts_as_long_as_its_statement() -> None:
    lasts = "for as long as the statement of line 2 runs: it writes the table anew"
    text = "SELECT 1;\nALTER TABLE orders ALTER COLUMN n TYPE text;"
    assert said(text) == [f"blocks reads and writes of public.orders (12 GB) {lasts}"]


DO = "SELECT 1;\nDO $$ BEGIN END $$;"
STRONG = LockMode.ACCESS_EXCLUSIVE
BEHIND = "blocks reads and writes of public.orders (12 GB) until the migration commits, and line 2 may take long"
DECLARED, SHOWN = "as the migration declares", "as the last dry run of the same script has shown"
HIDDEN = "line 2 may lock more than can be foreseen: a DO block runs"
LOCK = KnownLock("public.orders", STRONG, "dry run")


@pytest.mark.parametrize(
    ("text", "declared", "learnt", "lines"),
    [
        (DO, False, None, [HIDDEN]),
        (DO, True, None, [f"{BEHIND}, {DECLARED}"]),
        (DO, False, Learnt((LOCK,), ()), [f"{BEHIND}, {SHOWN}"]),
        (DO, True, Learnt((), ("public.x",)), [f"{BEHIND}, {DECLARED}"]),
        (
            DO,
            False,
            Learnt((LOCK,), ("public.x",)),
            [f"{BEHIND}, {SHOWN}", f"{HIDDEN}; its dry run did not show whether it locks public.x, locked before it"],
        ),
        ("SELECT 1;", False, Learnt((LOCK,), ()), []),
        (
            "SELECT 1;\nUPDATE orders SET n = 1;\nDO $$ BEGIN END $$;",
            False,
            Learnt((LOCK,), ()),
            [
                "blocks reads and writes of public.orders (12 GB) for as long as the statement of line 2 runs: it reads"
                f" or changes rows, {SHOWN}",
                "takes just before line 3, since line 2 may take long: public.orders (ACCESS EXCLUSIVE)",
            ],
        ),
    ],
)
def test_what_the_script_does_not_show(text: str, declared: bool, learnt: Learnt | None, lines: list[str]) -> None:
    locks = (("public.orders", STRONG),) if declared else ()
    (found,) = forecasts([replace(script(text), declared=locks, learnt=learnt)], FACTS)[0]
    assert found.lines() == lines


def test_the_scripts_ahead_are_those_of_the_plans_steps() -> None:
    up, down = Script.of("001_a.sql", "SELECT 1;"), Script.of("001_a.rollback.sql", "SELECT 2;")
    locks = (("public.orders", STRONG),)
    found = Migration("001", "a", up, down, rollback_transactional=False, lock_first=False, locks=locks)
    known = {"001": found, "002": Migration("002", "b", up), "003": Migration("003", "c", up, down, keep=True)}
    learnt = {"001": Learnt((LOCK,), ())}
    read = {each.file: analyse(each) for each in (up, down)}

    def of(action: Direction, *versions: str) -> list[Ahead]:
        plan = Plan(action, None, tuple(Step(action, each, "a", "x") for each in versions), {})
        return [*ahead(plan, known, lambda each: read[each.file], Execution(), learnt)]

    assert of("apply", "009", "001", "002") == [
        Ahead("001", read[up.file], (range(1),), locks, learnt["001"], first=False),
        Ahead("002", read[up.file], (range(1),)),
    ]
    assert of("rollback", "002", "001") == [
        Ahead("001", read[down.file], (range(1),), locks, learnt["001"], first=False)
    ]
    assert [each.keeps for each in (*of("apply", "002", "003"), *of("rollback", "003"))] == [False, True, False]


def test_who_stands_in_nobodys_way_is_not_told() -> None:
    """Beside a lock that does, the set has them too."""
    strong = "blocks reads and writes of public.orders (12 GB) for a moment"
    assert said("LOCK TABLE orders; LOCK TABLE items IN ROW SHARE MODE; LOCK TABLE seen IN ACCESS SHARE MODE;") == [
        strong
    ]


def test_what_is_done_is_told() -> None:
    orders, lasts = "public.orders (12 GB)", "for as long as the statement of line 1 runs: it"
    for text, words in {
        "ALTER TABLE orders ADD CHECK (id > 0);": f"blocks reads and writes of {orders} {lasts} reads the whole table",
        "CREATE INDEX ON orders (id);": f"blocks writes of {orders} {lasts} builds an index",
        "ALTER FOREIGN TABLE far ADD COLUMN n int;": "blocks reads and writes of public.far for a moment",
    }.items():
        assert said(text) == [words]


def test_what_one_transaction_of_several_holds() -> None:
    text = "ALTER TABLE orders ADD COLUMN n int;\nUPDATE items SET n = 1;\nVACUUM seen;\n"
    assert said(text) == [
        "blocks reads and writes of public.orders (12 GB) until its transaction commits, and line 2 may take long",
        "changes rows of public.items (12 GB), and blocks only who changes the same rows",
    ]


def test_what_is_kept_and_given_back() -> None:
    kept = Kept("rows", "public", "public", "orders", rows=3)
    (found,) = forecasts([replace(script("SELECT 1;"), kept=(kept,))], FACTS)[0]
    assert found.gives_back == (f"gives back {kept}",)
    assert [lock.who_waits for lock in found.locks] == [
        "blocks reads and writes of public.orders (12 GB) for a moment, to give back what was kept"
    ]
    gone, still = (replace(script(text), keeps=True) for text in ("DROP TABLE orders;", "LOCK TABLE orders;"))
    puts = "puts aside what it destroys, and its rollback gives it back (keep: true)"
    assert [each.gives_back for each in forecasts([gone, still], FACTS)[0]] == [(puts,), ()]


def test_parts_of_one_table_are_told_for_each_mode() -> None:
    assert said("LOCK TABLE part_11; LOCK TABLE part_12 IN SHARE MODE; LOCK TABLE ONLY parts IN SHARE MODE;") == [
        "blocks reads and writes of 1 chunk or partition of public.parts for a moment",
        "blocks writes of public.parts and its 1 chunk or partition (12 GB) for a moment",
    ]


def test_a_dry_run_says_nothing_of_what_another_one_made_or_held() -> None:
    """Of what was not there before it, and of what was held as strongly already."""
    here = {1: "public.orders", 2: "public.items"}
    text = script("LOCK TABLE orders IN SHARE MODE; LOCK TABLE seen; ALTER TABLE items ALTER n TYPE text;")
    strong, share = LockMode.ACCESS_EXCLUSIVE, LockMode.SHARE

    def told(after: dict[int, LockMode], before: dict[int, LockMode], **rewritten: bool) -> tuple[str, ...]:
        files = {2: rewritten["items"]} if rewritten else {}
        return compared(text, FACTS, Seen(here, before, after, files)).differences

    assert told({1: share, 2: strong}, {}) == (), "nobody knows of a file of which nothing was seen"
    assert told({1: share, 2: strong}, {}, items=True) == ()
    assert told({1: strong, 2: strong}, {1: strong}) == ()
    assert told({1: share, 2: strong}, {1: strong}) == (
        "public.orders was locked (ShareLock), but ShareLock was foreseen",
    )
    less = script("SELECT 1;")
    held = {1: strong, 2: LockMode.ROW_EXCLUSIVE}
    more = compared(less, FACTS, Seen(here, {1: strong}, held, {})).differences
    assert more == ("public.items was locked (RowExclusiveLock), which was not foreseen",)


def test_a_rewrite_that_did_not_happen_is_a_difference() -> None:
    here = {number: relation.quoted for number, relation in ALL.items()}
    foreseen = script("ALTER TABLE orders ALTER COLUMN n TYPE text;")
    seen = Seen(here, {}, {1: STRONG}, {1: False})
    assert compared(foreseen, FACTS, seen).differences == ("public.orders was not written anew, which was foreseen",)
    assert compared(foreseen, FACTS, replace(seen, rewritten={1: True})).differences == ()


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
        "gives_back": [],
        "losses": [],
        "blast": None,
    }
