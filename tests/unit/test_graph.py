"""Dependencies: order, ancestors, descendants. What can be wrong with them stands in test_bad_input.py."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from airflow_provider_wmigrate.engine.errors import FolderError
from airflow_provider_wmigrate.engine.folder.graph import Graph

DIAMOND = {"001": [], "002": ["001"], "003": ["001"], "004": ["002", "003"]}


@pytest.mark.parametrize(
    ("dependencies", "order"),
    [
        ({}, ""),
        ({"001": []}, "001"),
        ({"003": [], "001": [], "002": []}, "001 002 003"),
        ({"1000": [], "999": [], "0100": []}, "0100 999 1000"),
        ({"001": ["002"], "002": []}, "002 001"),
        ({"001": ["003"], "002": [], "003": []}, "002 003 001"),
        (DIAMOND, "001 002 003 004"),
        ({"001": [], "002": ["001", "004"], "003": ["001"], "004": []}, "001 003 004 002"),
    ],
)
def test_order_is_numeric_wherever_dependencies_leave_a_choice(dependencies: dict[str, list[str]], order: str) -> None:
    assert " ".join(Graph(dependencies).order) == order


@pytest.mark.parametrize(
    ("version", "ancestors", "descendants"),
    [
        ("001", set(), {"002", "003", "004"}),
        ("002", {"001"}, {"004"}),
        ("004", {"001", "002", "003"}, set()),
    ],
)
def test_closures(version: str, ancestors: set[str], descendants: set[str]) -> None:
    graph = Graph(DIAMOND)
    assert graph.ancestors([version]) == ancestors
    assert graph.descendants([version]) == descendants


def test_closure_of_several_leaves_out_themselves() -> None:
    assert Graph(DIAMOND).ancestors(["002", "004"]) == {"001", "003"}


def test_roots_and_leaves() -> None:
    graph = Graph(DIAMOND | {"005": []})
    assert (graph.roots, graph.leaves) == (("001", "005"), ("004", "005"))


@pytest.mark.parametrize("seed", range(20))
def test_any_graph_without_circle_is_ordered_parents_first(seed: int) -> None:
    chance = random.Random(seed)
    names = [f"{n:03d}" for n in range(1, 40)]
    chance.shuffle(names)
    parents = {name: chance.sample(names[:i], chance.randint(0, min(i, 3))) for i, name in enumerate(names)}
    graph = Graph(parents)
    assert sorted(graph.order) == sorted(names)
    place = {version: i for i, version in enumerate(graph.order)}
    assert all(place[parent] < place[child] for child in names for parent in parents[child])


@pytest.mark.parametrize("seed", range(20))
def test_any_circle_is_found_and_printed_whole(seed: int) -> None:
    """A circle of random length among other migrations, some of which only lead into it."""
    chance = random.Random(seed)
    names = [f"{n:03d}" for n in range(1, 30)]
    chance.shuffle(names)
    circle, others = names[: chance.randint(2, 8)], names[8:]
    parents = {version: [circle[i - 1]] for i, version in enumerate(circle)}
    parents |= {version: chance.sample([*circle, *others[:i]], 2) for i, version in enumerate(others)}
    with pytest.raises(FolderError) as wrong:
        Graph(parents)
    chain = wrong.value.reason.removeprefix("circular dependency: ").split(" -> ")
    assert chain[0] == chain[-1] == min(circle)
    assert sorted(chain[1:]) == sorted(circle)
    assert all(needed in parents[version] for version, needed in pairwise(chain))


def test_a_long_history_is_quick_and_needs_no_stack() -> None:
    names = [f"{n:03d}" for n in range(1, 5001)]
    graph = Graph({name: names[i - 1 : i] for i, name in enumerate(names)})
    assert list(graph.order) == names
    assert len(graph.ancestors([names[-1]])) == 4999
