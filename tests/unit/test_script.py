"""What a script is made of. What the server then does with it: tests/postgres/test_migrator.py."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.engine.model import Script, checksum
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.script import Analysis, line_and_column
from airflow_provider_wmigrate.engine.sql.statements import Statement, Statements


def analysed(text: str) -> Analysis:
    return analyse(Script.of("001_a.sql", text))


def pieces(text: str) -> list[tuple[int, str]]:
    """Each statement's first line, and its text."""
    analysis = analysed(text)
    assert analysis.unparsed is None
    return [(s.line, analysis.text_of(s)) for s in analysis.statements]


ATOMIC = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC\n  SELECT 1;\n  SELECT 2;\nEND"
QUOTED = "DO $$ BEGIN\n  PERFORM ';';\nEND $$"
TAGGED = "DO $a$ BEGIN PERFORM $b$ ; $$ ; $b$; END $a$"
RULE = "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO u VALUES (1); DELETE FROM v;)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1", [(1, "SELECT 1")]),
        ("SELECT 1;", [(1, "SELECT 1")]),
        ("SELECT 1; SELECT 2", [(1, "SELECT 1"), (1, "SELECT 2")]),
        ("SELECT 1;\n\n\nSELECT 2;\n", [(1, "SELECT 1"), (4, "SELECT 2")]),
        ("SELECT\n\n1;SELECT 2", [(1, "SELECT\n\n1"), (3, "SELECT 2")]),
        (";;SELECT 1;;;", [(1, "SELECT 1")]),
        ("-- head\n\n  SELECT 1; -- tail ; SELECT 3\n-- ;\nSELECT 2", [(3, "SELECT 1"), (5, "SELECT 2")]),
        ("/* a /* b; */ ; */ SELECT 1;\n/* ; */\nSELECT 2", [(1, "SELECT 1"), (3, "SELECT 2")]),
        ("SELECT 'a;b';\nSELECT 'it''s;'", [(1, "SELECT 'a;b'"), (2, "SELECT 'it''s;'")]),
        (r"SELECT E'it\'s; fine'; SELECT 2", [(1, r"SELECT E'it\'s; fine'"), (1, "SELECT 2")]),
        (r"SELECT '\'; SELECT 2", [(1, r"SELECT '\'"), (1, "SELECT 2")]),
        ('SELECT ";" FROM "a;""b"; SELECT 2', [(1, 'SELECT ";" FROM "a;""b"'), (1, "SELECT 2")]),
        ("SELECT 'a'\n  'b;c';\nSELECT 2", [(1, "SELECT 'a'\n  'b;c'"), (3, "SELECT 2")]),
        ("SELECT '-- no comment', '/*'; SELECT '*/'", [(1, "SELECT '-- no comment', '/*'"), (1, "SELECT '*/'")]),
        (f"{QUOTED};\nSELECT 2", [(1, QUOTED), (4, "SELECT 2")]),
        (f"\n{TAGGED};\nSELECT 2", [(2, TAGGED), (3, "SELECT 2")]),
        (f"{ATOMIC};\nSELECT 3;", [(1, ATOMIC), (5, "SELECT 3")]),
        (f"{RULE};\nSELECT 3;", [(1, RULE), (2, "SELECT 3")]),
        ("SELECT 'ö 日本 🙂';\nSELECT 'é';SELECT 3", [(1, "SELECT 'ö 日本 🙂'"), (2, "SELECT 'é'"), (2, "SELECT 3")]),
        ("/* 🙂 */ CREATE TABLE ß ();\n\n-- ü\nDROP TABLE ß", [(1, "CREATE TABLE ß ()"), (4, "DROP TABLE ß")]),
    ],
)  # fmt: skip
def test_statements_and_their_lines(text: str, expected: list[tuple[int, str]]) -> None:
    assert pieces(text) == expected


def test_statements_are_a_sequence_that_keeps_what_is_known_of_each() -> None:
    statements = analysed("SELECT 1;\nVACUUM;\nSELECT 2;\nCREATE TABLE t ();\nSELECT 3").statements
    assert (len(statements), [s.line for s in statements]) == (5, [1, 2, 3, 4, 5])
    assert statements[-1] == statements[4]
    assert statements[-5] == statements[0]
    for wrong in (5, -6):
        with pytest.raises(IndexError):
            statements[wrong]
    for part in (slice(1, 4), slice(None, None, 2), slice(-4, None), slice(3, 1)):
        assert [*statements[part]] == [*statements][part]
        assert [s.node is not None for s in statements[part]] == [True] * len(statements[part])


def test_a_statement_is_kept_whole() -> None:
    whole = [
        Statement("copy_stmt", 0, 4, 1, "a reason", object(), (5, 9)),
        Statement("insert_stmt", 10, 12, 3),
        Statement("vacuum_stmt", 13, 15, 3, "VACUUM"),
    ]
    kept = Statements()
    for statement in whole:
        kept.append(statement)
    assert [*kept] == whole
    assert [kept[-1], kept[-2], kept[-3]] == whole[::-1]
    assert [s.node for s in kept] == [s.node for s in whole]
    assert [*kept.without({1})] == [whole[0], whole[2]]
    assert kept.outside() == (whole[0], whole[2])
    for beyond in (3, -4):
        with pytest.raises(IndexError):
            kept[beyond]


def test_two_statements_are_equal_whatever_their_trees_and_no_tree_is_shown() -> None:
    one = Statement("vacuum_stmt", 0, 6, 1, "VACUUM", node="tree")
    assert one == Statement("vacuum_stmt", 0, 6, 1, "VACUUM", node="other tree")
    assert "tree" not in repr(one)


def test_two_scripts_are_equal_wherever_their_text_is_and_it_is_not_shown() -> None:
    one = Script.of("001_a.sql", "ALTER ROLE app PASSWORD 'secret'")
    assert {one, Script(one.file, "read elsewhere", one.checksum)} == {one}
    assert one not in (Script("002_a.sql", one.source, one.checksum), Script.of(one.file, "SELECT 1"), "001_a.sql")
    assert "secret" not in repr(one)


def test_which_statement_a_character_belongs_to() -> None:
    text = "-- x\nSELECT 1;\n\nSELECT 2"
    analysis = analysed(text)
    found = [analysis.statement_at(position) for position in (0, 5, 13, 16, len(text))]
    first, second = analysis.statements
    assert found == [None, first, first, second, second]
    assert analysed("INSERT INTO t VALUES (1)").statements[0].node is not None


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("SELECT " + "abcde, " * 6 + "abcdef", 56),
        ("SELECT " + "abcde, " * 6 + "abcdefg", 48),
        ("SELECT " + "abcde, " * 6 + "abcdef, yy", 56),
    ],
)
def test_an_excerpt_ends_with_a_word(words: str, shown: int) -> None:
    analysis = analysed(f"{words}, 'hidden'")
    assert analysis.excerpt(analysis.statements[0]) == f"{(words + ',')[:shown]} ..."


# The file's own transaction


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("BEGIN;\nSELECT 1;\nCOMMIT;", [2]),
        ("begin work;\nSELECT 1;\nend;", [2]),
        ("START TRANSACTION;\nSELECT 1;\nSELECT 2;\nCOMMIT TRANSACTION;", [2, 3]),
        ("-- from elsewhere\n/* ü */ BEGIN\n;\n\nSELECT 1\n;COMMIT -- done\n;", [5]),
        ("BEGIN; SAVEPOINT a;\nROLLBACK TO a;\nRELEASE a;\nCOMMIT", [1, 2, 3]),
    ],
)
def test_an_outer_transaction_is_taken_off_and_everything_keeps_its_place(text: str, lines: list[int]) -> None:
    analysis = analysed(text)
    assert [s.line for s in analysis.statements] == lines
    assert len(analysis.body) == len(text)
    assert [i for i, c in enumerate(analysis.body) if c == "\n"] == [i for i, c in enumerate(text) if c == "\n"]
    for word in ("BEGIN", "COMMIT", "TRANSACTION", "WORK", "END"):
        assert word not in analysis.body.upper()
    for statement in analysis.statements:
        assert text[statement.start : statement.end] == analysis.text_of(statement)


@pytest.mark.parametrize("text", ["SAVEPOINT a; RELEASE a", "SELECT 1;\nSAVEPOINT a;\nROLLBACK TO SAVEPOINT a;"])
def test_savepoints_stay(text: str) -> None:
    assert analysed(text).body == text


# What cannot run in a transaction

OUTSIDE = {
    "CREATE INDEX CONCURRENTLY i ON t (a)": "CREATE INDEX CONCURRENTLY",
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)": "CREATE INDEX CONCURRENTLY",
    "CREATE INDEX i ON t (a) WITH (timescaledb.transaction_per_chunk)": "CREATE INDEX with transaction_per_chunk",
    "ALTER DATABASE d SET TABLESPACE t": "ALTER DATABASE SET TABLESPACE",
    "DROP INDEX CONCURRENTLY i": "DROP INDEX CONCURRENTLY",
    "REINDEX INDEX CONCURRENTLY i": "REINDEX CONCURRENTLY or of more than a table",
    "REINDEX (VERBOSE, CONCURRENTLY) TABLE t": "REINDEX CONCURRENTLY or of more than a table",
    "REINDEX (CONCURRENTLY on) TABLE t": "REINDEX CONCURRENTLY or of more than a table",
    "REINDEX (CONCURRENTLY 1) TABLE t": "REINDEX CONCURRENTLY or of more than a table",
    "REINDEX SCHEMA s": "REINDEX CONCURRENTLY or of more than a table",
    "REINDEX DATABASE d": "REINDEX CONCURRENTLY or of more than a table",
    "VACUUM": "VACUUM",
    "VACUUM (ANALYZE) t": "VACUUM",
    "CLUSTER": "CLUSTER of all tables",
    "DISCARD ALL": "DISCARD ALL",
    "ALTER SYSTEM SET work_mem = '1GB'": "ALTER SYSTEM",
    "CREATE DATABASE d": "CREATE DATABASE",
    "DROP DATABASE d": "DROP DATABASE",
    "CREATE TABLESPACE t LOCATION '/t'": "CREATE TABLESPACE",
    "DROP TABLESPACE t": "DROP TABLESPACE",
    "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p": "CREATE SUBSCRIPTION",
    "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (create_slot, enabled = false)": "CREATE SUBSCRIPTION",
    "ALTER SUBSCRIPTION s REFRESH PUBLICATION": "ALTER SUBSCRIPTION",
    "ALTER SUBSCRIPTION s SET PUBLICATION p": "ALTER SUBSCRIPTION",
    "ALTER SUBSCRIPTION s ADD PUBLICATION p WITH (refresh = true)": "ALTER SUBSCRIPTION",
    "ALTER SUBSCRIPTION s SET (failover = true)": "ALTER SUBSCRIPTION",
    "ALTER SUBSCRIPTION s SET (two_phase = true)": "ALTER SUBSCRIPTION",
    "ALTER SUBSCRIPTION s DROP PUBLICATION p": "ALTER SUBSCRIPTION",
    "DROP SUBSCRIPTION s": "DROP SUBSCRIPTION",
    "ALTER TABLE p DETACH PARTITION c CONCURRENTLY": "DETACH PARTITION CONCURRENTLY",
    "CALL refresh_continuous_aggregate('v', NULL, NULL)": "this TimescaleDB procedure",
    "CALL public.run_job(1000)": "this TimescaleDB procedure",
    "CREATE MATERIALIZED VIEW v WITH (timescaledb.continuous) AS SELECT 1": "a continuous aggregate WITH DATA",
    "CREATE MATERIALIZED VIEW v WITH (tsdb.continuous) AS SELECT 1 WITH DATA": "a continuous aggregate WITH DATA",
    "ALTER EXTENSION timescaledb UPDATE": "ALTER EXTENSION timescaledb UPDATE",
    "ALTER EXTENSION timescaledb UPDATE TO '2.19.3'": "ALTER EXTENSION timescaledb UPDATE",
}


@pytest.mark.parametrize(("statement", "why"), OUTSIDE.items())
def test_statements_that_need_to_run_outside_a_transaction(statement: str, why: str) -> None:
    analysis = analysed(f"SELECT 1;\n{statement};\nSELECT 2")
    (found,) = analysis.outside
    assert (found.line, found.outside, analysis.text_of(found)) == (2, why, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX i ON t (a)",
        "DROP INDEX i",
        "DROP TABLE t",
        "REINDEX TABLE t",
        "REINDEX INDEX i",
        "REINDEX (CONCURRENTLY false) TABLE t",
        "REINDEX (CONCURRENTLY off, VERBOSE) TABLE t",
        "REINDEX (CONCURRENTLY 0) TABLE t",
        "CREATE INDEX i ON t (a) WITH (timescaledb.transaction_per_chunk = false)",
        "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (connect = false)",
        "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (create_slot = off, slot_name = NONE)",
        "ALTER SUBSCRIPTION s DISABLE",
        "ALTER SUBSCRIPTION s CONNECTION 'x'",
        "ALTER SUBSCRIPTION s SET (slot_name = NONE)",
        "ALTER SUBSCRIPTION s SET PUBLICATION p WITH (refresh = false)",
        "ANALYZE t",
        "CLUSTER t USING i",
        "DISCARD TEMP",
        "REFRESH MATERIALIZED VIEW v",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
        "ALTER TABLE p DETACH PARTITION c",
        "ALTER TABLE p DETACH PARTITION c FINALIZE",
        "ALTER TYPE e ADD VALUE 'x'",
        "ALTER DATABASE d SET work_mem = '1GB'",
        "CALL own_procedure()",
        "CREATE MATERIALIZED VIEW v AS SELECT 1",
        "CREATE MATERIALIZED VIEW v WITH (timescaledb.continuous) AS SELECT 1 WITH NO DATA",
        "SELECT 'VACUUM', 'CREATE INDEX CONCURRENTLY'",
        "DO $$ BEGIN EXECUTE 'VACUUM'; END $$",
        "CREATE EXTENSION pg_trgm",
        "CREATE EXTENSION timescaledb",
        "ALTER EXTENSION pg_trgm UPDATE",
        "ALTER EXTENSION timescaledb SET SCHEMA s",
        "LISTEN c",
    ],
)
def test_statements_that_may_run_inside_one(statement: str) -> None:
    assert analysed(statement).outside == ()


# What the grammar does not know


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("SELECT 1;\nWIBBLE wobble;", '001_a.sql:2:1: syntax error at or near "WIBBLE"'),
        ("SELECT 'ü';\n  SELECT FROM WHERE", '001_a.sql:2:15: syntax error at or near "WHERE"'),
        ("SELECT 'never closed", '001_a.sql:1:8: unterminated quoted string at or near "***"'),
    ],
)
def test_what_the_grammar_does_not_know_is_left_to_the_server(text: str, place: str) -> None:
    analysis = analysed(text)
    assert ([*analysis.statements], analysis.body, analysis.unparsed) == ([], text, place)
    assert (analysis.outside, analysis.statement_at(0), analysis.statement_at(len(text))) == ((), None, None)


class ReadOnce:
    """A file that is gone when it has been read."""

    size = 9

    def __init__(self) -> None:
        self.texts = ["SELECT 1;"]

    def read(self) -> str:
        return self.texts.pop()


def test_what_was_analysed_stays_whatever_becomes_of_the_file() -> None:
    analysis = analyse(Script("001_a.sql", ReadOnce(), checksum("SELECT 1;")))
    assert [analysis.text_of(s) for s in analysis.statements] == ["SELECT 1"]


@pytest.mark.parametrize(
    "text", ["", " \n", "-- nothing", "/* nothing */", ";", " ; ;\n", "BEGIN; COMMIT;", "BEGIN;;\n-- x\nEND"]
)
def test_a_script_without_statements_has_none(text: str) -> None:
    analysis = analysed(text)
    assert (list(analysis.statements), list(analysis.parts()), analysis.unparsed) == ([], [], None)


@pytest.mark.parametrize(
    ("position", "place"), [(0, (1, 1)), (1, (2, 1)), (3, (2, 3)), (4, (3, 1)), (5, (4, 1)), (7, (4, 3))]
)
def test_line_and_column(position: int, place: tuple[int, int]) -> None:
    assert line_and_column("\nab\n\n日本", position) == place
