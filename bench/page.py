"""docs/benchmarks.md from runs: `python -m bench.page .bench/results.json`. The words around the figures stay."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.results import PARTS, Reading, Row, summed_up, tables
from bench.tools import ROOT
from dev.markdown import table, with_generated

PAGE, PICTURES = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "benchmarks"
MEASURED = "<!-- measured: python -m bench.page -->\n"


def main(*files: str) -> None:
    documents = [json.loads(Path(file).read_text()) for file in files]
    # A round of one run is none of another.
    rounds = [(1000 * at, reading) for at, document in enumerate(documents) for reading in document["readings"]]
    rows = summed_up([Reading(**{**reading, "round": reading["round"] + start}) for start, reading in rounds])
    text = "".join([*map(_about, documents), _applying(rows), _far_away(rows), tables(rows)])
    PAGE.write_text(with_generated(PAGE.read_text(), text, MEASURED))


def _about(document: dict[str, Any]) -> str:
    machine = document["machine"]
    load = ", ".join(f"{value:.1f}" for value in (machine["load_at_the_beginning"][0], document["load_at_the_end"][0]))
    facts = {
        "what": ", ".join(
            PARTS[part][0].partition(":")[0] for part in dict.fromkeys(r["part"] for r in document["readings"])
        ),
        "when": f"{machine['began']} to {document['ended']}",
        "machine": "{cores} cores of {processor}, {memory_gb} GB, {system}".format(**machine),
        "Python, PostgreSQL": f"{machine['python']}, {machine['postgresql']}",
        "load at the beginning, at the end": load,
        "noise": document["noise"],
        "versions": ", ".join(f"{name} {version}" for name, version in document["tools"].items()),
        "not measured": ", ".join(f"{name} ({why})" for name, why in document["missing"].items()) or "none",
    }
    return table("|", facts.items())


def _applying(rows: Sequence[Row]) -> str:
    """CPU by the number of migrations, a line for each tool."""
    figure, axes = _axes("Applying, server in memory", "migrations", "CPU seconds, client and server")
    chosen = [row for row in rows if (row.part, row.figure) == ("memory", "apply")]
    for tool in dict.fromkeys(row.tool for row in chosen):
        points = sorted((row.n, row.values["cpu"]) for row in chosen if row.tool == tool)
        axes.plot(*zip(*points, strict=True), marker="o", label=tool, linestyle="--" if tool == "loop" else "-")
    axes.set(xscale="log", yscale="log")
    return _saved(figure, axes, "apply")


def _far_away(rows: Sequence[Row]) -> str:
    """Wall time of a migration by distance, a group of bars for each tool."""
    figure, axes = _axes("A migration on a server that is far away", "", "milliseconds of wall time for each")
    chosen = [row for row in rows if row.part == "delay"]
    tools = [*dict.fromkeys(row.tool for row in chosen)]
    distances = [*dict.fromkeys(row.figure for row in chosen)]
    for at, distance in enumerate(distances):
        heights = [row.values["wall"] * 1000 for row in chosen if row.figure == distance]
        axes.bar([place + at * 0.4 for place in range(len(tools))], heights, width=0.4, label=distance)
    axes.set_xticks([place + 0.2 for place in range(len(tools))], tools)
    axes.set_yscale("log")
    return _saved(figure, axes, "far-away")


def _axes(title: str, below: str, beside: str) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "bench", "svg.fonttype": "none", "font.family": "sans-serif"})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    axes.set(title=title, xlabel=below, ylabel=beside)
    axes.grid(alpha=0.3)
    return figure, axes


def _saved(figure: Any, axes: Any, name: str) -> str:
    axes.legend()
    PICTURES.mkdir(exist_ok=True)
    figure.savefig(PICTURES / f"{name}.svg", metadata={"Date": None})
    return f"\n![{axes.get_title()}](benchmarks/{name}.svg)\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
