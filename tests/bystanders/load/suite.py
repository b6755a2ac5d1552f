"""The two loads, and the migrations that run beside them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from .application import Application, Load
from .cases import Case
from .measure import Felt, Window
from .world import TABLES, World

Execution = Mapping[str, object]
USUAL: Execution = {}
OFF: Execution = {"lock_first": False}
"""No lock set is taken first: what it was like before."""
ALONE = 1.0
"""Seconds in which the application works alone, before the first migration and after the last."""


def sub_commands(
    world: World,
    place: Path,
    cases: Mapping[str, Case],
    tables: int,
    *,
    repeat: int = 1,
    hold: float = 0.0,
    execution: Execution = USUAL,
) -> Felt:
    """Each applied and rolled back on so many tables, beside 20 sessions that read and write one row at a time and four
    that change two tables in a transaction, two of them against the order of the migration.

    :param hold: seconds for which each script does nothing in the end.
    :param execution: keys of settings.execution.
    """
    held = {name: replace(case, hold=hold) for name, case in cases.items()}
    migrator = world.migrator(place, held, TABLES[:tables], execution)
    used, pause = TABLES[: max(tables, 2)], 0.2 if hold else 0.02
    windows = []
    with Application(Load(world.dsn, (used, tuple(f"{table}_parts" for table in used)))) as application:
        time.sleep(ALONE)
        for _ in range(repeat):
            for number, name in enumerate(cases, 1):
                version = f"{number:03d}"
                windows.append(Window.of(name, lambda: migrator.apply(version)))  # noqa: B023
                time.sleep(pause)
                windows.append(Window.of(f"{name}, undone", lambda: migrator.roll_back(version)))  # noqa: B023
                time.sleep(pause)
        time.sleep(ALONE)
        return Felt(windows, application.log(), hold)


def against_the_order(
    world: World, place: Path, scripts: Sequence[str], *, hold: float = 0.0, execution: Execution = USUAL
) -> Felt:
    """Each applied beside four writers that take the first two tables in the other order, and nobody else."""
    cases = {f"script {number}": Case(text, "NOT OF", hold) for number, text in enumerate(scripts, 1)}
    migrator = world.migrator(place, cases, TABLES[:2], execution)
    windows = []
    with Application(Load(world.dsn, (TABLES[:2],), sessions=0, against=True)) as application:
        time.sleep(ALONE)
        for number, name in enumerate(cases, 1):
            version = f"{number:03d}"
            windows.append(Window.of(name, lambda: migrator.apply(version)))  # noqa: B023
            time.sleep(0.2)
        return Felt(windows, application.log(), hold)
