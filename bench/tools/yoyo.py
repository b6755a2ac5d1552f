"""yoyo-migrations. It has no plan; `list` is its status."""

from __future__ import annotations

from pathlib import Path

from bench.measuring import Command
from bench.tools import Tool


class Yoyo(Tool):
    name = "yoyo"
    requirements = ("yoyo-migrations", "psycopg[binary]", "setuptools")

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
