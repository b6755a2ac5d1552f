"""What lint finds in scripts, by their files and by how large tables are; what silences it; how it is written."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import pytest

from airflow_provider_wmigrate.cli.lint_formats import github, sarif
from airflow_provider_wmigrate.engine.catalog.relations import Column, Relation, RelationFacts
from airflow_provider_wmigrate.engine.model import Finding, Migration, Script
from airflow_provider_wmigrate.engine.plan.forecast import Ahead, parts_of
from airflow_provider_wmigrate.engine.plan.lint_rules import NEED_ROWS, in_files, with_rows
from airflow_provider_wmigrate.engine.plan.lint_silence import Allowance, allowances, known_as, told
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.script import Analysis

MB = 1024 * 1024
SIZES = {"large": 9 * MB, "limit": 8 * MB, "small": 8192, "none": 0, "parts": 0, "part": 16 * MB}
OIDS = {name: number for number, name in enumerate(SIZES, 1)}
RELATIONS = {
    oid: Relation(oid, "app", name, f"app.{name}", "p" if name == "parts" else "r", 8, SIZES[name] // 8192, None, 0, 0,
                  False)
    for name, oid in OIDS.items()
}  # fmt: skip
FACTS = RelationFacts(
    150000,
    "me",
    ("app",),
    relations=RELATIONS,
    by_name={("app", each.name): each for each in RELATIONS.values()},
    children={OIDS["parts"]: (OIDS["part"],)},
    parents={OIDS["part"]: (OIDS["parts"],)},
    columns={OIDS["small"]: (Column(1, "x", "int", False),)},
)


def script(text: str, file: str = "001_a.sql") -> Analysis:
    return analyse(Script.of(file, text))


def ahead(number: str, text: str) -> Ahead:
    analysis = script(text, f"{number}_a.sql")
    return Ahead(number, analysis, parts_of(analysis, "auto"))


ANEW = "add a new column, fill it in parts, and switch over in a later migration"
SCAN = "add the constraint NOT VALID, and VALIDATE it in the next migration; for SET NOT NULL by way of a CHECK"
BUILD = "CREATE INDEX CONCURRENTLY in a migration of its own"
KEEP = "declare keep: true, make a backup, or rename now and drop in a later migration"
LOSES = "takes rows or values of app.{} ({}) away, and no rollback script has them"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ALTER TABLE large ALTER x TYPE bigint",
         [("rewrites_rows", "writes app.large (9.0 MB) anew while reads and writes of it wait", ANEW)]),
        ("ALTER TABLE large ALTER x SET NOT NULL",
         [("scans_under_lock", "reads all of app.large (9.0 MB) while reads and writes of it wait", SCAN)]),
        ("ALTER TABLE small ADD FOREIGN KEY (x) REFERENCES large",
         [("scans_under_lock", "reads all of app.large (9.0 MB) while writes of it wait", SCAN)]),
        ("CREATE INDEX ON large (x)",
         [("builds_under_lock", "builds an index of app.large (9.0 MB) while writes of it wait", BUILD)]),
        ("CREATE INDEX CONCURRENTLY ON large (x)", []),
        ("CREATE INDEX ON limit_ (x)", []),
        ('CREATE INDEX ON "limit" (x)', []),
        ("CREATE INDEX ON small (x)", []),
        ("CREATE INDEX ON nowhere (x)", []),
        ("UPDATE large SET x = 1", []),
        ("LOCK TABLE large", []),
        ("ALTER TABLE large ALTER x SET NOT NULL, ALTER y TYPE bigint",
         [("scans_under_lock", "reads all of app.large (9.0 MB) while reads and writes of it wait", SCAN)]),
        ("ALTER TABLE large ALTER y TYPE bigint, ADD z int",
         [("rewrites_rows", "writes app.large (9.0 MB) anew while reads and writes of it wait", ANEW)]),
        ("TRUNCATE large, small, none, nowhere",
         [("loses_rows", LOSES.format("large", "9.0 MB"), KEEP),
          ("loses_rows", LOSES.format("small", "8.0 kB"), KEEP)]),
        ("TRUNCATE parts", [("loses_rows", LOSES.format("part", "16 MB"), KEEP)]),
        ("DROP TABLE small, nowhere", [("loses_rows", LOSES.format("small", "8.0 kB"), KEEP)]),
        ("DROP TABLE app.parts", [("loses_rows", LOSES.format("part", "16 MB"), KEEP)]),
        ("DELETE FROM small", [("loses_rows", LOSES.format("small", "8.0 kB"), KEEP)]),
        ("DELETE FROM small WHERE x = 1", []),
        ("ALTER TABLE small ADD y int, DROP COLUMN x", [("loses_rows", LOSES.format("small", "8.0 kB"), KEEP)]),
        ("ALTER TABLE nowhere DROP COLUMN x", []),
        ("ALTER TABLE small ADD y int", []),
        ("ALTER TABLE small FROBNICATE", []),
    ],
)  # fmt: skip
def test_what_is_done_to_tables_by_their_size(text: str, found: list[tuple[str, str, str]]) -> None:
    expected = [Finding(*each, "warning", "002", "002_a.sql", 2) for each in found]
    assert list(with_rows([ahead("001", "SELECT 1"), ahead("002", f"\n{text}")], FACTS)) == expected


def test_the_rules_that_need_sizes() -> None:
    assert NEED_ROWS == ("rewrites_rows", "scans_under_lock", "builds_under_lock", "loses_rows")


def test_what_an_earlier_script_has_made_is_not_what_was_there() -> None:
    scripts = [
        ahead("001", "SET search_path = other; ALTER TABLE app.large RENAME TO old; CREATE TABLE app.large (x int)"),
        ahead("002", "TRUNCATE large;\nTRUNCATE old"),
    ]
    lost = Finding("loses_rows", LOSES.format("large", "9.0 MB"), KEEP, "warning", "002", "002_a.sql", 2)
    assert list(with_rows(scripts, FACTS)) == [lost]


LEDGER = ("names the schema wmigrate, in which the ledger is", "leave the ledger alone: `wmigrate repair` corrects it")


@pytest.mark.parametrize(
    ("up", "down", "found"),
    [
        ("SELECT 1;\nDELETE FROM wmigrate.entries", "SELECT 2", [("001_a.sql", 2)]),
        ("SELECT 1", "SELECT 2;\n\nTRUNCATE wmigrate.entries", [("001_a.rollback.sql", 3)]),
        ("SELECT 'wmigrate.x'; SELECT * FROM wmigrate; SELECT * FROM other.wmigrate", None, []),
        ("SELECT * FROM wmigrate.a, wmigrate.b", None, [("001_a.sql", 1)]),
        ("FROBNICATE wmigrate.a", "FROBNICATE wmigrate.a", []),
    ],
)
def test_the_ledger_is_left_alone(up: str, down: str | None, found: list[tuple[str, int]]) -> None:
    expected = [Finding("touches_ledger", *LEDGER, "error", "001", file, line) for file, line in found]
    assert list(of_files(up, down)) == expected


def of_files(up: str, down: str | None) -> list[Finding]:
    migration = Migration("001", "a", Script.of("001_a.sql", up))
    rollback = None if down is None else script(down, "001_a.rollback.sql")
    return list(in_files(migration, script(up), rollback, "wmigrate"))


@pytest.mark.parametrize(
    ("makes", "what", "drops"),
    [
        ("CREATE TABLE s.n (x int)", "table n", "DROP TABLE s.n"),
        ("CREATE TABLE n (x int)", "table n", "ALTER TABLE n RENAME TO m"),
        ("CREATE VIEW n AS SELECT 1", "view n", "DROP VIEW n"),
        ("CREATE SEQUENCE s.n", "sequence n", "DROP SEQUENCE s.n"),
        ("CREATE FUNCTION s.n() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function n", "DROP FUNCTION s.n()"),
        ("CREATE TYPE s.n AS ENUM ('a')", "type n", "DROP TYPE s.n"),
        ("CREATE TYPE n AS RANGE (subtype = int)", "type n", "DROP TYPE n"),
        ("CREATE TYPE s.n AS (x int)", "type n", "DROP TYPE s.n"),
        ("CREATE DOMAIN s.n AS int", "domain n", "DROP DOMAIN s.n"),
        ("CREATE SCHEMA n", "schema n", "DROP SCHEMA n"),
        ("CREATE TABLE IF NOT EXISTS n (x int)", None, "DROP TABLE n"),
        ("CREATE OR REPLACE VIEW n AS SELECT 1", None, "DROP VIEW n"),
        ("CREATE OR REPLACE FUNCTION n() RETURNS int LANGUAGE sql AS 'SELECT 1'", None, "DROP FUNCTION n()"),
        ("CREATE TEMP TABLE n (x int)", None, "DROP TABLE n"),
        ("CREATE TABLE n PARTITION OF m DEFAULT", None, "DROP TABLE n"),
        ("CREATE INDEX n ON m (x)", None, "DROP INDEX n"),
        ("SELECT 1", None, "SELECT 2"),
    ],
)
def test_what_the_rollback_forgets(makes: str, what: str | None, drops: str) -> None:
    message, nxt = f"makes {what}, which the rollback script does not name", "drop it in 001_a.rollback.sql"
    missing = [Finding("rollback_forgets", message, nxt, "warning", "001", "001_a.sql", 3)] if what else []
    up = f"SELECT 1;\n\n{makes}"
    assert of_files(up, "DROP TABLE other") == missing
    assert of_files(up, drops) == []
    assert of_files(up, None) == []
    for anything in ("DO ''", "CALL p()", "SELECT 1", "FROBNICATE"):
        assert of_files(up, anything) == [], "that may drop anything, or nobody can read it"


# What silences a finding


TEXT = """-- wmigrate: allow a: begins
SELECT 1;
SELECT -- wmigrate : allow b/c :  in the middle
  2;
--wmigrate:allow d
SELECT 3; -- wmigrate: allow e:
SELECT '-- wmigrate: allow f: no comment';
-- allow g: of nobody
/* wmigrate: allow h: another kind */
-- wmigrate: allow i: at the end
"""


def test_comments_that_allow() -> None:
    assert list(allowances(script(TEXT))) == [
        Allowance("a", "begins", "001_a.sql", 1, 2, 2),
        Allowance("b/c", "in the middle", "001_a.sql", 3, 3, 4),
        Allowance("d", "", "001_a.sql", 5, 6, 6),
        Allowance("e", "", "001_a.sql", 6, 6, 6),
        Allowance("i", "at the end", "001_a.sql", 10, 10, 10),
    ]
    below = script("\n-- wmigrate: allow a: r\nSELECT\n1")
    assert list(allowances(below)) == [Allowance("a", "r", "001_a.sql", 2, 3, 4)]
    assert list(allowances(script("-- another comment\nSELECT 1"))) == []


def test_findings_that_nobody_allows_and_comments_that_are_wrong() -> None:
    def finding(code: str, line: int | None, file: str = "a.sql") -> Finding:
        return Finding(code, "m", "n", "error", "001", file, line)

    def allows(code: str, reason: str = "r", first: int = 3, last: int = 5) -> Allowance:
        return Allowance(code, reason, "a.sql", 2, first, last)

    def wrong(message: str, nxt: str) -> Finding:
        return Finding("allowance", message, nxt, "warning", None, "a.sql", 2)

    silent = [finding("x", 3), finding("x", 4), finding("x", 5)]
    heard = [finding("x", 2), finding("x", 6), finding("x", None), finding("x", 4, "b.sql"), finding("y", 4)]
    assert told([*silent, *heard], [allows("x")]) == heard
    no_reason = wrong("allows x without a reason", "write it: -- wmigrate: allow x: REASON")
    assert told(silent, [allows("x", "")]) == [*silent, no_reason]
    unused = wrong("allows z, which is not found here", "take the comment out")
    assert told(silent, [allows("z"), allows("x")]) == [unused]
    assert told(silent, [allows("squawk/z"), allows("x")], untried=("squawk/", "q")) == []
    assert told(silent, [allows("x"), allows("x")]) == [], "both are about it"


def test_what_a_finding_is_called_in_a_baseline() -> None:
    def called(text: str, line: int | None, message: str = "m", file: str | None = "001_a.sql") -> str:
        return known_as(Finding("c", message, "n", file=file, line=line), {"001_a.sql": script(text)})

    one = "c 001_a.sql e004ebd5b5532a4b"
    first = called("SELECT 1;\nSELECT\n2;", 2)
    assert called("SELECT 1;\n\n\nSELECT\n2;", 4) == called("SELECT 1;\nSELECT\n2;", 3) == first
    assert called("SELECT 1;\nSELECT\n3;", 2) != first
    assert called("SELECT 1;\nSELECT\n2;", 1) == one
    assert called("\n\nSELECT 1", 1) == "c 001_a.sql e3b0c44298fc1c14", "before the first statement is nothing"
    assert called("SELECT 1", None) == called("SELECT 2", None) == "c 001_a.sql 62c66a7a5dd70c31"
    assert called("SELECT 1", 1, file="b.sql") == "c b.sql 62c66a7a5dd70c31"
    assert called("SELECT 1", 1, file=None) == "c None 62c66a7a5dd70c31"


# How it is written


FINDINGS = [
    Finding("loses_rows", "50 %: a, b\r\n", "n", "warning", "001", "001 a.sql", 3, 7),
    Finding("squawk/ban-x", "é", "n", "error", "001", "001_b.sql", 4),
    Finding("loses_rows", "m", "n", "warning", "001", "a:b,c.sql"),
    Finding("too_old", "m", "n"),
]


def test_annotations_of_github() -> None:
    assert github(FINDINGS, "db") == [
        "::warning file=db/001 a.sql,line=3,col=7,title=loses_rows::50 %25: a, b%0D%0A; n",
        "::error file=db/001_b.sql,line=4,title=squawk/ban-x::é; n",
        "::warning file=db/a%3Ab%2Cc.sql,title=loses_rows::m; n",
        "::error title=too_old::m; n",
    ]
    assert github(FINDINGS[1:2], "") == ["::error file=001_b.sql,line=4,title=squawk/ban-x::é; n"]


def test_sarif() -> None:
    def result(index: int, code: str, level: str, text: str, uri: str = "", **region: int) -> dict[str, Any]:
        at = {"artifactLocation": {"uri": uri}, **({"region": region} if region else {})}
        plain = {"ruleId": code, "ruleIndex": index, "level": level, "message": {"text": text}}
        return {**plain, **({"locations": [{"physicalLocation": at}]} if uri else {})}

    means = "`lint`: rows go that no rollback script gives back"
    rules = [("loses_rows", means), ("squawk/ban-x", "rule ban-x of squawk"), ("too_old", "rule  of squawk")]
    driver = {
        "name": "wmigrate",
        "version": version("airflow-provider-wmigrate"),
        "rules": [{"id": code, "shortDescription": {"text": text}} for code, text in rules],
    }
    results = [
        result(0, "loses_rows", "warning", "50 %: a, b\r\n; n", "db/001%20a.sql", startLine=3, startColumn=7),
        result(1, "squawk/ban-x", "error", "é; n", "db/001_b.sql", startLine=4),
        result(0, "loses_rows", "warning", "m; n", "db/a%3Ab%2Cc.sql"),
        result(2, "too_old", "error", "m; n"),
    ]
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    assert sarif(FINDINGS, "db") == json.dumps(log, indent=2, ensure_ascii=False)
    assert json.loads(sarif(FINDINGS[1:2], ""))["runs"][0]["results"] == [
        result(0, "squawk/ban-x", "error", "é; n", "001_b.sql", startLine=4)
    ]
