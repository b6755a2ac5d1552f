"""The page in a real browser, against a small server that answers as the API would.

A test that reads the page before it is drawn passes on a fast machine and fails on a slow one. To find such tests, run
them with WMIGRATE_PAGE_SLOW=0.6: each answer of the API then comes up to so many seconds late, and the browser has a
sixth of the processor. What fails only then must wait: `expect(...)` of Playwright, or `tests/waiting.py`. What
expects nothing must first wait for what is drawn last.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from tests.page.browser import COUNT_QUESTIONS, answered, chromium_or_skip
from tests.page.stub import StubServer
from tests.page.worlds import World, make_world
from tests.waiting import PATIENCE

LOGGED_BY_THE_BROWSER = "Failed to load resource"

Open = Callable[..., Page]

SLOW = float(os.environ.get("WMIGRATE_PAGE_SLOW", "0"))
"""Seconds."""
SLOWER_BROWSER = 6
"""How many times slower than this machine, if all is to be slow."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium_or_skip() as browser:
        yield browser


@pytest.fixture(scope="session")
def server() -> Iterator[StubServer]:
    server = StubServer(make_world(), SLOW)
    yield server
    server.close()


class Tab:
    """One page for many tests: to make it, and to load the page's modules into it, takes most of a short test.

    :param options: of its browser context, beside its size.
    """

    def __init__(self, browser: Browser, server: StubServer, options: dict[str, Any]) -> None:
        self.complaints: list[str] = []
        self._server = server
        self._context = browser.new_context(**options)
        self._context.add_init_script(COUNT_QUESTIONS)
        self.page = self._context.new_page()
        self.page.set_default_timeout(PATIENCE * 1000)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)
        if SLOW:
            self._context.new_cdp_session(self.page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWER_BROWSER})

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" and LOGGED_BY_THE_BROWSER not in message.text:
            self.complaints.append(message.text)

    def clear(self) -> None:
        """What a test left: what is stored, what was answered for the server, what was set."""
        self._context.set_offline(False)
        self.page.unroute_all()
        self.page.emulate_media(color_scheme=None, reduced_motion=None)
        self.page.mouse.move(0, 0)
        self.page.goto(f"{self._server.root}/empty")
        self.page.evaluate("localStorage.clear(), sessionStorage.clear()")
        self._context.clear_cookies()
        self.complaints.clear()


@pytest.fixture(scope="session")
def tabs() -> dict[str, Tab]:
    """Context options -> the page that has them."""
    return {}


@pytest.fixture
def open_page(browser: Browser, server: StubServer, tabs: dict[str, Tab]) -> Iterator[Open]:
    """Open the page at a hash, in a world; what the browser complains of fails the test."""
    used: list[Tab] = []

    def open_(
        hash: str = "",
        world: World | None = None,
        *,
        width: int = 1280,
        height: int = 860,
        outer: str | None = None,
        color_scheme: Any = None,
        reduced_motion: Any = None,
        **context: Any,
    ) -> Page:
        name = str(context)
        tab = tabs[name] = tabs.get(name) or Tab(browser, server, context)
        used.append(tab)
        page = tab.page
        page.goto("about:blank")  # a page that is only sent to another hash is not loaded again
        server.world = world or make_world()
        server.requests.clear()
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=color_scheme, reduced_motion=reduced_motion)
        page.goto(server.url + hash if outer is None else f"{server.root}/outer?theme={outer}")
        if outer is None:
            answered(page)
        return page

    yield open_
    complaints = [each for tab in used for each in tab.complaints]
    for tab in used:
        tab.clear()
    assert complaints == []
