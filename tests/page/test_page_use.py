"""Keyboard, theme, phone width, screen readers, speed."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect

from tests.page import worlds
from tests.page.browser import settle
from tests.page.conftest import Open

AT = f"#/dag/{worlds.DAG}/{worlds.GROUP}"
TABS = ["migrations", "graph", "plan", "history", "audit", "charts"]
PLACES = ["", *(f"{AT}/{tab}" for tab in TABS), f"{AT}/migrations/009"]
LONGEST_TASK_MS = 350
"""On a machine with nothing else to do. What a test allows grows with what a piece of work takes at that moment."""
MOST_ELEMENTS = 2_500


WORK = """() => { const start = performance.now(); let sum = 0; for (let i = 0; i < 3e7; i += 1) sum += i % 7;
  return performance.now() - start + sum * 0; }"""


def _patience(page: Page) -> float:
    """Milliseconds."""
    return LONGEST_TASK_MS + 10 * max(page.evaluate(WORK) for _ in range(3))


@pytest.fixture(scope="module")
def many() -> worlds.World:
    return worlds.make_world(worlds.many_items())


def _focused(page: Page) -> str:
    return page.evaluate(
        "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent.trim()"
    )


def _expect_focused(page: Page, name: str) -> None:
    """A name is enough to begin with."""
    expect(page.locator(":focus")).to_have_accessible_name(re.compile(f"^{name}"))


AXE = f"""async () => {{ if (!window.axe) {{ {AXE_SCRIPT} }}
  return (await axe.run({{ resultTypes: ['violations'] }})).violations; }}"""


def _axe(page: Page) -> list[str]:
    found: list[dict[str, Any]] = page.evaluate(AXE)
    return [f"{v['id']}: {json.dumps([n['html'][:160] for n in v['nodes'][:3]])}" for v in found]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.rpartition("/")[2] or "overview")
def test_no_view_has_an_accessibility_violation(open_page: Open, place: str, theme: str) -> None:
    page = open_page(place, color_scheme=theme)
    settle(page)
    assert _axe(page) == []


def test_the_accessibility_check_finds_what_is_wrong(open_page: Open) -> None:
    page = open_page()
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert any(line.startswith("button-name") for line in _axe(page))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_dialog_has_an_accessibility_violation(open_page: Open, theme: str) -> None:
    page = open_page(AT, color_scheme=theme)
    for name in ("Apply…", "Dry run…", "Roll back…"):
        page.get_by_role("button", name=name).click()
        expect(page.get_by_role("dialog").locator(".sql").first).to_be_visible()
        settle(page)
        assert _axe(page) == []
        page.keyboard.press("Escape")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_explanation_has_an_accessibility_violation(open_page: Open, theme: str) -> None:
    plain = {"migrate": worlds.s.Choices(to=False, modes=["apply"]), "rollback": None, "rollback_dag": None}
    page = open_page(AT, worlds.make_world(**plain), color_scheme=theme)
    assert _axe(page) == []
    for name in ("Dry run…", "Roll back…"):
        page.get_by_role("button", name=name).click()
        settle(page)
        assert _axe(page) == []
        page.keyboard.press("Escape")


@pytest.mark.parametrize("place", PLACES[1:], ids=lambda place: place.rpartition("/")[2])
def test_no_view_on_a_phone_has_an_accessibility_violation(open_page: Open, place: str) -> None:
    page = open_page(place, worlds.make_world(source=worlds.DOWN), width=380, height=800)
    settle(page)
    assert _axe(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_run_that_waits_for_an_answer_has_no_accessibility_violation(open_page: Open, theme: str) -> None:
    page = open_page(f"{AT}/plan", worlds.asking_world(), color_scheme=theme)
    expect(page.locator(".group-run")).to_contain_text("waits for an answer")
    assert _axe(page) == []
    page.goto(page.url.partition("#")[0] + "#/")
    expect(page.locator(".group-card").first).to_contain_text("waits for an answer")
    assert _axe(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_a_viewer_sees_has_no_accessibility_violation(open_page: Open, theme: str) -> None:
    page = open_page(f"{AT}/audit", worlds.make_world(may=False, source=worlds.REPORT), color_scheme=theme)
    assert _axe(page) == []
    page.goto(page.url.replace("/audit", "/graph"))
    page.get_by_label("Find a migration in the graph").fill("in")
    expect(page.locator(".found-list button").first).to_be_visible()
    assert _axe(page) == []


def test_the_list_is_used_by_keyboard_alone(open_page: Open) -> None:
    page = open_page(AT)
    page.get_by_label("Search migrations").focus()
    for _ in range(40):
        page.keyboard.press("Tab")
        if _focused(page) == "Migration 019 temperature sensors":
            break
    _expect_focused(page, "Migration 019 temperature sensors")
    page.keyboard.press("ArrowDown")
    _expect_focused(page, "Migration 018 audit partitions")
    page.keyboard.press("End")
    _expect_focused(page, "Migration 001 initial schema")
    page.keyboard.press("ArrowRight")
    _expect_focused(page, "Run that applied 001")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/migrations/001$"))
    expect(page.get_by_role("heading", level=2)).to_be_focused()


def test_one_tab_leads_past_the_list(open_page: Open, many: worlds.World) -> None:
    page = open_page(AT, many)
    page.get_by_label("Migration 1000", exact=False).first.focus()
    assert page.locator('.grid-body [tabindex="0"]').count() <= 3


def test_focus_is_visible(open_page: Open) -> None:
    page = open_page(AT)
    for _ in range(12):
        page.keyboard.press("Tab")
        style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style == "solid", _focused(page)


def test_the_graph_is_walked_with_the_arrow_keys(open_page: Open) -> None:
    page = open_page(AT + "/graph")
    page.locator('.graph .node[tabindex="0"]').focus()
    page.keyboard.press("Home")
    _expect_focused(page, "001 ")
    page.keyboard.press("ArrowDown")
    _expect_focused(page, "002 ")
    page.keyboard.press("ArrowRight")
    _expect_focused(page, "013 ")
    page.keyboard.press("ArrowUp")
    _expect_focused(page, "001 ")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/migrations/001$"))


def test_a_dialog_keeps_the_focus_and_gives_it_back(open_page: Open) -> None:
    page = open_page(AT)
    button = page.get_by_role("button", name="Roll back…")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    for key in ["Tab"] * 12 + ["Shift+Tab"] * 12:
        page.keyboard.press(key)
        assert page.evaluate("document.querySelector('dialog').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()


def _background(page: Page) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_alone_it_follows_the_system(open_page: Open) -> None:
    page = open_page(color_scheme="dark")
    dark = _background(page)
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    expect(page.locator("body")).not_to_have_css("background-color", dark)


def test_inside_airflow_it_follows_airflow(open_page: Open) -> None:
    page = open_page(outer="dark", color_scheme="light")
    frame = page.frame_locator("#frame")
    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
    page.evaluate("document.documentElement.className = 'light'")
    expect(frame.locator("html")).to_have_attribute("data-theme", "light")


def test_inside_airflow_a_link_leads_airflows_own_window(open_page: Open) -> None:
    page = open_page(outer="light")
    frame = page.frame_locator("#frame")
    frame.get_by_role("link", name="warehouse_db").click()
    frame.get_by_role("link", name=re.compile("^DAG warehouse_migrations")).click()
    page.wait_for_url(re.compile(rf"/base/dags/{worlds.DAG}$"))


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.rpartition("/")[2] or "overview")
def test_at_phone_width_nothing_sticks_out(open_page: Open, place: str) -> None:
    page = open_page(place, width=360, height=740, has_touch=True)
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_dialog_fits_a_phone(open_page: Open) -> None:
    page = open_page(AT, width=360, height=740)
    page.get_by_role("button", name="Roll back…").click()
    expect(page.get_by_role("dialog").locator(".sql").first).to_be_visible()
    box = page.get_by_role("dialog").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    assert box["height"] <= 740


def test_who_wants_less_motion_gets_none(open_page: Open) -> None:
    page = open_page(reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.querySelector('.group-card')).transitionDuration") == "0s"


WATCH = """() => { window.longest = 0; new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
}).observe({ type: 'longtask', buffered: true }); }"""


@pytest.mark.parametrize("tab", TABS)
def test_a_thousand_migrations_stay_fast_and_small(open_page: Open, many: worlds.World, tab: str) -> None:
    page = open_page(f"{AT}/{tab}", many)
    page.evaluate(WATCH)
    settle(page)
    assert page.locator("*").count() < MOST_ELEMENTS
    for _ in range(10):
        page.mouse.move(400, 600)
        page.mouse.wheel(0, 900)
        settle(page)
    assert page.locator("*").count() < MOST_ELEMENTS
    assert page.evaluate("window.longest") < _patience(page)


def test_a_thousand_migrations_are_scrolled_to_the_end(open_page: Open, many: worlds.World) -> None:
    page = open_page(AT, many)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.get_by_role("link", name="Migration 001 initial schema")).to_be_visible()
    assert page.get_by_role("row").count() < 60
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "1001")


def test_search_in_a_thousand_is_quick(open_page: Open, many: worlds.World) -> None:
    page = open_page(AT, many)
    page.evaluate(WATCH)
    page.get_by_label("Search migrations").press_sequentially("invoice", delay=10)
    expect(page.locator(".found")).to_have_text("100 of 1,000 migrations")
    assert page.evaluate("window.longest") < _patience(page)


def test_a_thousand_migrations_fold_and_unfold_in_the_graph(open_page: Open, many: worlds.World) -> None:
    page = open_page(AT + "/graph", many)
    page.evaluate(WATCH)
    page.locator(".graph .folded").last.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".graph .node:focus")).to_have_count(1)
    page.get_by_role("button", name="Fold", exact=True).click()
    page.get_by_role("button", name="Unfold all").click()
    expect(page.locator(".graph .folded")).to_have_count(0)
    assert page.locator("*").count() < MOST_ELEMENTS
    assert page.evaluate("window.longest") < _patience(page)


def test_coming_back_from_a_migration_one_is_where_one_was(open_page: Open, many: worlds.World) -> None:
    page = open_page(AT, many)
    page.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
    # Named, not the nth: the rows of the place that was scrolled to are drawn a moment later.
    link = page.get_by_role("link", name=re.compile("^Migration 500 "))
    link.click()
    expect(page.get_by_role("heading", level=2)).to_be_in_viewport()
    page.go_back()
    expect(link).to_be_focused()
    expect(link).to_be_in_viewport()
