"""What a name means behind the statements of a script, and whether a script names what it has not made."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from some_catalog import taken

from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.plan.lock_touching import touches_existing
from airflow_provider_wmigrate.engine.sql.analysis import analyse

OLD, CHILDREN = "t: ACCESS EXCLUSIVE", "c t: ACCESS EXCLUSIVE"


@pytest.mark.parametrize(
    ("before", "then", "locks"),
    [
        ("CREATE TABLE t (x int)", "LOCK t", ""),
        ("CREATE TABLE IF NOT EXISTS t (x int)", "LOCK t", CHILDREN),
        ("CREATE FOREIGN TABLE t (x int) SERVER s", "LOCK t", ""),
        ("CREATE FOREIGN TABLE IF NOT EXISTS t (x int) SERVER s", "LOCK t", CHILDREN),
        ("CREATE FOREIGN TABLE n (x int) SERVER s", "ANALYZE n", "lasting scan"),
        ("CREATE TABLE n (x int)", "ANALYZE n", ""),
        ("CREATE TABLE t AS SELECT 1", "LOCK t", ""),
        ("CREATE TABLE IF NOT EXISTS t AS SELECT 1", "LOCK t", CHILDREN),
        ("CREATE TABLE n AS SELECT 1 AS x WITH NO DATA", "ANALYZE n", ""),
        ("SELECT 1 INTO t", "LOCK t", ""),
        ("SELECT 1 AS x INTO n", "CREATE INDEX ON n (x)", ""),
        ("SELECT 1", "LOCK t", CHILDREN),
        ("SELECT now(), set_config('search_path', 'other', false)", "LOCK t", "other.t: ACCESS EXCLUSIVE"),
        ("SELECT set_config('role', 'other', false)", "LOCK t", CHILDREN),
        ("SELECT other('search_path', 'other', false)", "LOCK t", CHILDREN),
        ("CREATE VIEW t AS SELECT 1", "LOCK t", ""),
        ("CREATE OR REPLACE VIEW t AS SELECT 1", "LOCK t", CHILDREN),
        ("CREATE VIEW n AS SELECT f() FROM u", "LOCK n", "u: ACCESS EXCLUSIVE"),
        ("CREATE SEQUENCE free", "DROP SEQUENCE free", ""),
        ("CREATE SEQUENCE IF NOT EXISTS free", "DROP SEQUENCE free", "free: ACCESS EXCLUSIVE"),
        ("CREATE TYPE t AS (x int)", "LOCK t", ""),
        ("CREATE TYPE t AS ENUM ('x')", "LOCK t", CHILDREN),
        ("CREATE INDEX t ON u (x)", "LOCK t", CHILDREN),
        ("CREATE INDEX i ON u (x)", "DROP INDEX i", "u: ACCESS EXCLUSIVE"),
        ("ALTER TABLE y RENAME TO n", "LOCK n", "y: ACCESS EXCLUSIVE"),
        ("ALTER TABLE y RENAME x TO n", "LOCK y", "y: ACCESS EXCLUSIVE"),
        ("ALTER SCHEMA other RENAME TO n", "LOCK n.t", "other.t: ACCESS EXCLUSIVE"),
        ("ALTER DATABASE other RENAME TO n", "LOCK other.t", "other.t: ACCESS EXCLUSIVE"),
        ("ALTER TABLE y SET SCHEMA n", "LOCK n.y", "y: ACCESS EXCLUSIVE"),
        ("ALTER FUNCTION y() SET SCHEMA n", "LOCK y", "y: ACCESS EXCLUSIVE"),
        ("DROP TABLE t", "LOCK t", ""),
        ("DROP TABLE u, t", "LOCK t", ""),
        ("DROP TYPE t", "LOCK t", CHILDREN),
        ("SET search_path = other", "LOCK t", "other.t: ACCESS EXCLUSIVE"),
        ("PREPARE n AS DELETE FROM y", "EXECUTE n", "y: ROW EXCLUSIVE rows; lasting rows"),
        ("PREPARE n AS DELETE FROM y", "EXECUTE m", "EXECUTE m runs what was prepared elsewhere"),
        # What belongs to a table
        ("CREATE TRIGGER a BEFORE INSERT ON t EXECUTE FUNCTION f()", "DROP TRIGGER IF EXISTS a ON t", OLD),
        ("CREATE RULE a AS ON INSERT TO t DO NOTHING", "DROP RULE IF EXISTS a ON t", OLD),
        ("CREATE POLICY a ON t", "DROP POLICY IF EXISTS a ON t", OLD),
        ("ALTER TRIGGER b ON t RENAME TO a", "DROP TRIGGER IF EXISTS a ON t", OLD),
        ("ALTER RULE b ON t RENAME TO a", "DROP RULE IF EXISTS a ON t", OLD),
        ("ALTER POLICY b ON t RENAME TO a", "DROP POLICY IF EXISTS a ON t", OLD),
        ("ALTER TABLE t RENAME CONSTRAINT b TO a", "DROP RULE IF EXISTS a ON t", ""),
        # What is behind a new table
        ("CREATE TABLE n (x int); ALTER TABLE n ADD y int", "ANALYZE n", ""),
        ("CREATE TABLE n (x int); ALTER TABLE c INHERIT n", "ANALYZE n", "lasting scan"),
        ("CREATE TABLE n (x int); CREATE TABLE m (x int); ALTER TABLE m INHERIT n", "ANALYZE n", ""),
        ("CREATE TABLE n (x int); ALTER TABLE c INHERIT n", "LOCK n", "c: ACCESS EXCLUSIVE"),
        ("CREATE TABLE n (x int); ALTER TABLE n INHERIT c", "LOCK n", ""),
        (
            "CREATE TABLE m (x int); ALTER TABLE c INHERIT m; CREATE TABLE n (x int); ALTER TABLE m INHERIT n",
            "LOCK n",
            "c: ACCESS EXCLUSIVE",
        ),
        (
            "CREATE TABLE n (x int) PARTITION BY LIST (x); ALTER TABLE n ATTACH PARTITION y DEFAULT",
            "LOCK n",
            "y: ACCESS EXCLUSIVE",
        ),
        (
            "CREATE TABLE n (x int) PARTITION BY LIST (x); ALTER TABLE n DETACH PARTITION y",
            "LOCK n",
            "",
        ),
    ],
)
def test_a_statement_changes_what_names_mean(before: str, then: str, locks: str) -> None:
    assert taken(f"{before}; {then}") == locks


@pytest.mark.parametrize(
    "text",
    [
        "COMMENT ON TABLE {0} IS ''",
        "COMMENT ON COLUMN {0}.x IS ''",
        "COMMENT ON CONSTRAINT k ON {0} IS ''",
        "COMMENT ON TRIGGER k ON {0} IS ''",
        "COMMENT ON RULE k ON {0} IS ''",
        "COMMENT ON POLICY k ON {0} IS ''",
        "SECURITY LABEL ON TABLE {0} IS ''",
        "ALTER EXTENSION e ADD TABLE {0}",
        "DROP TABLE {0}",
        "DROP TRIGGER k ON {0}",
        "DROP RULE k ON {0}",
        "DROP POLICY k ON {0}",
        "SELECT * FROM {0}",
        "CREATE TABLE other (LIKE {0})",
        "CREATE VIEW other AS TABLE {0}",
        "CREATE SEQUENCE other OWNED BY {0}.x",
        "SELECT nextval('{0}')",
        "SELECT setval('{0}', 1), currval('{0}')",
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM {0}'",
    ],
)
def test_what_the_script_has_made_is_not_asked_for(text: str) -> None:
    for name in ("n", "s.n"):
        assert not touches(f"CREATE TABLE {name} (x int); {text}".format(name))
        assert touches(f"CREATE TABLE s.m (x int); {text}".format(name))


@pytest.mark.parametrize(
    "makes",
    [
        "CREATE TABLE {0} (x int)",
        "CREATE FOREIGN TABLE {0} (x int) SERVER s",
        "CREATE TABLE {0} AS SELECT 1",
        "SELECT 1 INTO {0}",
        "CREATE VIEW {0} AS SELECT 1",
        "CREATE SEQUENCE {0}",
        "CREATE TYPE {0} AS (x int)",
    ],
)
def test_what_makes_a_relation(makes: str) -> None:
    for name, other in (("n", "s.n"), ("s.n", "n")):
        assert not touches(f"{makes}; COMMENT ON TABLE {{0}} IS ''".format(name))
        assert touches(f"{makes.format(other)}; COMMENT ON TABLE {name} IS ''")


def touches(text: str) -> bool:
    return touches_existing(analyse(Script.of("001_a.sql", text)))


NEW = "CREATE TABLE n (x int); "


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("COMMENT ON SCHEMA s IS ''", False),
        ("COMMENT ON FUNCTION f() IS ''", False),
        ("COMMENT ON TYPE t IS ''", False),
        ("ALTER EXTENSION e ADD FUNCTION f()", False),
        ("ALTER DOMAIN d ADD CHECK (value > 1)", True),
        ("ALTER PUBLICATION p DROP TABLE a", True),
        ("DROP SCHEMA s", False),
        ("DROP SCHEMA s CASCADE", True),
        ("DROP STATISTICS s", True),
        ("CREATE SEQUENCE s OWNED BY NONE", False),
        ("CREATE SEQUENCE s START 5", False),
        ("SELECT * FROM information_schema.tables, pg_catalog.pg_class", False),
        ("WITH a AS (SELECT 1) SELECT * FROM s.a", True),
        (NEW + "CREATE INDEX IF NOT EXISTS i ON n (x); DROP INDEX i", True),
        (NEW + "CREATE INDEX i ON n (x); DROP INDEX i", False),
        ("CREATE OR REPLACE TEMP VIEW v AS SELECT 1", True),
        ("SELECT nextval(n)", True),
        ("SELECT pg_catalog.now()", False),
        ("SELECT s.now()", True),
        # Functions that run, and functions that are only named
        (NEW + "INSERT INTO n VALUES (f())", True),
        (NEW + "UPDATE n SET x = f()", True),
        (NEW + "DELETE FROM n WHERE f()", True),
        (NEW + "MERGE INTO n USING n AS m ON f() WHEN MATCHED THEN DELETE", True),
        ("CREATE TABLE n AS SELECT f()", True),
        ("EXPLAIN ANALYZE SELECT f()", True),
        ("PREPARE p AS SELECT f()", True),
        ("COPY (SELECT f()) TO STDOUT", True),
        ("CREATE TABLE n (x int DEFAULT f())", False),
        ("CREATE VIEW n AS SELECT f()", False),
    ],
)
def test_what_may_be_there_already_is_asked_for(text: str, asks: bool) -> None:
    assert touches(text) is asks


@pytest.mark.parametrize(
    ("text", "asks"),
    [(NEW + "INSERT INTO n VALUES (1)", False), ("INSERT INTO n VALUES (1)", True), (NEW + "SELECT 1", True)],
)
def test_of_a_statement_whose_tree_is_not_kept_its_target_counts(text: str, asks: bool) -> None:
    analysis = analyse(Script.of("001_a.sql", text))
    *first, last = analysis.statements
    assert touches_existing(replace(analysis, statements=(*first, replace(last, node=None)))) is asks
