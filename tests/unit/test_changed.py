"""What a script changes by its text, and what of it no ROLLBACK takes back."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.engine.changes import Change, Changes
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.changed import changed
from airflow_provider_wmigrate.engine.sql.lasting import Lasting, lasting
from airflow_provider_wmigrate.engine.sql.pieces import LARGE


def of(text: str, *locked: str) -> Changes:
    return changed(analyse(Script.of("001_a.sql", text)), locked)


ALTERED = Change("alter", "table", "", "t")
ROWS = Change("rows", "table", "", "t")


@pytest.mark.parametrize(
    ("text", "each"),
    [
        ("CREATE TABLE s.t (n int)", [Change("create", "table", "s", "t")]),
        ("CREATE TEMP TABLE t (n int)", []),
        ("CREATE FOREIGN TABLE t (n int) SERVER x", [Change("create", "table", "", "t")]),
        ("CREATE TABLE t AS SELECT 1", [Change("create", "table", "", "t")]),
        ("CREATE TEMP TABLE t AS SELECT 1", []),
        ("CREATE MATERIALIZED VIEW s.m AS SELECT 1", [Change("create", "materialized view", "s", "m")]),
        ("CREATE VIEW v AS SELECT 1", [Change("create", "view", "", "v")]),
        ("CREATE SEQUENCE q", [Change("create", "sequence", "", "q")]),
        ("CREATE FUNCTION s.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", [Change("create", "function", "s", "f")]),
        ("CREATE INDEX i ON t (n)", [ALTERED]),
        ("CREATE TRIGGER x AFTER INSERT ON t EXECUTE FUNCTION f()", [ALTERED]),
        ("CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING", [ALTERED]),
        ("CREATE POLICY p ON t", [ALTERED]),
        ("ALTER POLICY p ON t TO PUBLIC", [ALTERED]),
        ("ALTER TABLE t OWNER TO me", [ALTERED]),
        ("ALTER TABLE t ADD a int, DROP b, ALTER c TYPE text, ALTER d SET NOT NULL", [
            ALTERED, Change("create", "column", "", "t", "a"), Change("drop", "column", "", "t", "b"),
            Change("retype", "column", "", "t", "c"),
        ]),
        ("ALTER MATERIALIZED VIEW m OWNER TO me", [Change("alter", "materialized view", "", "m")]),
        ("ALTER FOREIGN TABLE t OWNER TO me", [ALTERED]),
        ("DROP TABLE a, s.b", [Change("drop", "table", "", "a"), Change("drop", "table", "s", "b")]),
        ("DROP MATERIALIZED VIEW m", [Change("drop", "materialized view", "", "m")]),
        ("DROP FUNCTION s.f(int)", [Change("drop", "function", "s", "f")]),
        ("DROP PROCEDURE f", [Change("drop", "function", "", "f")]),
        ("DROP TRIGGER x ON s.t", [Change("alter", "table", "s", "t")]),
        ("DROP POLICY p ON t", [ALTERED]),
        ("DROP RULE r ON t", [ALTERED]),
        ("DROP INDEX i", []),
        ("ALTER TABLE t RENAME TO u", [Change("rename", "table", "", "t", to="u")]),
        ("ALTER TABLE t RENAME COLUMN a TO b", [ALTERED, Change("rename", "column", "", "t", "a", "b")]),
        ("ALTER VIEW v RENAME COLUMN a TO b", [
            Change("alter", "view", "", "v"), Change("rename", "column", "", "v", "a", "b"),
        ]),
        ("ALTER TABLE t RENAME CONSTRAINT a TO b", [ALTERED]),
        ("ALTER TRIGGER x ON t RENAME TO y", [ALTERED]),
        ("ALTER FUNCTION s.f() RENAME TO g", [Change("rename", "function", "s", "f", to="g")]),
        ("ALTER ROLE a RENAME TO b", []),
        ("ALTER SEQUENCE q RENAME TO r", [Change("rename", "sequence", "", "q", to="r")]),
        ("ALTER TABLE t SET SCHEMA s", [Change("rename", "table", "", "t", to="s.t")]),
        ("ALTER TYPE y SET SCHEMA s", []),
        ("TRUNCATE t, s.u", [Change("truncate", "table", "", "t"), Change("truncate", "table", "s", "u")]),
        ("REFRESH MATERIALIZED VIEW m", [Change("rows", "materialized view", "", "m")]),
        ("INSERT INTO t SELECT 1", [ROWS]),
        ("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)", [ROWS]),
        ("UPDATE s.t SET a = 1", [Change("rows", "table", "s", "t")]),
        ("DELETE FROM t", [ROWS]),
        ("MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE", [ROWS]),
        ("COPY t FROM '/x'", [ROWS]),
        ("COPY t TO '/x'", []),
        ("COPY (SELECT 1) TO '/x'", []),
        ("SET search_path TO s; CREATE TABLE t (n int)", [Change("create", "table", "s", "t")]),
        ("SET search_path TO \"$user\", pg_temp, s, u; DELETE FROM t", [Change("rows", "table", "s", "t")]),
        ("SET search_path TO s; RESET search_path; DELETE FROM t", [ROWS]),
        ("SET search_path TO s; SET work_mem TO '1MB'; DELETE FROM t", [Change("rows", "table", "s", "t")]),
        ("CREATE SCHEMA s; GRANT SELECT ON t TO bob", []),
    ],
)  # fmt: skip
def test_what_a_script_changes(text: str, each: list[Change]) -> None:
    assert of(text) == Changes(tuple(each))


@pytest.mark.parametrize(
    ("text", "each"),
    [
        ("SELECT f()", ()),
        ("DO $$ BEGIN END $$; DELETE FROM t", (ROWS,)),
        ("CALL p()", ()),
        ("CREATE SCHEMA s CREATE TABLE t (n int)", ()),
        ("not SQL", ()),
    ],
)
def test_what_nobody_can_see_is_said(text: str, each: tuple[Change, ...]) -> None:
    assert of(text) == Changes(each, unread=True)


@pytest.mark.parametrize(
    ("text", "locked", "schema"),
    [
        ("DELETE FROM t", ["app.t"], "app"),
        ("DELETE FROM t", ['"a.b"."t"'], "a.b"),
        ("DELETE FROM t", ["app.t", "other.t"], ""),
        ("DELETE FROM t", ["app.u", "t"], ""),
        ("DELETE FROM s.t", ["app.t"], "s"),
        ("SET search_path TO s; DELETE FROM t", ["app.t"], "app"),
        ("DROP TABLE t", ["app.t"], "app"),
        ("CREATE TABLE t (n int)", ["app.t"], ""),
    ],
)
def test_a_schema_that_the_server_has_shown(text: str, locked: list[str], schema: str) -> None:
    (each,) = of(text, *locked).each
    assert each.schema == schema


def test_of_a_very_long_script_the_first_changes_are_told() -> None:
    found = of("; ".join(f"DROP TABLE t{number}" for number in range(1_001)))
    assert (len(found.each), found.unread, found.each[-1].name) == (1_000, True, "t999")
    assert not of("; ".join(f"DROP TABLE t{number}" for number in range(1_000))).unread


def test_rows_of_a_large_script_are_seen_without_its_trees() -> None:
    insert = f"""INSERT INTO s."T" (a) VALUES ('{"x" * LARGE}'); SELECT 1;"""
    assert of(insert) == Changes((Change("rows", "table", "s", "T"),), unread=True)


def test_changes_as_plain_values() -> None:
    found = Changes((Change("rename", "column", "s", "t", "a", "b"), Change("drop", "table", "", "t")), unread=True)
    assert found.as_dict() == {
        "each": [
            {"does": "rename", "kind": "column", "schema": "s", "name": "t", "column": "a", "to": "b"},
            {"does": "drop", "kind": "table", "name": "t"},
        ],
        "unread": True,
    }


# What stays although the transaction is rolled back


@pytest.mark.parametrize(
    ("text", "what", "names"),
    [
        ("COPY t TO '/tmp/x'", "COPY to a file or a program", None),
        ("COPY t TO PROGRAM 'cat'", "COPY to a file or a program", None),
        ("COPY t FROM PROGRAM 'cat'", "COPY FROM PROGRAM", None),
        ("COPY t TO STDOUT", None, None),
        ("COPY t FROM '/tmp/x'", None, None),
        ("SELECT pg_create_restore_point('x')", "pg_create_restore_point()", None),
        ("SELECT pg_catalog.pg_terminate_backend(1)", "pg_terminate_backend()", None),
        ("SELECT dblink_exec('x', 'DELETE FROM t')", "dblink_exec()", None),
        ("SELECT pg_stat_reset_shared('bgwriter')", "pg_stat_reset_shared()", None),
        ("SELECT setval('s.q', 5)", "setval()", ("s.q",)),
        ("SELECT setval(pg_get_serial_sequence('t', 'id'), (SELECT 7))", "setval()", ("t", "id")),
        ("SELECT setval(x, 'y')", "setval()", ()),
        ("SELECT 'pg_promote'", None, None),
        ("SELECT my_setval('q', 1)", None, None),
        ("DO $$ BEGIN PERFORM setval('q', 1); END $$", None, None),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT setval(1)'", None, None),
    ],
)
def test_what_no_rollback_takes_back(text: str, what: str | None, names: tuple[str, ...] | None) -> None:
    analysis = analyse(Script.of("001_a.sql", f"SELECT 1;\n{text};"))
    expected = [Lasting(analysis.statements[1], what, names)] if what else []
    assert list(lasting(analysis)) == expected
