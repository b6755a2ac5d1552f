"""This project's command, of this checkout or of another one."""

from __future__ import annotations

from pathlib import Path

from bench.measuring import Command
from bench.tools import ROOT
from bench.tools.loop import Loop


class WMigrate(Loop):
    """Reads the same files as the loop.

    :param checkout: where the package is taken from.
    """

    name = "wmigrate"

    def __init__(self, home: Path, name: str = name, checkout: Path = ROOT) -> None:
        super().__init__(home)
        self.name = name
        self.checkout = checkout

    def version(self) -> str:
        return described(self.checkout)

    def command(self, verb: str, folder: Path, dsn: str, applied: int) -> Command | None:
        words = {
            "apply": ["up", "--yes"],
            "status": ["status"],
            "plan": ["plan"],
            "roll_back_10": ["down", f"{max(applied - 10, 0):05d}", "--yes"],
            "down": ["down", "000" if applied == 0 else f"{applied:05d}", "--yes"],
            "help": ["--help"],
        }
        call = [self.python, "-m", "airflow_provider_wmigrate.cli", *words[verb]]
        if verb != "help":
            call += ["--folder", str(folder), "--dsn", dsn]
        return Command([call], folder, {"PYTHONPATH": str(self.checkout)})


def described(checkout: Path) -> str:
    """The commit of a checkout, `+` when it has been changed since."""
    import subprocess

    git = ["git", "-C", str(checkout)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=False
    )
    return (commit.stdout.strip() or "?") + ("+" if changed.stdout.strip() else "")
