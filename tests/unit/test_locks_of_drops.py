"""What DROP locks: what is dropped, what falls with it, and what these were parts of."""

from __future__ import annotations

import pytest
from some_catalog import CATALOG, INDEXES, OIDS, TABLES, VIEWS, a_catalog, in_words, on, taken

from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.plan.lock_scope import Scope
from airflow_provider_wmigrate.engine.plan.locks_needed import taken_in_order
from airflow_provider_wmigrate.engine.sql.analysis import analyse

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


MADE = "ALTER TABLE y ADD CONSTRAINT k FOREIGN KEY (own) REFERENCES u"
NEW = "CREATE TABLE n (id int PRIMARY KEY, a int REFERENCES u, b int, CONSTRAINT k FOREIGN KEY (b) REFERENCES w)"


@pytest.mark.parametrize(
    ("text", "locks"),
    [
        (f"{MADE}; DROP TABLE u CASCADE", "u y: ACCESS EXCLUSIVE"),
        (f"{MADE}; DROP TABLE y", "u y: ACCESS EXCLUSIVE"),
        (f"{MADE}; TRUNCATE u CASCADE", "t u w x y: ACCESS EXCLUSIVE"),
        (f"{MADE}; ALTER TABLE y DROP CONSTRAINT k", "u y: ACCESS EXCLUSIVE"),
        (f"{MADE}; ALTER TABLE y DROP CONSTRAINT k; DELETE FROM y", "y: ROW EXCLUSIVE rows"),
        (f"{MADE}; ALTER TABLE y RENAME CONSTRAINT k TO l; ALTER TABLE y DROP CONSTRAINT k", "y: ACCESS EXCLUSIVE"),
        (f"{MADE}; ALTER TABLE y RENAME CONSTRAINT k TO l; ALTER TABLE y DROP CONSTRAINT l", "u y: ACCESS EXCLUSIVE"),
        (f"{MADE}; ALTER TABLE y VALIDATE CONSTRAINT k", "y: SHARE UPDATE EXCLUSIVE scan"),
        (f"{MADE} NOT VALID; ALTER TABLE y VALIDATE CONSTRAINT k", "y: SHARE UPDATE EXCLUSIVE scan; u: ROW SHARE scan"),
        (f"{MADE}; ALTER TABLE y DROP own", "u y: ACCESS EXCLUSIVE"),
        (f"{MADE}; ALTER TABLE y DROP id", "y: ACCESS EXCLUSIVE"),
        (f"{MADE} (id); ALTER TABLE u DROP id CASCADE", "u y: ACCESS EXCLUSIVE"),
        (f"{MADE} (id); ALTER TABLE u DROP note CASCADE", "u: ACCESS EXCLUSIVE"),
        (f"{MADE}; ALTER TABLE u DROP CONSTRAINT pk CASCADE", "u y: ACCESS EXCLUSIVE"),
        (f"{MADE} (id); ALTER TABLE u DROP CONSTRAINT pk", "u: ACCESS EXCLUSIVE"),
        (f"{MADE} (ref); ALTER TABLE u DROP CONSTRAINT pk CASCADE", "u: ACCESS EXCLUSIVE"),
        (f"{MADE} (ref); UPDATE u SET ref = 1", "u: ROW EXCLUSIVE rows; y: ROW SHARE"),
        (f"{MADE} ON DELETE CASCADE; DELETE FROM u", "x y: ROW EXCLUSIVE; t u x y: ROW EXCLUSIVE rows; w: ROW SHARE"),
        (f"{MADE}; ALTER TABLE y ALTER own TYPE int",
         "y: ACCESS EXCLUSIVE; y: ACCESS EXCLUSIVE rewrite; u: ACCESS EXCLUSIVE scan; u: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE y ADD z int REFERENCES u; ALTER TABLE y DROP z", "u y: ACCESS EXCLUSIVE"),
        ("ALTER TABLE y ADD FOREIGN KEY (own) REFERENCES u; ALTER TABLE y DROP CONSTRAINT y_own_fkey",
         "u y: ACCESS EXCLUSIVE"),
        ("ALTER TABLE y ADD FOREIGN KEY (own) REFERENCES u, ADD FOREIGN KEY (own) REFERENCES w;"
         " ALTER TABLE y DROP CONSTRAINT y_own_fkey1", "w y: ACCESS EXCLUSIVE"),
        ("ALTER TABLE t DROP CONSTRAINT k201, ADD CONSTRAINT k201 FOREIGN KEY (ref) REFERENCES w NOT VALID;"
         " ALTER TABLE t VALIDATE CONSTRAINT k201", "t: SHARE UPDATE EXCLUSIVE scan; w: ROW SHARE scan"),
        ("ALTER TABLE q ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES p; ALTER TABLE q DROP CONSTRAINT k",
         "p p1 pd q q1: ACCESS EXCLUSIVE"),
        ("ALTER TABLE q ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES p; DROP TABLE q1", "q q1: ACCESS EXCLUSIVE"),
        # Tables of its own
        (f"{NEW}; DROP TABLE n", "u w: ACCESS EXCLUSIVE"),
        (f"{NEW}; ALTER TABLE n RENAME TO m; DROP TABLE m", "u w: ACCESS EXCLUSIVE"),
        (f"{NEW}; ALTER TABLE n DROP a", "u: ACCESS EXCLUSIVE"),
        (f"{NEW}; ALTER TABLE n DROP id", ""),
        (f"{NEW}; ALTER TABLE n DROP CONSTRAINT k", "w: ACCESS EXCLUSIVE"),
        (f"{NEW}; ALTER TABLE n DROP CONSTRAINT n_a_fkey", "u: ACCESS EXCLUSIVE"),
        (f"{NEW}; TRUNCATE u CASCADE", "t u w x y: ACCESS EXCLUSIVE"),
        (f"CREATE SCHEMA s; {NEW.replace('n (', 's.n (')}; DROP SCHEMA s CASCADE", "u w: ACCESS EXCLUSIVE"),
        (f"CREATE SCHEMA s; {NEW}; DROP SCHEMA s CASCADE", ""),
        ("CREATE TABLE n (id int); ALTER TABLE y ADD CONSTRAINT k FOREIGN KEY (own) REFERENCES n; DROP TABLE n", ""),
        ("CREATE TABLE n (id int); ALTER TABLE y ADD CONSTRAINT k FOREIGN KEY (own) REFERENCES n; TRUNCATE n CASCADE",
         "y: ACCESS EXCLUSIVE"),
        ("CREATE TABLE n (a int); ALTER TABLE n ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES u NOT VALID;"
         " ALTER TABLE n VALIDATE CONSTRAINT k", "u: ROW SHARE"),
        ("CREATE TABLE IF NOT EXISTS y (a int REFERENCES w); DROP TABLE y", "y: ACCESS EXCLUSIVE"),
        # Partitions, children
        ("ALTER TABLE q ATTACH PARTITION y DEFAULT; DROP TABLE q", "q y: ACCESS EXCLUSIVE"),
        ("ALTER TABLE q ATTACH PARTITION y DEFAULT; DROP TABLE y", "q y: ACCESS EXCLUSIVE"),
        ("ALTER TABLE y INHERIT u; DROP TABLE u", "u: ACCESS EXCLUSIVE"),
        ("ALTER TABLE y INHERIT u; DROP TABLE u CASCADE", "u y: ACCESS EXCLUSIVE"),
        ("CREATE TABLE n PARTITION OF q DEFAULT; DROP TABLE n", "q: ACCESS EXCLUSIVE"),
        ("CREATE TABLE n (x int); ALTER TABLE c INHERIT n; TRUNCATE n", "c: ACCESS EXCLUSIVE"),
        ("CREATE TABLE n PARTITION OF p DEFAULT; ALTER TABLE p DETACH PARTITION n; DROP TABLE n", ""),
        ("ALTER TABLE q ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES u; ALTER TABLE q DETACH PARTITION q1;"
         " DROP TABLE q1",
         "q1 u: ACCESS EXCLUSIVE"),
        # Columns that are renamed, functions of triggers
        (f"{MADE}; ALTER TABLE y RENAME own TO mine; ALTER TABLE y DROP own", "y: ACCESS EXCLUSIVE"),
        (f"{MADE}; ALTER TABLE y RENAME own TO mine; ALTER TABLE y DROP mine", "u y: ACCESS EXCLUSIVE"),
        ("ALTER TABLE ONLY t RENAME own TO mine; ALTER TABLE t DROP IF EXISTS mine", "c t: ACCESS EXCLUSIVE"),
        ("CREATE TRIGGER a AFTER INSERT ON y EXECUTE FUNCTION f(); DROP FUNCTION f", ""),
        ("CREATE TRIGGER a AFTER INSERT ON y EXECUTE FUNCTION f(); DROP FUNCTION f CASCADE", "y: ACCESS EXCLUSIVE"),
        ("CREATE TRIGGER a AFTER INSERT ON y EXECUTE FUNCTION f(); DROP FUNCTION g CASCADE", ""),
        ("CREATE TRIGGER a AFTER INSERT ON y EXECUTE FUNCTION f();"
         " CREATE TRIGGER a AFTER INSERT ON u EXECUTE FUNCTION f(); DROP FUNCTION f CASCADE", "u y: ACCESS EXCLUSIVE"),
        ("CREATE TRIGGER a AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION f(); DROP FUNCTION f CASCADE",
         "p p1 pd: ACCESS EXCLUSIVE"),
        ("CREATE TRIGGER a AFTER INSERT ON p EXECUTE FUNCTION f(); DROP FUNCTION f CASCADE", "p: ACCESS EXCLUSIVE"),
        ("CREATE TABLE n (x int); CREATE TRIGGER a AFTER INSERT ON n EXECUTE FUNCTION f();"
         " DROP FUNCTION f CASCADE", ""),
        # Views
        ("CREATE OR REPLACE VIEW v AS TABLE y; DROP TABLE y", "y: ACCESS EXCLUSIVE"),
        ("CREATE OR REPLACE VIEW v AS TABLE y; DROP TABLE y CASCADE", "outer v y: ACCESS EXCLUSIVE"),
        ("CREATE OR REPLACE VIEW v AS WITH y AS (TABLE u) TABLE y; DROP TABLE y CASCADE", "y: ACCESS EXCLUSIVE"),
        ("CREATE VIEW n AS TABLE y; CREATE OR REPLACE VIEW v AS TABLE n; DROP TABLE y CASCADE",
         "outer v y: ACCESS EXCLUSIVE"),
        ("CREATE MATERIALIZED VIEW n AS TABLE y; CREATE OR REPLACE VIEW v AS TABLE n; DROP TABLE y CASCADE",
         "outer v y: ACCESS EXCLUSIVE"),
        ("CREATE TABLE n AS TABLE y; CREATE OR REPLACE VIEW v AS TABLE n; DROP TABLE y CASCADE", "y: ACCESS EXCLUSIVE"),
        ("CREATE VIEW n AS TABLE v; CREATE OR REPLACE VIEW v AS TABLE y; DROP VIEW n", ""),
    ],
)  # fmt: skip
def test_what_a_script_has_tied_together_falls_together(text: str, locks: str) -> None:
    tables = ("t", "v", "u", "x", "w", "y")
    columns = [
        [OIDS[table], number, name, "int4", False]
        for table in tables
        for number, name in enumerate(("id", "ref", "note", "own"), 1)
    ]
    constraints = [*CATALOG["constraints"], [216, OIDS["u"], "pk", "p", 0, True, False, "a", "a", [1], None]]
    depends = [on("pg_class", VIEWS["outer"], to=VIEW)]
    parts = [["pg_constraint", 216, OIDS["u"]]]
    assert taken(text, depends=depends, parts=parts, columns=columns, constraints=constraints) == locks


def test_the_facts_of_before_stay_as_they_were() -> None:
    before, facts = a_catalog(), a_catalog()
    scope = Scope(facts)
    found = [*taken_in_order(analyse(Script.of("001_a.sql", f"{MADE}; TRUNCATE u CASCADE")), scope)]
    assert facts == before
    assert scope.facts != before
    assert in_words(found[1][2], facts) == "t u w x y: ACCESS EXCLUSIVE"
