"""Make docs/screenshots/: the page in Chromium, in the worlds of its tests. `python -m dev.screenshots [name ...]`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.page import worlds
from tests.page.browser import chromium
from tests.page.stub import StubServer

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "screenshots"
AT = f"#/dag/{worlds.DAG}/{worlds.GROUP}"
WIDE, TALL, PHONE = (1120, 700), (1120, 860), (380, 780)


def _nothing(page: Page) -> None:
    """Take it as it is."""


def _ask_rollback(page: Page) -> None:
    page.get_by_role("button", name="Roll back…").click()
    page.get_by_label("Version that stays").select_option("014")


def _fit(page: Page) -> None:
    page.get_by_label("Fit into view").click()


@dataclass(frozen=True)
class Shot:
    """One picture: where, in which world, how wide, in which theme, and what is done before."""

    name: str
    hash: str = AT
    world: Callable[[], worlds.World] = worlds.make_world
    size: tuple[int, int] = WIDE
    theme: str = "light"
    act: Callable[[Page], None] = _nothing


def _press(name: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("button", name=name).click()


def _to_the_steps(page: Page) -> None:
    page.evaluate("scrollTo(0, document.body.scrollHeight)")


def _to_the_sql(page: Page) -> None:
    _press("Apply…")(page)
    page.get_by_role("region", name="SQL of 998").wait_for()


def _to_the_findings(page: Page) -> None:
    page.locator("summary", has_text="1 lock").click()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")


def _to_the_failure(page: Page) -> None:
    page.get_by_role("button", name="failed 1").click()


def _viewer() -> worlds.World:
    return worlds.make_world(may=False, source=worlds.REPORT)


def _plain() -> worlds.World:
    """A DAG as in the README."""
    only = worlds.s.Choices(to=False, modes=["apply"])
    return worlds.make_world(migrate=only, rollback=None, rollback_dag=None, environment=None)


def _hundred_and_fifty() -> worlds.World:
    return worlds.make_world(worlds.many_items(150))


def _many() -> worlds.World:
    return worlds.make_world(worlds.many_items())


def _down() -> worlds.World:
    return worlds.make_world(source=worlds.DOWN)


SHOTS = [
    Shot("databases", ""),
    Shot("migrations"),
    Shot("migrations-dark", theme="dark"),
    Shot("migrations-narrow", size=PHONE),
    Shot("migration", f"{AT}/migrations/016", theme="dark"),
    Shot("graph", f"{AT}/graph", size=TALL, act=_fit),
    Shot("plan", f"{AT}/plan", act=_to_the_steps),
    Shot("audit", f"{AT}/audit", theme="dark"),
    Shot("charts", f"{AT}/charts"),
    Shot("apply", world=_many, size=TALL, act=_to_the_sql),
    Shot("failed", f"{AT}/migrations/017", size=TALL),
    Shot("failed-narrow", size=PHONE, act=_to_the_failure),
    Shot("dry-run", f"{AT}/history", size=TALL, act=_to_the_findings),
    Shot("graph-150", f"{AT}/graph", world=_hundred_and_fifty, size=TALL),
    Shot("viewer", world=_viewer, theme="dark"),
    Shot("add-dry-run", world=_plain, act=_press("Dry run…")),
    Shot("rollback", size=TALL, act=_ask_rollback),
    Shot("thousand", world=_many),
    Shot("thousand-graph", f"{AT}/graph", world=_many),
    Shot("database-down", world=_down),
]


def take(browser: Browser, server: StubServer, shot: Shot) -> Path:
    """Take one picture."""
    server.world = shot.world()
    width, height = shot.size
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme="dark" if shot.theme == "dark" else "light",
        reduced_motion="reduce",
        timezone_id="UTC",
    )
    page.goto(server.url + shot.hash)
    page.wait_for_selector("main[aria-busy=false]")
    shot.act(page)
    time.sleep(0.4)
    file = FOLDER / f"{shot.name}.png"
    page.screenshot(path=file)
    page.close()
    return file


def main() -> None:
    """Take the pictures that are named, or all."""
    wanted = set(sys.argv[1:])
    FOLDER.mkdir(parents=True, exist_ok=True)
    server = StubServer(worlds.make_world())
    with chromium() as browser:
        for shot in SHOTS:
            if not wanted or shot.name in wanted:
                file = take(browser, server, shot)
                print(f"{file.relative_to(FOLDER.parents[1])}  {file.stat().st_size // 1024} kB")
    server.close()


if __name__ == "__main__":
    main()
