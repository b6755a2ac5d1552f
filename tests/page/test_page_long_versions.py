"""Versions that are times, such as 20240131123000: each can be read whole, wherever it stands."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.page import worlds
from tests.page.conftest import Open
from tests.page.made import dated_items

AT = f"#/dag/{worlds.DAG}/{worlds.GROUP}"
VERSIONS = [f"20240131{minute:04d}00123" for minute in range(12)]
MANY = [f"20240131{minute:04d}00123" for minute in range(80)]
OVERFLOWING = """(selector) => [...document.querySelectorAll(selector)].filter((one) => {
  const cell = one.closest('.cell');
  const name = cell.parentElement.querySelector('.name-text').getBoundingClientRect();
  const range = document.createRange();
  range.selectNodeContents(one);
  const text = range.getBoundingClientRect();
  return text.right > cell.getBoundingClientRect().right + 0.5 || text.right > name.left + 0.5;
}).map((one) => one.textContent)"""
WIDER_THAN_ITS_BOX = """() => [...document.querySelectorAll('.node')].filter((node) => {
  const box = node.querySelector('.box').getBoundingClientRect();
  return node.querySelector('.node-title').getBoundingClientRect().right > box.right - 2;
}).map((node) => node.querySelector('.node-title').textContent)"""


@pytest.mark.parametrize("width", [1280, 900, 390])
def test_the_list_shows_them_whole(open_page: Open, width: int) -> None:
    page = open_page(f"{AT}/migrations", worlds.make_world(dated_items(VERSIONS)), width=width)
    links = page.locator(".version-link")
    expect(links.first).to_have_text(VERSIONS[-1])
    assert page.evaluate(OVERFLOWING, ".version-link") == []


def test_the_graph_keeps_them_in_their_boxes(open_page: Open) -> None:
    page = open_page(f"{AT}/graph", worlds.make_world(dated_items(MANY)))
    folded = page.locator(".node.folded")
    folded.first.wait_for()
    assert page.evaluate(WIDER_THAN_ITS_BOX) == []
    expect(folded.first).to_have_attribute("aria-label", re.compile(MANY[0]))
    before = page.locator(".node:not(.folded)").count()
    folded.first.click()
    expect(page.locator(".node:not(.folded)")).not_to_have_count(before)
    assert page.evaluate(WIDER_THAN_ITS_BOX) == []
