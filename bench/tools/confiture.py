"""confiture (fraiseql-confiture on PyPI)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.measuring import Command
from bench.scripts import Script
from bench.tools import Tool


class Confiture(Tool):
    name = "confiture"
    requirements = ("fraiseql-confiture",)

    def write(self, folder: Path, scripts: Sequence[Script]) -> None:
        for script in scripts:
            (folder / f"{script.version}_{script.name}.up.sql").write_text(script.up)
            (folder / f"{script.version}_{script.name}.down.sql").write_text(script.down)

    def command(self, verb: str, folder: Path, dsn: str, applied: int) -> Command | None:
        words = {
            "apply": ["up"],
            "status": ["status"],
            "plan": ["up", "--dry-run"],
            "roll_back_10": ["down", "--steps", "10"],
        }
        if verb == "help":
            return Command([[self.program("confiture"), "--help"]], folder, {})
        call = [self.program("confiture"), "migrate", *words[verb], "--migrations-dir", str(folder)]
        return Command([[*call, "--database-url", dsn]], folder, {})
