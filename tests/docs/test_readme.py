"""What README shows of the command line is what the command prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
SETUP = """<!-- setup
export PGHOST=localhost PGUSER=postgres PGDATABASE=shop
createdb shop
wmigrate new create_customers --template table > log
-->
"""


def test_the_first_screen(follow: Callable[[str], int]) -> None:
    (shown,) = [block for block in README.split("```console\n")[1:] if block.startswith("$ wmigrate ")]
    assert follow(f"{SETUP}\n```console\n{shown.partition('```')[0]}```\n") == 3  # with the setup
