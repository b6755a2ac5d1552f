"""The docs tell the truth: what can be compared with the code is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dev.markdown import with_generated
from dev.references import DOCS, PAGES

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", [name for name in PAGES if name != "reference/airflow.md"])
def test_a_page_is_current(name: str) -> None:
    page = (DOCS / name).read_text(encoding="utf-8")
    assert page == with_generated(page, PAGES[name]()), "write it anew: python -m dev.references"


def test_every_test_the_hazards_page_names_exists() -> None:
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "hazards.md").read_text())
    assert len(named) >= 28
    tests = "".join(p.read_text() for p in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in named if f"def {name}(" not in tests] == []
