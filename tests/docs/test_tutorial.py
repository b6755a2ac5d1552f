"""docs/tutorial.md, word by word: a real PostgreSQL, then a real Airflow whose task fails, is fixed and cleared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Follow = Callable[[str], int]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
IN_AIRFLOW = "\n## In Airflow\n"


@pytest.mark.slow
@pytest.mark.timeout(900)  # of a machine that is busy with other tests: a whole Airflow is started
@pytest.mark.needs_program("curl")  # as the page asks of its reader
def test_the_tutorial(follow: Follow) -> None:
    """Both parts, since the second goes on where the first ends."""
    assert follow(PAGE) > 40


def test_its_first_part_alone(follow: Follow) -> None:
    """Without Airflow, for whoever has only a few seconds."""
    assert follow(PAGE.partition(IN_AIRFLOW)[0]) > 20


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Applied 2 migrations in", "Applied 3 migrations in"),
        ("$ wmigrate plan\n", "$ wmigrate status\n"),
        ("ALTER TABLE customers ADD COLUMN email text;", "ALTER TABLE customers ADD COLUMN email int;"),
        ("002      add_email         pending\n", ""),
    ],
)
def test_a_page_that_says_something_else_is_found(follow: Follow, old: str, new: str) -> None:
    first = PAGE.partition("\n### One that fails\n")[0]
    assert old in first
    with pytest.raises(AssertionError):
        follow(first.replace(old, new, 1))
