"""`make bench`, or `python -m bench`: everything, or with options one quick figure."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench import airflow_figures, engine_figures, snapshot_figures
from bench.measuring import CommandFailed, Meter
from bench.results import Reading, Row, beyond_budget, summed_up, tables
from bench.servers import Server, running
from bench.tools import ROOT, Missing, Tool, find_tools
from bench.tools.others import Dbmate
from bench.tools.wmigrate import WMigrate
from dev.server_binaries import find_bindir, major_version

PARTS = ("memory", "trips", "delay", "jobs", "snapshot", "drift", "imports", "airflow", "slow-disk", "disk")
_HOME = ROOT / ".bench"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser("python -m bench", description=__doc__)
    made.add_argument("--parts", type=_words, default=PARTS, help=f"some of {','.join(PARTS)}")
    made.add_argument("--only", type=_words, default=engine_figures.FIGURES, help="some figures, such as apply,status")
    made.add_argument("--tools", type=_words, help="some tools, such as wmigrate,dbmate; the loop is always there")
    made.add_argument("--sizes", type=_numbers, default=[10, 100, 1000], help="numbers of migrations")
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--against", metavar="COMMIT", help="measure another commit of this repository in alternation")
    made.add_argument("--fresh", type=int, default=100, help="how many migrations one DAG run applies afresh")
    made.add_argument("--check", action="store_true", help="end with 1 if a figure is beyond budget.yaml")
    made.add_argument("--json", type=Path, default=_HOME / "results.json", help="where all readings are written")
    made.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="a folder on a real disk")
    return made


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def main() -> int:
    options = parser().parse_args()
    _HOME.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    missing: dict[str, str] = {}
    readings: list[Reading] = []
    run: dict[str, Any] = {"machine": _machine(), "missing": missing}
    with contextlib.ExitStack() as stack, contextlib.suppress(KeyboardInterrupt):
        tools = list(_chosen(options, missing, stack))
        run["tools"] = {tool.name: tool.version() for tool in tools}
        for name, part in _parts(options, tools, stack):
            try:
                for reading in part:
                    readings.append(reading)
                    what = f"{reading.part}, {reading.figure}, {reading.n}, {reading.tool}"
                    print(f"  {what}: {_told(reading)}", file=sys.stderr)
            except CommandFailed as error:
                missing[f"the rest of {name}"] = str(error)
                print(error.whole, file=sys.stderr)
    rows = summed_up(readings)
    run |= {"noise": _noise(readings), "ended": _now(), "load_at_the_end": os.getloadavg()}
    document = {**run, "rows": [asdict(row) for row in rows], "readings": [asdict(r) for r in readings]}
    options.json.write_text(json.dumps(document, indent=1) + "\n")
    print(tables(rows))
    print("\n".join([*(f"not measured: {name}: {why}" for name, why in missing.items()), f"noise: {run['noise']}"]))
    return _checked(rows) if options.check else 0


def _chosen(options: argparse.Namespace, missing: dict[str, str], stack: contextlib.ExitStack) -> Iterator[Tool]:
    found = find_tools(_HOME)
    for name in ["loop", *(n for n in options.tools or found if n != "loop")]:
        try:
            found[name].install()
            yield found[name]
        except Missing as error:
            missing[name] = str(error)
        if name == "wmigrate" and options.against:
            yield WMigrate(_HOME, options.against, stack.enter_context(_checkout(options.against)))


@contextlib.contextmanager
def _checkout(commit: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-checkout-") as folder:
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", folder, commit], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run([*git, "remove", "--force", folder], check=True)


def _parts(
    options: argparse.Namespace, tools: Sequence[Tool], stack: contextlib.ExitStack
) -> Iterator[tuple[str, Iterator[Reading]]]:
    """What is measured, piece by piece; one that fails leaves the others."""
    wanted, rounds = {*options.parts}, options.rounds
    ours = [tool for tool in tools if isinstance(tool, WMigrate)]
    meter = stack.enter_context(Meter())
    if "imports" in wanted:
        yield "imports", airflow_figures.imports(ours, rounds)
    if wanted - {"imports", "slow-disk", "disk"}:
        server = stack.enter_context(running("memory", options.disk))
        yield from _of_the_schema(options, meter, server, ours)
    if "memory" in wanted:
        yield from _engine(options, meter, server, tools)
    for tool in tools if "trips" in wanted else ():
        yield f"round trips of {tool.name}", engine_figures.trips(meter, server, [tool])
    for round_ in range(min(rounds, 3)):
        for milliseconds in (5, 20) if "delay" in wanted else ():
            yield "delay", engine_figures.delayed(meter, server, tools, milliseconds, round_)
        for tool in ours if "jobs" in wanted else ():
            yield f"jobs of {tool.name}", engine_figures.side_by_side(meter, server, tool, round_)
    if "airflow" in wanted:
        dbmate = next((tool for tool in tools if isinstance(tool, Dbmate)), None)
        yield "airflow", airflow_figures.in_airflow(ours, dbmate, server, meter, rounds, options.fresh)
    yield from _on_disks(options, meter, tools, stack)


def _on_disks(
    options: argparse.Namespace, meter: Meter, tools: Sequence[Tool], stack: contextlib.ExitStack
) -> Iterator[tuple[str, Iterator[Reading]]]:
    for place, figures in (("slow-disk", ("apply",)), ("disk", ())):
        if place in options.parts:
            yield from _engine(options, meter, stack.enter_context(running(place, options.disk)), tools, figures)


def _of_the_schema(
    options: argparse.Namespace, meter: Meter, server: Server, ours: Sequence[WMigrate]
) -> Iterator[tuple[str, Iterator[Reading]]]:
    if "snapshot" in options.parts:
        yield "snapshot", snapshot_figures.snapshots(server, options.rounds)
    for round_ in range(options.rounds) if "drift" in options.parts else ():
        for tool in ours:
            yield f"drift of {tool.name}", engine_figures.looking_for_drift(meter, server, tool, round_)


def _engine(
    options: argparse.Namespace, meter: Meter, server: Server, tools: Sequence[Tool], figures: Sequence[str] = ()
) -> Iterator[tuple[str, Iterator[Reading]]]:
    """Each tool begins another round.

    :param figures: those of them that are measured; empty: what the options say.
    """
    wanted = [name for name in options.only if name in figures] if figures else options.only
    for round_ in range(options.rounds):
        first = round_ % len(tools)
        for n in options.sizes:
            for tool in [*tools[first:], *tools[:first]]:
                yield f"{n} of {tool.name}", engine_figures.costs(meter, server, tool, n, round_, wanted)


def _told(reading: Reading) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in reading.values.items())


def _noise(readings: Sequence[Reading]) -> str:
    """How far the yardstick itself, which does the same each time, was apart."""
    loops: dict[tuple[str, str, str, int], list[float]] = {}
    for reading in readings:
        if reading.tool == "loop" and reading.figure == "apply" and "cpu" in reading.values:
            loops.setdefault(reading.of, []).append(reading.values["cpu"])
    spreads = [f"n = {of[3]} in {of[0]}: {max(v) / min(v) - 1:.0%}" for of, v in loops.items() if len(v) > 1]
    return "the loop's own CPU seconds differ between rounds by " + (", ".join(spreads) or "(one round alone)")


def _machine() -> dict[str, Any]:
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "began": _now(),
        "cores": os.cpu_count(),
        "processor": model,
        "memory_gb": round(memory / 1024**2),
        "system": platform.system(),
        "python": platform.python_version(),
        "postgresql": major_version(find_bindir()),
        "load_at_the_beginning": os.getloadavg(),
    }


def _lines(path: str) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(path).read_text().splitlines()
    return []


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _checked(rows: Sequence[Row]) -> int:
    sentences, looked_at = beyond_budget(rows)
    print("\n".join(sentences) or f"{looked_at} figures are within the budget")
    return 1 if sentences or not looked_at else 0


if __name__ == "__main__":
    sys.exit(main())
