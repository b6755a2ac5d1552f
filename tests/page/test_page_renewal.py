"""While a run goes on, every view shows what has become of it, and leaves alone what somebody does there."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.page import worlds
from tests.page.browser import answered
from tests.page.conftest import Open
from tests.page.made import NOW
from tests.page.stub import StubServer
from tests.waiting import wait_until

AT = f"#/dag/{worlds.DAG}/{worlds.GROUP}"


def running() -> worlds.World:
    world = worlds.make_world()
    world.status.last_run = worlds.make_run("running")
    world.run_states = ["running"] * 400
    return world


def apply_019(world: worlds.World) -> None:
    done = {"status": "applied", "applied_at": NOW, "duration_ms": 600_000, "actor": "zoe"}
    items = [m.model_copy(update=done) if m.version == "019" else m for m in world.status.migrations]
    after = worlds.make_world(items)
    after.status.last_run = world.status.last_run
    world.status, world.plan, world.history = after.status, after.plan, after.history
    world.metrics, world.detail, world.audit = after.metrics, after.detail, after.audit
    world.tasks_done += 1


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.textContent")


@pytest.mark.parametrize(
    ("tab", "before", "after"),
    [
        ("plan", "3 steps, in this order", "2 steps, in this order"),
        ("history", "dry run", "zoe"),
        ("charts", "the slowest was 0", "the slowest was 019"),
        ("migrations/019", "pending", "10 min"),
    ],
)
def test_a_view_follows_the_run(open_page: Open, tab: str, before: str, after: str) -> None:
    world = running()
    page = open_page(f"{AT}/{tab}", world)
    panel = page.locator(".group-panel > section")
    expect(panel).to_contain_text(before)
    expect(panel).not_to_contain_text(after)
    panel.evaluate("one => { one.dataset.same = 'yes'; }")
    apply_019(world)
    expect(panel).to_contain_text(after)
    expect(panel).to_have_attribute("data-same", "yes")
    expect(page.locator(".loading")).to_have_count(0)


def test_what_a_reader_does_there_stays(open_page: Open) -> None:
    world = running()
    page = open_page(f"{AT}/history", world)
    unfolded = page.locator("details", has_text="1 lock").first
    unfolded.locator("summary").click()
    expect(unfolded.locator("li").first).to_be_visible()
    apply_019(world)
    expect(page.get_by_role("table").nth(1)).to_contain_text("zoe")
    expect(unfolded.locator("li").first).to_be_visible()
    assert focused(page) == "1 lock"


def test_older_events_that_were_asked_for_stay(open_page: Open) -> None:
    world = running()
    first, rest = world.history.events[:3], world.history.events[3:]
    world.history = world.history.model_copy(update={"events": first, "next_before": 7})
    world.older = world.history.model_copy(update={"events": rest, "next_before": None})
    page = open_page(f"{AT}/history", world)
    rows = page.get_by_role("table").get_by_role("row")
    before = rows.count()
    page.get_by_role("button", name="Show older events").click()
    expect(rows).to_have_count(before + 1 + len(rest))
    world.history = world.history.model_copy(update={"events": [first[0].model_copy(update={"actor": "zoe"}), *first]})
    world.tasks_done += 1
    expect(page.get_by_role("table").nth(1)).to_contain_text("zoe")
    expect(rows).to_have_count(before + 2 + len(rest))


def test_what_has_not_changed_is_not_drawn_anew(open_page: Open, server: StubServer) -> None:
    world = running()
    page = open_page(f"{AT}/plan", world)
    page.locator(".group-panel h2").last.evaluate("one => { one.dataset.same = 'yes'; }")
    server.requests.clear()
    world.tasks_done += 1
    wait_until(lambda: any(request.endswith("/plan") for request in server.requests))
    expect(page.locator(".group-run")).to_contain_text("4 tasks done")
    answered(page)
    expect(page.locator(".group-panel h2").last).to_have_attribute("data-same", "yes")


def test_the_audit_trail_follows_the_run_and_is_checked_at_its_end(open_page: Open, server: StubServer) -> None:
    world = running()
    page = open_page(f"{AT}/audit", world)
    rows = page.get_by_role("region", name="Audit trail, newest first")
    failed = rows.get_by_role("row").filter(has_text="failed")
    failed.locator("summary").click()
    expect(page.get_by_text("The chain is intact.")).to_be_visible()
    server.requests.clear()
    apply_019(world)
    expect(rows).to_contain_text("zoe")
    expect(failed).to_contain_text("Hash")
    assert "does not exist" in focused(page)
    answered(page)
    assert not [request for request in server.requests if "verify=true" in request], "it is long, and grows"
    world.audit = world.audit.model_copy(update={"chain": worlds.broken_chain()})
    world.status.last_run = worlds.make_run()
    world.run_states = ["success"]
    expect(page.get_by_text("The chain is broken.")).to_be_visible()
    expect(failed).to_contain_text("Hash")


def test_a_filter_and_a_page_of_the_audit_trail_stay(open_page: Open, server: StubServer) -> None:
    world = running()
    page = open_page(f"{AT}/audit?event=failed", world)
    rows = page.get_by_role("region", name="Audit trail, newest first").get_by_role("row")
    expect(rows).to_have_count(2)
    older = f"before={world.audit.next_before}"
    page.get_by_role("button", name="Older").click()
    expect(page.get_by_role("button", name="Newer")).to_be_enabled()
    server.requests.clear()
    apply_019(world)
    wait_until(lambda: any("/audit?" in request for request in server.requests))
    answered(page)
    asked = next(request for request in server.requests if "/audit?" in request)
    assert "event=failed" in asked
    assert older in asked
    expect(rows).to_have_count(2)
