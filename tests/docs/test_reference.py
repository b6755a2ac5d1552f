"""The generated pages are current, and say something about everything."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import psycopg

import airflow_provider_wmigrate
from dev import airflow_reference
from dev.markdown import with_generated
from dev.references import DOCS, LOCKS, PAGES, TABLES, error_classes, ledger_tables

AIRFLOW = "reference/airflow.md"
WRITE = "write it anew: python -m dev.references"


def written(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_airflows_page_is_current() -> None:
    """Those that need no Airflow: tests/unit/test_docs.py."""
    assert written(AIRFLOW) == with_generated(written(AIRFLOW), PAGES[AIRFLOW]()), WRITE


def test_the_page_of_tables_is_current(conn: psycopg.Connection[Any]) -> None:
    assert written(TABLES) == with_generated(written(TABLES), ledger_tables(conn)), WRITE


def test_no_other_page_lies_there() -> None:
    written_here = {file.name for file in (DOCS / "reference").iterdir()}
    assert written_here == {Path(name).name for name in (*PAGES, TABLES, LOCKS) if "/" in name}


def test_every_public_name_and_parameter_is_told() -> None:
    page = airflow_reference.page()
    assert set(re.findall(r"^### `(\w+)`$", page, re.MULTILINE)) == set(airflow_provider_wmigrate.__all__)
    assert re.findall(r"^\| .* \|  \|$", page, re.MULTILINE) == [], "a parameter or a method without a word about it"


def test_every_column_is_told() -> None:
    assert re.findall(r"^\| `\w+` \|.*\|  \|$", written(TABLES), re.MULTILINE) == []


def test_every_error_is_listed() -> None:
    """Whatever class says `WMigrateError` or one of its kinds in its head, anywhere in the package."""
    heads: dict[str, list[str]] = {}
    for file in Path(airflow_provider_wmigrate.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                heads[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
    found = {"WMigrateError"}
    while more := {name for name, bases in heads.items() if found & {*bases}} - found:
        found |= more
    assert {kind.__name__ for kind in error_classes()} == found


def test_every_error_says_what_to_do_about_it() -> None:
    """In words of its own: an inherited remedy heals something else."""
    without = [kind.__name__ for kind in error_classes() if "remedy" not in vars(kind)]
    assert without == []


def test_the_pages_are_in_the_index() -> None:
    index = written("index.md")
    for folder in ("", "how-to", "explanation", "reference"):
        for file in (DOCS / folder).glob("*.md"):
            assert f"]({file.relative_to(DOCS)}" in index or file.name == "index.md", file
