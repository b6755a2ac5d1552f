"""Make docs/screenshots/: the page in Chromium, in the worlds of its tests. `python -m dev.screenshots [name ...]`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page

from tests.page import worlds
from tests.page.browser import chromium
from tests.page.stub import StubServer

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "screenshots"
AT = f"#/dag/{worlds.DAG}/{worlds.GROUP}"
WIDE, TALL, PHONE = (1120, 700), (1120, 860), (380, 780)


Act = Callable[[Page], object]


@dataclass(frozen=True)
class Shot:
    """One picture: where, in which world, how wide, in which theme, and what is done before."""

    name: str
    hash: str = AT
    world: Callable[[], worlds.World] = worlds.make_world
    size: tuple[int, int] = WIDE
    theme: Literal["dark", "light"] = "light"
    acts: tuple[Act, ...] = ()


def _press(name: str) -> Act:
    return lambda page: page.get_by_role("button", name=name).click()


def _keep_14(page: Page) -> None:
    page.get_by_label("Version that stays").select_option("014")


def _fit(page: Page) -> None:
    page.get_by_label("Fit into view").click()


def _to_the_end(page: Page) -> None:
    page.evaluate("scrollTo(0, document.body.scrollHeight)")


def _to_the_sql(page: Page) -> None:
    page.get_by_role("region", name="SQL of 998").wait_for()


def _open_the_locks(page: Page) -> None:
    page.locator("summary", has_text="1 lock").click()


def _told(page: Page) -> None:
    page.locator(".group-run").get_by_text("waits for an answer").wait_for()


def _to_the_blast(page: Page) -> None:
    page.get_by_role("heading", name="Findings").evaluate("one => one.scrollIntoView()")


_many = partial(worlds.make_world, worlds.many_items())
_viewer = partial(worlds.make_world, may=False, source=worlds.REPORT)
_plain = partial(
    worlds.make_world,
    migrate=worlds.s.Choices(to=False, modes=["apply"]),
    rollback=None,
    rollback_dag=None,
    environment=None,
)
"""A DAG as in the README."""

SHOTS = [
    Shot("databases", ""),
    Shot("migrations"),
    Shot("migrations-dark", theme="dark"),
    Shot("migrations-narrow", size=PHONE),
    Shot("migration", f"{AT}/migrations/016", theme="dark"),
    Shot("graph", f"{AT}/graph", size=TALL, acts=(_fit,)),
    Shot("plan", f"{AT}/plan", acts=(_to_the_end,)),
    Shot("audit", f"{AT}/audit", theme="dark"),
    Shot("charts", f"{AT}/charts"),
    Shot("apply", world=_many, size=TALL, acts=(_press("Apply…"), _to_the_sql)),
    Shot("failed", f"{AT}/migrations/017", size=TALL),
    Shot("failed-narrow", size=PHONE, acts=(_press("failed 1"),)),
    Shot("dry-run", f"{AT}/history", size=TALL, acts=(_open_the_locks, _to_the_end)),
    Shot("graph-150", f"{AT}/graph", world=partial(worlds.make_world, worlds.many_items(150)), size=TALL),
    Shot("viewer", world=_viewer, theme="dark"),
    Shot("add-dry-run", world=_plain, acts=(_press("Dry run…"),)),
    Shot("approval", world=worlds.asking_world, acts=(_told,)),
    Shot("blast-radius", f"{AT}/plan", world=worlds.asking_world, size=TALL, acts=(_told, _to_the_blast)),
    Shot("rollback", size=TALL, acts=(_press("Roll back…"), _keep_14)),
    Shot("thousand", world=_many),
    Shot("thousand-graph", f"{AT}/graph", world=_many),
    Shot("database-down", world=partial(worlds.make_world, source=worlds.DOWN)),
]


def take(browser: Browser, server: StubServer, shot: Shot) -> Path:
    """Take one picture."""
    server.world = shot.world()
    width, height = shot.size
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme=shot.theme,
        reduced_motion="reduce",
        timezone_id="UTC",
    )
    page.goto(server.url + shot.hash)
    page.wait_for_selector("main[aria-busy=false]")
    for act in shot.acts:
        act(page)
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
