"""The SQL that a run will execute: of any length, in colours, before anything is started."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.page import worlds
from tests.page.browser import answered
from tests.page.conftest import Open
from tests.page.stub import StubServer

AT = f"#/dag/{worlds.DAG}/{worlds.GROUP}"
LINES = [f"INSERT INTO t VALUES ({n}, 'it''s');\n" for n in range(20_000)]
LONG = "".join(["-- first\n", *LINES, "SELECT 'the last line';\n"])


def with_sql(text: str | None, reason: str | None = None) -> worlds.World:
    world = worlds.make_world()
    usual: Callable[[str], worlds.s.MigrationAnswer] = world.detail
    script = worlds.s.ScriptText(text=text, origin="folder" if text else "unavailable", file="x.sql", reason=reason)
    world.detail = lambda version: usual(version).model_copy(update={"sql": script})
    return world


def test_the_sql_of_all_that_will_run_is_shown_before(open_page: Open, server: StubServer) -> None:
    page = open_page(AT)
    page.get_by_role("button", name="Apply…").click()
    dialog = page.get_by_role("dialog")
    for version in ("016", "017", "019"):
        script = dialog.get_by_role("region", name=f"SQL of {version}, 17 lines")
        expect(script).to_contain_text("CREATE TABLE warehouse.products")
    asked = [request.rpartition("/")[2] for request in server.requests if "/migrations/" in request]
    assert asked == ["016", "017", "019"], "one after the other, each once"
    assert server.world.started == []


def test_of_a_rollback_it_is_the_rollback_and_of_the_environment_that_was_chosen(
    open_page: Open, server: StubServer
) -> None:
    page = open_page(AT)
    page.get_by_role("button", name="Roll back…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("region", name="Rollback of 016, 2 lines")).to_contain_text("DROP TABLE")
    server.requests.clear()
    dialog.get_by_label("Environment").select_option("production")
    expect(dialog.locator(".review-body")).to_have_text("Not shown here: there is no rollback script.")
    assert [request for request in server.requests if "/migrations/014?environment=production" in request]


def test_of_many_it_is_asked_for_when_it_is_opened(open_page: Open, server: StubServer) -> None:
    items = [item.model_copy(update={"status": "pending"}) for item in worlds.many_items(120)]
    page = open_page(AT, worlds.make_world(items))
    page.get_by_role("button", name="Apply…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".review > li")).to_have_count(50)
    answered(page)
    assert not [request for request in server.requests if "/migrations/" in request]
    dialog.locator(".review summary").nth(6).click()
    expect(dialog.get_by_role("region", name="SQL of 007")).to_be_visible()
    dialog.get_by_role("button", name="Show 50 more of 120").click()
    expect(dialog.locator(".review > li")).to_have_count(100)
    dialog.get_by_role("button", name="Show 20 more of 120").click()
    expect(dialog.locator(".review > li")).to_have_count(120)
    dialog.get_by_role("button", name="Show the SQL of all").click()
    expect(dialog.get_by_role("region", name="SQL of 003")).to_be_visible()


def test_a_script_of_any_length_is_shown_to_its_end(open_page: Open) -> None:
    page = open_page(f"{AT}/migrations/019", with_sql(LONG))
    script = page.get_by_role("region", name="SQL script, 20,002 lines")
    expect(script).to_contain_text("-- first")
    assert script.locator("code").evaluate_all("all => all.map(one => one.textContent).join('\\n')") == LONG.rstrip(
        "\n"
    )
    expect(script.locator(".comment")).to_have_text("-- first")
    assert page.locator("*").count() < 3_500, "what is out of sight has no colours"
    script.evaluate("one => one.scrollTo(0, one.scrollHeight)")
    last = script.locator(".sql-part").last
    expect(last.locator(".string").last).to_have_text("'the last line'")
    expect(last.locator(".gutter")).to_contain_text("20002")
    assert page.locator("*").count() < 3_500


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1 -- it's", [("SELECT", "keyword"), ("1", "literal"), ("-- it's", "comment")]),
        ("select \"it's\", 'a--b'", [("select", "keyword"), ('"it\'s"', "name"), ("'a--b'", "string")]),
        (r"SELECT E'it\'s' , 2", [("SELECT", "keyword"), (r"E'it\'s'", "string"), ("2", "literal")]),
        ("/* a\n'b */ 'c", [("/* a\n'b */", "comment"), ("'c", "string")]),
        ("AS $f$ BEGIN $f$", [("AS", "keyword"), ("$f$", "body"), ("BEGIN", "keyword"), ("$f$", "body")]),
        ("<b>x</b> &amp; 1", [("1", "literal")]),
    ],
)
def test_colours(open_page: Open, text: str, expected: list[tuple[str, str]]) -> None:
    page = open_page(f"{AT}/migrations/019", with_sql(text))
    script = page.locator(".sql").first
    spans = script.locator("span")
    expect(spans).to_have_text([piece for piece, _ in expected])
    expect(spans).to_have_class([colour for _, colour in expected])
    assert script.locator("code").text_content() == text


def test_a_comment_goes_on_over_parts(open_page: Open) -> None:
    text = "/*\n" + "word\n" * 120 + "*/ SELECT 1"
    page = open_page(f"{AT}/migrations/019", with_sql(text))
    script = page.locator(".sql").first
    script.evaluate("one => one.scrollTo(0, one.scrollHeight)")
    expect(script.locator(".sql-part").last.locator("span").last).to_have_text("1")
    comment = script.locator(".sql-part").last.locator(".comment")
    assert comment.text_content() == "word\n" * 21 + "*/"


@pytest.mark.parametrize("reason", ["you may not read the code of this DAG, so its SQL is not shown to you"])
def test_where_it_may_not_be_shown_the_reason_is(open_page: Open, reason: str) -> None:
    page = open_page(AT, with_sql(None, reason))
    page.get_by_role("button", name="Apply…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".no-script")).to_have_text([f"Not shown here: {reason}."] * 3)
    expect(dialog.locator(".sql")).to_have_count(0)
    expect(dialog.get_by_role("button", name="Apply 3 migrations")).to_be_enabled()


def in_pieces(lines: list[str], size: int) -> worlds.World:
    """A world in which the script of every migration comes so many lines at a time."""
    pieces = {
        first + 1: worlds.s.ScriptText(
            text="".join(lines[first : first + size]),
            origin="folder",
            lines=len(lines),
            next_line=first + size + 1 if first + size < len(lines) else None,
        )
        for first in range(0, len(lines), size)
    }
    world = with_sql("")
    usual = world.detail
    world.detail = lambda version: usual(version).model_copy(update={"sql": pieces[1]})
    world.rest = pieces
    return world


def test_a_script_of_five_million_characters_is_shown_to_its_end(open_page: Open, server: StubServer) -> None:
    lines = [f"INSERT INTO t VALUES ({n}, '{'it' * 6}');\n" for n in range(119_999)]
    lines.append("SELECT 'the last line';\n")
    assert sum(map(len, lines)) > 5_000_000
    page = open_page(f"{AT}/migrations/019", in_pieces(lines, 30_000))
    script = page.get_by_role("region", name="SQL script, 120,000 lines")
    status = page.locator(".script").first.get_by_role("status")
    for shown in ("30,000", "60,000", "90,000"):
        expect(status).to_have_text(f"{shown} of 120,000 lines are shown.")
        page.get_by_role("button", name="Show more").click()
    expect(status).to_have_text("All of it is shown.")
    expect(page.get_by_role("button", name="Show more")).to_have_count(0)
    script.evaluate("one => one.scrollTo(0, one.scrollHeight)")
    last = script.locator(".sql-part").last
    expect(last.locator(".string").last).to_have_text("'the last line'")
    expect(last.locator(".gutter")).to_contain_text("120000")
    whole = "all => all.map(one => one.textContent).join('\\n')"
    assert script.locator("code").evaluate_all(whole) == "".join(lines).rstrip("\n")


def test_the_rest_of_a_script_that_cannot_be_read_is_told(open_page: Open, server: StubServer) -> None:
    world = in_pieces(["SELECT 1;\n", "SELECT 2;\n"], 1)
    world.rest[2] = worlds.s.ScriptText(origin="unavailable", reason="the file was edited since")
    page = open_page(AT, world)
    page.get_by_role("button", name="Apply…").click()
    body = page.get_by_role("dialog").locator(".review-body").first
    expect(body).to_contain_text("1 of 2 lines are shown.")
    body.get_by_role("button", name="Show more").click()
    expect(body).to_contain_text("Not shown here any more: the file was edited since.")
    world.rest[2] = worlds.s.ScriptText(text="SELECT 2;\n", origin="folder", lines=2)
    body.get_by_role("button", name="Show more").click()
    expect(body).to_contain_text("All of it is shown.")
    expect(body.locator("code").last).to_have_text("SELECT 2;")


def test_an_empty_script_is_told(open_page: Open) -> None:
    page = open_page(f"{AT}/migrations/019", with_sql(" \n"))
    expect(page.locator(".script").first).to_contain_text("The file is empty.")


def test_the_dialog_stays_usable_when_a_script_cannot_be_read(open_page: Open, server: StubServer) -> None:
    page = open_page(AT)
    page.route(re.compile(r"/migrations/0\d\d$"), lambda route: route.fulfill(status=500, json={"detail": "a fault"}))
    page.get_by_role("button", name="Apply…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".review-body").first).to_contain_text("a fault")
    expect(dialog.get_by_role("button", name="Apply 3 migrations")).to_be_enabled()


def test_nothing_can_be_started_before_the_plan_is_shown(open_page: Open, server: StubServer) -> None:
    page = open_page(AT)
    page.route("**/plan*", lambda route: route.fulfill(status=500, json={"detail": "a fault"}))
    page.get_by_role("button", name="Apply…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".why")).to_have_text("The plan could not be read.")
    expect(dialog.get_by_role("button", name="Apply", exact=True)).to_be_disabled()
    page.unroute("**/plan*")
    dialog.get_by_role("button", name="Try again").click()
    expect(dialog.get_by_role("button", name="Apply 3 migrations")).to_be_enabled()
    expect(dialog.locator(".why")).to_be_empty()
