"""What the command costs: apply, nothing pending, status, plan, one more, roll back; and over a counting, slow wire."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from bench.measuring import Command, Cost, Meter
from bench.results import Reading
from bench.scripts import Script, scripts
from bench.servers import Server
from bench.tools import Tool
from bench.tools.wmigrate import WMigrate
from bench.wire import Count, Wire

FIGURES = ("plan all", "apply", "nothing pending", "status", "plan", "one more", "roll back 10", "help")
"""In the order in which they are read off one database."""
_SHORT, _OFTEN = ("nothing pending", "status", "plan"), 5
"""These change nothing and take about 0.2 s, of which the share of the server is counted in steps of 10 ms: so they are
called several times."""
_VERBS = {"plan all": "plan", "nothing pending": "apply", "one more": "apply", "roll back 10": "roll_back_10"}


class Life:
    """One database of one tool, from empty to rolled back. Each figure is read off when its turn comes."""

    def __init__(self, tool: Tool, n: int, folder: Path, dsn: str) -> None:
        self.tool, self.n, self.folder, self.dsn = tool, n, folder, dsn
        self.applied = 0
        tool.write(folder, scripts(n))

    def command(self, figure: str) -> Command | None:
        """What reads the figure off; call it right before that is run."""
        if figure == "one more":
            self.tool.write(self.folder, [Script(self.n + 1)])
            self.applied = self.n + 1
        elif figure == "nothing pending":
            self.applied = self.n
        return self.tool.command(_VERBS.get(figure, figure), self.folder, self.dsn, self.applied)


def costs(meter: Meter, server: Server, tool: Tool, n: int, round_: int, wanted: Sequence[str]) -> Iterator[Reading]:
    """One round of one tool."""
    needed = [figure for figure in FIGURES if figure in wanted or figure in ("apply", "one more")]
    needed = needed[: max(needed.index(figure) for figure in wanted) + 1]
    with fresh_life(tool, n, server, server.port) as life:
        for figure in needed:
            command = life.command(figure)
            if command is not None:
                spent = [_values(meter.cost(command, server)) for _ in range(_OFTEN if figure in _SHORT else 1)]
                if figure in wanted:
                    values = {name: fmean(each[name] for each in spent) for name in spent[0]}
                    yield Reading(server.place, figure, tool.name, n, round_, values)


def side_by_side(meter: Meter, server: Server, tool: WMigrate, round_: int, width: int = 8) -> Iterator[Reading]:
    """Wall seconds for migrations that need nothing of one another and sleep three seconds each."""
    config = "".join(f"  - {{version: '{script.version}', dependencies: []}}\n" for script in scripts(width))
    figure, in_turn = f"{width} that sleep 3 s", f"{tool.name}, one after another"
    for name, beside, words in ((in_turn, "", ()), (tool.name, in_turn, ("--jobs", str(width)))):
        with fresh_life(tool, 0, server, server.port) as life:
            for script in scripts(width):
                (life.folder / f"{script.version}_{script.name}.sql").write_text("SELECT pg_catalog.pg_sleep(3);\n")
            (life.folder / "migration_config.yaml").write_text(f"migrations:\n{config}")
            command = life.command("apply")
            assert command is not None
            command = replace(command, calls=[[*call, *words] for call in command.calls])
            values = {"wall": meter.cost(command, server).wall}
            yield Reading("jobs", figure, name, width, round_, values, beside)


def looking_for_drift(meter: Meter, server: Server, tool: WMigrate, round_: int, n: int = 100) -> Iterator[Reading]:
    """With and without, in turns."""
    reference = f"{tool.name}, drift: ignore"
    without, with_ = (reference, "", "ignore"), (tool.name, reference, "warn")
    for name, beside, policy in (without, with_) if round_ % 2 else (with_, without):
        with fresh_life(tool, n, server, server.port) as life:
            (life.folder / "migration_config.yaml").write_text(f"settings: {{drift: {policy}}}\n")
            for figure in ("apply", "nothing pending", "one more"):
                command = life.command(figure)
                assert command is not None
                values = _values(meter.cost(command, server))
                yield Reading("drift", figure, name, n, round_, values, beside)


def trips(
    meter: Meter,
    server: Server,
    tools: Sequence[Tool],
    wanted: Sequence[str] = FIGURES[:-1],
    *,
    few: int = 10,
    more: int = 30,
    delay: float = 0.01,
) -> Iterator[Reading]:
    """Round trips and connections of whole calls, and of one migration: what `more` take beyond `few`, for each.

    :param wanted: calls; `apply` is one of them.
    :param delay: seconds. See `Wire`.
    """
    with Wire(server.port, delay=delay) as wire:
        for tool in tools:
            counts: dict[tuple[str, int], Count] = {}
            for n in (few, more):
                with fresh_life(tool, n, server, wire.port) as life:
                    for figure in wanted if n == more else ("apply",):
                        command = life.command(figure)
                        if command is not None:
                            wire.taken()
                            meter.cost(command, server)
                            counts[figure, n] = wire.taken()
            less, all_ = counts["apply", few], counts["apply", more]
            each = {
                "trips": (all_.trips - less.trips) / (more - few),
                "connections": (all_.connections - less.connections) / (more - few),
            }
            yield Reading("trips", "a migration more", tool.name, more, 0, each)
            for (figure, n), count in counts.items():
                if n == more:
                    values = {"trips": float(count.trips), "connections": float(count.connections)}
                    yield Reading("trips", figure, tool.name, more, 0, values)


def delayed(
    meter: Meter, server: Server, tools: Sequence[Tool], milliseconds: int, round_: int, n: int = 50
) -> Iterator[Reading]:
    """Seconds of wall time for each of n migrations on a server that is so far away."""
    with Wire(server.port, delay=milliseconds / 1000) as wire:
        for tool in tools:
            with fresh_life(tool, n, server, wire.port) as life:
                command = life.command("apply")
                assert command is not None
                wall = meter.cost(command, server).wall / n
                yield Reading("delay", f"{milliseconds} ms away", tool.name, n, round_, {"wall": wall})


@contextmanager
def fresh_life(tool: Tool, n: int, server: Server, port: int) -> Iterator[Life]:
    """An empty database and a folder with n migrations, reached by this port; both are gone with the block."""
    folder = Path(tempfile.mkdtemp(prefix="bench-folder-"))
    try:
        with server.database() as database:
            yield Life(tool, n, folder, server.dsn(database, port=port))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _values(cost: Cost) -> dict[str, float]:
    named = {"cpu": cost.cpu, "client": cost.client, "server": cost.server}
    return {**named, "wall": cost.wall, "peak_mb": cost.peak_mb}
