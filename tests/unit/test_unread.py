"""Where a script is not SQL: each place, and what stands there for a value."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.sql import psql
from airflow_provider_wmigrate.engine.sql import unread as module
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.unread import placeholders, unread


def near(word: str) -> str:
    return f'syntax error at or near "{word}"'


COLON, BRACE, DOLLAR, PERCENT = near(":"), near("{"), near("$"), near("%")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1", []),
        # Every statement's first error
        ("CREATE TABEL x (id int);", [(1, 8, near("TABEL"), None)]),
        (
            "SELECT 1;\n  SELECT FROM WHERE;\nSELECT 2;\n\nWIBBLE",
            [(2, 15, near("WHERE"), None), (5, 1, near("WIBBLE"), None)],
        ),
        ("SELECT 'größe 🙂' FROM WHERE", [(1, 23, near("WHERE"), None)]),
        ("SELECT (1;\nSELECT 2", [(1, 10, near(";"), None)]),
        ("SELECT 1 +", [(1, 11, "syntax error at end of input", None)]),
        ("SELECT 1;\nSELECT 'open", [(2, 8, 'unterminated quoted string at or near "***"', None)]),
        ("CREATE ROLE r PASSWORD hunter2", [(1, 24, near("***"), None)]),
        (
            "\\restrict k\nWIBBLE;\nCOPY t FROM stdin;\n:x\n\\.\nWOBBLE",
            [(2, 1, near("WIBBLE"), None), (6, 1, near("WOBBLE"), None)],
        ),
        # Variables: all of a statement
        ("CREATE ROLE app LOGIN PASSWORD :'app_password';", [(1, 32, COLON, ":'app_password'")]),
        ("SELECT :a,\n:\"b\", :'c'", [(1, 8, COLON, ":a"), (2, 1, COLON, ':"b"'), (2, 7, COLON, ":'c'")]),
        ("SELECT 1 LIMIT :n", [(1, 16, COLON, ":n")]),
        ("SELECT interval :abc, :{?y}", [(1, 17, COLON, ":abc"), (1, 23, COLON, ":{?y}")]),
        ("CREATE ROLE r PASSWORD :abc VALID UNTIL :x", [(1, 24, COLON, ":abc"), (1, 41, COLON, ":x")]),
        ("CREATE TABLE t (a varchar(:n))", [(1, 27, COLON, ":n")]),
        ("SELECT interval :x year", [(1, 17, COLON, ":x")]),
        ("SELECT interval :x, :{?y}", [(1, 17, COLON, ":x"), (1, 21, COLON, ":{?y}")]),
        (
            "CREATE TABLE ${p}_x (a int); SELECT $y, $(z)",
            [(1, 14, DOLLAR, "${p}"), (1, 37, DOLLAR, "$y"), (1, 41, DOLLAR, "$(z)")],
        ),
        ("SELECT * FROM {{ a }} WHERE {{ b.c | d }}", [(1, 15, BRACE, "{{ a }}"), (1, 29, BRACE, "{{ b.c | d }}")]),
        ("{% if a %} SELECT 1", [(1, 1, BRACE, "{% if a %}")]),
        (
            "{% if a %} SELECT 1 {% endif %}",
            [(1, 1, BRACE, "{% if a %}"), (1, 21, BRACE, "{% endif %}")],
        ),
        ("SELECT #{a}, {b}", [(1, 8, BRACE, "#{a}"), (1, 14, BRACE, "{b}")]),
        ("SELECT %(a)s, %s", [(1, 8, PERCENT, "%(a)s"), (1, 15, PERCENT, "%s")]),
        ("SELECT :a FROM WHERE", [(1, 8, COLON, ":a"), (1, 16, near("WHERE"), None)]),
        ("\nWIBBLE", [(2, 1, near("WIBBLE"), None)]),
        ("SELECT :a:b", [(1, 8, COLON, ":a"), (1, 10, COLON, ":b")]),
        # What is SQL
        ("SELECT a::int, a[1:2], a[x:y], a[:y], JSON_OBJECT('a': b), f(a := 1), 5 % s, '::x', $1", []),
        ("DO $$ DECLARE a int := :b; BEGIN END $$; SELECT ':x', '${x}' -- :x ${x}", []),
        ("SELECT a[1:b] FROM :t", [(1, 20, COLON, ":t")]),
    ],
)  # fmt: skip
def test_every_place(text: str, expected: list[tuple[int, int, str, str | None]]) -> None:
    found = unread(Script.of("001_a.sql", text))
    assert [(p.line, p.column, p.reason, p.variable) for p in found] == expected
    lines = text.splitlines(keepends=True)
    assert [p.position for p in found] == [sum(map(len, lines[: p.line - 1])) + p.column - 1 for p in found]


@pytest.mark.parametrize(("limit", "words"), [(18, ["WOBBLE"]), (19, ["WIBBLE", "WOBBLE"])])
def test_a_large_statement_is_left_out(monkeypatch: pytest.MonkeyPatch, limit: int, words: list[str]) -> None:
    monkeypatch.setattr(module, "LARGE", limit)
    monkeypatch.setattr(psql, "LARGE", limit)
    found = unread(Script.of("001_a.sql", "INSERT INTO WIBBLE; WOBBLE;"))
    assert [p.reason for p in found] == [near(word if word == "WOBBLE" else ";") for word in words]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT '${a}',\n  '{{ a.b }}', \" ${c:d} \"", [(1, 9, "${a}"), (2, 4, "{{ a.b }}"), (2, 17, "${c:d}")]),
        ("SELECT '{{a}}', 'Dear {{ name }}', '$a', '{a}', $$${a}$$, 'x${a}' -- '${a}'", []),
        ("SELECT 'a''${b}'", []),
    ],
)
def test_a_string_that_is_nothing_but_a_variable(text: str, expected: list[tuple[int, int, str]]) -> None:
    found = placeholders(Script.of("001_a.sql", text))
    assert [(p.line, p.column, p.variable) for p in found] == expected
    assert {p.reason for p in found} <= {""}


def test_a_large_statement_that_cannot_be_read_is_never_none_at_all() -> None:
    """Without statements and without a place it would look like a script that does nothing: done before it began."""
    text = "SELECT 1;\nSELEC '" + "x" * 1_200_000 + "';"
    analysis = analyse(Script.of("001_a.sql", text))
    assert len(analysis.statements) == 0
    assert analysis.unparsed == '001_a.sql:2:1: syntax error at or near "***"'  # it may be a secret
