"""Which locks a script is foreseen to take, and when nobody has to ask the catalogs for it. What the server then takes:
tests/postgres/test_locks_forecast.py."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_wmigrate.engine.catalog.relations import RelationFacts, relation_facts
from airflow_provider_wmigrate.engine.lock_modes import LockMode, LockNeed, LockSet, Unforeseen
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.plan.lock_touching import touches_existing
from airflow_provider_wmigrate.engine.plan.locks_needed import locks_needed
from airflow_provider_wmigrate.engine.sql.analysis import analyse

TABLES = {"app.a": 1, "app.b": 2, "other.a": 3, "app.c": 4}
EMPTY = ["inherits", "defaults", "constraints", "bases", "sequences", "columns", "triggers", "rules", "published",
         "functions", "domains", "objects", "parts", "depends"]  # fmt: skip


def facts(**more: Any) -> RelationFacts:
    """Three tables in app and one in other; c references a."""
    relations = [
        [oid, *name.split("."), name, "r", 8, 2, None, 0, oid + 100, False] for name, oid in TABLES.items()
    ]  # fmt: skip
    return relation_facts(
        {
            "version": 150000,
            "user": "me",
            "path": ["pg_catalog", "app"],
            "schemas": ["app", "other"],
            "relations": relations,
            **dict.fromkeys(EMPTY),
            **more,
        }
    )


def needed(text: str, **more: Any) -> LockSet:
    return locks_needed(analyse(Script.of("001_a.sql", text)), facts(**more))


def need(relation: str, mode: LockMode, first: int, strongest: int, **more: Any) -> LockNeed:
    return LockNeed(relation, TABLES[relation], mode, first, strongest, size_bytes=16384, **more)


EXCLUSIVE, SHARE, WRITE = LockMode.ACCESS_EXCLUSIVE, LockMode.SHARE, LockMode.ROW_EXCLUSIVE


def test_the_strongest_lock_of_all_statements_counts_for_each_relation() -> None:
    text = "UPDATE a SET x = 1;\nCREATE INDEX ON b (x);\nALTER TABLE a ADD COLUMN y int;\nSELECT * FROM c;"
    assert needed(text) == LockSet(
        (
            need("app.a", EXCLUSIVE, 0, 2, work="rows", worked=(0,)),
            need("app.b", SHARE, 1, 1, work="build", worked=(1,)),
            need("app.c", LockMode.ACCESS_SHARE, 3, 3),
        ),
        (),
        (0, 1, 3),
    )


def test_every_statement_that_works_on_a_table_is_known() -> None:
    """A table that several statements read whole is small for each of them."""
    found = needed(
        "ALTER TABLE a ADD k int DEFAULT 1 REFERENCES c;\nCOMMENT ON TABLE a IS '';\n"
        "ALTER TABLE b ADD k int DEFAULT 1 REFERENCES c;"
    )
    assert {each.relation: each.worked for each in found.needs} == {"app.a": (), "app.b": (), "app.c": (0, 2)}


def test_what_is_read_for_a_change_of_rows_is_worked_on_as_well() -> None:
    """A small table can be filled from a large one, which takes as long as the large one is."""
    text = "INSERT INTO a SELECT x FROM b;\nINSERT INTO a VALUES ((SELECT x FROM b));\n"
    found = needed(text + "UPDATE a SET x = 1 FROM b;\nALTER TABLE c ADD COLUMN y int")
    worked = {"app.a": (0, 2), "app.b": (0, 2), "app.c": ()}
    assert {each.relation: each.worked for each in found.needs} == worked


def test_reads_do_not_count_where_nothing_keeps_writers_out() -> None:
    assert needed("UPDATE a SET x = 1; SELECT * FROM b; SELECT * FROM c FOR UPDATE") == LockSet(
        (need("app.a", WRITE, 0, 0, work="rows", worked=(0,)),), (), (0, 1, 2)
    )


@pytest.mark.parametrize(
    ("text", "relations"),
    [
        ("DROP TABLE a", ["app.a"]),
        ("SET search_path = other, app; DROP TABLE a", ["other.a"]),
        ("SET LOCAL search_path = other; DROP TABLE IF EXISTS b", []),
        ("SET search_path = other; RESET search_path; DROP TABLE a", ["app.a"]),
        ("SELECT pg_catalog.set_config('search_path', '', false); DROP TABLE other.a", ["other.a"]),
        ("CREATE TEMP TABLE a (x int); DROP TABLE a; DROP TABLE a", ["app.a"]),
        ("CREATE TABLE other.b (x int); SET search_path = other, app; DROP TABLE b", []),
        ("CREATE TABLE IF NOT EXISTS a (x int); DROP TABLE a", ["app.a"]),
        ("CREATE TABLE new (x int); ALTER TABLE new ADD y int; CREATE INDEX ON new (x); DROP TABLE new", []),
        ("ALTER TABLE a RENAME TO z; CREATE TABLE a (x int); DROP TABLE a", ["app.a"]),
        ("ALTER TABLE a RENAME TO z; LOCK TABLE z", ["app.a"]),
        ("ALTER TABLE b SET SCHEMA other; LOCK TABLE other.b", ["app.b"]),
        ("ALTER SCHEMA other RENAME TO another; LOCK TABLE another.a", ["other.a"]),
        ("CREATE TABLE new (x int REFERENCES b)", ["app.b"]),
        ("CREATE TABLE new (x int); ALTER TABLE new ADD FOREIGN KEY (x) REFERENCES b", ["app.b"]),
        ("CREATE SCHEMA fresh CREATE TABLE a (x int REFERENCES app.b) CREATE VIEW v AS SELECT * FROM a", ["app.b"]),
        ("CREATE INDEX i ON b (x); DROP INDEX i", ["app.b"]),
        ("CREATE INDEX CONCURRENTLY i ON b (x)", ["app.b"]),
        ("LOCK TABLE nowhere", []),
        ("WITH a AS (SELECT 1) INSERT INTO b SELECT * FROM a", ["app.b"]),
        ("WITH gone AS (DELETE FROM a RETURNING x) SELECT * FROM gone", ["app.a"]),
    ],
)
def test_names_are_what_they_are_at_that_place_of_the_script(text: str, relations: list[str]) -> None:
    found = needed(text)
    assert [n.relation for n in found.needs] == relations
    assert found.unforeseen == ()


NEW = "CREATE TABLE new (x int PRIMARY KEY, y int);\n"
END = ";\nALTER TABLE a ADD COLUMN z int REFERENCES new"


@pytest.mark.parametrize(
    ("text", "long"),
    [
        ("CREATE INDEX ON new (y)", ()),
        ("ALTER TABLE new ADD UNIQUE (y), ADD CHECK (y > 0), ALTER y SET NOT NULL, ALTER y TYPE text", ()),
        ("INSERT INTO new VALUES (1), (2); CREATE INDEX ON new (y)", ()),
        ("UPDATE new SET y = 1; DELETE FROM new; CLUSTER new USING i; ANALYZE new; COPY new TO STDOUT", ()),
        ("ALTER TABLE new RENAME TO newer; CREATE INDEX ON newer (y); CREATE TABLE new (y int)", ()),
        ("CREATE TABLE IF NOT EXISTS new (y int); CREATE INDEX ON new (y)", ()),
        ("CREATE TABLE n (LIKE new); ALTER TABLE n INHERIT new; CREATE INDEX ON new (y)", ()),
        ("CREATE TABLE n (y int) PARTITION BY LIST (y); ALTER TABLE n ATTACH PARTITION new DEFAULT", ()),
        ("INSERT INTO new SELECT 1, 2 FROM n; CREATE INDEX ON new (y)", (1, 2)),
        ("INSERT INTO new SELECT 1, 2 FROM n; CREATE TABLE IF NOT EXISTS new (y int); CREATE INDEX ON new (y)", (1, 3)),
        ("INSERT INTO new SELECT 1, 2 FROM n; CREATE TABLE n (y int); CREATE INDEX ON n (y)", (1,)),
        ("CREATE TABLE n AS SELECT 1 AS y FROM c; CREATE INDEX ON n (y)", (1, 2)),
        ("CREATE TABLE n AS SELECT 1 AS y FROM c WITH NO DATA; CREATE INDEX ON n (y)", ()),
        ("SELECT 1 AS y INTO n FROM nowhere; CREATE INDEX ON n (y)", (1, 2)),
        ("MERGE INTO new USING n ON true WHEN NOT MATCHED THEN INSERT VALUES (1, 2); CREATE INDEX ON new (y)", (1, 2)),
        ("UPDATE new SET y = n.y FROM n", (1,)),
        ("CREATE VIEW v AS SELECT * FROM nowhere; UPDATE v SET y = 1", (2,)),
        ("CREATE TABLE n (LIKE new); ALTER TABLE nowhere INHERIT new; UPDATE new SET y = 1", (3,)),
        ("CREATE INDEX ON nowhere (y)", (1,)),
    ],
)
def test_what_is_done_with_a_table_that_the_script_has_made_is_long_only_if_it_has_rows(
    text: str, long: tuple[int, ...]
) -> None:
    at = NEW.count(";") + text.count(";") + 1
    needs = (need("app.a", EXCLUSIVE, at, at),)
    found = needed(NEW + text + END)
    assert LockSet(tuple(n for n in found.needs if n.mode > LockMode.ACCESS_SHARE), found.unforeseen, found.long) == (
        LockSet(needs, (), long)
    )


@pytest.mark.parametrize(
    ("hides", "why"),
    [("DO 'BEGIN END'", "a DO block runs"), ("CALL p()", "CALL runs a procedure"), ("SELECT f()", "f() is called")],
)
def test_what_nobody_can_see_may_have_put_rows_into_what_the_script_has_made(hides: str, why: str) -> None:
    assert needed(f"{NEW}{hides};\nCREATE INDEX ON new (y){END}") == LockSet(
        (need("app.a", EXCLUSIVE, 3, 3),), (Unforeseen(1, 2, why),), (1, 2)
    )


def test_rows_of_a_copy_count() -> None:
    text = f"{NEW}COPY new FROM STDIN;\n1\t2\n\\.\nCREATE INDEX ON new (y){END}"
    assert needed(text) == LockSet((need("app.a", EXCLUSIVE, 3, 3),), (), (1, 2))


def test_a_key_of_a_new_table_checks_no_rows() -> None:
    text = "ALTER TABLE new ADD FOREIGN KEY (y) REFERENCES b; INSERT INTO new SELECT 1, 2 FROM n"
    text += "; ALTER TABLE new ADD FOREIGN KEY (x) REFERENCES b"
    key = LockMode.SHARE_ROW_EXCLUSIVE
    assert needed(NEW + text) == LockSet((need("app.b", key, 1, 1, work="scan"),), (), (2, 3))


@pytest.mark.parametrize(
    ("right", "mode", "lockable"),
    [(8, 8, True), (3, 3, True), (3, 2, False), (3, 4, False), (1, 1, True), (1, 2, False), (0, 1, False)],
)
def test_what_lock_table_would_be_refused_is_not_lockable(right: int, mode: int, lockable: bool) -> None:
    relations = [[1, "app", "a", "app.a", "r", right, 2, None, 0, 101, False]]
    relations.append([2, "app", "b", "app.b", "r", 8, 2, None, 0, 102, False])
    found = needed(f"LOCK TABLE a IN {LockMode(mode).keyword} MODE; LOCK TABLE b", relations=relations)
    assert {need.relation: need.lockable for need in found.needs} == {"app.a": lockable, "app.b": True}


def test_a_pause_takes_long_and_locks_nothing() -> None:
    found = needed("SELECT pg_sleep(1), pg_catalog.pg_sleep_for('1 s');\nSELECT app.pg_sleep(1)")
    assert found == LockSet(unforeseen=(Unforeseen(1, 2, "pg_sleep() is called"),), long=(0, 1))


def test_what_only_runs_can_tell_is_said_with_its_line() -> None:
    text = "SELECT 1;\nDO 'BEGIN END';\n\nCALL p();\nSELECT f(1);\nUPDATE a SET x = 1;\nEXECUTE nothing;"
    found = needed(text, triggers=[[1, "watch", 17, "O"], [1, "off", 17, "D"]], rules=[[2, "log", "3"]])
    assert found.unforeseen == (
        Unforeseen(1, 2, "a DO block runs"),
        Unforeseen(2, 4, "CALL runs a procedure"),
        Unforeseen(3, 5, "f() is called"),
        Unforeseen(4, 6, "trigger watch of app.a runs a function"),
        Unforeseen(5, 7, "EXECUTE nothing runs what was prepared elsewhere"),
    )
    assert found.long == (1, 2, 3, 4)


def test_of_a_script_that_the_grammar_does_not_read_nothing_is_foreseen() -> None:
    why = "PostgreSQL's grammar of this version does not read the script"
    assert needed("ALTER TABLE a FROBNICATE") == LockSet((), (Unforeseen(0, 1, why),), (0,))


@pytest.mark.parametrize(
    ("change", "work"),
    [
        ("ADD y int", None),
        ("ADD y int DEFAULT 5", None),
        ("ADD y timestamptz DEFAULT now()", None),
        ("ADD y float DEFAULT random()", "rewrite"),
        ("ADD y serial", "rewrite"),
        ("ADD y int GENERATED ALWAYS AS (x + 1) STORED", "rewrite"),
        ("ALTER x TYPE varchar(20)", None),
        ("ALTER x TYPE text", None),
        ("ALTER x TYPE varchar(5)", "rewrite"),
        ("ALTER x TYPE int USING x::int", "rewrite"),
        ("ALTER x TYPE text USING upper(x)", "rewrite"),
        ("ALTER n TYPE numeric(12, 2)", None),
        ("ALTER n TYPE numeric(12, 3)", "rewrite"),
        ("ALTER n TYPE numeric", None),
        ("ALTER x SET NOT NULL", "scan"),
        ("ALTER n SET NOT NULL", None),
        ("ADD CHECK (x > '')", "scan"),
        ("ADD CHECK (x > '') NOT VALID", None),
        ("ADD UNIQUE (x)", "build"),
        ("ADD UNIQUE USING INDEX i", None),
        ("SET LOGGED", None),
        ("SET UNLOGGED", "rewrite"),
        ("RENAME x TO y", None),
    ],
)
def test_long_work_under_a_lock_is_known(change: str, work: str | None) -> None:
    found = needed(
        f"ALTER TABLE a {change}",
        columns=[[1, 1, "x", "character varying(10)", False], [1, 2, "n", "numeric(10,2)", True]],
        functions=[["pg_catalog", "now", True, False], ["pg_catalog", "random", True, True]],
    )
    assert found == LockSet(
        (need("app.a", EXCLUSIVE, 0, 0, work=work, worked=(0,) if work else ()),), (), (0,) if work else ()
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CREATE TABLE a (x serial); INSERT INTO a VALUES (now()); CREATE INDEX ON a (x)", False),
        ("CREATE TABLE s.a (x int); COMMENT ON TABLE s.a IS 'x'; ALTER TABLE s.a RENAME TO b; DROP TABLE s.b", False),
        ("CREATE TABLE a (x int); CREATE VIEW v AS SELECT * FROM a; TABLE v; COMMENT ON COLUMN a.x IS NULL", False),
        ("CREATE SCHEMA s; CREATE FUNCTION s.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; SET a.b = '1'", False),
        ("CREATE TABLE b (x int REFERENCES a)", True),
        ("CREATE TABLE IF NOT EXISTS a (x int)", False),
        ("CREATE TABLE IF NOT EXISTS a (x int); CREATE INDEX ON a (x)", True),
        ("CREATE OR REPLACE VIEW v AS SELECT 1", True),
        ("CREATE TABLE a (x int); SET search_path = s; DROP TABLE a", True),
        ("WITH a AS (SELECT 1) SELECT * FROM a", False),
        ("SELECT f()", True),
        ("DO 'BEGIN END'", False),
        ("DROP TYPE t", False),
        ("DROP TYPE t CASCADE", True),
        ("SELECT * FROM pg_catalog.pg_class", False),
        ("CREATE INDEX CONCURRENTLY ON a (x)", False),
        ("ALTER TABLE a FROBNICATE", False),
    ],
)  # fmt: skip
def test_the_catalogs_are_asked_only_for_what_the_script_has_not_made(text: str, expected: bool) -> None:
    assert touches_existing(analyse(Script.of("001_a.sql", text))) is expected


def test_what_a_new_schema_begins_with_is_made_in_it_and_its_locks_count() -> None:
    text = (
        "CREATE SCHEMA app CREATE TABLE b (x int) CREATE VIEW v AS SELECT * FROM other.a;\n"
        "CREATE SCHEMA AUTHORIZATION other CREATE VIEW w AS SELECT * FROM c;\nALTER TABLE a ADD COLUMN x int;"
    )
    read = LockMode.ACCESS_SHARE
    assert needed(text).needs == (
        need("app.a", EXCLUSIVE, 2, 2),
        need("app.c", read, 1, 1),
        need("other.a", read, 0, 0),
    )
    inside = needed("CREATE SCHEMA other CREATE INDEX i ON a (x);\nALTER TABLE b ADD COLUMN x int;").needs
    assert inside == (
        need("app.b", EXCLUSIVE, 1, 1),
        need("other.a", SHARE, 0, 0, work="build", worked=(0,)),
    )
    by_name = needed("CREATE SCHEMA AUTHORIZATION other CREATE INDEX i ON a (x);").needs
    assert by_name == (need("other.a", SHARE, 0, 0, work="build", worked=(0,)),)


def test_exactly_share_keeps_writers_out_so_that_reads_count() -> None:
    text = "CREATE INDEX ON b (x);\nSELECT * FROM c;"
    assert [each.relation for each in needed(text).needs] == ["app.b", "app.c"]


def test_catalogs_and_toast_tables_need_no_lock() -> None:
    rows = [
        [oid, *name.split("."), name, kind, 8, 2, None, 0, oid + 100, False]
        for oid, name, kind in [(1, "app.a", "r"), (2, "pg_catalog.pg_class", "r"), (3, "app.t", "t")]
    ]
    text = "LOCK TABLE a; LOCK TABLE pg_catalog.pg_class; LOCK TABLE app.t;"
    assert [each.relation for each in needed(text, relations=rows).needs] == ["app.a"]


def test_a_large_script_whose_trees_are_not_kept_is_read_again() -> None:
    rows = "(1, 'x'),\n" * 120_000
    text = f"INSERT INTO a VALUES\n{rows}(2, 'y');\nSELECT * FROM b FOR UPDATE;\nALTER TABLE c ADD COLUMN x int;\n"
    found = needed(text)
    assert [(each.relation, each.mode, each.work) for each in found.needs] == [
        ("app.c", EXCLUSIVE, None),
        ("app.a", WRITE, "rows"),
        ("app.b", LockMode.ROW_SHARE, None),
    ]
    assert found.long == (0, 1)
