"""What scripts drop, rename or give another type, under the names that others know."""

from __future__ import annotations

import pytest
from some_catalog import OIDS, a_catalog, on

from airflow_provider_wmigrate.engine.catalog.relations import Thing
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.plan.forecast import Ahead, parts_of
from airflow_provider_wmigrate.engine.plan.going import Going, going, may_take
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.usage import Gone

CLASS = "pg_class"
COLUMNS = [
    [OIDS[table], number, name, "int4", False]
    for table in ("t", "c", "v", "u", "x", "w")
    for number, name in enumerate(("id", "ref", "note"), 9 if table == "c" else 1)
]
FACTS = a_catalog(
    columns=COLUMNS,
    objects=[["pg_proc", 72, "f", "app"], ["pg_proc", 73, "f", "other"], ["pg_namespace", 71, "other", None]],
    depends=[
        on(CLASS, OIDS["v"], to=(CLASS, OIDS["t"], 1)),
        on(CLASS, OIDS["t_own"], to=(CLASS, OIDS["t"], 4), how="a"),
        on(CLASS, 50, to=("pg_namespace", 71, 0)),
    ],
)


def ahead(text: str, version: str = "001") -> Ahead:
    analysis = analyse(Script.of(f"{version}_a.sql", text))
    return Ahead(version, analysis, parts_of(analysis, "auto"))


def gone(action: str, kind: str, name: str, column: str = "", to: str = "", *, line: int = 1, **more: object) -> Gone:
    schema, _, name = name.rpartition(".")
    return Gone("001", line, action, kind, schema or "app", name, column, to, **more)  # type: ignore[arg-type]


def of(name: str, column: int = 0) -> Thing:
    return Thing(CLASS, OIDS[name], column)


INHERITED = {"through": "what it inherits from"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("DROP TABLE t;", [(gone("drop", "table", "t"), of("t"))]),
        ("SELECT 1;\nDROP VIEW v;", [(gone("drop", "view", "v", line=2), of("v"))]),
        ("DROP TABLE t CASCADE;", [
            (gone("drop", "table", "t"), of("t")), (gone("drop", "view", "v", through="CASCADE"), of("v")),
        ]),
        ("DROP TABLE u; CREATE TABLE u (n int);", [(gone("drop", "table", "u", again=True), of("u"))]),
        ("DROP TABLE u; CREATE TABLE w2 (n int);", [(gone("drop", "table", "u"), of("u"))]),
        ("ALTER TABLE u DROP COLUMN ref; DROP TABLE w; CREATE TABLE w (n int);", [
            (gone("drop", "column", "u", "ref"), of("u", 2)), (gone("drop", "table", "w", again=True), of("w")),
        ]),
        ("ALTER TABLE t DROP COLUMN note;", [
            (gone("drop", "column", "t", "note"), of("t", 3)),
            (gone("drop", "column", "c", "note", **INHERITED), of("c", 11)),
        ]),
        ("ALTER TABLE u DROP COLUMN unknown;", []),
        ("ALTER TABLE unknown DROP COLUMN id;", []),
        ("ALTER TABLE u ADD COLUMN n int;", []),
        ("ALTER TABLE t ALTER COLUMN ref TYPE pg_catalog.text;", [
            (gone("retype", "column", "t", "ref", "text"), of("t", 2)),
            (gone("retype", "column", "c", "ref", "text", **INHERITED), of("c", 10)),
        ]),
        ("ALTER TABLE u ALTER COLUMN more TYPE text;", [(gone("retype", "column", "u", "more", "text"), of("u", -1))]),
        ("ALTER TABLE unknown ALTER COLUMN ref TYPE text;", []),
        ("ALTER TABLE t RENAME COLUMN ref TO pointer;", [
            (gone("rename", "column", "t", "ref", "pointer"), of("t", 2)),
            (gone("rename", "column", "c", "ref", "pointer", **INHERITED), of("c", 10)),
        ]),
        ("ALTER TABLE unknown RENAME COLUMN ref TO pointer;", []),
        ("ALTER TABLE u RENAME TO users;", [(gone("rename", "table", "u", to="users"), of("u"))]),
        ("ALTER VIEW v RENAME TO seen;", [(gone("rename", "view", "v", to="seen"), of("v"))]),
        ("ALTER INDEX t_i RENAME TO i;", []),
        ("ALTER TABLE unknown RENAME TO users;", []),
        ("ALTER SCHEMA other RENAME TO old;", [
            (gone("rename", "table", "other.t", to="old.t"), Thing(CLASS, 50)),
        ]),
        ("ALTER TABLE u SET SCHEMA other;", [(gone("rename", "table", "u", to="other.u"), of("u"))]),
        ("ALTER FUNCTION f() SET SCHEMA other;", []),
        ("ALTER FUNCTION f() RENAME TO g;", [(gone("rename", "function", "f", to="g"), Thing("pg_proc", 72))]),
        ("ALTER ROLE f RENAME TO g;", []),
        ("DROP FUNCTION f;", [(gone("drop", "function", "f"), Thing("pg_proc", 72))]),
        ("DROP FUNCTION other.f;", [(gone("drop", "function", "other.f"), Thing("pg_proc", 73))]),
        ("DROP TYPE f;", []),
        ("DROP SEQUENCE free;", [(gone("drop", "sequence", "free"), of("free"))]),
        ("DELETE FROM u; TRUNCATE u;", []),
        ("DROP TABLE u; DROP TABLE IF EXISTS u;", [(gone("drop", "table", "u"), of("u"))]),
        ("CREATE TABLE n (n int); ALTER TABLE n RENAME TO m; DROP TABLE m;", []),
    ],
)  # fmt: skip
def test_what_a_script_takes_away_under_its_name(text: str, found: list[tuple[Gone, Thing]]) -> None:
    (made,) = going([ahead(text)], FACTS).values()
    assert (list(zip(made.gone, made.things, strict=True)), made.hidden) == (found, ())


def test_each_script_says_it_by_itself() -> None:
    found = going([ahead("SET search_path TO other;\nDROP TABLE t;"), ahead("DROP TABLE u;", "002")], FACTS)
    assert [(version, made.gone) for version, made in found.items()] == [
        ("001", (gone("drop", "table", "other.t", line=2),)),
        ("002", (Gone("002", 1, "drop", "table", "app", "u"),)),
    ]


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("SELECT 1;\nDO $$ BEGIN END $$;", ("what line 2 of 001_a.sql takes away",)),
        ("SELECT unknown();", ()),
    ],
)
def test_what_nobody_can_see_is_said(text: str, hidden: tuple[str, ...]) -> None:
    (made,) = going([ahead(text)], FACTS).values()
    assert made == Going(hidden=hidden)


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("SELECT 1;", False),
        ("SELECT 1; DROP VIEW v;", True),
        ("ALTER TABLE t RENAME TO u;", True),
        ("ALTER TABLE t SET SCHEMA s;", True),
        ("ALTER TABLE t ADD COLUMN n int;", False),
        ("ALTER TABLE t ADD COLUMN n int, DROP COLUMN o;", True),
        ("ALTER TABLE t ALTER n TYPE text;", True),
        ("DO $$ BEGIN END $$;", False),
    ],
)
def test_what_is_worth_a_question_to_the_catalogs(text: str, may: bool) -> None:
    assert may_take([ahead("SELECT 1;"), ahead(text)]) is may
