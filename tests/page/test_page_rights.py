"""Hostile names, lost sessions, missing rights, databases that are down."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.page import worlds
from tests.page.browser import answered, settle
from tests.page.conftest import Open
from tests.page.stub import StubServer

AT = f"#/dag/{worlds.DAG}/{worlds.GROUP}"
TABS = ["migrations", "graph", "plan", "history", "audit", "charts"]


def _expect_buttons(page: Page, *texts: str) -> None:
    """And the one that reads again, which has no text."""
    expect(page.get_by_role("group", name="Actions").get_by_role("button")).to_have_text([*texts, ""])


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
    settle(page)
    assert page.evaluate("window.hacked") is None
    expect(page.locator("main img, main script")).to_have_count(0)
    expect(page.locator('a[href^="javascript"]')).to_have_count(0)


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
    expect(page.get_by_role("button", name="Apply")).to_have_count(0)


def test_without_rights_there_are_no_buttons(open_page: Open) -> None:
    page = open_page(AT, worlds.make_world(may=False, source=worlds.REPORT))
    _expect_buttons(page)
    expect(page.locator(".group-notes")).to_contain_text("As of the last run")
    page.goto(page.url + "/005")
    expect(page.get_by_role("heading", level=2)).to_contain_text("005 suppliers")
    expect(page.get_by_role("button", name="Roll back")).to_have_count(0)


def test_buttons_follow_the_rights_one_by_one(open_page: Open) -> None:
    page = open_page(AT, worlds.make_world(rights=worlds.s.Rights(read_database=True, migrate=True, rollback=False)))
    _expect_buttons(page, "Apply…", "Dry run…", "Roll back…")
    assert _why_not(page, "Roll back…") == (
        "You may not start runs of warehouse_rollback. Ask whoever manages the rights in Airflow for the right to"
        " trigger this DAG."
    )


def _why_not(page: Page, button: str) -> str:
    """What a button says that cannot work; it gives the focus back."""
    page.get_by_role("button", name=button).click()
    dialog = page.get_by_role("dialog", name=re.compile("not possible now"))
    expect(dialog).to_be_visible()
    text = " ".join(" ".join(dialog.locator("p").all_inner_texts()).split())
    dialog.get_by_role("button", name="Close").click()
    expect(page.get_by_role("button", name=button)).to_be_focused()
    return text


def test_whoever_only_looks_is_told_so_once(open_page: Open) -> None:
    page = open_page(AT, worlds.make_world(may=False, source=worlds.REPORT))
    notes = page.locator(".group-notes .banner")
    expect(notes).to_have_count(1)
    expect(notes).to_contain_text(
        "You may not read the connection warehouse_db or start runs of warehouse_migrations. Whoever manages the rights"
        " in Airflow can allow it."
    )
    expect(page.locator(".group-health")).to_be_empty()
    for tab in TABS:
        page.goto(page.url.partition("#")[0] + f"{AT}/{tab}")
        expect(page.locator(".group-panel > section")).to_have_attribute("aria-label", tab)
        answered(page)
        expect(page.get_by_text("may not read", exact=False)).to_have_count(1)


ONLY_ROLLBACK = worlds.s.Rights(read_database=True, migrate=False, rollback=True)


@pytest.mark.parametrize(
    ("changes", "button", "says"),
    [
        ({"is_paused": True}, "Apply…", "warehouse_migrations is paused, so a run would not begin. Unpause the DAG:"),
        (
            {"is_stale": True},
            "Dry run…",
            "The file of warehouse_migrations is gone, or has no such DAG any more.",
        ),
        (
            {"has_import_errors": True},
            "Apply…",
            "The file of warehouse_migrations has import errors.",
        ),
        (
            {"rollback_dag": worlds.s.RollbackDag(dag_id="back", group_id="rollback", is_paused=True)},
            "Roll back…",
            "back is paused, so a run would not begin. Unpause the DAG:",
        ),
        (
            {
                "is_mapped": True,
                "map_index": 1,
                "rights": worlds.s.Rights(read_database=True, migrate=False, rollback=True),
            },
            "Apply…",
            "A run works on every database of this group. Go to the page of the group and start it there",
        ),
    ],
)
def test_a_button_that_cannot_work_says_why_and_what_to_do(
    open_page: Open, changes: dict[str, Any], button: str, says: str
) -> None:
    page = open_page(AT, worlds.make_world(**changes))
    assert _why_not(page, button).startswith(says)


def test_where_nothing_is_pending_the_buttons_say_so(open_page: Open) -> None:
    items = [worlds.usual_items()[index] for index in (0, 1, 2)]
    page = open_page(AT, worlds.make_world(items))
    assert _why_not(page, "Apply…").startswith("Nothing is pending. Every migration of the folder is applied.")


PLAIN = {"migrate": worlds.s.Choices(to=False, modes=["apply"]), "rollback": None, "rollback_dag": None}


def test_what_the_dag_does_not_let_a_run_choose_is_not_offered(open_page: Open) -> None:
    page = open_page(AT, worlds.make_world(**PLAIN))
    page.get_by_role("button", name="Apply…").click()
    expect(page.get_by_role("dialog")).to_contain_text("3 migrations will be applied")
    expect(page.get_by_label("Up to version")).to_have_count(0)
    expect(page.get_by_label("Environment")).to_have_count(0)


def test_a_paused_dag_starts_nothing_and_says_why(open_page: Open) -> None:
    page = open_page(AT, worlds.make_world(is_paused=True))
    page.get_by_role("button", name="Apply…").click()
    expect(page.get_by_role("dialog", name="Apply is not possible now")).to_be_visible()
    page.keyboard.press("Escape")
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
