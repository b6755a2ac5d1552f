"""Starting runs: what the questions say, what is sent, how a run is followed."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.page import worlds
from tests.page.conftest import Open
from tests.page.stub import StubServer
from tests.waiting import wait_until

AT = f"#/dag/{worlds.DAG}/{worlds.GROUP}"


def _expect_listed(dialog: Locator, *migrations: str) -> None:
    expect(dialog.locator(".review summary")).to_have_text(list(migrations), use_inner_text=True)


def test_apply_names_database_versions_and_mode_before_it_starts(open_page: Open, server: StubServer) -> None:
    page = open_page(AT)
    page.get_by_role("button", name="Apply…").click()
    dialog = page.get_by_role("dialog", name="Apply pending migrations?")
    for text in (
        "warehouse_db",
        "warehouse_migrations",
        "for real: changes are committed",
        "3 migrations will be applied",
    ):
        expect(dialog).to_contain_text(text)
    for version in ("016", "017", "019"):
        expect(dialog.locator(".review summary").filter(has_text=version)).to_be_visible()
    expect(dialog).to_contain_text("The plan has 1 error")
    assert server.world.started == []
    dialog.get_by_label("Up to version").select_option("017")
    dialog.get_by_label("Note").fill("before the release")
    dialog.get_by_role("button", name="Apply 2 migrations").click()
    expect(dialog).to_be_hidden()
    assert server.world.started == [{"action": "migrate", "mode": "apply", "to": "017", "note": "before the release"}]


def test_the_plan_of_another_environment_is_shown_before_it_starts(open_page: Open, server: StubServer) -> None:
    page = open_page(AT)
    page.get_by_role("button", name="Apply…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("3 migrations will be applied")
    dialog.get_by_label("Environment").select_option("production")
    expect(dialog).to_contain_text("2 migrations will be applied")
    expect(dialog).to_contain_text("production_db")
    dialog.get_by_role("button", name="Apply 2 migrations").click()
    expect(dialog).to_be_hidden()
    assert server.world.started == [{"action": "migrate", "mode": "apply", "environment": "production"}]


def test_what_is_rolled_back_in_another_environment_is_read_there(open_page: Open, server: StubServer) -> None:
    page = open_page(AT)
    page.get_by_role("button", name="Roll back…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Version that stays").select_option("012")
    expect(dialog).to_contain_text("4 migrations will be rolled back")
    dialog.get_by_label("Environment").select_option("production")
    expect(dialog).to_contain_text("production_db")
    _expect_listed(dialog, "014 invoices", "013 customer accounts")
    expect(dialog.get_by_label("Version that stays")).to_have_value("012")


def test_a_started_run_is_followed_to_its_end(open_page: Open, server: StubServer) -> None:
    page = open_page(AT)
    page.get_by_role("button", name="Dry run…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("dry run: everything is executed, then rolled back")
    dialog.get_by_role("button", name="Dry run 3 migrations").click()
    told = page.locator(".group-run")
    expect(told).to_contain_text("Dry run queued.")
    expect(told).to_contain_text("Dry run running. 3 tasks done · running: migrate.017_currency_rates")
    server.requests.clear()
    expect(told).to_contain_text("Dry run succeeded.")
    expect(page.locator("#live")).not_to_be_empty()
    # The page reads again what the run has changed.
    wait_until(lambda: any(request.endswith("/status") for request in server.requests))
    assert server.world.started[0]["mode"] == "dry_run"
    page.get_by_role("button", name="Dismiss").click()
    expect(told).to_be_empty()


def test_roll_back_asks_to_type_the_version(open_page: Open, server: StubServer) -> None:
    page = open_page(AT)
    page.get_by_role("button", name="Roll back…").click()
    dialog = page.get_by_role("dialog", name="Roll back migrations?")
    dialog.get_by_label("Version that stays").select_option("013")
    expect(dialog).to_contain_text("3 migrations will be rolled back, in this order:")
    _expect_listed(dialog, "016 price history incomplete", "015 invoice lines", "014 invoices")
    expect(dialog).to_contain_text("No rollback script: 014")
    expect(dialog).to_contain_text("warehouse_rollback")
    button = dialog.get_by_role("button", name="Roll back 3 migrations")
    expect(button).to_be_disabled()
    expect(dialog.locator(".why")).to_have_text("Type 013 to confirm.")
    dialog.get_by_label("Type 013 to confirm").fill("016")
    expect(button).to_be_disabled()
    dialog.get_by_label("Type 013 to confirm").fill("013")
    button.click()
    expect(dialog).to_be_hidden()
    assert server.world.started == [{"action": "rollback", "mode": "apply", "to": "013"}]


def test_of_two_rollback_scripts_one_is_chosen(open_page: Open, server: StubServer) -> None:
    items = [
        item.model_copy(update={"rollback_differs": item.version == "015", "has_rollback": True})
        for item in worlds.usual_items()
    ]
    usual = worlds.make_group().rollback
    world = worlds.make_world(items, rollback=usual.model_copy(update={"rollback_script": True}))
    page = open_page(AT, world)
    page.get_by_role("button", name="Roll back…").click()
    dialog = page.get_by_role("dialog", name="Roll back migrations?")
    choice = dialog.get_by_label("Which rollback script runs")
    expect(dialog).to_contain_text("1 migration will be rolled back")
    expect(choice).to_have_count(0)
    dialog.get_by_label("Version that stays").select_option("014")
    dialog.get_by_label("Dry run").check()
    expect(dialog).to_contain_text("015: ledger and folder have different ones.")
    expect(dialog.locator(".why")).to_have_text("Choose whose rollback script runs.")
    choice.select_option("folder")
    dialog.get_by_role("button", name="Dry run 2 rollbacks").click()
    expect(dialog).to_be_hidden()
    assert server.world.started == [{"action": "rollback", "mode": "dry_run", "to": "014", "rollback_script": "folder"}]


def test_a_dry_run_of_a_rollback_needs_no_typing(open_page: Open, server: StubServer) -> None:
    page = open_page(AT)
    page.get_by_role("button", name="Roll back…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Dry run").check()
    dialog.get_by_label("Environment").select_option("staging")
    dialog.get_by_role("button", name="Dry run 1 rollback").click()
    expect(dialog).to_be_hidden()
    assert server.world.started == [{"action": "rollback", "mode": "dry_run", "to": "015", "environment": "staging"}]


def test_roll_back_from_a_migration_keeps_the_one_before(open_page: Open) -> None:
    page = open_page(AT + "/migrations/001")
    page.get_by_role("button", name="Roll back this").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Version that stays")).to_have_value("0")
    expect(dialog).to_contain_text("16 migrations will be rolled back")


def test_a_refusal_stays_in_the_dialog(open_page: Open, server: StubServer) -> None:
    page = open_page(AT)
    page.get_by_role("button", name="Apply…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Note").fill("refuse")
    dialog.get_by_role("button", name="Apply 3 migrations").click()
    expect(dialog.get_by_role("alert").last).to_contain_text("unpause it first")
    assert server.world.started == []


@pytest.mark.parametrize("place", ["", AT, f"{AT}/history"], ids=["overview", "head", "history"])
def test_where_a_run_is_told_it_is_told_that_it_waits_for_an_answer(open_page: Open, place: str) -> None:
    page = open_page(place, worlds.asking_world())
    where = {"": ".group-card", AT: ".facts-line", f"{AT}/history": "tbody"}[place]
    expect(page.locator(where).first).to_contain_text("waits for an answer")
    expect(page.locator("main")).not_to_contain_text("running")
    link = page.get_by_role("link", name="Answer migrate.approve in Airflow").last
    expect(link).to_have_attribute(
        "href", re.compile("/base/dags/.*/runs/manual__1/tasks/migrate.approve/required_act")
    )
    link.click()
    page.wait_for_url("**/required_actions")


def test_a_run_that_waits_for_an_answer_is_followed(open_page: Open, server: StubServer) -> None:
    page = open_page(AT, worlds.asking_world())
    told = page.locator(".group-run")
    expect(told).to_contain_text("Apply waits for an answer. 1 task done · a person is asked by migrate.approve")
    expect(page.locator("#live")).to_have_text("Apply waits for an answer")
    server.world.asking = None
    expect(told).to_contain_text("Apply running. 1 task done · running: migrate.017_currency_rates")
    expect(page.get_by_role("link", name="Answer")).to_have_count(0)


def test_of_what_needs_a_backup_the_question_says_so(open_page: Open) -> None:
    page = open_page(f"{AT}/plan", worlds.asking_world())
    first = "A backup is made first, for 019. If it cannot be made, nothing is applied."
    expect(page.locator(".group-panel .banner").filter(has_text="backup")).to_have_text(first)
    expect(page.locator("tbody tr").last).to_contain_text("needs a backup: it takes away column warehouse.temp")
    for name, shown in (("Apply…", 1), ("Dry run…", 0)):
        page.get_by_role("button", name=name).click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("3 migrations will be")
        expect(dialog.get_by_text(first)).to_have_count(shown)
        page.keyboard.press("Escape")


def test_a_run_that_is_under_way_is_followed_at_once(open_page: Open) -> None:
    world = worlds.make_world()
    world.status.last_run = worlds.make_run("running")
    page = open_page(AT, world)
    expect(page.locator(".group-run")).to_contain_text("Apply running.")
