"""docs/cli.md tells the truth: its commands are run, its tables compared, its links with the code held."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.cli.verbs import VERBS

Wmigrate = Callable[..., Any]
TEXT = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
COMMAND = [sys.executable, "-m", "airflow_provider_wmigrate.cli"]

CHANGES = {
    r"(127\.0\.0\.1|localhost):\d+": "HOST",
    r"database (test_\d+|shop)": "DATABASE",
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d": "TIME",
    r"\d+(\.\d+)? m?s\b": "DURATION",
    r"server process \d+": "PROCESS",
    r"\S+@\S+": "WHO",
    r"\b[0-9a-f]{64}\b": "HASH",
    r" {2,}": "  ",
}
"""What is different each time."""


def told(text: str) -> list[str]:
    for pattern, word in CHANGES.items():
        text = re.sub(pattern, word, text)
    return text.splitlines()


def tutorial() -> Iterator[tuple[str, str]]:
    """(command, its output as the page has it)."""
    (block,) = re.findall(r"```console\n(\$ wmigrate new create_customers.*?)```", TEXT, re.DOTALL)
    for part in block.split("$ wmigrate ")[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def test_the_first_commands_as_a_new_user_tries_them(pg_environment: dict[str, str]) -> None:
    commands = list(tutorial())
    assert len(commands) >= 10
    for command, output in commands:
        answer = subprocess.run(
            [*COMMAND, *shlex.split(command)],
            env={**os.environ, **pg_environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stdout
        assert told(answer.stdout) == told(output), command


def test_every_verb_is_documented() -> None:
    for verb in VERBS:
        assert re.search(rf"^### `{verb.name}\b", TEXT, re.MULTILINE), verb.name


def documented_keys() -> dict[str, set[str]]:
    table = TEXT.partition("| verb | keys |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.*?) \| (`.*?) \|$", table, re.MULTILINE)
    return {verb: set(re.findall(r"`(\w+)`", keys)) for verbs, keys in rows for verb in re.findall(r"`([^`]+)`", verbs)}


CALLS = {
    "status": [], "plan": [], "up": ["--yes"], "history": [], "history --daily": [], "audit": [], "audit verify": [],
    "health": [], "info": [], "check": [], "graph": [], "down": ["2", "--yes"], "new": ["x"], "new --templates": [],
    "completion": ["bash"], "repair": ["1", "--accept", "--reason", "x", "--yes"],
    "wait": [], "baseline": ["3", "--no-compare", "--reason", "x", "--yes"],
    "baseline --undo": ["3", "--reason", "x", "--yes"],
    "adopt": ["--from", "dbmate", "--dry-run"], "convert": ["--from", "seed", "migrations", "written"], "export": [],
    "backups": [],
    "review": [], "lint": ["--offline"], "lint --write-baseline": ["known.json"],
    "snapshot": ["--output", "schema.json"], "diff": ["schema.json"],
    "verify": ["1"], "squash": ["2", "--data", "--dry-run"], "drift": [], "drift --accept": ["--reason", "x", "--yes"],
    "kept": [], "kept --empty": ["--yes"],
}  # fmt: skip


def test_the_documents_have_the_documented_keys(shop: Path, wmigrate: Wmigrate, conn: psycopg.Connection[Any]) -> None:
    assert set(documented_keys()) == set(CALLS)
    assert {call.split()[0] for call in CALLS} == {verb.name for verb in VERBS}
    for call, more in CALLS.items():
        if call == "repair":
            (shop / "001_shop.sql").write_text("CREATE TABLE shop (id int); -- edited")
        if call == "adopt":
            conn.execute("CREATE TABLE schema_migrations (version varchar)")
        document = wmigrate(*call.split(), *more, "--json").json
        assert set(document) == documented_keys()[call], call


@pytest.mark.parametrize("key", ["target", "finding", "error"])
def test_the_parts_have_the_documented_keys(shop: Path, wmigrate: Wmigrate, key: str) -> None:
    (shop / "001_shop.sql").write_text("COMMIT;")
    data = wmigrate("plan", "--json").json
    found = {
        "target": data["target"],
        "finding": data["findings"][0],
        "error": wmigrate("down", "--json").json["error"],
    }[key]
    start = {"target": "`target` is `{", "finding": "A finding is `{", "error": 'An error is `{"error": {'}[key]
    said = TEXT.partition(start)[2].partition("}")[0]
    assert set(re.findall(r'"(\w+)"', said)) == set(found)
