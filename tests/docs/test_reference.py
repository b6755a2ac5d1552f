"""The generated pages are current, and say something about everything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

import airflow_provider_wmigrate
from dev import airflow_reference, error_reference, ledger_reference
from dev.references import FOLDER, PAGES

ROOT = Path(__file__).resolve().parents[2]
WRITE = "write it anew: python -m dev.references"


def written(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(set(PAGES) - {"ledger-tables.md"}))
def test_a_page_is_current(name: str) -> None:
    assert written(name) == PAGES[name](), WRITE


def test_the_page_of_tables_is_current(conn: psycopg.Connection[Any]) -> None:
    assert written("ledger-tables.md") == ledger_reference.page(conn), WRITE


def test_no_other_page_lies_there() -> None:
    assert {file.name for file in FOLDER.iterdir()} == set(PAGES)


def test_every_public_name_and_parameter_is_told() -> None:
    page = airflow_reference.page()
    assert set(re.findall(r"^### `(\w+)`$", page, re.MULTILINE)) == set(airflow_provider_wmigrate.__all__)
    assert re.findall(r"^\| .* \|  \|$", page, re.MULTILINE) == [], "a parameter or a method without a word about it"


def test_every_column_is_told() -> None:
    assert re.findall(r"^\| `\w+` \|.*\|  \|$", written("ledger-tables.md"), re.MULTILINE) == []


@pytest.mark.parametrize("change", ["more", "less"])
def test_an_error_that_is_not_described_or_gone_is_refused(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if change == "more":
        monkeypatch.setitem(error_reference.REMEDIES, "NoSuchThing", "")
    else:
        monkeypatch.delitem(error_reference.REMEDIES, "FolderError")
    with pytest.raises(ValueError, match="dev/"):
        error_reference.page()


def test_the_pages_are_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for folder in (ROOT / "docs", *(ROOT / "docs" / name for name in ("how-to", "explanation", "reference"))):
        for file in folder.glob("*.md"):
            assert f"]({file.relative_to(ROOT / 'docs')}" in index or file.name == "index.md", file
