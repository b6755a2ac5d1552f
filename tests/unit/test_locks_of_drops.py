"""What DROP locks: what is dropped, what falls with it, and what these were parts of."""

from __future__ import annotations

import pytest
from some_catalog import INDEXES, TABLES, VIEWS, on, taken

TABLE, VIEW = (("pg_class", oid, 0) for oid in (TABLES["t"], VIEWS["v"]))
DEPENDS = [
    on("pg_class", INDEXES["t_i"], to=TABLE, how="a"),
    on("pg_class", VIEWS["v"], to=TABLE),
    on("pg_class", VIEWS["outer"], to=VIEW),
    on("pg_constraint", 202, to=TABLE),
    on("pg_class", INDEXES["p1_i"], to=("pg_class", INDEXES["p_i"], 0), how="P"),
    on("pg_class", TABLES["p1"], column=2, to=("pg_type", 301, 0)),
    on("pg_class", TABLES["w"], column=2, to=("pg_type", 302, 0)),
    on("pg_type", 399, to=("pg_type", 302, 0)),
]
HANGING = {
    "triggers": [[TABLES["p"], "each_row", 5, "O"], [TABLES["p"], "once", 4, "O"], [TABLES["t"], "each_row", 5, "O"]],
    "rules": [[TABLES["t"], "ru", "3", "O"]],
    "policies": [[TABLES["t"], "po"]],
}
OBJECTS = [["pg_type", 301, "mood", "app"], ["pg_type", 302, "mood", "other"], ["pg_statistic_ext", 303, "st", "app"]]
PARTS = [["pg_constraint", 202, TABLES["x"]], ["pg_statistic_ext", 303, TABLES["t"]]]


@pytest.mark.parametrize(
    ("text", "locks"),
    [
        ("DROP TABLE t", "t t_i: ACCESS EXCLUSIVE"),
        ("DROP TABLE t CASCADE", "outer t t_i v x: ACCESS EXCLUSIVE"),
        ("DROP VIEW v", "v: ACCESS EXCLUSIVE"),
        ("DROP VIEW app.v CASCADE", "outer v: ACCESS EXCLUSIVE"),
        ("DROP TABLE other.t, u", "other.t u: ACCESS EXCLUSIVE"),
        ("DROP TABLE c", "c: ACCESS EXCLUSIVE"),
        ("DROP TABLE p1", "p p1 pd: ACCESS EXCLUSIVE"),
        ("DROP TABLE q1", "q q1: ACCESS EXCLUSIVE"),
        ("DROP TABLE nowhere CASCADE", ""),
        ("DROP SEQUENCE free", "free: ACCESS EXCLUSIVE"),
        ("DROP MATERIALIZED VIEW v", "v: ACCESS EXCLUSIVE"),
        ("DROP FOREIGN TABLE w", "w: ACCESS EXCLUSIVE"),
        ("DROP INDEX t_i", "t t_i: ACCESS EXCLUSIVE"),
        ("DROP INDEX CONCURRENTLY t_i", "t: SHARE UPDATE EXCLUSIVE"),
        ("DROP INDEX CONCURRENTLY w", "w: ACCESS EXCLUSIVE"),
        ("DROP INDEX CONCURRENTLY nowhere", ""),
        ("DROP INDEX p_i", "p p1 p1_i p_i pd: ACCESS EXCLUSIVE"),
        ("DROP INDEX p1_i", "p1 p1_i: ACCESS EXCLUSIVE"),
        ("CREATE INDEX i ON p (x); DROP INDEX i", "p p1 pd: ACCESS EXCLUSIVE"),
        ("CREATE INDEX i ON t (x); DROP INDEX app.i", "t: ACCESS EXCLUSIVE"),
        ("CREATE INDEX i ON t (x); DROP TABLE i", ""),
        # What hangs on a table
        ("DROP TRIGGER each_row ON p", "p p1 pd: ACCESS EXCLUSIVE"),
        ("DROP TRIGGER once ON p", "p: ACCESS EXCLUSIVE"),
        ("DROP TRIGGER unknown ON p", "p: ACCESS EXCLUSIVE"),
        ("DROP TRIGGER each_row ON t", "t: ACCESS EXCLUSIVE"),
        ("DROP RULE each_row ON p", "p: ACCESS EXCLUSIVE"),
        ("DROP POLICY a ON app.p", "p: ACCESS EXCLUSIVE"),
        ("DROP TRIGGER a ON nowhere", ""),
        ("DROP TRIGGER IF EXISTS a ON t", ""),
        ("DROP TRIGGER IF EXISTS each_row ON t", "t: ACCESS EXCLUSIVE"),
        ("DROP RULE IF EXISTS ru ON t", "t: ACCESS EXCLUSIVE"),
        ("DROP RULE IF EXISTS ru ON u", ""),
        ("DROP POLICY IF EXISTS po ON t", "t: ACCESS EXCLUSIVE"),
        ("DROP POLICY IF EXISTS po ON nowhere", ""),
        ("CREATE POLICY a ON t; DROP POLICY IF EXISTS a ON t", "t: ACCESS EXCLUSIVE"),
        ("CREATE POLICY a ON t; DROP POLICY IF EXISTS a ON u", ""),
        # What is no relation
        ("DROP TYPE mood", ""),
        ("DROP TYPE mood CASCADE", "p1: ACCESS EXCLUSIVE"),
        ("DROP TYPE other.mood CASCADE", "w: ACCESS EXCLUSIVE"),
        ("DROP TYPE nothing.mood CASCADE", ""),
        ("DROP STATISTICS st", "t: SHARE UPDATE EXCLUSIVE"),
        ("DROP PUBLICATION a CASCADE", ""),
        ("DROP EVENT TRIGGER a CASCADE", ""),
        ("DROP CAST (int AS text) CASCADE", ""),
        ("DROP TRANSFORM FOR int LANGUAGE a CASCADE", ""),
        ("DROP TEXT SEARCH PARSER a", ""),
        ("DROP ACCESS METHOD a CASCADE", "DROP ACCESS METHOD ... CASCADE takes along what depends on it"),
    ],
)
def test_what_is_dropped_and_what_falls_with_it(text: str, locks: str) -> None:
    assert taken(text, depends=DEPENDS, objects=OBJECTS, parts=PARTS, **HANGING) == locks


@pytest.mark.parametrize(
    ("kind", "catalog", "name"),
    [
        ("TYPE", "pg_type", "a"),
        ("DOMAIN", "pg_type", "app.a"),
        ("SCHEMA", "pg_namespace", "a"),
        ("FUNCTION", "pg_proc", "a"),
        ("PROCEDURE", "pg_proc", "app.a(int)"),
        ("ROUTINE", "pg_proc", "a(text, int)"),
        ("AGGREGATE", "pg_proc", "a(int)"),
        ("EXTENSION", "pg_extension", "a"),
        ("SERVER", "pg_foreign_server", "a"),
        ("FOREIGN DATA WRAPPER", "pg_foreign_data_wrapper", "a"),
        ("STATISTICS", "pg_statistic_ext", "app.a"),
        ("COLLATION", "pg_collation", "a"),
    ],
)
@pytest.mark.parametrize("schema", ["app", None])
def test_a_view_falls_with_what_it_depends_on(kind: str, catalog: str, name: str, schema: str | None) -> None:
    objects = [[catalog, 304, "a", schema], [catalog, 305, "b", schema], ["pg_opclass", 306, "a", schema]]
    depends = [
        on("pg_class", VIEWS["v"], to=(catalog, 304, 0)),
        on("pg_class", VIEWS["joined"], to=(catalog, 305, 0)),
        on("pg_class", VIEWS["outer"], to=("pg_opclass", 306, 0)),
    ]
    assert taken(f"DROP {kind} {name}", depends=depends, objects=objects) == ""
    assert taken(f"DROP {kind} {name} CASCADE", depends=depends, objects=objects) == "v: ACCESS EXCLUSIVE"
