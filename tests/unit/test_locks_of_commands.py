"""What each command locks that is neither a plain ALTER TABLE, nor a DROP, nor a change of rows.

The modes are those of PostgreSQL's own code; tests/postgres compares them with pg_locks.
"""

from __future__ import annotations

from typing import Any

import pytest
from some_catalog import CATALOG, OIDS, on, taken

V13, V14, V17, V18 = ({"version": major * 10_000} for major in (13, 14, 17, 18))
T, P, X, Y, U, W = (OIDS[name] for name in ("t", "p", "x", "y", "u", "w"))


def relation(oid: int, name: str, kind: str = "r", table: int | None = None, schema: str = "app") -> list[Any]:
    return [oid, schema, name, f"{schema}.{name}", kind, 8, 2, table, 0, oid + 100, False]


def facts(**more: list[Any]) -> dict[str, Any]:
    """Beside those of the catalog."""
    return {name: [*CATALOG.get(name, ()), *rows] for name, rows in more.items()}


KINDS = facts(relations=[relation(60, "m", "m"), relation(61, "comp", "c")])
CHUNKED = facts(
    relations=[
        *(relation(70, "h"), relation(71, "h1", schema="_timescaledb_internal")),
        *(relation(72, "h_i", "i", 70), relation(73, "h1_i", "i", 71, "_timescaledb_internal")),
    ],
    inherits=[[71, 70]],
)
FOREIGN = facts(relations=[relation(62, "far", "f"), relation(63, "foreign_view", "v")], bases=[[63, 62], [63, W]])
PUBLISHED = {"published": [["pub", X]]}
DOMAIN = {
    "objects": [["pg_type", 80, "d", "app"]],
    "depends": [
        on("pg_class", T, to=("pg_type", 80, 0), column=2),
        on("pg_class", OIDS["v"], to=("pg_type", 80, 0), column=1),
        on("pg_attrdef", 5, to=("pg_type", 80, 0)),
    ],
}


PARTITIONED = "CREATE TABLE n (x int) PARTITION BY LIST (x); "


def key(oid: int, table: int, name: str, to: int, *, valid: bool = True) -> list[Any]:
    return [oid, table, name, "f", to, valid, False, "a", "a", [1], [1]]


KEYS = facts(
    constraints=[
        *(key(301, P, "pk", W), key(302, T, "nv", U, valid=False)),
        [303, T, "chk", "c", 0, False, False, "a", "a", [1], None],
        [304, T, "own", "c", 0, True, True, "a", "a", [1], None],
        *(key(305, OIDS["p1"], "p1k", U), key(306, Y, "toy", OIDS["p1"])),
    ]
)
NOT_NULL = facts(
    columns=[
        *([P, 1, "id", "int4", True], [P, 2, "ref", "int4", False]),
        *([OIDS["c"], 1, "id", "int4", False], [OIDS["p1"], 1, "id", "int4", True]),
    ]
)
TRIGGERS = {"triggers": [[P, "rowtr", 5, "O"], [P, "stm", 4, "O"]]}
SEQUENCES = {"sequences": [[P, 1, OIDS["t_own"], "identity"], [P, 2, OIDS["free"], "owned"]]} | NOT_NULL
POINTED_AT = {
    "depends": [
        on("pg_constraint", 202, to=("pg_class", X, 1)),
        on("pg_constraint", 204, to=("pg_class", X, 1)),
        on("pg_class", OIDS["v"], to=("pg_class", X, 1)),
    ],
    "parts": [["pg_constraint", 202, X], ["pg_constraint", 204, Y]],
}


@pytest.mark.parametrize(
    ("text", "catalog", "locks"),
    [
        ("CREATE SEQUENCE s OWNED BY t.id", {}, "t: ACCESS SHARE"),
        ("ALTER SEQUENCE free OWNED BY t.id", {}, "free: SHARE ROW EXCLUSIVE; t: ACCESS SHARE"),
        ("ALTER SEQUENCE free OWNED BY NONE", {}, "free: SHARE ROW EXCLUSIVE"),
        ("ALTER SEQUENCE free RESTART", {}, "free: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE t RENAME TO z", {}, "t: ACCESS EXCLUSIVE"),
        ("ALTER TABLE t RENAME COLUMN id TO z", {}, "c t: ACCESS EXCLUSIVE"),
        ("ALTER TABLE ONLY t RENAME COLUMN id TO z", {}, "t: ACCESS EXCLUSIVE"),
        ("ALTER INDEX t_i RENAME TO z", {}, "t_i: SHARE UPDATE EXCLUSIVE"),
        ("ALTER VIEW v RENAME TO z", {}, "v: ACCESS EXCLUSIVE"),
        ('ALTER TABLE t RENAME CONSTRAINT "check" TO z', {}, "c t: ACCESS EXCLUSIVE"),
        ("ALTER TABLE t RENAME CONSTRAINT k201 TO z", {}, "t: ACCESS EXCLUSIVE"),
        ("ALTER TRIGGER tr ON t RENAME TO z", {}, "t: ACCESS EXCLUSIVE"),
        ("ALTER TRIGGER tr ON p RENAME TO z", {}, "p p1 pd: ACCESS EXCLUSIVE"),
        ("ALTER TRIGGER tr ON p RENAME TO z", V14, "p: ACCESS EXCLUSIVE"),
        ("ALTER TYPE comp RENAME TO z", KINDS, "comp: ACCESS EXCLUSIVE"),
        ("ALTER TYPE comp RENAME ATTRIBUTE a TO b", KINDS, "comp: ACCESS EXCLUSIVE"),
        ("ALTER TYPE t RENAME TO z", {}, ""),
        ("ALTER TYPE comp SET SCHEMA other", KINDS, "comp: ACCESS EXCLUSIVE"),
        ("ALTER TABLE t SET SCHEMA other", {}, "t t_id t_own: ACCESS EXCLUSIVE"),
        ("ALTER TABLE h RENAME CONSTRAINT x TO z", CHUNKED, "_timescaledb_internal.h1 h: ACCESS EXCLUSIVE"),
        ("ALTER TRIGGER x ON h RENAME TO z", CHUNKED, "_timescaledb_internal.h1 h: ACCESS EXCLUSIVE"),
        ("ALTER INDEX h_i RENAME TO z", CHUNKED, (
            "_timescaledb_internal.h1: ACCESS EXCLUSIVE; h_i: SHARE UPDATE EXCLUSIVE"
        )),
        ("ALTER TABLE h RENAME TO z", CHUNKED, "h: ACCESS EXCLUSIVE"),
        ("COMMENT ON TABLE t IS ''", {}, "t: SHARE UPDATE EXCLUSIVE"),
        ("COMMENT ON COLUMN t.id IS ''", {}, "t: SHARE UPDATE EXCLUSIVE"),
        ("COMMENT ON CONSTRAINT k201 ON t IS ''", {}, "t: ACCESS SHARE"),
        ("COMMENT ON TRIGGER k ON t IS ''", {}, "t: ACCESS SHARE"),
        ("COMMENT ON RULE k ON t IS ''", {}, "t: ACCESS SHARE"),
        ("COMMENT ON POLICY k ON t IS ''", {}, "t: ACCESS SHARE"),
        ("COMMENT ON FUNCTION f() IS ''", {}, ""),
        ("COMMENT ON INDEX t_i IS ''", {}, "t_i: SHARE UPDATE EXCLUSIVE"),
        ("COMMENT ON TABLE unknown IS ''", {}, ""),
        ("ALTER EXTENSION e ADD TABLE t", {}, "t: SHARE UPDATE EXCLUSIVE"),
        ("ALTER EXTENSION e ADD TABLE unknown", {}, ""),
        ("ALTER EXTENSION e DROP FUNCTION f()", {}, ""),
        ("ALTER INDEX t_i DEPENDS ON EXTENSION e", {}, "t_i: ACCESS EXCLUSIVE"),
        ("ALTER TRIGGER tr ON t DEPENDS ON EXTENSION e", {}, "t: ACCESS SHARE"),
        ("ALTER FUNCTION f() DEPENDS ON EXTENSION e", {}, ""),
        ("CREATE STATISTICS s ON id, ref FROM t", {}, "t: SHARE UPDATE EXCLUSIVE"),
        ("CREATE PUBLICATION pub FOR TABLE t, p, unknown", {}, "c p t: SHARE UPDATE EXCLUSIVE"),
        ("CREATE PUBLICATION pub FOR TABLE ONLY t", {}, "t: SHARE UPDATE EXCLUSIVE"),
        ("ALTER PUBLICATION pub SET TABLE u", PUBLISHED, "u x: SHARE UPDATE EXCLUSIVE"),
        ("ALTER PUBLICATION pub ADD TABLE u", PUBLISHED, "u: SHARE UPDATE EXCLUSIVE"),
        ("CREATE PUBLICATION pub FOR ALL TABLES", {}, ""),
        ("ALTER DOMAIN d ADD CHECK (VALUE > 0)", DOMAIN, "t: SHARE scan"),
        ("ALTER DOMAIN d ADD CONSTRAINT c CHECK (VALUE > 0) NOT VALID", DOMAIN, ""),
        ("ALTER DOMAIN d VALIDATE CONSTRAINT c", DOMAIN, "t: SHARE scan"),
        ("ALTER DOMAIN d SET NOT NULL", DOMAIN, "t: SHARE scan"),
        ("ALTER DOMAIN d DROP NOT NULL", DOMAIN, ""),
        ("ALTER DOMAIN d DROP CONSTRAINT c", DOMAIN, ""),
        ("ALTER DOMAIN d SET DEFAULT 1", DOMAIN, ""),
        ("TRUNCATE t", {}, "c t: ACCESS EXCLUSIVE"),
        ("TRUNCATE ONLY t", {}, "t: ACCESS EXCLUSIVE"),
        ("TRUNCATE x, t", {}, "c t x: ACCESS EXCLUSIVE"),
        ("TRUNCATE u CASCADE", {}, "t u w x y: ACCESS EXCLUSIVE"),
        ("TRUNCATE t RESTART IDENTITY", {}, "c t t_id t_own: ACCESS EXCLUSIVE"),
        ("TRUNCATE w", {}, "w: ACCESS EXCLUSIVE"),
        ("LOCK TABLE v", {}, "c t v: ACCESS EXCLUSIVE"),
        ("LOCK TABLE ONLY t", {}, "t: ACCESS EXCLUSIVE"),
        ("LOCK TABLE joined IN ROW SHARE MODE; ", {}, "c joined t u: ROW SHARE"),
        ("REFRESH MATERIALIZED VIEW m", KINDS, "m: ACCESS EXCLUSIVE rows"),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", KINDS, "m: EXCLUSIVE rows"),
        ("REFRESH MATERIALIZED VIEW m WITH NO DATA", KINDS, "m: ACCESS EXCLUSIVE"),
        ("REFRESH MATERIALIZED VIEW unknown", {}, "lasting rows"),
        ("COPY (SELECT * FROM t) TO STDOUT", {}, "t: ACCESS SHARE; lasting rows"),
        ("COPY t TO STDOUT", {}, "t: ACCESS SHARE rows"),
        ("COPY new FROM '/x'", {}, "lasting rows"),
        ("COPY t FROM '/x'", {}, "t: ROW EXCLUSIVE rows; u: ROW SHARE"),
        ("REINDEX TABLE t", {}, "t: SHARE build"),
        ("REINDEX INDEX t_i", {}, "t_i: ACCESS EXCLUSIVE build; t: SHARE build"),
        ("REINDEX (CONCURRENTLY) TABLE t", {}, "t: SHARE UPDATE EXCLUSIVE build"),
        ("REINDEX INDEX CONCURRENTLY t_i", {}, "t t_i: SHARE UPDATE EXCLUSIVE build"),
        ("REINDEX TABLE p", {}, "p p1 pd: SHARE build"),
        ("REINDEX INDEX p_i", {}, "p1_i p_i: ACCESS EXCLUSIVE build; p p1: SHARE build"),
        ("REINDEX SCHEMA app", {}, "REINDEX works on all tables of a schema or a database; lasting call"),
        ("REINDEX DATABASE x", {}, "REINDEX works on all tables of a schema or a database; lasting call"),
        ("REINDEX TABLE unknown", {}, "lasting build"),
        ("REINDEX TABLE h", CHUNKED, "_timescaledb_internal.h1: SHARE build"),
        ("CLUSTER", {}, "CLUSTER works on all tables of a database that were clustered before; lasting call"),
        ("CLUSTER t USING t_i", {}, "t: ACCESS EXCLUSIVE rewrite"),
        ("CLUSTER p USING p_i", {}, "p p1 pd: ACCESS EXCLUSIVE rewrite"),
        ("CLUSTER unknown", {}, "lasting rewrite"),
        ("VACUUM", {}, "VACUUM works on all tables of a database; lasting call; lasting scan"),
        ("ANALYZE", {}, "ANALYZE works on all tables of a database; lasting call; lasting scan"),
        ("VACUUM t", {}, "t: SHARE UPDATE EXCLUSIVE scan; lasting scan"),
        ("VACUUM FULL t", {}, "t: ACCESS EXCLUSIVE rewrite; lasting scan"),
        ("ANALYZE t", {}, "t: SHARE UPDATE EXCLUSIVE scan; lasting scan"),
        ("ANALYZE p", {}, "p p1 pd: SHARE UPDATE EXCLUSIVE scan; lasting scan"),
        ("VACUUM p", {}, "p p1 pd: SHARE UPDATE EXCLUSIVE scan; lasting scan"),
        ("ANALYZE ONLY t", V18, "t: SHARE UPDATE EXCLUSIVE scan; lasting scan"),
        ("ANALYZE t", V18, "c t: SHARE UPDATE EXCLUSIVE scan; lasting scan"),
        ("VACUUM unknown", {}, "lasting scan"),
        ("EXPLAIN SELECT * FROM t", {}, "t: ACCESS SHARE"),
        ("EXPLAIN ANALYZE SELECT * FROM t", {}, "t: ACCESS SHARE; lasting rows"),
        ("EXPLAIN ANALYZE DELETE FROM t", {}, "x y: ROW EXCLUSIVE; c t x: ROW EXCLUSIVE rows; lasting rows"),
        ("EXPLAIN (ANALYZE off) SELECT * FROM v", {}, "t v: ACCESS SHARE"),
        ("EXPLAIN DELETE FROM w", {}, "w: ROW EXCLUSIVE; w: ACCESS SHARE"),
        ("PREPARE a AS DELETE FROM w; EXECUTE a", {}, "w: ROW EXCLUSIVE rows; lasting rows"),
        ("EXECUTE unknown", {}, "EXECUTE unknown runs what was prepared elsewhere"),
        ("PREPARE a AS DELETE FROM w", {}, "w: ROW EXCLUSIVE; w: ACCESS SHARE"),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO bob", {}, ""),
        ("GRANT SELECT ON t TO bob", {}, ""),
        ("GRANT SELECT ON ALL TABLES IN SCHEMA app TO bob", {}, ""),
        ("REASSIGN OWNED BY a TO b", {}, "REASSIGN OWNED takes what a role has; lasting call"),
        ("DROP OWNED BY a", {}, "DROP OWNED takes what a role has; lasting call"),
        ("IMPORT FOREIGN SCHEMA x FROM SERVER s INTO app", {}, (
            "IMPORT FOREIGN SCHEMA asks another server; lasting call"
        )),
        ("CALL f()", {}, "CALL runs a procedure; lasting call"),
        ("CREATE EXTENSION e", {}, "an extension's script runs; lasting call"),
        ("ALTER EXTENSION e UPDATE", {}, "an extension's script runs; lasting call"),
        ("ALTER TABLE c ADD COLUMN z int REFERENCES w", {}, "c: ACCESS EXCLUSIVE; w: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE c ADD COLUMN z int DEFAULT 1 REFERENCES w", {}, (
            "c: ACCESS EXCLUSIVE; w: SHARE ROW EXCLUSIVE scan"
        )),
        ("ALTER TABLE c ADD COLUMN z int GENERATED ALWAYS AS (1) STORED REFERENCES w", {}, (
            "c: ACCESS EXCLUSIVE rewrite; w: SHARE ROW EXCLUSIVE scan"
        )),
        ("ALTER TABLE t ADD CHECK (id > 0) NO INHERIT", {}, "t: ACCESS EXCLUSIVE scan"),
        ("ALTER TABLE t ADD CHECK (id > 0)", {}, "c t: ACCESS EXCLUSIVE scan"),
        ("ALTER TABLE t ADD UNIQUE (id)", V18, "c: ACCESS EXCLUSIVE; t: ACCESS EXCLUSIVE build"),
        ("ALTER TABLE t ADD UNIQUE (id)", {}, "t: ACCESS EXCLUSIVE build"),
        ("ALTER TABLE p ADD FOREIGN KEY (id) REFERENCES w", {}, "p p1 pd w: SHARE ROW EXCLUSIVE scan"),
        ("ALTER TABLE p ADD FOREIGN KEY (id) REFERENCES w NOT VALID", {}, "p p1 pd w: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE p ADD PRIMARY KEY (id)", NOT_NULL, "p: ACCESS EXCLUSIVE build; p1 pd: SHARE build"),
        ("ALTER TABLE p ADD PRIMARY KEY (ref)", NOT_NULL, (
            "p: ACCESS EXCLUSIVE build; p1 pd: ACCESS EXCLUSIVE scan; p1 pd: SHARE build"
        )),
        ("ALTER TABLE t ADD PRIMARY KEY (id)", NOT_NULL, "t: ACCESS EXCLUSIVE build; c: ACCESS EXCLUSIVE scan"),
        ("ALTER TABLE p ADD UNIQUE USING INDEX p_i", {}, "p: ACCESS EXCLUSIVE; p1 pd: SHARE"),
        ("ALTER TABLE unknown ADD UNIQUE (id)", {}, "lasting build"),
        ("ALTER TABLE t ALTER id SET NOT NULL", {}, "c t: ACCESS EXCLUSIVE scan"),
        ("ALTER TABLE p ALTER id SET NOT NULL", NOT_NULL, "p: ACCESS EXCLUSIVE"),
        ("ALTER TABLE p ALTER ref SET NOT NULL", NOT_NULL, "p p1 pd: ACCESS EXCLUSIVE scan"),
        ("ALTER TABLE t ALTER zz SET NOT NULL", {}, "t: ACCESS EXCLUSIVE scan"),
        ("ALTER TABLE t ALTER id DROP NOT NULL", {}, "c t: ACCESS EXCLUSIVE"),
        ("ALTER TABLE t ALTER id DROP NOT NULL", V18, "t: ACCESS EXCLUSIVE"),
        ("ALTER TABLE p ALTER id DROP NOT NULL", NOT_NULL | V18, "p p1 pd: ACCESS EXCLUSIVE"),
        ("ALTER TABLE t ALTER zz DROP NOT NULL", V18, "c t: ACCESS EXCLUSIVE"),
        ("ALTER TABLE t ALTER CONSTRAINT k201 DEFERRABLE", {}, "t: ACCESS EXCLUSIVE"),
        ("ALTER TABLE t ALTER CONSTRAINT k201 ENFORCED", V18, "t: ACCESS EXCLUSIVE; u: SHARE ROW EXCLUSIVE scan"),
        ("ALTER TABLE t ALTER CONSTRAINT k201 NOT ENFORCED", V18, "t u: ACCESS EXCLUSIVE"),
        ("ALTER TABLE p ALTER CONSTRAINT pk DEFERRABLE", KEYS, "p p1 pd: ACCESS EXCLUSIVE"),
        ("ALTER TABLE t ALTER CONSTRAINT zz NOT ENFORCED", V18, "t: ACCESS EXCLUSIVE"),
        ("ALTER TABLE t VALIDATE CONSTRAINT k201", {}, "t: SHARE UPDATE EXCLUSIVE scan"),
        ("ALTER TABLE t VALIDATE CONSTRAINT nv", KEYS, "t: SHARE UPDATE EXCLUSIVE scan; u: ROW SHARE scan"),
        ("ALTER TABLE t VALIDATE CONSTRAINT chk", KEYS, "c t: SHARE UPDATE EXCLUSIVE scan"),
        ("ALTER TABLE ONLY t VALIDATE CONSTRAINT chk", KEYS, "t: SHARE UPDATE EXCLUSIVE scan"),
        ("ALTER TABLE t DROP CONSTRAINT chk", KEYS, "c t: ACCESS EXCLUSIVE"),
        ("ALTER TABLE t DROP CONSTRAINT k201", {}, "t u: ACCESS EXCLUSIVE"),
        ("ALTER TABLE ONLY t DROP CONSTRAINT chk", KEYS, "c t: ACCESS EXCLUSIVE"),
        ("ALTER TABLE t DROP CONSTRAINT zz", KEYS, "t: ACCESS EXCLUSIVE"),
        ("ALTER TABLE p ENABLE TRIGGER rowtr", TRIGGERS, "p p1 pd: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE p ENABLE TRIGGER stm", TRIGGERS, "p: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE p DISABLE TRIGGER USER", TRIGGERS, "p p1 pd: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE p DISABLE TRIGGER ALL", TRIGGERS, "p p1 pd: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE p DISABLE TRIGGER ALL", {}, "p: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE p DISABLE TRIGGER ALL", KEYS, "p p1 pd: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE p DISABLE TRIGGER ALL", KEYS | V14, "p: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE p DISABLE TRIGGER USER", KEYS, "p: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE t DISABLE TRIGGER ALL", {}, "t: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE ONLY p DISABLE TRIGGER ALL", TRIGGERS, "p: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE p ALTER id ADD GENERATED ALWAYS AS IDENTITY", {}, "p: ACCESS EXCLUSIVE"),
        ("ALTER TABLE p ALTER id ADD GENERATED ALWAYS AS IDENTITY", V17, "p p1 pd: ACCESS EXCLUSIVE"),
        ("ALTER TABLE h ALTER id ADD GENERATED ALWAYS AS IDENTITY", CHUNKED | V17, "h: ACCESS EXCLUSIVE"),
        ("ALTER TABLE p ALTER id SET GENERATED ALWAYS", SEQUENCES | V17, (
            "p p1 pd: ACCESS EXCLUSIVE; t_own: SHARE ROW EXCLUSIVE"
        )),
        ("ALTER TABLE p ALTER id SET GENERATED ALWAYS", SEQUENCES, "p: ACCESS EXCLUSIVE; t_own: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE p ALTER id DROP IDENTITY", SEQUENCES, "p t_own: ACCESS EXCLUSIVE"),
        ("ALTER TABLE p ALTER ref DROP IDENTITY", SEQUENCES, "p: ACCESS EXCLUSIVE"),
        ("ALTER TABLE p ALTER zz DROP IDENTITY", SEQUENCES, "p: ACCESS EXCLUSIVE"),
        ("ALTER TABLE p ALTER id TYPE text", SEQUENCES | V17, (
            "p p1 pd: ACCESS EXCLUSIVE rewrite; t_own: SHARE ROW EXCLUSIVE"
        )),
        ("ALTER TABLE y INHERIT w", {}, "y: ACCESS EXCLUSIVE; w: SHARE UPDATE EXCLUSIVE"),
        ("ALTER TABLE y NO INHERIT w", {}, "y: ACCESS EXCLUSIVE; w: ACCESS SHARE"),
        ("ALTER TABLE y INHERIT unknown", {}, "y: ACCESS EXCLUSIVE"),
        ("ALTER TABLE p ATTACH PARTITION t FOR VALUES IN (1)", {}, (
            "c pd t: ACCESS EXCLUSIVE scan; p: SHARE UPDATE EXCLUSIVE scan"
        )),
        ("ALTER TABLE q ATTACH PARTITION y FOR VALUES IN (1)", {}, (
            "y: ACCESS EXCLUSIVE scan; q: SHARE UPDATE EXCLUSIVE scan"
        )),
        ("ALTER TABLE p ATTACH PARTITION unknown DEFAULT", {}, (
            "pd: ACCESS EXCLUSIVE scan; p: SHARE UPDATE EXCLUSIVE scan"
        )),
        ("ALTER TABLE p DETACH PARTITION p1", KEYS, "p p1 pd y: ACCESS EXCLUSIVE; u: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE p DETACH PARTITION p1", V13, "p pd: ACCESS EXCLUSIVE; p1: SHARE UPDATE EXCLUSIVE"),
        ("ALTER TABLE p DETACH PARTITION p1", KEYS | V13, "p p1 pd y: ACCESS EXCLUSIVE; u: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE p DETACH PARTITION unknown", {}, "p: ACCESS EXCLUSIVE"),
        ("ALTER TABLE q DETACH PARTITION q1", {}, "q q1: ACCESS EXCLUSIVE"),
        ("ALTER TABLE t SET UNLOGGED", {}, "t_id t_own: ACCESS EXCLUSIVE; t: ACCESS EXCLUSIVE rewrite"),
        ("ALTER TABLE t SET LOGGED", {}, "t: ACCESS EXCLUSIVE"),
        ("ALTER TABLE t SET UNLOGGED", V14, "t: ACCESS EXCLUSIVE rewrite"),
        ("ALTER TABLE t ALTER ref TYPE text", {}, "c t: ACCESS EXCLUSIVE rewrite; u: SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE x ALTER id TYPE text", POINTED_AT, (
            "x: ACCESS EXCLUSIVE; x: ACCESS EXCLUSIVE rewrite; y: ACCESS EXCLUSIVE scan; t: SHARE ROW EXCLUSIVE"
        )),
        ("ALTER TABLE t DROP CONSTRAINT own", KEYS, "t: ACCESS EXCLUSIVE"),
        ("CREATE INDEX ON t (id)", {}, "t: SHARE build"),
        ("CREATE INDEX CONCURRENTLY ON t (id)", {}, "t: SHARE UPDATE EXCLUSIVE build"),
        ("CREATE INDEX ON p (id)", {}, "p p1 pd: SHARE build"),
        ("CREATE INDEX ON ONLY p (id)", {}, "p: SHARE build"),
        ("CREATE TABLE n (x int); ALTER TABLE c INHERIT n; CREATE INDEX ON n (x)", {}, "c: SHARE build; lasting build"),
        ("CREATE TABLE n (x int); ALTER TABLE c INHERIT n; CREATE INDEX ON ONLY n (x)", {}, "lasting build"),
        (PARTITIONED + "ALTER TABLE n ATTACH PARTITION y DEFAULT; CREATE INDEX ON n (x)", {}, (
            "y: SHARE build; lasting build"
        )),
        ("CREATE INDEX ON unknown (x)", {}, "lasting build"),
        ("CREATE TRIGGER z AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION f()", {}, "p p1 pd: SHARE ROW EXCLUSIVE"),
        ("CREATE TRIGGER z AFTER INSERT ON p EXECUTE FUNCTION f()", {}, "p: SHARE ROW EXCLUSIVE"),
        ("CREATE CONSTRAINT TRIGGER z AFTER INSERT ON y FROM u FOR EACH ROW EXECUTE FUNCTION f()", {}, (
            "y: SHARE ROW EXCLUSIVE; u: ACCESS SHARE"
        )),
        ("CREATE TABLE n AS SELECT * FROM u", {}, "u: ACCESS SHARE; lasting rows"),
        ("CREATE TABLE n AS SELECT * FROM u WITH NO DATA", {}, "u: ACCESS SHARE"),
        ("CREATE TABLE n AS EXECUTE a", {}, "EXECUTE a runs what was prepared elsewhere; lasting rows"),
        ("CREATE TABLE n (x int REFERENCES w)", {}, "w: SHARE ROW EXCLUSIVE"),
        ("CREATE TABLE n (x int, FOREIGN KEY (x) REFERENCES w)", {}, "w: SHARE ROW EXCLUSIVE"),
        ("CREATE TABLE n (x int) INHERITS (w)", {}, "w: SHARE UPDATE EXCLUSIVE"),
        ("CREATE TABLE n PARTITION OF p FOR VALUES IN (1)", {}, "p: ACCESS EXCLUSIVE; pd: ACCESS EXCLUSIVE scan"),
        ("CREATE TABLE n (LIKE w)", {}, "w: ACCESS SHARE"),
        ("CREATE VIEW n AS SELECT * FROM w", {}, "w: ACCESS SHARE"),
        ("CREATE OR REPLACE VIEW v AS SELECT * FROM w", {}, "v: ACCESS EXCLUSIVE; w: ACCESS SHARE"),
        ("CREATE RULE z AS ON DELETE TO y DO INSTEAD DELETE FROM w", {}, (
            "y: ACCESS EXCLUSIVE; w: ROW EXCLUSIVE; w: ACCESS SHARE"
        )),
        ("CREATE POLICY z ON y USING (EXISTS (SELECT FROM w))", {}, "y: ACCESS EXCLUSIVE; w y: ACCESS SHARE"),
        ("LOCK TABLE foreign_view", FOREIGN, "foreign_view w: ACCESS EXCLUSIVE"),
        ("CLUSTER p", {}, "p p1 pd: ACCESS EXCLUSIVE rewrite"),
        ("REINDEX (CONCURRENTLY off) TABLE y", {}, "y: SHARE build"),
        ("ANALYZE m", KINDS, "m: SHARE UPDATE EXCLUSIVE scan; lasting scan"),
        ("VACUUM v", {}, "lasting scan"),
        ("ALTER TABLE ALL IN TABLESPACE a SET TABLESPACE b", {}, (
            "ALTER ... ALL IN TABLESPACE takes what is there; lasting call"
        )),
        ("DECLARE a CURSOR FOR SELECT * FROM w", {}, "w: ACCESS SHARE"),
    ],
)  # fmt: skip
def test_what_a_command_locks(text: str, catalog: dict[str, Any], locks: str) -> None:
    assert taken(text, **catalog) == locks


EVENTS = {
    "events": [
        ["any", "ddl_command_end", []],
        ["some", "ddl_command_start", ["CREATE TABLE", "SELECT INTO", "CREATE VIEW", "DROP TABLE"]],
        ["drop", "sql_drop", []],
        ["rewrite", "table_rewrite", []],
    ]
}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("SELECT 1", ""),
        ("SELECT 1 INTO n", "any some"),
        ("/* x */ -- y\n  CREATE TABLE n (a int)", "any some"),
        ("CREATE TEMP TABLE n (a int)", "any some"),
        ("CREATE OR REPLACE VIEW v AS SELECT 1", "any some"),
        ("CREATE INDEX ON t (id)", "any"),
        ("DROP TABLE t", "any some drop"),
        ("DROP VIEW v", "any drop"),
        ("ALTER TABLE t ADD z int", "any drop rewrite"),
        ("ALTER VIEW v RENAME TO w2", "any"),
        ("DROP OWNED BY a", "any drop"),
        *((text, "") for text in (
            "CREATE ROLE a", "DROP DATABASE a", "CREATE EVENT TRIGGER a ON ddl_command_end EXECUTE FUNCTION f()",
            "ALTER SYSTEM SET x = 1", "CREATE TABLESPACE x LOCATION '/x'", "DROP SUBSCRIPTION s", "CREATE USER u",
            "INSERT INTO y VALUES (1)", "SET work_mem = '1MB'", "TRUNCATE t",
        )),
        *((text, "any") for text in (
            "GRANT SELECT ON t TO b", "REVOKE SELECT ON t FROM b", "COMMENT ON TABLE t IS ''", "REINDEX TABLE t",
            "IMPORT FOREIGN SCHEMA s FROM SERVER x INTO app", "SECURITY LABEL ON TABLE t IS ''",
            "REFRESH MATERIALIZED VIEW m",
        )),
    ],
)  # fmt: skip
def test_which_event_triggers_a_command_fires(text: str, names: str) -> None:
    found = taken(text, **EVENTS).split("; ")
    fired = [each.removeprefix("event trigger ").removesuffix(" runs a function") for each in found if "event" in each]
    assert fired == names.split()


FUNCTION = "CREATE FUNCTION f() RETURNS int LANGUAGE sql"
RULES = {"rules": [[OIDS["v"], "r", "4", "O"], [OIDS["v"], "off", "4", "D"], [OIDS["v"], "i", "3", "A"]]}
RULED = "t v: ROW EXCLUSIVE; t v: ACCESS SHARE; rule r of app.v runs other statements"


@pytest.mark.parametrize(
    ("text", "catalog", "locks"),
    [
        (f"{FUNCTION} AS 'SELECT id FROM v'", {}, "t v: ACCESS SHARE"),
        (f"{FUNCTION} BEGIN ATOMIC DELETE FROM w; SELECT 1; END", {}, "w: ROW EXCLUSIVE; w: ACCESS SHARE"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'SELECT id FROM v'", {}, ""),
        (f"{FUNCTION} AS 'DELETE FROM v; SELECT 1'", {}, "t v: ROW EXCLUSIVE; t v: ACCESS SHARE"),
        (f"{FUNCTION} AS 'WITH t AS (SELECT 1) SELECT 1 FROM t; SELECT 1 FROM app.w'", {}, "w: ACCESS SHARE"),
        (f"{FUNCTION} AS 'SELECT 1 FROM w FOR UPDATE'", {}, "w: ROW SHARE; w: ACCESS SHARE"),
        (f"{FUNCTION} AS 'SELECT FROM WHERE'", {}, ""),
        ("PREPARE a AS DELETE FROM t", {}, "t: ROW EXCLUSIVE; t: ACCESS SHARE"),
        ("EXPLAIN UPDATE t SET id = 1", {}, "c t: ROW EXCLUSIVE; t: ACCESS SHARE"),
        ("EXPLAIN UPDATE ONLY t SET id = 1", {}, "t: ROW EXCLUSIVE; t: ACCESS SHARE"),
        ("EXPLAIN DELETE FROM v", RULES, RULED),
        ("EXPLAIN UPDATE v SET id = 1", RULES, "t v: ROW EXCLUSIVE; t v: ACCESS SHARE"),
        ("EXPLAIN INSERT INTO v VALUES (1)", RULES, RULED.replace("rule r", "rule i")),
        ("EXPLAIN DELETE FROM joined", {}, "joined: ROW EXCLUSIVE; joined t u: ACCESS SHARE"),
        (
            "EXPLAIN MERGE INTO w USING t ON true WHEN MATCHED THEN DELETE",
            {},
            "w: ROW EXCLUSIVE; t w: ACCESS SHARE",
        ),
    ],
)
def test_what_is_looked_at_and_not_run(text: str, catalog: dict[str, Any], locks: str) -> None:
    assert taken(text, **catalog) == locks
