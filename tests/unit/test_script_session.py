"""What of a script's session is its own, and what a later run may lack of it. Pure."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.engine.model import Finding, Script
from airflow_provider_wmigrate.engine.plan.script_session import (
    Observed,
    Possession,
    ScriptSession,
    custom_settings,
    lacking,
    of_script,
    perhaps_local,
    refused,
)
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.script import Analysis
from airflow_provider_wmigrate.engine.sql.statements import Statements

WORK = Possession("temporary table", "work")


def analysed(text: str) -> Analysis:
    return analyse(Script.of("001_a.sql", text))


def test_only_what_differs_from_the_beginning_is_the_scripts() -> None:
    start = Observed({"a": "1", "b": "2", "lock_timeout": "30"}, frozenset({Possession("channel", "ours")}))
    now = Observed(
        {"z": "9", "a": "1", "b": "3", "lock_timeout": "600", "c": "4"},
        frozenset({Possession("channel", "ours"), WORK, Possession("cursor", "z"), Possession("cursor", "c")}),
    )
    ours = {"lock_timeout": {"600"}, "c": {"5"}}
    assert of_script(start, now, ours) == ScriptSession(
        {"b": "3", "c": "4", "z": "9"}, (Possession("cursor", "c"), Possession("cursor", "z"), WORK)
    )
    assert list(of_script(start, now, ours).settings) == ["b", "c", "z"]
    assert of_script(start, start, {}) == ScriptSession()


def test_it_is_kept_as_json_and_nothing_as_nothing() -> None:
    session = ScriptSession({"role": "r", "a": "1"}, (WORK,), ("a",))
    kept = {"settings": {"role": "r", "a": "1"}, "possessions": [["temporary table", "work"]], "unsure": ["a"]}
    assert session.as_json() == kept
    assert ScriptSession.from_json(kept) == session
    assert ScriptSession.from_json(None) == ScriptSession()
    assert ScriptSession().as_json() is None
    for some in (ScriptSession({"a": "1"}), ScriptSession(possessions=(WORK,)), ScriptSession(unsure=("a",))):
        assert ScriptSession.from_json(some.as_json()) == some


def test_the_role_comes_last() -> None:
    session = ScriptSession({"role": "r", "session_authorization": "s", "a": "1", "search_path": "b"})
    made = [("a", "1"), ("search_path", "b"), ("session_authorization", "s"), ("role", "r")]
    assert session.in_order() == made
    assert ScriptSession({"role": "r"}).in_order() == [("role", "r")]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("SET search_path = b", ()),
        ("SET SEARCH_PATH = b", ()),
        ("SET LOCAL search_path = b", ("search_path",)),
        ("SET search_path = b; SET LOCAL search_path = c", ("search_path",)),
        ("SELECT set_config('search_path', 'b', true)", ("search_path",)),
        ("SET work_mem = 1", ("search_path",)),
    ],
)
def test_what_may_have_been_local(text: str, names: tuple[str, ...]) -> None:
    before, inside = ScriptSession({"kept": "1"}), ScriptSession({"kept": "1", "search_path": "b"})
    assert perhaps_local(before, inside, analysed(text).statements) == names


def test_what_was_reset_may_have_been_local_too() -> None:
    before, inside = ScriptSession({"a": "1", "b": "1"}), ScriptSession()
    assert perhaps_local(before, inside, analysed("SELECT f()").statements) == ("a", "b")
    assert perhaps_local(before, inside, analysed("RESET a").statements) == ("b",)


NEEDS = "statement {} of migration 001 names {} {}, which is gone with the session that made it"
AGAIN = "make it again in a statement before that one"


def lost(message: str, next_step: str, line: int | None) -> Finding:
    return Finding("session_lost", message, next_step, version="001", file="001_a.sql", line=line)


@pytest.mark.parametrize(
    ("text", "kind", "index"),
    [
        ("SELECT 1;\nSELECT * FROM work", "temporary table", 1),
        ("SELECT 1;\nINSERT INTO WORK VALUES (1)", "temporary table", 1),
        ("SELECT 1;\nSELECT * FROM/**/work/**/", "temporary table", 1),
        ("SELECT * FROM work;\nSELECT 1", "temporary table", None),  # it has run
        ("SELECT 1;\nSELECT 1 -- work\n/* work */", "temporary table", None),
        ("SELECT 1;\nSELECT * FROM rework, works, work_", "temporary table", None),
        ("SELECT 1;\nCREATE TEMP TABLE work ();\nSELECT * FROM work", "temporary table", None),
        ("SELECT 1;\nCREATE TEMP VIEW work AS SELECT 1;\nSELECT * FROM work", "temporary table", None),
        ("SELECT 1;\nCREATE TEMP SEQUENCE work;\nSELECT nextval('work')", "temporary table", None),
        ("SELECT 1;\nCREATE TEMP TABLE work AS SELECT 1;\nSELECT * FROM work", "temporary table", None),
        ("SELECT 1;\nPREPARE work AS SELECT 1;\nEXECUTE work", "temporary table", 1),
        ("SELECT 1;\nPREPARE work AS SELECT 1;\nEXECUTE work", "prepared statement", None),
        ("SELECT 1;\nEXECUTE work", "prepared statement", 1),
        ("SELECT 1;\nDECLARE work CURSOR FOR SELECT 1;\nFETCH work", "cursor", None),
        ("SELECT 1;\n\nFETCH work", "cursor", 1),
        ("SELECT 1;\nNOTIFY work", "channel", None),
        ("SELECT 1;\nSELECT 'work'", "advisory lock", None),
    ],
)
def test_what_a_later_statement_needs(text: str, kind: str, index: int | None) -> None:
    analysis = analysed(text)
    found = lacking(analysis, "001", ScriptSession(possessions=(Possession(kind, "work"),)), 1)
    if index is None:
        assert found is None
    else:
        line = analysis.statements[index].line
        assert found == lost(NEEDS.format(index + 1, kind, "work"), AGAIN, line)


def test_the_first_that_is_needed_is_told() -> None:
    kept = ScriptSession(possessions=(Possession("cursor", "c"), WORK, Possession("temporary table", "other")))
    found = lacking(analysed("SELECT 1;\nSELECT * FROM other;\nSELECT * FROM work"), "001", kept, 0)
    assert found == lost(NEEDS.format(3, "temporary table", "work"), AGAIN, 3)


UNSURE = (
    "statement 1 of migration 001 was the last to run, and it is not known whether {} was set for its transaction alone"
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("VACUUM;\nSELECT 1", ["a", "b"]),
        ("VACUUM;\nSET a = 1;\nSELECT 1", ["b"]),
        ("VACUUM;\nSET A = 1;\nRESET b;\nSELECT 1", []),
        ("VACUUM;\nSET LOCAL a = 1;\nSET b = 1", ["a"]),
        ("VACUUM;\nSELECT 1;\nSET a = 1;\nSET b = 1", ["a", "b"]),
    ],
)
def test_what_may_have_been_local_is_to_be_said(text: str, names: list[str]) -> None:
    found = lacking(analysed(text), "001", ScriptSession({"c": "1"}, unsure=("a", "b")), 1)
    if names:
        nxt = f"write SET {names[0]} ... before the next statement"
        assert found == lost(UNSURE.format(", ".join(names)), nxt, 2)
    else:
        assert found is None


def test_behind_the_last_statement_there_is_no_line() -> None:
    found = lacking(analysed("SELECT 1"), "001", ScriptSession(unsure=("a",)), 1)
    assert found == lost(UNSURE.format("a"), "write SET a ... before the next statement", None)


def test_a_value_is_not_told() -> None:
    assert refused(analysed("SELECT 1;\nSELECT 2"), "001", "app.key", "no", 1) == lost(
        "the session of migration 001 cannot be restored: app.key was set by its script, and now: no",
        "make that possible again, or settle the migration with repair",
        2,
    )


def test_settings_that_no_catalog_lists() -> None:
    text = (
        "SET app.a = '1'; SET work_mem = 1; SELECT set_config('app.b', 'x.y', false), current_setting ( 'app.c');"
        " SELECT SET_CONFIG('plain', '1', false); RESET app.d; INSERT INTO t VALUES ('app.no')"
    )
    assert custom_settings(analysed(text)) == ("app.a", "app.b", "app.c", "app.d")
    assert custom_settings(Analysis(Script.of("f", "current_setting('x.y')"), Statements(), ())) == ("x.y",)
