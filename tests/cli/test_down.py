"""Which migrations `down` takes: by a version, by a number, one alone; and when --yes is not enough for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from terminal import Terminal

Wmigrate = Callable[..., Any]
Conn = psycopg.Connection[Any]


@pytest.fixture
def place(conn: Conn) -> str:
    return f"database {conn.info.dbname} on 127.0.0.1:{conn.info.port} as postgres"


@pytest.fixture
def applied(shop: Path, wmigrate: Wmigrate) -> Path:
    """The project with its three migrations applied."""
    assert wmigrate("up", "--yes").code == 0
    return shop


def standing(wmigrate: Wmigrate) -> dict[str, str]:
    return {m["version"]: m["status"] for m in wmigrate("status", "--json").json["migrations"]}


def test_the_last_ones_by_number(applied: Path, wmigrate: Wmigrate) -> None:
    data = wmigrate("down", "--steps", "2", "--yes", "--json").json
    assert [record["version"] for record in data["records"]] == ["003", "002"]
    assert standing(wmigrate) == {"001": "applied", "002": "pending", "003": "pending"}
    assert wmigrate("down", "--steps", "1", "-y").out.startswith("Rolled back 1 migration in ")
    again = wmigrate("down", "--steps", "1", "-y")
    assert (again.code, again.out.startswith("Nothing to roll back on database ")) == (0, True)


def test_the_last_ones_are_those_of_the_highest_versions(applied: Path, wmigrate: Wmigrate) -> None:
    """Not those of the latest hour: 002 was applied after 003 here."""
    (applied / "migration_config.yaml").write_text(
        "migrations:\n- {version: 3, dependencies: [1]}\n- {version: 2, dependencies: [1]}\n"
    )
    (applied / "003_view.sql").write_text("CREATE VIEW dear AS SELECT id FROM shop;")
    assert wmigrate("down", "001", "--yes").code == 0
    assert wmigrate("up", "--to", "3", "--yes").code == 0
    assert wmigrate("up", "--yes").code == 0
    data = wmigrate("down", "--steps", "1", "--yes", "--json").json
    assert [record["version"] for record in data["records"]] == ["003"]


@pytest.mark.parametrize(("left", "told"), [("3", "3 migrations are"), ("1", "1 migration is")])
def test_more_steps_than_there_are(applied: Path, wmigrate: Wmigrate, left: str, told: str) -> None:
    if left == "1":
        assert wmigrate("down", "001", "--yes").code == 0
    before = standing(wmigrate)
    result = wmigrate("down", "--steps", "4", "--yes")
    assert (result.code, result.err) == (
        2,
        f"wmigrate: --steps 4 is too many: {told} applied; give --steps {left} to roll back everything\n",
    )
    assert standing(wmigrate) == before


@pytest.mark.parametrize(
    "words", [(), ("2", "--only", "2"), ("2", "--steps", "1"), ("--steps", "1", "--only", "2"), ("1", "--steps", "1")]
)
def test_one_way_to_say_it(applied: Path, wmigrate: Wmigrate, words: tuple[str, ...]) -> None:
    result = wmigrate("down", *words, "--yes")
    assert (result.code, result.err) == (
        2,
        "wmigrate: give one of these: the version to go back to, --steps or --only; `down 003` rolls back everything"
        " above 003, `down --steps 2` the last two, `down --only 003` 003 alone\n",
    )


@pytest.mark.parametrize(
    ("typed", "going", "in_full"),
    [("1", "003, 002", "001"), ("01", "003, 002", "001"), ("0", "003, 002, 001", "000")],
)
def test_yes_alone_is_not_enough_for_several(
    applied: Path, wmigrate: Wmigrate, process: Any, place: str, typed: str, going: str, in_full: str
) -> None:
    """`down 1` may be meant as one step. Without a terminal, with one, and for programs."""
    count = going.count(",") + 1
    hint = (
        f"{going} would go; if that is meant, write `down {in_full} --yes` (the version in full) or"
        f" `down --steps {count} --yes`"
    )
    result = process("down", typed, "--yes")
    sentence = f"--yes alone is not enough to roll back {count} migrations on {place}; {hint}"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"wmigrate: {sentence}\n")
    nobody = process("down", typed)
    asked = f"this would change the target (Roll back {count} migrations on {place}), and there is nobody to ask"
    assert (nobody.returncode, nobody.stderr) == (2, f"wmigrate: {asked}; {hint}\n")
    error = wmigrate("down", typed, "-y", "--json").json["error"]
    assert (error["code"], error["message"], error["hint"], error["exit_code"]) == ("usage_error", sentence, hint, 2)
    assert set(standing(wmigrate).values()) == {"applied"}
    assert wmigrate("down", in_full, "--yes").code == 0


@pytest.mark.parametrize("words", [("001",), ("0001",), ("nothing",), ("--steps", "2"), ("2",), ("--only", "3")])
def test_yes_is_enough(applied: Path, wmigrate: Wmigrate, words: tuple[str, ...]) -> None:
    """The version in full, the number of migrations, or a single migration that goes."""
    assert wmigrate("down", *words, "--yes").code == 0


def test_a_version_that_is_a_time_is_always_in_full(shop: Path, wmigrate: Wmigrate) -> None:
    for file in [*shop.iterdir()]:
        file.rename(shop / f"20260102030{file.name}")
    assert wmigrate("up", "--yes").code == 0
    data = wmigrate("down", "20260102030001", "--yes", "--json").json
    assert [record["version"] for record in data["records"]] == ["20260102030003", "20260102030002"]


@pytest.mark.parametrize("yes", [(), ("--yes",)])
def test_a_person_reads_how_many_and_which(applied: Path, place: str, yes: tuple[str, ...], wmigrate: Wmigrate) -> None:
    terminal = Terminal("down", "1", *yes, environment={"COLUMNS": "200"}, columns=200)
    terminal.until("[y/N]")
    asked = (
        f"Roll back 2 migrations on {place}:\n  003_view\n      takes away view public.dear\n  002_price\n"
        "      takes away column public.shop.price with 2 values (counted)\nRoll back 2 migrations (003, 002)? [y/N]"
    )
    assert terminal.plain.strip() == asked
    terminal.type("n\n")
    assert terminal.end() == 1
    assert set(standing(wmigrate).values()) == {"applied"}
    again = Terminal("down", "1", *yes, columns=200)
    again.until("[y/N]")
    again.type("y\n")
    assert again.end() == 0
    assert standing(wmigrate) == {"001": "applied", "002": "pending", "003": "pending"}


def test_of_two_rollback_scripts_a_person_chooses_one(applied: Path, wmigrate: Wmigrate) -> None:
    for file in applied.glob("003_*.rollback.sql"):
        file.write_text(file.read_text() + "CREATE TABLE mended ();")
    refused = wmigrate("down", "--only", "3", "--yes")
    assert (refused.code, refused.err) == (
        3,
        "wmigrate: 003_view.rollback.sql: the rollback script of 003 is not the one recorded when it was applied;"
        " read both, and choose: `wmigrate down` with `--script folder` or `--script ledger`\n",
    )
    assert wmigrate("down", "--only", "3", "--dry-run", "--script", "folder").code == 0
    assert wmigrate("down", "--only", "3", "--yes", "--script", "folder").code == 0
    made = wmigrate("down", "--only", "3", "--yes", "--script", "neither")
    assert made.code == 2


def test_what_would_be_lost_is_told_where_nobody_is_asked(applied: Path, wmigrate: Wmigrate) -> None:
    lost = ["003 takes away view public.dear", "002 takes away column public.shop.price with 2 values (counted)"]
    assert wmigrate("down", "001", "--dry-run").err.splitlines()[:2] == lost
    losses = wmigrate("down", "001", "--dry-run", "--json").json["losses"]
    assert losses == {
        "003": [{"what": "public.dear", "rows": None, "counted": False, "told": "takes away view public.dear"}],
        "002": [
            {
                "what": "public.shop.price",
                "rows": 2,
                "counted": True,
                "told": "takes away column public.shop.price with 2 values (counted)",
            }
        ],
    }
    assert wmigrate("down", "001", "--yes").err.splitlines()[:2] == lost


def test_a_dry_run_asks_nobody(applied: Path, wmigrate: Wmigrate) -> None:
    assert wmigrate("down", "1", "--dry-run").code == 0
    assert wmigrate("down", "--steps", "2", "--dry-run").code == 0
    assert set(standing(wmigrate).values()) == {"applied"}


def test_of_many_the_question_names_the_first_and_the_last(shop: Path, wmigrate: Wmigrate) -> None:
    for number in range(4, 9):
        (shop / f"00{number}_more.sql").write_text("SELECT 1;")
        (shop / f"00{number}_more.rollback.sql").write_text("SELECT 1;")
    assert wmigrate("up", "--yes").code == 0
    terminal = Terminal("down", "1", columns=200)
    terminal.until("[y/N]")
    assert terminal.plain.strip().endswith("\nRoll back 7 migrations (008, 007, 006, ..., 002)? [y/N]")
    os.kill(terminal.pid, 15)
    terminal.end()
