"""What statements lock that read and change rows: targets, what they read, the other sides of keys, what fires."""

from __future__ import annotations

from typing import Any

import pytest
from some_catalog import CATALOG, SEQUENCES, TABLES, VIEWS, key, taken

FIRES = {
    "triggers": [
        [TABLES["u"], "ins", 5, "O"],
        [TABLES["u"], "del", 9, "A"],
        [TABLES["u"], "upd", 17, "O"],
        [TABLES["u"], "off", 29, "D"],
        [TABLES["u"], "cut", 32, "O"],
    ],
    "rules": [
        [TABLES["w"], "inserting", "3", "O"],
        [TABLES["w"], "updating", "2", "A"],
        [TABLES["w"], "deleting", "4", "O"],
        [TABLES["w"], "off", "4", "D"],
        [TABLES["x"], "replica", "4", "R"],
    ],
    "runs": [
        [VIEWS["v"], "view", "f"],
        [TABLES["p"], "default", "g"],
        [TABLES["p"], "constraint", "h"],
        [TABLES["p"], "view", "never"],
        [999, "view", "unknown"],
    ],
}


@pytest.mark.parametrize(
    ("text", "locks"),
    [
        ("SELECT 1", ""),
        ("SELECT * FROM t", "t: ACCESS SHARE; lasting rows"),
        ("SELECT * FROM v", "t v: ACCESS SHARE; lasting rows"),
        ("SELECT * FROM outer_", "lasting rows"),
        ('SELECT * FROM "outer", other.t', "other.t outer t v: ACCESS SHARE; lasting rows"),
        ("SELECT 1 UNION SELECT id FROM t", "t: ACCESS SHARE; lasting rows"),
        ("WITH t AS (SELECT 1) SELECT * FROM t, u", "u: ACCESS SHARE; lasting rows"),
        ("WITH t AS (SELECT 1) SELECT * FROM app.t", "t: ACCESS SHARE; lasting rows"),
        # FOR UPDATE
        ("SELECT * FROM t FOR UPDATE", "c t: ROW SHARE; t: ACCESS SHARE; lasting rows"),
        ("SELECT * FROM ONLY t, u FOR SHARE", "t u: ROW SHARE; t u: ACCESS SHARE; lasting rows"),
        ("SELECT * FROM t a, u b FOR UPDATE OF b", "u: ROW SHARE; t u: ACCESS SHARE; lasting rows"),
        (
            "SELECT * FROM t a, u b FOR UPDATE OF b FOR SHARE OF a",
            "c t u: ROW SHARE; t u: ACCESS SHARE; lasting rows",
        ),
        ("SELECT * FROM w, u FOR UPDATE OF u FOR SHARE", "u w: ROW SHARE; u w: ACCESS SHARE; lasting rows"),
        (
            "SELECT * FROM w JOIN joined ON true FOR UPDATE",
            "joined t u w: ROW SHARE; joined t u w: ACCESS SHARE; lasting rows",
        ),
        # INSERT
        ("INSERT INTO c VALUES (1)", "c: ROW EXCLUSIVE"),
        ("INSERT INTO c SELECT 1", "c: ROW EXCLUSIVE"),
        ("INSERT INTO c SELECT 1 FROM y", "c: ROW EXCLUSIVE rows; y: ACCESS SHARE rows"),
        ("INSERT INTO c SELECT 1 UNION SELECT 2", "c: ROW EXCLUSIVE rows"),
        ("INSERT INTO p VALUES (1)", "p: ROW EXCLUSIVE"),
        ("INSERT INTO t VALUES (1)", "free t: ROW EXCLUSIVE"),
        ("INSERT INTO t DEFAULT VALUES", "free t t_id: ROW EXCLUSIVE"),
        ("INSERT INTO t SELECT 1, 2", "free t: ROW EXCLUSIVE; u: ROW SHARE"),
        ("INSERT INTO t SELECT 1, 2, 3 FROM y", "t: ROW EXCLUSIVE rows; u: ROW SHARE; y: ACCESS SHARE rows"),
        ("INSERT INTO t VALUES (1, 2)", "free t: ROW EXCLUSIVE; u: ROW SHARE"),
        ("INSERT INTO t (note) VALUES (1)", "t t_id: ROW EXCLUSIVE"),
        ("INSERT INTO t (ref) VALUES (1)", "free t t_id: ROW EXCLUSIVE; u: ROW SHARE"),
        ("INSERT INTO v (id, note) VALUES (1, 2)", "t v: ROW EXCLUSIVE"),
        ("INSERT INTO joined VALUES (1)", "joined: ROW EXCLUSIVE"),
        ("INSERT INTO nowhere VALUES (1)", ""),
        ("INSERT INTO nowhere SELECT 1 FROM y", "y: ACCESS SHARE; lasting rows"),
        ("INSERT INTO c VALUES (1) ON CONFLICT DO NOTHING", "c: ROW EXCLUSIVE"),
        ("INSERT INTO x (own) VALUES (1) ON CONFLICT (own) DO NOTHING", "x: ROW EXCLUSIVE"),
        (
            "INSERT INTO x (own) VALUES (1) ON CONFLICT (own) DO UPDATE SET note = 1",
            "x: ROW EXCLUSIVE; x: ROW EXCLUSIVE rows",
        ),
        (
            "INSERT INTO x (own) VALUES (1) ON CONFLICT (own) DO UPDATE SET id = 1",
            "x: ROW EXCLUSIVE; x: ROW EXCLUSIVE rows; t x y: ROW SHARE",
        ),
        # UPDATE
        ("UPDATE t SET note = 1", "c t: ROW EXCLUSIVE rows"),
        ("UPDATE ONLY t SET note = 1", "t: ROW EXCLUSIVE rows"),
        ("UPDATE t SET ref = 1", "c t: ROW EXCLUSIVE rows; u: ROW SHARE"),
        ("UPDATE t SET id = 1", "x: ROW EXCLUSIVE; c t: ROW EXCLUSIVE rows"),
        ("UPDATE v SET id = 1", "x: ROW EXCLUSIVE; t v: ROW EXCLUSIVE rows"),
        ("UPDATE joined SET id = 1", "joined: ROW EXCLUSIVE rows"),
        ("UPDATE c SET id = 1 FROM y", "c: ROW EXCLUSIVE rows; y: ACCESS SHARE rows"),
        ("UPDATE nowhere SET id = 1 FROM y", "y: ACCESS SHARE; lasting rows"),
        ("CREATE TABLE n (x int); UPDATE n SET x = 1", ""),
        ("CREATE TABLE n (x int); UPDATE n SET x = 1 FROM n AS b", "lasting rows"),
        # DELETE
        ("DELETE FROM c", "c: ROW EXCLUSIVE rows"),
        ("DELETE FROM p", "p p1 pd: ROW EXCLUSIVE rows"),
        ("DELETE FROM ONLY p", "p: ROW EXCLUSIVE rows"),
        ("DELETE FROM y", "y: ROW EXCLUSIVE rows"),
        ("DELETE FROM x", "x y: ROW EXCLUSIVE; x: ROW EXCLUSIVE rows"),
        ("DELETE FROM t", "x y: ROW EXCLUSIVE; c t x: ROW EXCLUSIVE rows"),
        ("DELETE FROM v", "x y: ROW EXCLUSIVE; t v x: ROW EXCLUSIVE rows"),
        ("CREATE TABLE n (x int); DELETE FROM n", ""),
        ("CREATE TABLE n (x int); DELETE FROM n USING y", "y: ACCESS SHARE; lasting rows"),
        ("CREATE TABLE n (x int); ALTER TABLE c INHERIT n; DELETE FROM n", "c: ROW EXCLUSIVE rows; lasting rows"),
        ("CREATE TABLE n (x int); ALTER TABLE c INHERIT n; UPDATE n SET id = 1", "c: ROW EXCLUSIVE rows; lasting rows"),
        ("CREATE VIEW n AS TABLE u; INSERT INTO n (id) VALUES (1)", "u: ROW EXCLUSIVE"),
        ("CREATE VIEW n AS SELECT 1 FROM u, y; INSERT INTO n VALUES (1)", ""),
        # MERGE
        ("MERGE INTO nowhere USING y ON true WHEN MATCHED THEN DELETE", "y: ACCESS SHARE; lasting rows"),
        ("MERGE INTO c USING y ON true WHEN MATCHED THEN DO NOTHING", "c: ROW EXCLUSIVE rows; y: ACCESS SHARE rows"),
        ("MERGE INTO t USING y ON true WHEN MATCHED THEN DELETE",
         "x y: ROW EXCLUSIVE; c t x: ROW EXCLUSIVE rows; y: ACCESS SHARE rows"),
        ("MERGE INTO ONLY t USING y ON true WHEN MATCHED THEN UPDATE SET ref = 1",
         "t: ROW EXCLUSIVE rows; u: ROW SHARE; y: ACCESS SHARE rows"),
        ("MERGE INTO t USING y ON true WHEN NOT MATCHED THEN INSERT (ref) VALUES (1)",
         "free t_id: ROW EXCLUSIVE; c t: ROW EXCLUSIVE rows; u: ROW SHARE; y: ACCESS SHARE rows"),
    ],
)  # fmt: skip
def test_rows_lock_their_tables_and_what_these_are_tied_to(text: str, locks: str) -> None:
    assert taken(text) == locks


@pytest.mark.parametrize(
    ("text", "locks"),
    [
        ("SELECT * FROM v", "t v: ACCESS SHARE; view app.v calls f(); lasting rows"),
        ("INSERT INTO u VALUES (1)", "u: ROW EXCLUSIVE; trigger ins of app.u runs a function"),
        ("UPDATE u SET note = 1", "u: ROW EXCLUSIVE rows; trigger upd of app.u runs a function"),
        (
            "DELETE FROM u",
            "x y: ROW EXCLUSIVE; t u x: ROW EXCLUSIVE rows; w: ROW SHARE; trigger del of app.u runs a function",
        ),
        ("TRUNCATE u", "u: ACCESS EXCLUSIVE; trigger cut of app.u runs a function"),
        ("INSERT INTO w VALUES (1)", "w: ROW EXCLUSIVE; u: ROW SHARE; rule inserting of app.w runs other statements"),
        ("UPDATE w SET note = 1", "w: ROW EXCLUSIVE rows; rule updating of app.w runs other statements"),
        ("DELETE FROM w", "w: ROW EXCLUSIVE rows; rule deleting of app.w runs other statements"),
        ("DELETE FROM x", "x y: ROW EXCLUSIVE; x: ROW EXCLUSIVE rows"),
        (
            "INSERT INTO p VALUES (1)",
            "p: ROW EXCLUSIVE; a default of app.p calls g(); a constraint of app.p calls h()",
        ),
        ("UPDATE ONLY p SET id = 1", "p: ROW EXCLUSIVE rows; a constraint of app.p calls h()"),
        ("DELETE FROM ONLY p", "p: ROW EXCLUSIVE rows"),
    ],
)
def test_what_a_change_of_rows_sets_off(text: str, locks: str) -> None:
    assert taken(text, **FIRES) == locks


SECURED: dict[str, Any] = {
    "runs": [[TABLES[table], "policy", "f"] for table in "tcy"],
    "secured": [TABLES["t"]],
    "functions": [["app", "g", False, True], ["app", "h", True, False]],
}
T_TELLS, C_TELLS, Y_TELLS = (f"a policy of app.{table} calls f()" for table in "tcy")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SELECT * FROM t", [T_TELLS]),
        ("SELECT * FROM ONLY t FOR UPDATE", [T_TELLS]),
        ("INSERT INTO t (note) VALUES (1)", [T_TELLS]),
        ("UPDATE t SET note = 1", [T_TELLS]),
        ("DELETE FROM ONLY t", [T_TELLS]),
        ("COPY t TO STDOUT", [T_TELLS]),
        ("COPY t FROM STDIN", [T_TELLS]),
        ("TRUNCATE ONLY t", []),
        ("ALTER TABLE t ADD z int", []),
        ("SELECT * FROM y", []),
        ("DELETE FROM y", []),
        ("COPY y TO STDOUT", []),
        # Another role, or one's own that it holds for from now on
        ("SET ROLE me; SELECT * FROM y", [Y_TELLS]),
        ("SET LOCAL SESSION AUTHORIZATION me; DELETE FROM y", [Y_TELLS]),
        ("SET row_security = on; COPY y TO STDOUT", [Y_TELLS]),
        ("SELECT set_config('role', 'me', true); UPDATE y SET id = 1", [Y_TELLS]),
        ("SELECT set_config('work_mem', 'me', true); UPDATE y SET id = 1", []),
        ("SET work_mem = 1; SELECT * FROM y", []),
        ("ALTER TABLE y FORCE ROW LEVEL SECURITY; SELECT * FROM y", [Y_TELLS]),
        ("ALTER TABLE y ENABLE ROW LEVEL SECURITY; SELECT * FROM y", []),
        # With the rights of a view's owner
        ("CREATE OR REPLACE VIEW v AS TABLE y; SELECT * FROM v", [Y_TELLS]),
        ("CREATE OR REPLACE VIEW v AS TABLE y; UPDATE v SET id = 1", [Y_TELLS]),
        ("CREATE OR REPLACE VIEW v AS TABLE y; REFRESH MATERIALIZED VIEW v", [Y_TELLS]),
        ("CREATE OR REPLACE VIEW v AS TABLE y; REFRESH MATERIALIZED VIEW v WITH NO DATA", []),
        # Policies of its own
        ("CREATE POLICY a ON t USING (g()); SELECT * FROM t", [T_TELLS, T_TELLS.replace("f()", "g()")]),
        ("CREATE POLICY a ON t USING (h()); SELECT * FROM t", [T_TELLS]),
        ("ALTER POLICY a ON t WITH CHECK (app.g()); DELETE FROM ONLY t", [T_TELLS, T_TELLS.replace("f()", "g()")]),
        ("CREATE POLICY a ON nowhere USING (g()); SELECT * FROM t", [T_TELLS]),
        ("CREATE POLICY a ON u USING (g()); SELECT * FROM u", []),
        ("CREATE POLICY a ON u USING (g()); SET ROLE me; SELECT * FROM u", ["a policy of app.u calls g()"]),
    ],
)
def test_functions_of_row_security_are_told(text: str, told: list[str]) -> None:
    found = dict.fromkeys(taken(text, **SECURED).split("; "))
    assert [each for each in found if each.startswith("a policy")] == told


def test_a_new_chunk_is_told() -> None:
    chunk = [60, "_timescaledb_internal", "_hyper_1_1_chunk", "chunk", "r", 8, 2, None, 0, 160, False]
    more = {"relations": [*CATALOG["relations"], chunk], "inherits": [[60, TABLES["y"]]]}
    told = "a row of app.y may need a new chunk"
    assert taken("INSERT INTO y VALUES (1)", **more) == f"y: ROW EXCLUSIVE; {told}"
    assert taken("COPY y FROM STDIN", **more) == f"y: ROW EXCLUSIVE rows; {told}"
    assert told not in taken("UPDATE y SET id = 1", **more) + taken("DELETE FROM y", **more) + taken("TABLE y", **more)
    assert told in taken("MERGE INTO y USING w ON true WHEN NOT MATCHED THEN INSERT VALUES (1)", **more)


KEYS = [key(211, "c", "u", [1], "c", "n"), key(212, "w", "u", [1], "n", "d"), key(213, "x", "u", [1], "d", "r")]


@pytest.mark.parametrize(
    ("text", "locks"),
    [
        ("DELETE FROM u", "w x: ROW EXCLUSIVE; c u: ROW EXCLUSIVE rows; y: ROW SHARE"),
        ("UPDATE u SET id = 1", "c w: ROW EXCLUSIVE; u: ROW EXCLUSIVE rows; x y: ROW SHARE"),
        ("INSERT INTO y (own) VALUES (1)", "y: ROW EXCLUSIVE"),
        ("DELETE FROM p", "q: ROW EXCLUSIVE; p p1 pd: ROW EXCLUSIVE rows"),
    ],
)
def test_what_a_key_does_with_the_rows_of_the_other_table(text: str, locks: str) -> None:
    keys = [*KEYS, key(214, "y", "u", [2], "r", "r"), key(215, "q", "p", [1], "n")]
    assert taken(text, constraints=keys) == locks


FUNCTIONS = [
    ["app", "f", True, False],
    ["app", "g", False, False],
    ["other", "g", True, False],
    ["app", "two", True, False],
    ["app", "two", False, False],
    ["pg_catalog", "left", False, False],
    ["pg_catalog", "query_to_xml", True, False],
    ["app", "pg_sleep", True, False],
]
READS = ("set_config", "current_setting", "now", "clock_timestamp", "timezone", "date_trunc", "random", "count", "sum",
         "gen_random_uuid", "generate_series", "min", "max", "avg", "lower", "upper", "length", "md5", "format",
         "concat", "repeat", "replace", "btrim", "round", "abs", "floor", "jsonb_build_object", "unnest",
         "row_number", "array_agg", "string_agg", "to_char", "to_tsvector")  # fmt: skip


@pytest.mark.parametrize(
    ("call", "found"),
    [
        *((f"{name}()", "") for name in READS),
        ("coalesce(1, 2)", ""),
        ("substring('a' FROM 1)", ""),
        ("extract(day FROM d)", ""),
        ("pg_catalog.now()", ""),
        ("app.now()", "now() is called; lasting call"),
        ("f()", ""),
        ("g()", "g() is called; lasting call"),
        ("other.g()", ""),
        ("app.g()", "g() is called; lasting call"),
        ("two()", "two() is called; lasting call"),
        ("left()", ""),
        ("pg_catalog.left()", "left() is called; lasting call"),
        ("unknown()", "unknown() is called; lasting call"),
        ("pg_sleep(1)", "lasting call"),
        ("pg_sleep_for(1)", "lasting call"),
        ("pg_catalog.pg_sleep_until(1)", "lasting call"),
        ("app.pg_sleep(1)", "pg_sleep() is called; lasting call"),
        ("query_to_xml()", "query_to_xml() is called; lasting call"),
        ("pg_catalog.query_to_xml()", "query_to_xml() is called; lasting call"),
        # Sequences
        ("nextval('free')", "free: ROW EXCLUSIVE"),
        ("pg_catalog.setval('app.free', 1)", "free: ROW EXCLUSIVE"),
        ("currval('free'::regclass)", "free: ROW EXCLUSIVE"),
        ("nextval('nowhere')", ""),
        ("nextval(n)", ""),
        ("nextval()", "nextval() is called; lasting call"),
        ("nextval(pg_get_serial_sequence('t', 'id'))", "t_id: ROW EXCLUSIVE"),
        ("nextval(pg_catalog.pg_get_serial_sequence('app.t', 'own'))", "t_own: ROW EXCLUSIVE"),
        ("nextval(pg_get_serial_sequence('t', 'note'))", ""),
        ("nextval(pg_get_serial_sequence('t', 'ref'))", ""),
        ("nextval(pg_get_serial_sequence('nowhere', 'id'))", ""),
        ("nextval(other('t', 'id'))", "other() is called; lasting call"),
    ],
)
def test_functions_that_a_statement_calls(call: str, found: str) -> None:
    """A schema that the caller writes is not looked past: in it somebody's own function may be."""
    serial = [["pg_catalog", "pg_get_serial_sequence", True, False]]
    assert taken(f"SELECT {call}", functions=[*FUNCTIONS, *serial]) == found


def test_a_sequence_that_no_column_owns_is_not_that_of_a_column() -> None:
    sequences = [[TABLES["t"], 3, SEQUENCES["free"], "default"], [TABLES["t"], 3, SEQUENCES["t_own"], "owned"]]
    serial = [["pg_catalog", "pg_get_serial_sequence", True, False]]
    text = "SELECT nextval(pg_get_serial_sequence('t', 'note'))"
    assert taken(text, sequences=sequences, functions=serial) == "t_own: ROW EXCLUSIVE"
