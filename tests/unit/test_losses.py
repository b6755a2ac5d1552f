"""What a script takes away of what was there: losses, what only CASCADE takes, and names that go."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from some_catalog import CATALOG, OIDS, a_catalog, on

from airflow_provider_wmigrate.engine.catalog.relations import Thing
from airflow_provider_wmigrate.engine.catalog.row_counts import Counted
from airflow_provider_wmigrate.engine.foreseen import Loss
from airflow_provider_wmigrate.engine.model import Finding, Migration, Script
from airflow_provider_wmigrate.engine.plan.forecast import Ahead, parts_of
from airflow_provider_wmigrate.engine.plan.losses import Lost, lost, to_count, told
from airflow_provider_wmigrate.engine.plan.through_cascade import Falling, Named, drops_of_others, falling
from airflow_provider_wmigrate.engine.sql.analysis import analyse

CLASS = "pg_class"
OTHER_KINDS = {"joined": "m", "w": "f"}
RELATIONS = [[*row[:4], OTHER_KINDS.get(row[2], row[4]), *row[5:]] for row in CATALOG["relations"]]
HANGS: dict[str, Any] = {
    "relations": RELATIONS,
    "schemas": ["app", "other", "bare"],
    "objects": [["pg_type", 70, "mood", "app"], ["pg_namespace", 71, "other", None], ["pg_proc", 72, "f", "app"]],
    "parts": [["pg_constraint", 202, OIDS["x"]], ["pg_policy", 210, OIDS["x"]], ["pg_attrdef", 211, OIDS["u"]]],
    "depends": [
        on("pg_rewrite", 90, to=(CLASS, OIDS["t"], 0)),
        on(CLASS, OIDS["v"], to=(CLASS, OIDS["t"], 1)),
        on(CLASS, OIDS["outer"], to=(CLASS, OIDS["v"], 0)),
        on("pg_constraint", 202, to=(CLASS, OIDS["t"], 1)),
        on("pg_policy", 210, to=(CLASS, OIDS["t"], 2)),
        on("pg_proc", 72, to=(CLASS, OIDS["t"], 0)),
        on(CLASS, OIDS["t_i"], to=(CLASS, OIDS["t"], 2), how="a"),
        on(CLASS, OIDS["t_id"], to=(CLASS, OIDS["t"], 1), how="i"),
        on(CLASS, OIDS["t_own"], to=(CLASS, OIDS["t"], 4), how="a"),
        on(CLASS, OIDS["p1"], to=(CLASS, OIDS["p"], 0), how="a"),
        on(CLASS, OIDS["y"], to=("pg_type", 70, 0), column=2),
        on("pg_attrdef", 211, to=("pg_type", 70, 0)),
        on(CLASS, 50, to=("pg_namespace", 71, 0)),
    ],
}
FACTS = a_catalog(**HANGS)


def ahead(text: str, version: str = "001") -> Ahead:
    analysis = analyse(Script.of(f"{version}_a.sql", text))
    return Ahead(version, analysis, parts_of(analysis, "auto"))


NAMES = {oid: name for name, oid in OIDS.items()} | {50: "other.t"}


def words(one: Lost) -> str:
    """`2 column t.1 through CASCADE`."""
    column = f".{one.column}" if one.column else ""
    through = f" through {one.through}" if one.through else ""
    return (
        one.why and f"{one.line} hidden: {one.why}"
    ) or f"{one.line} {one.kind} {NAMES[one.relation]}{column}{through}"


MERGE = "MERGE INTO x USING u ON x.id = u.id WHEN MATCHED THEN"
POINTING = ["1 rows t through foreign key k201", "1 rows x through foreign key k202"]
DROPPED = ["1 table t", "1 view v through CASCADE", "1 view outer through CASCADE"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("DROP TABLE t;", ["1 table t"]),
        ("SELECT 1;\nDROP TABLE t;", ["2 table t"]),
        ("DROP TABLE t CASCADE;", DROPPED),
        ("DROP TABLE IF EXISTS unknown;", []),
        ("CREATE TABLE t2 (n int); DROP TABLE t2;", []),
        ("DROP TABLE p;", ["1 table p"]),
        ("DROP TABLE p1;", ["1 table p1"]),
        ("DROP INDEX t_i;", []),
        ("DROP SEQUENCE free;", ["1 sequence free"]),
        ("DROP VIEW v;", ["1 view v"]),
        ("DROP VIEW v CASCADE;", ["1 view v", "1 view outer through CASCADE"]),
        ("DROP TYPE mood;", []),
        ("DROP TYPE mood CASCADE;", ["1 column y.2 through CASCADE"]),
        ("DROP SCHEMA other CASCADE;", ["1 table other.t through CASCADE"]),
        ("DROP FUNCTION f;", []),
        ("ALTER TABLE t DROP COLUMN id;", ["1 column t.1"]),
        ("ALTER TABLE t DROP COLUMN id CASCADE;", [
            "1 column t.1", "1 view v through CASCADE", "1 view outer through CASCADE",
        ]),
        ("ALTER TABLE t DROP COLUMN note, DROP COLUMN own;", ["1 column t.3", "1 column t.4"]),
        ("ALTER TABLE t DROP COLUMN unknown;", []),
        ("ALTER TABLE unknown DROP COLUMN id;", []),
        ("ALTER TABLE t ADD COLUMN n int;", []),
        ("ALTER TABLE t DROP COLUMN id; DROP TABLE t;", ["1 column t.1", "1 table t"]),
        ("DROP TABLE t;\nDROP TABLE t;", ["1 table t"]),
        ("DELETE FROM u WHERE id = 1;", ["1 rows u", *POINTING]),
        ("DELETE FROM u;", ["1 all rows u", *POINTING]),
        ("DELETE FROM x;", ["1 all rows x"]),
        ("DELETE FROM unknown;", []),
        ("WITH gone AS (DELETE FROM x RETURNING id) SELECT 1;", ["1 all rows x"]),
        ("CREATE RULE r AS ON DELETE TO t DO INSTEAD DELETE FROM x;", []),
        (f"{MERGE} DELETE;", ["1 rows x"]),
        (f"{MERGE} UPDATE SET id = 1;", []),
        (f"{MERGE} UPDATE SET id = 1 WHEN MATCHED THEN DELETE;", ["1 rows x"]),
        ("TRUNCATE x;", ["1 all rows x"]),
        ("TRUNCATE unknown, x;", ["1 all rows x"]),
        ("TRUNCATE x CASCADE;", ["1 all rows x", "1 all rows y through CASCADE"]),
        ("TRUNCATE w, unknown CASCADE;", ["1 all rows w"]),
        ("TRUNCATE u CASCADE;", [
            "1 all rows u", "1 all rows t through CASCADE", "1 all rows w through CASCADE",
            "1 all rows x through CASCADE", "1 all rows y through CASCADE",
        ]),
        ("UPDATE x SET id = 1;", []),
        ("DO $$ BEGIN END $$;", ["1 hidden: a DO block runs"]),
        ("SELECT 1;\nDO $$ BEGIN END $$; DO $$ BEGIN END $$;", ["2 hidden: a DO block runs"]),
        ("SELECT unknown();\nDO $$ BEGIN END $$;", ["1 hidden: unknown() is called", "2 hidden: a DO block runs"]),
        ("DELETE FROM x WHERE id = 1; DROP TABLE x;", ["1 rows x", "1 table x"]),
        ("DROP MATERIALIZED VIEW joined;", ["1 materialized view joined"]),
        ("DROP FOREIGN TABLE w;", ["1 foreign table w"]),
        ("not SQL", ["1 hidden: PostgreSQL's grammar of this version does not read the script"]),
    ],
)  # fmt: skip
def test_what_a_script_takes_away(text: str, found: list[str]) -> None:
    (made,) = lost([ahead(text)], FACTS).values()
    assert list(map(words, made)) == found


def test_each_script_by_itself_one_after_the_other() -> None:
    scripts = [ahead("SET search_path TO other; DROP TABLE t;"), ahead("not SQL", "002"), ahead("DROP TABLE t;", "003")]
    found = lost(scripts, FACTS)
    assert {version: [words(one) for one in made] for version, made in found.items()} == {
        "001": ["1 table other.t"],
        "002": ["1 hidden: PostgreSQL's grammar of this version does not read the script"],
        "003": ["1 table t"],
    }


T, U = OIDS["t"], OIDS["u"]


def test_whose_rows_are_counted() -> None:
    found = {
        "001": (Lost(1, "table", T), Lost(1, "view", 3), Lost(1, "column", T, 2), Lost(2, why="hidden")),
        "002": (Lost(1, "all rows", U), Lost(1, "rows", 9), Lost(2, "table", T), Lost(2, "sequence", 30)),
    }
    assert to_count(found) == [(T, 0), (T, 2), (U, 0), (9, 0)]


@pytest.mark.parametrize(
    ("one", "counted", "loss"),
    [
        (Lost(3, why="w"), None, Loss(None, None, False, "line 3 may take away more than can be foreseen: w")),
        (
            Lost(1, "table", T),
            Counted("", 2, True),
            Loss("app.t", 2, True, "takes away table app.t with 2 rows (counted)"),
        ),
        (
            Lost(1, "table", T, through="CASCADE"),
            Counted("", 1, True),
            Loss("app.t", 1, True, "takes away table app.t with 1 row (counted), through CASCADE"),
        ),
        (
            Lost(1, "table", T),
            Counted("", 12345, False),
            Loss("app.t", 12345, False, "takes away table app.t with about 12,345 rows (estimated)"),
        ),
        (
            Lost(1, "table", T),
            None,
            Loss("app.t", None, False, "takes away table app.t with an unknown number of rows"),
        ),
        (Lost(1, "view", OIDS["v"]), None, Loss("app.v", None, False, "takes away view app.v")),
        (
            Lost(1, "column", T, 2),
            Counted('"Ref"', 0, True),
            Loss('app.t."Ref"', 0, True, 'takes away column app.t."Ref" with 0 values (counted)'),
        ),
        (
            Lost(1, "column", T, 2),
            Counted("ref", 1, False),
            Loss("app.t.ref", 1, False, "takes away column app.t.ref with at most about 1 value (estimated)"),
        ),
        (
            Lost(1, "column", T, 2),
            None,
            Loss(
                "number 2 of app.t",
                None,
                False,
                "takes away column number 2 of app.t with an unknown number of values",
            ),
        ),
        (
            Lost(1, "all rows", T),
            Counted("", 2, True),
            Loss("app.t", 2, True, "takes 2 rows (counted) of app.t away"),
        ),
        (
            Lost(1, "rows", T, through="foreign key k"),
            Counted("", 2, True),
            Loss("app.t", 2, True, "takes rows of app.t away, which has 2 rows (counted), through foreign key k"),
        ),
    ],
)
def test_a_loss_in_words(one: Lost, counted: Counted | None, loss: Loss) -> None:
    assert told([one], FACTS, {(one.relation, one.column): counted} if counted else {}) == (loss,)


# What only CASCADE takes along


def fallen(text: str, *more: str) -> list[str]:
    scripts = [ahead(each, f"00{number}") for number, each in enumerate((text, *more), 1)]
    return [
        f"{each.version}:{each.line} {NAMES.get(each.thing.oid, each.thing.oid)}"
        + (f".{each.thing.column}" if each.thing.column else "")
        for each in falling(scripts, FACTS)
    ]


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["DROP TABLE t;"], []),
        (["DROP TABLE t CASCADE;"], ["001:1 v", "001:1 outer", "001:1 202", "001:1 210", "001:1 72"]),
        (["SELECT 1;\nDROP VIEW v CASCADE;"], ["001:2 outer"]),
        (["ALTER TABLE t DROP COLUMN id CASCADE;"], ["001:1 v", "001:1 outer", "001:1 202"]),
        (["ALTER TABLE t DROP COLUMN ref CASCADE;"], ["001:1 210"]),
        (["ALTER TABLE t DROP COLUMN id;"], []),
        (["ALTER TABLE t ADD COLUMN n int;"], []),
        (["ALTER TABLE unknown DROP COLUMN id CASCADE;"], []),
        (["DROP TABLE p CASCADE;"], []),
        (["DROP TABLE x CASCADE;"], []),
        (["DROP TYPE mood CASCADE;"], ["001:1 y.2"]),
        (["DROP SCHEMA other CASCADE;"], ["001:1 other.t"]),
        (["not SQL", "DROP VIEW v CASCADE;"], ["002:1 outer"]),
        (["DROP VIEW v, outer CASCADE;"], []),
        (["DROP VIEW outer; DROP VIEW v CASCADE;"], []),
        (["DROP VIEW v CASCADE;", "DROP TABLE t CASCADE;"], ["001:1 outer", "002:1 202", "002:1 210", "002:1 72"]),
        (["SET search_path TO other; DROP TABLE t CASCADE;", "DROP VIEW v CASCADE;"], ["002:1 outer"]),
    ],
)
def test_what_only_cascade_takes_along(texts: list[str], found: list[str]) -> None:
    assert fallen(*texts) == found


def test_what_hangs_on_what_falls_too_is_no_thing_of_its_own() -> None:
    """A constraint falls with its table, a partition with its parent, a column with its relation."""
    hangs = [
        on(CLASS, OIDS["x"], to=(CLASS, OIDS["t"], 0)),
        on(CLASS, OIDS["x"], to=(CLASS, OIDS["t"], 0), column=1),
        on("pg_constraint", 202, to=(CLASS, OIDS["t"], 0)),
        on(CLASS, OIDS["p"], to=(CLASS, OIDS["t"], 0)),
        on(CLASS, OIDS["p1"], to=(CLASS, OIDS["t"], 0)),
        on(CLASS, OIDS["t_i"], to=(CLASS, OIDS["t"], 0)),
        on(CLASS, 999, to=(CLASS, OIDS["t"], 0)),
        on("pg_trigger", 998, to=(CLASS, OIDS["t"], 0)),
    ]
    facts = a_catalog(**HANGS | {"depends": hangs})
    found = falling([ahead("DROP TABLE t CASCADE;")], facts)
    assert [each.thing for each in found] == [Thing(CLASS, OIDS["p"]), Thing(CLASS, OIDS["x"])]


MADE = Migration("001", "a", Script.of("001_a.sql", "CREATE VIEW v AS SELECT 1;"))
VIEW = Falling("001", "001_a.rollback.sql", 3, Thing(CLASS, OIDS["v"]))
MESSAGE = "CASCADE would take view app.v along, which no migration that is rolled back has made"
STEP = "roll back first what made it; or if it is to go, drop it by name in the rollback script"


@pytest.mark.parametrize(
    ("each", "names", "severity"),
    [
        (VIEW, ("other", "w"), "error"),
        (VIEW, ("other", "v"), None),
        (VIEW, ("vie",), "error"),
        (replace(VIEW, version="002"), ("w",), "warning"),
        (replace(VIEW, thing=Thing(CLASS, 7)), ("w",), None),
    ],
)
def test_what_no_migration_that_is_rolled_back_has_made(each: Falling, names: tuple[str, ...], severity: Any) -> None:
    other = replace(MADE, version="003", script=Script.of("003_a.sql", "SELECT 1;"))
    found = list(drops_of_others([each], {VIEW.thing: Named("view app.v", names)}, {"001": MADE, "003": other}))
    told_of = Finding("drops_of_others", MESSAGE, STEP, severity, each.version, "001_a.rollback.sql", 3)
    assert found == ([told_of] if severity else [])
