"""The tools that are compared; a class more is a tool more: see `Tool`, and `Dbmate` in others.py."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.measuring import Command
from bench.scripts import Script

ROOT = Path(__file__).resolve().parents[2]


class Missing(Exception):
    """The tool cannot be installed here; the message says why."""


class Tool:
    """How a tool is installed, fed and called."""

    name: str
    requirements: tuple[str, ...] = ()
    """From PyPI, into an environment of its own; none: it runs in this Python."""

    def __init__(self, home: Path) -> None:
        """:param home: a folder that is kept between runs, for what is installed."""
        self.environment_folder = home / self.name

    @property
    def python(self) -> str:
        return str(self.environment_folder / "bin" / "python") if self.requirements else sys.executable

    def program(self, name: str) -> str:
        return str(Path(self.python).with_name(name))

    def install(self) -> None:
        """:raises Missing: the package index has it not, or not for this machine."""
        done = self.environment_folder / "installed.json"
        if not self.requirements or (done.exists() and json.loads(done.read_text()) == [*self.requirements]):
            return
        for call in (
            [sys.executable, "-m", "venv", "--clear", str(self.environment_folder)],
            [self.python, "-m", "pip", "install", "--quiet", *self.requirements],
        ):
            answer = subprocess.run(call, capture_output=True, text=True, check=False)
            if answer.returncode != 0:
                said = (answer.stderr or answer.stdout).strip().splitlines()[-1:]
                raise Missing(f"{' '.join(self.requirements)}: {' '.join(said)}")
        done.write_text(json.dumps(self.requirements))

    def version(self) -> str:
        """As the package's metadata says."""
        code = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
        answer = subprocess.run(
            [self.python, "-c", code, self.requirements[0]], capture_output=True, text=True, check=False
        )
        return answer.stdout.strip() or "?"

    def write(self, folder: Path, scripts: Sequence[Script]) -> None:
        """Put these migrations into the folder, beside those that are there; by default named as wmigrate has them."""
        for script in scripts:
            (folder / f"{script.version}_{script.name}.sql").write_text(script.up)
            (folder / f"{script.version}_{script.name}.rollback.sql").write_text(script.down)

    def command(self, verb: str, folder: Path, dsn: str, applied: int) -> Command | None:
        """How it does `apply` (all that is pending), `status`, `plan`, `roll_back_10` or `help`; None: it does not.

        :param applied: how many migrations are applied, the first ones.
        """
        raise NotImplementedError


def find_tools(home: Path) -> dict[str, Tool]:
    """Every class of this folder, by name; the yardstick first, then ours, then the others."""
    modules = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
    kinds = [kind for module in modules for kind in vars(module).values() if _is_tool(kind, module.__name__)]
    order = ["loop", "wmigrate"]
    kinds.sort(key=lambda kind: (order.index(kind.name) if kind.name in order else len(order), kind.name))
    return {kind.name: kind(home) for kind in kinds}


def _is_tool(kind: object, module: str) -> bool:
    return isinstance(kind, type) and issubclass(kind, Tool) and kind.__module__ == module
