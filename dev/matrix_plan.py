"""Which rows the matrix has: each Python once, each PostgreSQL once, and the oldest of everything together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LOWEST, EXTRAS = "lowest", "extras"


@dataclass(frozen=True)
class Environment:
    """One virtual environment; several rows may share it."""

    python: str
    kind: Literal["locked", "lowest", "extras"] = "locked"

    @property
    def name(self) -> str:
        return f"py{self.python}" + ("" if self.kind == "locked" else f"-{self.kind}")


@dataclass(frozen=True)
class Row:
    name: str
    environment: Environment
    major: int


def plan(pythons: Mapping[str, Path], servers: Mapping[int, Path], default_major: int) -> list[Row]:
    """Every Python with the default server, every other server with the newest Python, then `lowest` and `extras`.

    :param pythons: `3.12` -> interpreter.
    :param servers: major version -> folder of programs.
    """
    found = sorted(pythons, key=_number)
    rows = [Row(f"py{python}", Environment(python), default_major) for python in found]
    rows += [Row(f"pg{major}", Environment(found[-1]), major) for major in sorted(servers) if major != default_major]
    rows.append(Row(LOWEST, Environment(found[0], "lowest"), min(servers)))
    rows.append(Row(EXTRAS, Environment(found[-1], "extras"), default_major))
    return rows


def _number(python: str) -> tuple[int, ...]:
    return tuple(map(int, python.split(".")))
