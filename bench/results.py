"""What was read off in a run, and what is made of it: medians, ratios within a round, one table, the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from dev.markdown import table

BUDGET = Path(__file__).with_name("budget.yaml")


@dataclass(frozen=True, slots=True)
class Reading:
    """One thing measured once.

    :param values: seconds, MB, or numbers, as the name says. `PARTS` says which is compared.
    :param beside: the tool that it is compared with, in the same round; empty: none.
    """

    part: str
    figure: str
    tool: str
    n: int
    round: int
    values: dict[str, float]
    beside: str = "loop"

    @property
    def of(self) -> tuple[str, str, str, int]:
        return self.part, self.figure, self.tool, self.n


# Of each part its title, and the values that stand in its table; the first one that a figure has is what `x` compares.
PARTS = {
    "memory": ("Server in memory: CPU seconds, client and server", ("cpu", "wall", "peak_mb")),
    "slow-disk": ("Each flush to the disk made 5 ms longer: wall seconds", ("wall", "cpu")),
    "disk": ("Server on disk: wall seconds", ("wall", "cpu")),
    "trips": ("Round trips", ("trips", "connections")),
    "delay": ("Wall seconds of a migration, each round trip made longer", ("wall",)),
    "jobs": ("Side by side, `up --jobs`: wall seconds", ("wall",)),
    "snapshot": ("A snapshot of a schema: CPU seconds, client and server", ("cpu", "wall")),
    "drift": ("`settings.drift: warn`: CPU seconds, client and server", ("cpu", "wall")),
    "imports": ("What a DAG file costs a process: CPU seconds", ("cpu",)),
    "airflow": ("In Airflow: CPU seconds of the workers and their tasks, and wall seconds", ("cpu", "wall")),
}


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of a figure over all rounds, and how many times the reference that is.

    :param x: the median of the rounds' ratios; None without a reference.
    """

    part: str
    figure: str
    tool: str
    n: int
    values: dict[str, float]
    x: float | None
    x_range: tuple[float, float] | None

    def value(self, name: str) -> float | None:
        return self.x if name == "x" else self.values.get(name)


def summed_up(readings: Sequence[Reading]) -> list[Row]:
    """One row for each figure of each tool, in the order in which they came."""
    groups: dict[tuple[str, str, str, int], list[Reading]] = {}
    for reading in readings:
        groups.setdefault(reading.of, []).append(reading)
    by_round = {(r.part, r.figure, r.tool, r.n, r.round): r for r in readings}
    rows = []
    for (part, figure, tool, n), group in groups.items():
        basis, ratios = next(name for name in PARTS[part][1] if name in group[0].values), []
        for reading in group:
            beside = by_round.get((part, figure, reading.beside, n, reading.round))
            if beside is not None and beside.values.get(basis):
                ratios.append(reading.values[basis] / beside.values[basis])
        medians = {name: median(reading.values[name] for reading in group) for name in group[0].values}
        spread = (min(ratios), max(ratios)) if ratios else None
        rows.append(Row(part, figure, tool, n, medians, median(ratios) if ratios else None, spread))
    return rows


def tables(rows: Sequence[Row]) -> str:
    """As Markdown, a table for each part."""
    parts = []
    for name, (title, columns) in PARTS.items():
        of_part = [row for row in rows if row.part == name]
        figures = [*dict.fromkeys(row.figure for row in of_part)]
        of_part.sort(key=lambda row: (row.n, figures.index(row.figure)))
        heads = "|".join(["figure", "n", "tool", *(column.replace("_", " ") for column in columns), "x"])
        cells = [[r.figure, f"{r.n:,}", r.tool, *(_number(r.values.get(c)) for c in columns), _x(r)] for r in of_part]
        parts += [f"\n### {title}\n", table(heads, cells)] if cells else []
    return "".join(parts)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _x(row: Row) -> str:
    if row.x is None or row.x_range is None:
        return ""
    low, high = row.x_range
    return f"{row.x:.2f} ({low:.2f} to {high:.2f})"


def beyond_budget(rows: Sequence[Row]) -> tuple[list[str], int]:
    """A sentence for each figure that costs more than budget.yaml allows, and how many were looked at."""
    looked_at, sentences = 0, []
    for entry in yaml.safe_load(BUDGET.read_text()):
        limits: dict[str, Any] = entry["at_most"]
        for row in rows:
            wanted = entry["part"], entry["figure"], entry.get("n", row.n), "wmigrate"
            if (row.part, row.figure, row.n, row.tool) != wanted:
                continue
            for name, limit in limits.items():
                value = row.value(name)
                looked_at += value is not None
                if value is not None and value > limit:
                    what = f"{row.part}: {row.figure} of {row.n:,}"
                    sentences.append(f"{what}: {name} is {value:.3g}, the budget is {limit}")
    return sentences, looked_at
