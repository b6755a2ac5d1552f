"""In a narrow terminal lines end between words, on every verb's help, in tables and in sentences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from terminal import Terminal

from airflow_provider_wmigrate.cli.verbs import VERBS

Wmigrate = Callable[..., Any]
WIDTHS = (40, 60, 80)


def broken(narrow: str, wide: str, columns: int) -> list[str]:
    """Lines that are too long although they have several words, and words that the wide output does not have."""
    known = {word.strip(":") for word in wide.split()}
    lines = [line for line in narrow.splitlines() if not line.strip().startswith("[")]  # of a usage: one piece
    long = [line for line in lines if len(line) > columns and len(line.split()) > 1]
    return long + [word for word in narrow.split() if word.strip(":") not in known]


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("verb", ["", *(verb.name for verb in VERBS)])
def test_help(wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch, verb: str, columns: int) -> None:
    words = (*((verb,) if verb else ()), "--help")
    monkeypatch.setenv("COLUMNS", "500")
    wide = wmigrate(*words).out
    monkeypatch.setenv("COLUMNS", str(columns))
    narrow = wmigrate(*words).out
    assert broken(narrow, wide, columns) == []


@pytest.mark.parametrize("columns", WIDTHS)
def test_tables_and_sentences(shop: Path, wmigrate: Wmigrate, columns: int) -> None:
    (shop / "004_a_name_that_is_rather_long_for_a_column.sql").write_text(
        "CREATE TABLE once ();\n\nSELECT no_such_column;"
    )
    assert wmigrate("up", "--to", "3", "--yes").code == 0
    failed = Terminal("up", "--yes", columns=columns, environment={"TERM": "xterm"})
    assert failed.end() == 1
    last = failed.plain[failed.plain.rindex("wmigrate:") :]
    assert broken(last, wmigrate("up", "--yes").err, columns) == []
    for words in (("status",), ("history",), ("health",), ("info",), ("new", "--templates"), ("check", "--strict")):
        terminal = Terminal(*words, columns=columns)
        terminal.end()
        heads = "Version Name Status Applied (UTC) By Took Event At Claimed by Logged in as What Reason Check For"
        assert broken(terminal.plain, wmigrate(*words).out + heads + " " + durations(terminal.plain), columns) == []


def durations(text: str) -> str:
    """What is measured anew by each call."""
    return " ".join(word for word in text.split() if word.strip(".").isdigit())


def test_the_question(shop: Path, wmigrate: Wmigrate) -> None:
    terminal = Terminal("up", columns=40)
    terminal.until("[y/N]")
    asked = terminal.plain
    terminal.type("n\n")
    terminal.end()
    assert all(len(line) <= 40 for line in asked.splitlines())
    assert " ".join(asked.split()).startswith("Apply 3 migrations on database test_")
    assert "\n  001_shop\n  002_price\n  003_view\n" in asked


def test_a_drawing_and_a_script_are_never_broken(shop: Path, wmigrate: Wmigrate) -> None:
    for words in (("graph",), ("completion", "fish")):
        terminal = Terminal(*words, columns=40)
        terminal.end()
        assert terminal.plain == wmigrate(*words).out
