"""The yardstick: psycopg in a loop, with a ledger row for each file."""

from __future__ import annotations

from pathlib import Path

from bench.measuring import Command
from bench.tools import ROOT, Tool


class Loop(Tool):
    name = "loop"

    def version(self) -> str:
        import psycopg

        return f"psycopg {psycopg.__version__}"

    def command(self, verb: str, folder: Path, dsn: str, applied: int) -> Command | None:
        yardstick = [self.python, str(ROOT / "bench" / "yardstick.py")]
        words = {"apply": ["up"], "status": ["status"], "plan": ["status"], "roll_back_10": ["down"]}
        if verb not in words:
            return None
        return Command([[*yardstick, *words[verb], dsn, str(folder), "10"]], folder, {})
