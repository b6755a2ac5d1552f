"""The page inside the real Airflow: found in the navigation and on the DAG, and a dry run started by its button.

They leave the warehouse as empty as it was, for the story that comes after them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, FrameLocator, Page, expect

from tests.e2e.conftest import DAG, Story
from tests.page.browser import chromium_or_skip
from tests.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def admin(story: Story) -> Iterator[BrowserContext]:
    """A browser in which the admin has logged in."""
    with chromium_or_skip() as browser:
        context = browser.new_context(viewport={"width": 1400, "height": 900}, color_scheme="light")
        context.set_default_timeout(PATIENCE * 1000)
        login = {"username": story.server.user, "password": story.server.password}
        token = context.request.post(f"{story.server.url}/auth/token", data=login).json()["access_token"]
        context.add_cookies([{"name": "_token", "value": token, "url": story.server.url}])
        yield context


@pytest.fixture
def page(admin: BrowserContext) -> Iterator[Page]:
    page = admin.new_page()
    yield page
    page.close()


def _frame(page: Page) -> FrameLocator:
    return page.frame_locator("iframe")


def test_the_navigation_leads_to_the_databases(story: Story, page: Page) -> None:
    page.goto(story.server.url)
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Migrations").click()
    expect(_frame(page).get_by_role("heading", name="Migrations", level=1)).to_be_visible()
    expect(_frame(page).get_by_role("link", name="warehouse_db")).to_be_visible()
    expect(_frame(page).locator("html")).to_have_attribute("data-theme", "light")


def test_the_dags_tab_shows_its_migrations_and_starts_a_dry_run(story: Story, page: Page) -> None:
    story.server.api("PATCH", f"/api/v2/dags/{DAG}", {"is_paused": False})
    page.goto(f"{story.server.url}/dags/{DAG}")
    page.get_by_role("link", name="Migrations", exact=True).click()
    frame = _frame(page)
    expect(frame.get_by_role("row").filter(has_text="warehouse tables")).to_contain_text("pending")
    frame.get_by_role("button", name="Dry run…").click()
    dialog = frame.get_by_role("dialog")
    expect(dialog).to_contain_text("warehouse_db")
    dialog.get_by_role("button", name=re.compile(r"Dry run \d+ migrations")).click()
    told = frame.locator(".group-run")
    expect(told).to_contain_text("Dry run")
    run = story.server.api("GET", f"/api/v2/dags/{DAG}/dagRuns?order_by=-run_after&limit=1")["dag_runs"][0]
    assert run["triggering_user_name"] == story.server.user
    assert run["conf"]["mode"] == "dry_run"
    state, states = story.wait(DAG, run["dag_run_id"])
    assert state == "success", states
    expect(told).to_contain_text("Dry run succeeded")
    tables = "SELECT to_regclass('wmigrate.schema_migrations')"
    assert story.query(tables) == [(None,)] or story.applied() == []


def test_a_link_of_the_page_opens_airflows_own_page(story: Story, page: Page) -> None:
    page.goto(f"{story.server.url}/dags/{DAG}")
    page.get_by_role("link", name="Migrations", exact=True).click()
    frame = _frame(page)
    history = frame.get_by_role("navigation", name="Views").get_by_role("link", name="History")

    def is_shown() -> bool:
        """Airflow may draw the frame anew while it loads, and a click of before is lost."""
        history.click()
        return history.get_attribute("aria-current") == "page"

    wait_until(is_shown, "the tab History")
    expect(frame.locator("main")).to_contain_text("Runs")
    frame.get_by_role("table").first.get_by_role("link").first.click()
    page.wait_for_url(re.compile(rf"/dags/{DAG}/runs/"))
    expect(page.locator("iframe")).to_have_count(0)
