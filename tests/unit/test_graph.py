"""Dependencies: order, ancestors, descendants. What can be wrong with them stands in test_bad_input.py."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from airflow_provider_wmigrate.engine.errors import FolderError
from airflow_provider_wmigrate.engine.folder.graph import Graph
from airflow_provider_wmigrate.engine.model import Finding

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


def test_each_wrong_dependency_is_a_finding_of_its_own() -> None:
    lines = {"001": 3, "002": 5, "003": None}
    with pytest.raises(FolderError) as wrong:
        Graph({"001": ["001"], "002": ["003", "001", "001"], "003": ["777", "004"]}, file="c.yaml", lines=lines)
    assert wrong.value.findings == (
        finding("migration 001 depends on itself", "remove that dependency", "001", 3),
        finding("migration 002 names dependency 001 twice", "name it once", "002", 5),
        finding("migration 003 depends on unknown version 777", "no file has that version", "003", None),
        finding("migration 003 depends on unknown version 004", "did you mean 003?", "003", None),
    )
    assert str(wrong.value) == (
        "c.yaml:3: migration 001 depends on itself; remove that dependency (and 3 more; `wmigrate check` shows all)"
    )


def test_each_circle_is_a_finding_of_its_own() -> None:
    parents = {"001": ["003"], "002": [], "003": ["001"], "004": ["005", "001"], "005": ["004"], "006": ["005"]}
    with pytest.raises(FolderError) as wrong:
        Graph(parents, file="c.yaml", lines={"001": 2, "004": 9})
    nxt = "remove one of these dependencies"
    assert wrong.value.findings == (
        finding("circular dependency: 001 -> 003 -> 001", nxt, "001", 2),
        finding("circular dependency: 004 -> 005 -> 004", nxt, "004", 9),
    )


def finding(message: str, next_step: str, version: str, line: int | None) -> Finding:
    return Finding("folder_error", message, next_step, "error", version, "c.yaml", line)


def test_without_a_file_it_is_the_config() -> None:
    with pytest.raises(FolderError) as wrong:
        Graph({"001": ["001"]})
    assert (wrong.value.file, wrong.value.line) == ("migration_config.yaml", None)


def test_children_are_in_numeric_order() -> None:
    graph = Graph({"1000": ["001"], "999": ["001"], "001": []})
    assert graph.children == {"001": ["999", "1000"], "999": [], "1000": []}


def test_a_long_history_is_quick_and_needs_no_stack() -> None:
    names = [f"{n:03d}" for n in range(1, 5001)]
    graph = Graph({name: names[i - 1 : i] for i, name in enumerate(names)})
    assert list(graph.order) == names
    assert len(graph.ancestors([names[-1]])) == 4999
