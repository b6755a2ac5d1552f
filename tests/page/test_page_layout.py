"""The graph's arithmetic: layout.js and folding.js, run in the browser without a page around them."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.page import worlds
from tests.page.conftest import Open

LAY_OUT = """async (nodes) => {
  const plan = (await import('./static/layout.js')).layOut(nodes);
  return { ...plan, places: Object.fromEntries(plan.places) };
}"""
FOLD = "async ([nodes, opened]) => (await import('./static/folding.js')).fold(nodes, new Set(opened))"
AROUND = "async ([nodes, id]) => (await import('./static/folding.js')).foldsAround(nodes, id)"
FORMAT = "async ([name, value]) => (await import('./static/format.js'))[name](value)"

Nodes = list[dict[str, Any]]


@pytest.fixture
def page(open_page: Open) -> Page:
    return open_page()


def _random_graph(size: int, seed: int) -> Nodes:
    dice = random.Random(seed)
    return [
        {
            "id": f"{v:03d}",
            "parents": [f"{p:03d}" for p in dice.sample(range(1, v), min(v - 1, dice.choice([0, 1, 1, 2])))],
            "status": "applied",
        }
        for v in range(1, size + 1)
    ]


def _chain(size: int, applied: int) -> Nodes:
    return [
        {
            "id": f"{v:03d}",
            "parents": [f"{v - 1:03d}"] if v > 1 else [],
            "status": "applied" if v <= applied else "pending",
        }
        for v in range(1, size + 1)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_layers_follow_the_edges_and_no_two_boxes_overlap(page: Page, seed: int) -> None:
    nodes = _random_graph(100, seed)
    plan = page.evaluate(LAY_OUT, nodes)
    places = plan["places"]
    assert set(places) == {node["id"] for node in nodes}
    for node in nodes:
        assert all(places[parent]["layer"] < places[node["id"]]["layer"] for parent in node["parents"])
    assert sorted((e["from"], e["to"]) for e in plan["edges"]) == sorted(
        (p, n["id"]) for n in nodes for p in n["parents"]
    )
    boxes = [*places.values(), *(bend for edge in plan["edges"] for bend in edge["bends"])]
    layers: dict[int, list[float]] = {}
    for box in boxes:
        layers.setdefault(box["layer"], []).append(box["slot"])
    for slots in layers.values():
        ordered = sorted(slots)
        assert all(b - a > 0.999 for a, b in itertools.pairwise(ordered))
        assert ordered[0] > -0.001
        assert ordered[-1] < plan["slots"]


def test_the_same_graph_is_the_same_picture(page: Page) -> None:
    nodes = _random_graph(120, 7)
    assert json.dumps(page.evaluate(LAY_OUT, nodes)) == json.dumps(page.evaluate(LAY_OUT, nodes))


def test_a_cycle_and_an_unknown_parent_are_survived(page: Page) -> None:
    nodes = [
        {"id": "001", "parents": ["003", "999"]},
        {"id": "002", "parents": ["001"]},
        {"id": "003", "parents": ["002", "003"]},
    ]
    assert len(page.evaluate(LAY_OUT, nodes)["places"]) == 3
    assert page.evaluate(LAY_OUT, [])["layers"] == 0


def _boxes(folded: Nodes) -> list[tuple[str, int]]:
    return [(node["id"], len(node["members"])) for node in folded]


def test_a_long_chain_folds_by_levels_and_never_into_one_box(page: Page) -> None:
    whole = page.evaluate(FOLD, [_chain(1000, 1000), []])
    assert _boxes(whole) == [(f"fold:{n * 100 + 1:03d}:100", 100) for n in range(10)]
    assert [node["parents"] for node in whole] == [[], *([node["id"]] for node in whole[:-1])]
    opened = page.evaluate(FOLD, [_chain(1000, 1000), ["fold:201:100"]])
    assert _boxes(opened)[2:12] == [(f"fold:{201 + n * 10}:10", 10) for n in range(10)]
    inside = page.evaluate(FOLD, [_chain(1000, 1000), ["fold:201:100", "fold:231:10"]])
    assert _boxes(inside)[5:15] == [(str(231 + n), 1) for n in range(10)]
    assert inside[-1]["id"] == "fold:901:100"


def test_what_waits_is_drawn_one_by_one_if_it_is_not_much(page: Page) -> None:
    folded = page.evaluate(FOLD, [_chain(103, 100), []])
    assert _boxes(folded)[-4:] == [("fold:091:10", 10), ("101", 1), ("102", 1), ("103", 1)]
    many = page.evaluate(FOLD, [_chain(200, 100), []])
    assert _boxes(many)[10:] == [(f"fold:{101 + n * 10}:10", 10) for n in range(10)]


def test_siblings_fold_by_levels_too(page: Page) -> None:
    star = [{"id": f"{v:03d}", "parents": ["001"] if v > 1 else [], "status": "applied"} for v in range(1, 501)]
    folded = page.evaluate(FOLD, [star, []])
    assert _boxes(folded) == [(f"fold:{n * 100 + 1:03d}:100", 100) for n in range(5)]
    assert [node["parents"] for node in folded] == [[], *[["fold:001:100"]] * 4]


@pytest.mark.parametrize("seed", range(3))
def test_what_neither_chains_nor_siblings_make_small_is_folded_by_layers(page: Page, seed: int) -> None:
    nodes = _random_graph(1000, seed)
    nodes[700]["status"] = "failed"
    folded = page.evaluate(FOLD, [nodes, []])
    assert len(folded) == 10
    assert [node["status"] for node in folded if "701" in node["members"]] == ["failed"]
    opened = page.evaluate(FOLD, [nodes, [node["id"] for node in folded]])
    for few in (folded, opened):
        places = page.evaluate(LAY_OUT, few)["places"]
        assert all(places[p]["layer"] < places[n["id"]]["layer"] for n in few for p in n["parents"])


def test_every_migration_can_be_found_in_whatever_box_it_is(page: Page) -> None:
    items = worlds.many_items()
    nodes = [{"id": i.version, "parents": i.dependencies, "status": i.status} for i in items]
    for version in ("001", "350", "887", "1000"):
        path = page.evaluate(AROUND, [nodes, version])
        assert version in [node["id"] for node in page.evaluate(FOLD, [nodes, path])]


def test_a_small_graph_is_not_folded(page: Page) -> None:
    assert len(page.evaluate(FOLD, [_chain(39, 30), []])) == 39


@pytest.mark.parametrize("seed", range(5))
def test_folding_loses_nobody_and_makes_no_cycle(page: Page, seed: int) -> None:
    nodes = _random_graph(300, seed)
    folded = page.evaluate(FOLD, [nodes, []])
    assert sorted(member for node in folded for member in node["members"]) == [node["id"] for node in nodes]
    assert len(folded) < len(nodes)
    box_of = {member: node["id"] for node in folded for member in node["members"]}
    wanted = {(box_of[p], box_of[n["id"]]) for n in nodes for p in n["parents"] if box_of[p] != box_of[n["id"]]}
    assert {(p, n["id"]) for n in folded for p in n["parents"]} == wanted
    places = page.evaluate(LAY_OUT, folded)["places"]
    assert all(places[p]["layer"] < places[n["id"]]["layer"] for n in folded for p in n["parents"])


def test_a_life_of_a_thousand_fits_into_a_few_boxes(page: Page) -> None:
    items = worlds.many_items()
    nodes = [{"id": i.version, "parents": i.dependencies, "status": i.status} for i in items]
    assert len(page.evaluate(FOLD, [nodes, []])) < 150


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("duration", 0, "0 ms"),
        ("duration", 1234, "1.23 s"),
        ("duration", 12_345, "12.3 s"),
        ("duration", 125_000, "2 min 5 s"),
        ("duration", 7_500_000, "2 h 5 min"),
        ("duration", None, "\u2013"),
        ("moment", "rubbish", "\u2013"),
        ("since", -41_160, "11 hours ago"),
        ("since", -2, "just now"),
        ("tone", "rollback_failed", "failed"),
        ("tone", "something new", "unknown"),
    ],
)
def test_values_are_said_as_a_person_reads_them(page: Page, name: str, value: Any, said: str) -> None:
    assert page.evaluate(FORMAT, [name, value]) == said
