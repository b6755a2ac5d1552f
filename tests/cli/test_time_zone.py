"""A server in a time zone that Python does not know: psycopg would warn of it in every process.

A server without a list of time zones is in `UTC0`, and any role or database can be in such a zone.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

Process = Callable[..., subprocess.CompletedProcess[str]]
ZONE = "<+0530>-5:30"


def test_no_command_says_a_word_of_it(shop: Path, conn: psycopg.Connection[Any], process: Process) -> None:
    conn.execute(f"ALTER DATABASE {conn.info.dbname} SET TimeZone TO '{ZONE}'".encode())
    (shop / "004_zone.sql").write_text("CREATE TABLE zone AS SELECT current_setting('TimeZone') AS name;")
    (shop / "004_zone.rollback.sql").write_text("DROP TABLE zone;")
    answers = {
        words: process(*words.split())
        for words in (
            "up --yes --json",
            "status --json",
            "plan --json",
            "history --json",
            "audit --json",
            "audit verify",
            "health",
            "info",
            "check",
            "baseline 004 --yes --json",
            "repair 002 --settle --reason tried --yes --json",
        )
    }
    assert conn.execute("SELECT name FROM zone").fetchall() == [(ZONE,)], "a script has the session's own zone"
    answers["down"] = process("down", "003", "--yes", "--json")
    assert {words: answer.stderr for words, answer in answers.items() if "timezone" in answer.stderr} == {}
    times = [entry["applied_at"] for entry in json.loads(answers["status --json"].stdout)["migrations"]]
    assert [at[-6:] for at in times] == ["+00:00"] * 4
