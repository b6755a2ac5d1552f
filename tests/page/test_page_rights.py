"""Hostile names, lost sessions, missing rights, databases that are down."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.page import worlds
from tests.page.conftest import Open
from tests.page.stub import StubServer

AT = f"#/dag/{worlds.DAG}/{worlds.GROUP}"
TABS = ["migrations", "graph", "plan", "history", "audit", "charts"]


def _buttons(page: Page) -> list[str]:
    return [text for text in page.get_by_role("group", name="Actions").get_by_role("button").all_inner_texts() if text]


@pytest.mark.parametrize("place", ["", *(f"{AT}/{tab}" for tab in TABS), f"{AT}/migrations/001"])
def test_a_hostile_name_is_shown_as_text(open_page: Open, place: str) -> None:
    bad = {"conn_id": worlds.HOSTILE, "description": worlds.HOSTILE, "dag_display_name": worlds.HOSTILE}
    world = worlds.make_world(worlds.hostile_items(), **bad)
    world.plan.findings = [
        worlds.s.Finding(code=worlds.HOSTILE, severity="error", message=worlds.HOSTILE, next_step=f"`{worlds.HOSTILE}`")
    ]
    world.health.reasons = [worlds.HOSTILE]
    page = open_page(place, world)
    expect(page.locator("main")).to_contain_text(worlds.HOSTILE)
    page.wait_for_timeout(100)
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main script").count() == 0
    assert page.locator('a[href^="javascript"]').count() == 0


def test_a_hostile_name_in_the_address_is_shown_as_text(open_page: Open) -> None:
    world = worlds.make_world()
    world.denied = 404
    page = open_page(f"#/dag/{worlds.HOSTILE}/x/migrations/%ff", world)
    expect(page.get_by_role("heading", level=1)).to_contain_text(worlds.HOSTILE)
    assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize("place", ["", AT])
def test_a_session_that_has_ended_leads_to_the_login(open_page: Open, server: StubServer, place: str) -> None:
    world = worlds.make_world()
    world.denied = 401
    page = open_page(place, world)
    expect(page.locator("main")).to_contain_text("Your session has ended.")
    link = page.get_by_role("link", name="Log in again")
    expect(link).to_have_attribute("href", re.compile(re.escape(f"{server.root}/base/auth/login?next=")))


def test_a_missing_right_is_told(open_page: Open) -> None:
    world = worlds.make_world()
    world.denied = 403
    page = open_page(AT, world)
    expect(page.locator("main")).to_contain_text("You may not see this. no right on that DAG")
    assert page.get_by_role("button", name="Apply").count() == 0


def test_without_rights_there_are_no_buttons(open_page: Open) -> None:
    page = open_page(AT, worlds.make_world(may=False, source=worlds.REPORT))
    assert _buttons(page) == []
    expect(page.locator(".group-notes")).to_contain_text("As of the last run")
    page.goto(page.url + "/005")
    expect(page.get_by_role("heading", level=2)).to_contain_text("005")
    assert page.get_by_role("button", name="Roll back").count() == 0


def test_buttons_follow_the_rights_one_by_one(open_page: Open) -> None:
    page = open_page(AT, worlds.make_world(rights=worlds.s.Rights(read_database=True, migrate=True, rollback=False)))
    assert _buttons(page) == ["Apply…", "Dry run…"]


def test_what_the_dag_does_not_let_a_run_choose_is_not_offered(open_page: Open) -> None:
    page = open_page(
        AT, worlds.make_world(migrate=worlds.s.Choices(to=False, modes=["apply"]), rollback=None, rollback_dag=None)
    )
    assert _buttons(page) == ["Apply…"]
    page.get_by_role("button", name="Apply…").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.get_by_label("Up to version").count() == 0
    assert page.get_by_label("Environment").count() == 0


def test_a_paused_dag_starts_nothing_and_says_why(open_page: Open) -> None:
    page = open_page(AT, worlds.make_world(is_paused=True))
    expect(page.get_by_role("button", name="Apply…")).to_be_disabled()
    expect(page.locator(".group-notes")).to_contain_text("The DAG is paused.")


@pytest.mark.parametrize("tab", TABS)
def test_a_database_that_is_down_is_told_with_the_age_of_what_is_shown(open_page: Open, tab: str) -> None:
    page = open_page(f"{AT}/{tab}", worlds.make_world(source=worlds.DOWN))
    banner = page.get_by_role("alert").first
    expect(banner).to_contain_text("The database was not read.")
    expect(banner).to_contain_text("the report of the last run, 11 hours ago")
    expect(banner).to_contain_text("connection refused")
    expect(page.locator(".health")).to_contain_text("unhealthy")


def test_try_again_reads_the_database_again(open_page: Open, server: StubServer) -> None:
    page = open_page(AT, worlds.make_world(source=worlds.DOWN))
    server.world = worlds.make_world()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_server_that_is_gone_is_told(open_page: Open) -> None:
    page = open_page(AT)
    page.context.set_offline(True)
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_role("alert").first).to_contain_text("The server cannot be reached.")
