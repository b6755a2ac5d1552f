"""yoyo-migrations. It has no plan; `list` is its status."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.measuring import Command
from bench.scripts import Script
from bench.tools import Tool


class Yoyo(Tool):
    name = "yoyo"
    requirements = ("yoyo-migrations", "psycopg[binary]", "setuptools")

    def write(self, folder: Path, scripts: Sequence[Script]) -> None:
        for script in scripts:
            (folder / f"{script.version}_{script.name}.sql").write_text(script.up)
            (folder / f"{script.version}_{script.name}.rollback.sql").write_text(script.down)

    def command(self, verb: str, folder: Path, dsn: str, applied: int) -> Command | None:
        newest = "|".join(f"{number:05d}_" for number in range(max(applied - 9, 1), applied + 1))
        words = {
            "apply": ["apply", "--batch"],
            "status": ["list"],
            "roll_back_10": ["rollback", "--batch", "--match", newest],
        }
        if verb == "help":
            return Command([[self.program("yoyo"), "--help"]], folder, {})
        if verb not in words:
            return None
        target = dsn.replace("postgresql://", "postgresql+psycopg://")
        call = [self.program("yoyo"), *words[verb], "--no-config-file", "--database", target, str(folder)]
        return Command([call], folder, {})
