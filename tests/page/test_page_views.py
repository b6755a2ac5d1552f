"""What each view shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from airflow_provider_wmigrate.web import static_files
from tests.page import worlds
from tests.page.browser import answered
from tests.page.conftest import Open
from tests.page.stub import STATIC, StubServer

AT = f"#/dag/{worlds.DAG}/{worlds.GROUP}"
ONE_OF_EACH = ["failed", "incomplete", "changed", "missing", "pending", "left out"]


def test_overview_shows_every_database_the_worst_first(open_page: Open) -> None:
    page = open_page()
    expect(page.locator(".card-title")).to_have_text(["warehouse_db", "billing_db", "timescale_eu", "stock_db"])
    first = page.locator(".group-card").first
    expect(first).to_contain_text("Needs attention")
    expect(first).to_contain_text("13 applied")
    expect(first).to_contain_text("apply failed")
    page.get_by_role("link", name="billing_db").click()
    expect(page).to_have_url(re.compile(r"#/dag/billing/migrate/migrations$"))


def test_the_tab_of_a_dag_opens_its_only_group(open_page: Open) -> None:
    page = open_page(f"?dag={worlds.DAG}")
    page.wait_for_url(re.compile(re.escape(AT) + "/migrations$"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("warehouse_db")


def test_the_tab_of_a_dag_leads_to_the_other_databases_too(open_page: Open) -> None:
    page = open_page(f"?dag={worlds.DAG}")
    page.get_by_role("link", name="All databases").click()
    expect(page.locator(".card-title")).to_have_count(4)


def test_the_tab_of_a_dag_without_migrations_says_so(open_page: Open) -> None:
    page = open_page("?dag=other")
    expect(page.locator("main")).to_contain_text("other holds no migration group")


def test_links_of_tasks_open_one_migration(open_page: Open) -> None:
    page = open_page(f"?dag={worlds.DAG}&group={worlds.GROUP}&version=009")
    expect(page.get_by_role("heading", level=2)).to_contain_text("009 shelf locations")


def test_each_database_of_a_mapped_group_has_a_card_and_a_page(open_page: Open, server: StubServer) -> None:
    page = open_page("", worlds.mapped_world())
    expect(page.locator(".card-title")).to_have_text(["berlin_db", "paris_db"])
    expect(page.locator(".group-card .mono:nth-child(3)")).to_have_text(["migrate[0]", "migrate[1]"])
    page.get_by_role("link", name="paris_db").click()
    expect(page).to_have_url(re.compile(r"/migrate%5B1%5D/migrations$"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("paris_db")
    expect(page.get_by_role("row").filter(has_text="invoice lines")).to_be_visible()
    page.get_by_role("navigation", name="Views").get_by_role("link", name="plan").click()
    expect(page.locator("main")).to_contain_text("3 steps, in this order")
    asked = {request.partition("?")[2] for request in server.requests if "/groups/migrate/" in request}
    assert asked == {"map_index=1"}


def test_a_mapped_group_as_a_whole_leads_to_its_databases(open_page: Open) -> None:
    page = open_page(f"{AT}%5B1%5D", worlds.mapped_world())
    page.get_by_role("link", name="one database of migrate").click()
    expect(page.locator(".group-notes")).to_have_text("Many databases. Choose one of them by its map index.")
    expect(page.locator(".card-title")).to_have_text(["berlin_db", "paris_db"])
    answered(page)
    expect(page.locator(".group-head .counts, .health")).to_have_count(0)
    page.get_by_role("button", name="Apply…").click()
    expect(page.get_by_role("dialog")).to_contain_text("every database of the mapped group")


def test_list_tells_version_name_status_when_who_how_long_and_links(open_page: Open) -> None:
    page = open_page(AT)
    row = page.get_by_role("row").filter(has_text="invoice lines")
    expect(row).to_contain_text("015")
    for text in ("applied", "alice", "1.23 s"):
        expect(row).to_contain_text(text)
    expect(row.get_by_role("link", name="Log of 015")).to_have_attribute(
        "href", re.compile(rf"/base/dags/{worlds.DAG}/runs/manual__15/tasks/migrate\.015_invoice_lines$")
    )


def test_what_failed_and_what_is_left_out_is_told_with_the_reason(open_page: Open) -> None:
    page = open_page(AT)
    failed = page.get_by_role("row").filter(has_text="currency rates")
    for text in ("failed", 'relation "warehouse.rates" does not exist', "3 hours ago", "alice"):
        expect(failed).to_contain_text(text)
    run = re.compile(rf"/base/dags/{worlds.DAG}/runs/manual__17$")
    expect(failed.get_by_role("link", name="Run that tried 017")).to_have_attribute("href", run)
    left_out = page.get_by_role("row").filter(has_text="audit partitions")
    for text in ("left out", "extension timescaledb is not available on this server"):
        expect(left_out).to_contain_text(text)
    counts = "13 applied 1 pending 1 failed 1 left out 1 changed 1 missing 1 incomplete"
    expect(page.locator(".counts")).to_have_text(counts, use_inner_text=True)
    filters = ["all 19", *(f"{status} 1" for status in ONE_OF_EACH), "applied 13"]
    expect(page.locator(".filter")).to_have_text(filters, use_inner_text=True)
    failed.get_by_role("link", name="Migration 017").click()
    alert = page.get_by_role("alert").filter(has_text="It failed")
    for text in ("3 hours ago", "alice", "42P01", "manual__17"):
        expect(alert).to_contain_text(text)
    page.get_by_role("link", name="After 018").click()
    expect(page.locator("main")).to_contain_text(
        "No run will apply it here: extension timescaledb is not available on this server."
    )


def test_a_failed_rollback_is_told_on_what_is_applied(open_page: Open) -> None:
    items = worlds.usual_items()
    items[14].failure = items[16].failure.model_copy(update={"direction": "rollback"})
    page = open_page(AT, worlds.make_world(items))
    row = page.get_by_role("row").filter(has_text="invoice lines")
    for text in ("applied", "rollback failed", "warehouse.rates"):
        expect(row).to_contain_text(text)


def test_results_of_a_dry_run_are_shown(open_page: Open) -> None:
    page = open_page(AT + "/history")
    expect(page.get_by_role("table").first).to_contain_text("tried 016not tried 017")
    events = page.get_by_role("table").nth(1)
    tried = events.get_by_role("row").filter(has_text="dry run").first
    tried.get_by_text("1 lock").click()
    felt = "2 sessions waited, the longest 640 ms, for warehouse.products"
    for text in ("016", "bob", "840 ms", "12 rows", felt, "warehouse.products AccessExclusiveLock"):
        expect(tried).to_contain_text(text)
    left = events.get_by_role("row").filter(has_text="not tried")
    expect(left).to_contain_text("017_currency_rates.sql:2: CREATE INDEX CONCURRENTLY cannot run inside a transaction")


def test_search_and_filter_are_kept_in_the_address(open_page: Open) -> None:
    page = open_page(AT)
    page.get_by_label("Search migrations").fill("invoice")
    expect(page.locator(".grid-body .name-text")).to_have_text(["invoice lines", "invoices"])
    expect(page).to_have_url(re.compile(r"\?q=invoice$"))
    page.get_by_label("Search migrations").fill("")
    page.get_by_role("button", name="pending 1").click()
    expect(page.locator(".grid-body .version-link")).to_have_text(["019"])
    page.reload()
    expect(page.locator(".grid-body .version-link")).to_have_text(["019"])
    page.get_by_label("Search migrations").fill("nothing like it")
    page.get_by_role("button", name="Show all").click()
    expect(page.locator(".found")).to_have_text("19 migrations")


def test_list_is_sorted_by_its_heads(open_page: Open) -> None:
    page = open_page(AT)
    page.get_by_role("button", name="Took").click()
    expect(page.locator(".grid-body .cell.took").first).to_have_text("11.2 s")
    expect(page.get_by_role("columnheader", name="Took")).to_have_attribute("aria-sort", "descending")


def test_graph_draws_every_migration_and_edge(open_page: Open) -> None:
    page = open_page(AT + "/graph")
    page.get_by_label("Fit into view").click()
    expect(page.locator(".graph .node")).to_have_count(19)
    edges = sum(len(item.dependencies) for item in worlds.usual_items())
    expect(page.locator(".graph .edge")).to_have_count(edges)
    node = page.locator('.graph .node[data-id="015"]')
    expect(node).to_have_attribute("aria-label", "015 invoice lines, applied, depends on 014, 007")
    page.locator('.graph .node[data-id="009"]').click()
    expect(page).to_have_url(re.compile("/migrations/009$"))


def test_graph_has_a_table_behind(open_page: Open) -> None:
    page = open_page(AT + "/graph")
    page.get_by_text("Show as a table").click()
    expect(page.get_by_role("table").get_by_role("row")).to_have_count(20)


def test_plan_shows_steps_and_findings_with_place_and_next_step(open_page: Open) -> None:
    page = open_page(AT + "/plan")
    finding = page.locator(".finding").first
    for text in (
        "error",
        "checksum_mismatch",
        "009_shelf_locations.sql",
        "was edited after it was applied",
        "Next: restore the file",
    ):
        expect(finding).to_contain_text(text)
    places = ["009_shelf_locations.sql", "018_audit_partitions.sql:14:3"]
    expect(page.locator(".finding .chip code")).to_have_text(places)
    expect(page.locator("main")).to_contain_text("3 steps, in this order")
    expect(page.locator(".held")).to_contain_text("018 extension timescaledb is not available")
    foreseen = [
        "blocks reads and writes of public.orders (12 GB) for as long as the statement of line 3 runs:"
        " it writes the table anew",
        "blocks writes of public.items (9.2 MB) for a moment",
        "line 9 may lock more than can be foreseen: a DO block runs",
    ]
    expect(page.locator("tbody tr").first.locator("li")).to_have_text(foreseen)


def test_history_shows_runs_and_events(open_page: Open) -> None:
    page = open_page(AT + "/history")
    runs = page.get_by_role("table").first
    expect(runs).to_contain_text("dry run")
    expect(runs).to_contain_text("rolled back 015")
    expect(page.get_by_role("table").nth(1)).to_contain_text("42P01")


def test_audit_is_filtered_and_its_chain_is_checked(open_page: Open, server: StubServer) -> None:
    page = open_page(AT + "/audit")
    expect(page.locator("main")).to_contain_text("The chain is intact.")
    assert any("verify=true" in request for request in server.requests)
    page.get_by_label("Event").select_option("failed")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"\?event=failed$"))
    page.locator(".row-details summary").click()
    expect(page.locator(".row-details")).to_contain_text("Hash")


def test_every_event_can_be_filtered_by() -> None:
    script = (STATIC / "view_audit.js").read_text().partition("const EVENTS = [")[2].partition("]")[0]
    code = "".join(file.read_text() for file in STATIC.parents[1].rglob("*.py"))
    written = set(re.findall(r'(?:append|_append|record)\(\s*(?:\w+\.\w+, |\w+, )?"(\w+)"', code))
    assert written - set(re.findall(r'"(\w+)"', script)) == set()


def test_a_broken_chain_is_told_loudly(open_page: Open) -> None:
    world = worlds.make_world()
    world.audit.chain = worlds.broken_chain()
    page = open_page(AT + "/audit", world)
    expect(page.get_by_role("alert")).to_contain_text("The chain is broken.")
    expect(page.locator(".finding")).to_contain_text("row 87 does not have the hash")


def test_charts_say_in_words_and_tables_what_they_draw(open_page: Open) -> None:
    page = open_page(AT + "/charts")
    expect(page.locator("figure")).to_have_count(3)
    picture = page.get_by_role("img", name=re.compile("16 migrations took"))
    expect(picture).to_be_visible()
    figure = page.locator("figure").filter(has_text="Duration of each migration")
    figure.get_by_text("Show as a table").click()
    expect(figure.get_by_role("row")).to_have_count(17)
    page.get_by_role("link", name="30 days").click()
    expect(page.locator("main")).to_contain_text("In 30 days")


def test_detail_shows_scripts_links_and_neighbours(open_page: Open) -> None:
    page = open_page(AT + "/migrations/016")
    main = page.locator("main")
    for text in (
        "4 of 6 statements are done",
        "CREATE TABLE warehouse.products",
        "DROP TABLE warehouse.products",
        "as it was applied, from the ledger",
    ):
        expect(main).to_contain_text(text)
    page.get_by_role("link", name="Before 015").click()
    expect(page.get_by_role("heading", level=2)).to_contain_text("015")
    page.go_back()
    expect(page.get_by_role("heading", level=2)).to_contain_text("016")


def test_an_unknown_version_is_told(open_page: Open, server: StubServer) -> None:
    world = worlds.make_world()
    page = open_page(AT, world)
    world.denied = 404
    page.goto(server.url + AT + "/migrations/999")
    expect(page.get_by_role("alert")).to_be_visible()


def test_health_is_told_with_its_reasons(open_page: Open) -> None:
    page = open_page(AT)
    health = page.locator(".health")
    expect(health).to_contain_text("degraded")
    health.locator("summary").click()
    expect(health).to_contain_text("PostgreSQL 16.4 answered in 12 ms")


def test_every_module_is_announced_to_the_browser() -> None:
    named = re.findall(rf'"static/{static_files.tag()}/(\w+\.js)"', static_files.page())
    assert sorted(named) == sorted(file.name for file in STATIC.glob("*.js"))


@pytest.mark.parametrize("file", sorted(STATIC.iterdir()), ids=lambda file: file.name)
def test_nothing_comes_from_elsewhere_and_nothing_is_parsed_as_markup(file: Path) -> None:
    text = file.read_text()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.search(r"\.(innerHTML|outerHTML|insertAdjacentHTML)\b|document\.write|\beval\(|DOMParser", text)
    assert len(text.splitlines()) <= 300
