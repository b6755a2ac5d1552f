"""Which migrations become the one task of the history, and the graph of tasks that is left."""

from __future__ import annotations

import random
from typing import Any

import pytest

from airflow_provider_wmigrate.engine.folder.graph import Graph
from airflow_provider_wmigrate.folding import HISTORY, MAX_TASKS, Folding

DIAMOND = {"001": (), "002": ("001",), "003": ("001",), "004": ("002", "003"), "005": ()}


def chain(count: int) -> Graph:
    versions = [f"{n:03d}" for n in range(1, count + 1)]
    return Graph({version: tuple(versions[at - 1 : at]) if at else () for at, version in enumerate(versions)})


def test_up_to_max_tasks_every_migration_is_a_task_of_its_own() -> None:
    graph = chain(MAX_TASKS)
    assert MAX_TASKS == 100
    assert Folding.of(graph, MAX_TASKS) == Folding((), graph.parents)
    assert Folding.of(chain(MAX_TASKS + 1), MAX_TASKS).folded == ("001",)


def test_none_switches_folding_off() -> None:
    graph = chain(1000)
    assert Folding.of(graph, None) == Folding((), graph.parents)


@pytest.mark.parametrize(
    ("max_tasks", "folded", "parents", "roots", "leaves"),
    [
        (
            4,
            ("001",),
            {HISTORY: (), "002": (HISTORY,), "003": (HISTORY,), "004": ("002", "003"), "005": ()},
            [HISTORY, "005"],
            ["004", "005"],
        ),
        (2, ("001", "002", "003"), {HISTORY: (), "004": (HISTORY,), "005": ()}, [HISTORY, "005"], ["004", "005"]),
        (1, ("001", "002", "003", "004"), {HISTORY: (), "005": ()}, [HISTORY, "005"], [HISTORY, "005"]),
        (0, ("001", "002", "003", "004", "005"), {HISTORY: ()}, [HISTORY], [HISTORY]),
    ],
)
def test_what_is_left_hangs_on_the_history(
    max_tasks: int, folded: tuple[str, ...], parents: dict[str, Any], roots: list[str], leaves: list[str]
) -> None:
    folding = Folding.of(Graph(DIAMOND), max_tasks)
    assert (folding.folded, folding.parents) == (folded, parents)
    assert (folding.roots, folding.leaves) == (roots, leaves)


def test_what_needs_a_newer_one_is_folded_after_it() -> None:
    """A number says nothing of the order: 001 needs 004, so 004 is the older one."""
    graph = Graph({"001": ("004",), "002": (), "003": ("001",), "004": ("002",)})
    assert Folding.of(graph, 1) == Folding(("002", "004", "001"), {HISTORY: (), "003": (HISTORY,)})
    assert Folding.of(graph, 2) == Folding(("002", "004"), {HISTORY: (), "001": (HISTORY,), "003": ("001",)})


def test_the_history_never_waits_for_a_task_and_nothing_is_lost() -> None:
    chance = random.Random(7)
    for _ in range(200):
        versions = [f"{n:03d}" for n in range(1, chance.randint(2, 30))]
        order = chance.sample(versions, len(versions))
        needs = {v: tuple(chance.sample(order[:at], min(at, chance.randint(0, 3)))) for at, v in enumerate(order)}
        graph = Graph(needs)
        folding = Folding.of(graph, chance.randint(0, len(versions)))
        assert not graph.ancestors(folding.folded)
        assert sorted([*folding.folded, *(v for v in folding.parents if v != HISTORY)]) == sorted(versions)
        for version, parents in folding.parents.items():
            wanted = {HISTORY if p in folding.folded else p for p in graph.parents.get(version, ())}
            assert set(parents) == wanted
            assert len(parents) == len(wanted)


@pytest.mark.parametrize("wrong", [-1, 1.5, "100", True])
def test_a_number_of_tasks_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"^max_tasks must be a whole number from 0, or None for no folding, not "):
        Folding.of(chain(3), wrong)
