"""What grows with the number of migrations grows no faster: four times as many take about four times as long."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone

import pytest

from airflow_provider_wmigrate.engine.decisions.baseline import not_undoable, plan_baseline
from airflow_provider_wmigrate.engine.extension import Extension, RequiredExtension
from airflow_provider_wmigrate.engine.folder.config.root import Config
from airflow_provider_wmigrate.engine.folder.graph import Graph
from airflow_provider_wmigrate.engine.model import Entry, Identity, Migration, Script, State, canonical_version
from airflow_provider_wmigrate.engine.plan.overview import overview
from airflow_provider_wmigrate.engine.plan.rollback import plan_rollback
from airflow_provider_wmigrate.engine.plan.script_rules import script_findings

AT = datetime(2026, 1, 31, tzinfo=timezone.utc)
Project = tuple[list[Migration], Graph, tuple[Entry, ...]]


def project(count: int, needs: tuple[RequiredExtension, ...] = ()) -> Project:
    """A chain of migrations, and the entries of all of them."""
    versions = [canonical_version(number) for number in range(1, count + 1)]
    before = [(), *((version,) for version in versions[:-1])]
    script = Script.of("001_a.sql", "SELECT time_bucket('1 day', now())")
    migrations = [
        Migration(v, "a", script, script, dependencies=parents, dependencies_implied=True, requires_extensions=needs)
        for v, parents in zip(versions, before, strict=True)
    ]
    entries = tuple(
        Entry(v, "a", "applied", script.checksum, "sha256", p, None, AT, 1, 1, 1, (), Identity("me"))
        for v, p in zip(versions, before, strict=True)
    )
    return migrations, Graph({m.version: m.dependencies for m in migrations}), entries


SKIP, FAIL = RequiredExtension("nowhere", "skip"), RequiredExtension("timescaledb")
THERE = {"timescaledb": Extension()}


def everything_pending(made: Project) -> None:
    migrations, graph, _ = made
    assert len(overview(migrations, graph, State(extensions=THERE)).plan.steps) == len(migrations)


def everything_left_out(made: Project) -> None:
    migrations, graph, _ = made
    assert len(overview(migrations, graph, State(extensions=THERE)).plan.left_out) == len(migrations)


def nothing_pending(made: Project) -> None:
    migrations, graph, entries = made
    assert overview(migrations, graph, State(entries, THERE, 1)).plan.steps == ()


def everything_back(made: Project) -> None:
    migrations, _, entries = made
    assert len(plan_rollback(migrations, State(entries), to=None).steps) == len(entries)


def a_baseline(made: Project) -> None:
    migrations, graph, entries = made
    plan = plan_baseline(migrations, graph, State(entries[:1], THERE, 1), to=migrations[-1].version)
    assert len(plan.steps) == len(migrations) - 1


def a_baseline_undone(made: Project) -> None:
    _, _, entries = made
    assert not_undoable([entry.version for entry in entries], entries) == ()


def checked(made: Project) -> None:
    migrations, _, _ = made
    assert script_findings(migrations[-60:], Config(), migrations) == ()


@pytest.mark.parametrize(
    ("act", "needs"),
    [
        (everything_pending, ()),
        (everything_pending, (FAIL,)),
        (everything_left_out, (SKIP,)),
        (nothing_pending, (FAIL,)),
        (everything_back, ()),
        (a_baseline, ()),
        (a_baseline_undone, ()),
        (checked, (FAIL,)),
    ],
)
def test_four_times_as_many_take_about_four_times_as_long(
    act: Callable[[Project], None], needs: tuple[RequiredExtension, ...]
) -> None:
    def seconds(count: int) -> float:
        made, times = project(count, needs), []
        for _ in range(3):
            begun = time.process_time()
            act(made)
            times.append(time.process_time() - begun)
        return min(times)

    seconds(100)
    assert seconds(3200) < 9 * max(seconds(800), 0.002)
