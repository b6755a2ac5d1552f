"""A script that was parsed is not parsed again, as long as what is kept does not take too much room."""

from __future__ import annotations

from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.sql.analysis import ROOM, Analyses

ONE, TWO = Script.of("001_a.sql", "SELECT 1"), Script.of("002_a.sql", "SELECT 1")
LARGE = Script.of("003_a.sql", f"SELECT 1 -- {'x' * ROOM}")


def test_a_script_is_parsed_once_until_it_has_run() -> None:
    analyses = Analyses()
    first = analyses.of(ONE)
    assert analyses.of(ONE) is first
    assert analyses.of(TWO) is not first, "the same text in another file has other messages"
    analyses.drop(ONE)
    assert not analyses.has(ONE)
    assert analyses.of(ONE) is not first


def test_what_is_kept_has_an_end_but_what_runs_next_is_kept_in_any_case() -> None:
    analyses = Analyses()
    assert analyses.of(LARGE).script.file == "003_a.sql"
    assert not analyses.has(LARGE)
    assert analyses.of(LARGE, soon=True) is analyses.of(LARGE)
    analyses.of(ONE)
    assert not analyses.has(ONE), "there is no room left"
    analyses.drop(LARGE)
    analyses.of(ONE)
    assert analyses.has(ONE)
