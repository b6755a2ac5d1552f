"""The yardstick: psycopg in a loop, with a ledger row for each file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.measuring import Command
from bench.scripts import Script
from bench.tools import ROOT, Tool


class Loop(Tool):
    name = "loop"

    def version(self) -> str:
        import psycopg

        return f"psycopg {psycopg.__version__}"

    def write(self, folder: Path, scripts: Sequence[Script]) -> None:
        for script in scripts:
            (folder / f"{script.version}_{script.name}.sql").write_text(script.up)
            (folder / f"{script.version}_{script.name}.rollback.sql").write_text(script.down)

    def command(self, verb: str, folder: Path, dsn: str, applied: int) -> Command | None:
        yardstick = [self.python, str(ROOT / "bench" / "yardstick.py")]
        words = {"apply": ["up"], "status": ["status"], "plan": ["status"], "roll_back_10": ["down"]}
        if verb not in words:
            return None
        return Command([[*yardstick, *words[verb], dsn, str(folder), "10"]], folder, {})
