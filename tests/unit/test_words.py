"""The cheap look before a dear one."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.engine.plan import timescale_rules, undeclared
from airflow_provider_wmigrate.engine.sql.words import _SHORT, Words

WORDS = Words(r"\b(?:drop_chunks|run_job)\b", "chunk", "_job")


@pytest.mark.parametrize(
    ("text", "within"),
    [
        ("SELECT drop_chunks('t')", True),
        ("SELECT DROP_CHUNKS('t')", True),
        ("CALL run_job(7)", True),
        ("SELECT drop_chunks_now()", False),
        ("INSERT INTO a_job VALUES (1)", False),
        ("", False),
        ("-- " + "x" * _SHORT + "\nSELECT Drop_Chunks('t')", True),
        ("-- " + "x" * _SHORT, False),
    ],
)
def test_a_word_is_found_in_any_case(text: str, within: bool) -> None:
    assert WORDS.within(text) is within


@pytest.mark.parametrize("word", sorted(timescale_rules._ALL))
def test_each_function_that_changes_something_has_a_fragment(word: str) -> None:
    assert timescale_rules._WORDS.within(f"SELECT {word}()")


@pytest.mark.parametrize("word", [*sorted(undeclared._FUNCTIONS), "timescaledb.x", "tsdb . x"])
def test_each_word_of_timescaledb_has_a_fragment(word: str) -> None:
    assert undeclared._WORDS.within(f"WITH ({word})")
