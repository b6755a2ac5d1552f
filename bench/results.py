"""What was read off in a run, and what is made of it: medians, ratios within a round, one table, the budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

BUDGET = Path(__file__).with_name("budget.yaml")


@dataclass(frozen=True, slots=True)
class Reading:
    """One thing measured once. Seconds, MB, or numbers, as the name of the value says."""

    part: str
    figure: str
    tool: str
    n: int
    round: int
    values: dict[str, float]

    @property
    def of(self) -> tuple[str, str, str, int]:
        return self.part, self.figure, self.tool, self.n


@dataclass(frozen=True, slots=True)
class Part:
    """What the readings of a part are compared by: this value, with that of this tool in the same round."""

    title: str
    basis: str
    reference: str
    columns: tuple[str, ...]


PARTS = {
    "memory": Part("Server in memory: CPU seconds, client and server", "cpu", "loop", ("cpu", "wall", "peak_mb")),
    "disk": Part("Server on disk: wall seconds", "wall", "loop", ("wall", "cpu")),
    "trips": Part("Round trips", "trips", "loop", ("trips", "connections")),
    "delay": Part("Wall seconds of a migration, each round trip made longer", "wall", "loop", ("wall",)),
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
        basis, reference = PARTS[part].basis, PARTS[part].reference
        ratios = []
        for reading in group:
            beside = by_round.get((part, figure, reference, n, reading.round))
            if beside is not None and beside.values.get(basis):
                ratios.append(reading.values[basis] / beside.values[basis])
        medians = {name: median(reading.values[name] for reading in group) for name in group[0].values}
        spread = (min(ratios), max(ratios)) if ratios else None
        rows.append(Row(part, figure, tool, n, medians, median(ratios) if ratios else None, spread))
    return rows


def table(rows: Iterable[Row]) -> Iterator[str]:
    """As Markdown, a table for each part."""
    by_part: dict[str, list[Row]] = {}
    for row in rows:
        by_part.setdefault(row.part, []).append(row)
    for name, of_part in by_part.items():
        part = PARTS[name]
        yield f"\n### {part.title}\n"
        heads = ["figure", "n", "tool", *(column.replace("_", " ") for column in part.columns), "x"]
        yield "| " + " | ".join(heads) + " |"
        yield "|" + " --- |" * len(heads)
        figures = [*dict.fromkeys(row.figure for row in of_part)]
        for row in sorted(of_part, key=lambda row: (row.n, figures.index(row.figure))):
            cells = [row.figure, f"{row.n:,}", row.tool, *(_number(row.values.get(c)) for c in part.columns), _x(row)]
            yield "| " + " | ".join(cells) + " |"


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
