"""What stands above the tabs, what keeps itself up to date, and what can be read on every width."""

from __future__ import annotations

import itertools

import pytest
from playwright.sync_api import Page, expect

from tests.page import worlds
from tests.page.browser import answered
from tests.page.conftest import Open
from tests.page.stub import StubServer
from tests.waiting import wait_until

AT = f"#/dag/{worlds.DAG}/{worlds.GROUP}"
WIDTHS = [380, 640, 800, 1400]
ERROR = (
    'insert or update on table "warehouse.invoice_lines" violates foreign key constraint'
    ' "invoice_lines_product_id_fkey" (23503) at line 412, column 7\n'
    'DETAIL: Key (product_id)=(4711) is not present in table "products".\n'
    "HINT: delete the rows without a product, or add the products, then run the migrations again"
)


def failing() -> worlds.World:
    items = worlds.usual_items()
    items[16].failure = items[16].failure.model_copy(update={"error": ERROR})
    return worlds.make_world(items)


def test_host_and_database_stand_in_the_head(open_page: Open) -> None:
    page = open_page(AT)
    expect(page.locator(".group-head .server")).to_have_text("db.example:5432 / warehouse")
    page.get_by_role("button", name="Apply…").click()
    expect(page.get_by_role("dialog").locator(".facts")).to_contain_text("warehouse_db db.example:5432 / warehouse")


def test_a_socket_and_a_missing_name_are_told_as_they_are(open_page: Open) -> None:
    page = open_page(AT, worlds.make_world(server=worlds.s.Server(host="/run/postgresql", port=5432, database="w")))
    expect(page.locator(".group-head .server")).to_have_text("/run/postgresql / w")
    page = open_page(AT, worlds.make_world(server=None))
    expect(page.locator(".group-head .facts-line")).to_contain_text("at version")
    expect(page.locator(".group-head .server")).to_have_count(0)


def test_head_notices_and_health_fold_and_stay_so(open_page: Open) -> None:
    page = open_page(AT, worlds.make_world(is_paused=True))
    parts = [page.locator(f".group-{name}") for name in ("more", "notes .banner", "health")]
    for part in parts:
        expect(part).to_be_visible()
    page.get_by_role("button", name="Fold details, notices and health").click()
    for part in parts:
        expect(part).to_be_hidden()
    expect(page.locator(".gist")).to_contain_text("1 notice")
    expect(page.locator(".gist")).to_contain_text("degraded")
    page.reload()
    expect(page.locator(".gist")).to_contain_text("1 notice")
    page.get_by_role("button", name="1 notice").click()
    for part in parts:
        expect(part).to_be_visible()
    expect(page.locator(".gist")).to_be_empty()


def test_what_nobody_may_miss_stays_in_one_line(open_page: Open) -> None:
    page = open_page(AT, worlds.make_world(source=worlds.DOWN), width=380)
    banner = page.get_by_role("alert").first
    expect(banner).to_be_visible()
    expect(page.locator(".group-health")).to_be_hidden()
    box = banner.bounding_box()
    assert box is not None
    assert box["height"] < 60


def test_on_a_phone_the_list_comes_first(open_page: Open) -> None:
    page = open_page(AT, width=380, height=800)
    expect(page.get_by_role("row").filter(has_text="temperature sensors")).to_be_in_viewport()


INSIDE = """one => { const [a, b] = [one, one.closest('.grid-row')].map((each) => each.getBoundingClientRect());
  return a.bottom <= b.bottom + 1 && a.right <= b.right + 1; }"""


@pytest.mark.parametrize("width", WIDTHS)
def test_a_failed_row_shows_its_whole_error(open_page: Open, width: int) -> None:
    page = open_page(AT, failing(), width=width)
    why = page.get_by_role("row").filter(has_text="currency rates").locator(".error-text")
    expect(why).to_be_visible()
    assert why.inner_text().split() == ERROR.split()
    hidden = why.evaluate("one => [one.scrollWidth - one.clientWidth, one.scrollHeight - one.clientHeight]")
    assert max(hidden) <= 1, "nothing of it is cut off"
    rows = page.locator(".grid-body .grid-row")
    rows.first.wait_for()
    boxes = sorted((box["y"], box["height"]) for box in (row.bounding_box() for row in rows.all()) if box)
    assert all(y + height <= below + 0.5 for (y, height), (below, _) in itertools.pairwise(boxes))
    inside = why.evaluate(INSIDE)
    assert inside, "it stands in its row"


BROKEN = """() => { const found = []; const range = document.createRange();
  const walk = document.createTreeWalker(document.querySelector('.group-panel'), NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    if (!node.parentElement.closest('table') || node.parentElement.closest('.hash, .hidden-visually')) continue;
    for (const match of node.textContent.matchAll(/[A-Za-z]+/g)) {
      range.setStart(node, match.index); range.setEnd(node, match.index + match[0].length);
      if (new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1) found.push(match[0]);
    }
  }
  return found; }"""


@pytest.mark.parametrize("width", [380, 800, 1400])
@pytest.mark.parametrize("place", ["migrations/016", "migrations/017", "history", "plan"])
def test_no_table_breaks_a_word(open_page: Open, place: str, width: int) -> None:
    page = open_page(f"{AT}/{place}", failing(), width=width)
    expect(page.locator(".group-panel table").first).to_be_attached()
    for details in page.locator(".group-panel table summary").all():
        details.click()
    assert page.evaluate(BROKEN) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def _asked(server: StubServer, what: str) -> int:
    return sum(what in request.partition("?")[0] for request in server.requests)


COUNT_PAUSES = """() => { const real = window.setTimeout; window.pauses = { begun: 0, over: 0 };
  window.setTimeout = (act, ...more) => { pauses.begun += 1;
    return real(() => { pauses.over += 1; act(); }, ...more); }; }"""


def test_while_a_run_goes_on_the_list_follows_it(open_page: Open, server: StubServer) -> None:
    world = worlds.make_world()
    world.status.last_run = worlds.make_run("running")
    world.run_states = ["running"] * 40
    page = open_page(AT, world)
    expect(page.locator(".group-run")).to_contain_text("Apply running.")
    search = page.get_by_label("Search migrations")
    search.fill("sensors")
    row = page.get_by_role("row").filter(has_text="temperature sensors")
    expect(row).to_contain_text("pending")
    done = [m.model_copy(update={"status": "applied"}) if m.version == "019" else m for m in world.status.migrations]
    world.status = world.status.model_copy(update={"migrations": done})
    world.tasks_done = 9
    expect(row).to_contain_text("applied")
    expect(search).to_be_focused()
    expect(search).to_have_value("sensors")
    expect(page.locator(".group-run")).to_contain_text("9 tasks done")
    answered(page)
    server.requests.clear()
    wait_until(lambda: _asked(server, "/taskInstances") >= 4)
    assert _asked(server, "/groups") == 0, "while no task has ended, nobody asks the database"


def test_when_the_run_has_ended_nobody_asks_any_more(open_page: Open, server: StubServer) -> None:
    world = worlds.make_world()
    world.status.last_run = worlds.make_run("running")
    world.run_states = ["running"] * 40
    page = open_page(AT, world)
    page.evaluate(COUNT_PAUSES)
    wait_until(lambda: page.evaluate("pauses.begun") > 0, "the next look at the run")
    world.status = world.status.model_copy(update={"last_run": worlds.make_run()})
    world.run_states = ["success"]
    expect(page.locator(".group-run")).to_contain_text("Apply succeeded.")
    expect(page.locator(".group-head")).to_contain_text("last apply succeeded")
    assert page.evaluate("pauses.begun - pauses.over") == 0, "nothing waits to ask again"


def _set_hidden(page: Page, hidden: bool) -> None:
    page.evaluate(
        "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def test_a_page_that_nobody_sees_asks_nothing(open_page: Open, server: StubServer) -> None:
    world = worlds.make_world()
    world.status.last_run = worlds.make_run("running")
    world.run_states = ["running"] * 40
    page = open_page(AT, world)
    expect(page.locator(".group-run")).to_contain_text("tasks done")
    _set_hidden(page, True)
    page.evaluate(COUNT_PAUSES)
    wait_until(lambda: page.evaluate("pauses.over") >= 1, "a pause that began unseen")
    server.requests.clear()
    wait_until(lambda: page.evaluate("pauses.over") >= 2, "one more")
    assert server.requests == []
    _set_hidden(page, False)
    world.run_states = ["success"]
    expect(page.locator(".group-run")).to_contain_text("Apply succeeded.")


def test_a_dry_run_leads_to_what_it_found(open_page: Open) -> None:
    page = open_page(AT)
    page.get_by_role("button", name="Dry run…").click()
    page.get_by_role("dialog").get_by_role("button", name="Dry run 3 migrations").click()
    page.get_by_role("link", name="See what it found").click()
    events = page.get_by_role("table").nth(1)
    for text in (
        "dry run",
        "12 rows",
        "1 lock",
        "not tried",
        "CREATE INDEX CONCURRENTLY cannot run inside a transaction",
    ):
        expect(events).to_contain_text(text)


def test_a_migration_is_found_in_a_graph_of_a_thousand(open_page: Open) -> None:
    page = open_page(f"{AT}/graph", worlds.make_world(worlds.many_items()))
    finder = page.get_by_label("Find a migration in the graph")
    finder.fill("no such thing")
    expect(page.locator(".found-list")).to_contain_text("No migration has that version or name.")
    finder.fill("invoice lines 2")
    expect(page.locator(".found-list button").first).to_have_text("035invoice lines 2applied")
    page.keyboard.press("Enter")
    expect(page.locator('.graph .node[data-id="035"]')).to_be_focused()
    expect(page.locator(".found-list")).to_be_empty()
    page.get_by_role("button", name="Fold", exact=True).click()
    expect(page.locator('.graph .node[data-id="035"]')).to_have_count(0)


def test_while_a_run_goes_on_the_graph_follows_it_and_stays_where_it_is(open_page: Open) -> None:
    world = worlds.make_world()
    world.status.last_run = worlds.make_run("running")
    world.run_states = ["running"] * 40
    page = open_page(f"{AT}/graph", world)
    page.get_by_label("Zoom in").click()
    graph = page.locator(".graph")
    graph.evaluate("one => one.scrollTo(60, 40)")
    page.locator('.graph .node[data-id="019"]').focus()
    before = graph.evaluate("one => [one.scrollLeft, one.scrollTop]")
    done = [m.model_copy(update={"status": "applied"}) if m.version == "019" else m for m in world.status.migrations]
    world.status = world.status.model_copy(update={"migrations": done})
    world.tasks_done = 9
    node = page.get_by_label("019 temperature sensors, applied, depends on 010, 018")
    expect(node).to_be_attached()
    expect(node).to_be_focused()
    assert graph.evaluate("one => [one.scrollLeft, one.scrollTop]") == before
