"""The page in a real browser, against a small server that answers as the API would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.page.browser import chromium_or_skip
from tests.page.stub import StubServer
from tests.page.worlds import World, make_world

LOGGED_BY_THE_BROWSER = "Failed to load resource"

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium_or_skip() as browser:
        yield browser


@pytest.fixture(scope="session")
def server() -> Iterator[StubServer]:
    server = StubServer(make_world())
    yield server
    server.close()


@pytest.fixture
def open_page(browser: Browser, server: StubServer) -> Iterator[Open]:
    """Open the page at a hash, in a world; what the browser complains of fails the test."""
    contexts, complaints = [], []

    def open_(
        hash: str = "",
        world: World | None = None,
        *,
        width: int = 1280,
        height: int = 860,
        outer: str | None = None,
        **context: Any,
    ) -> Page:
        server.world = world or make_world()
        server.requests.clear()
        made = browser.new_context(viewport={"width": width, "height": height}, **context)
        contexts.append(made)
        page = made.new_page()
        page.set_default_timeout(8_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda m: complaints.append(m.text) if m.type == "error" and LOGGED_BY_THE_BROWSER not in m.text else None,
        )
        page.goto(server.url + hash if outer is None else f"{server.root}/outer?theme={outer}")
        if outer is None:
            page.wait_for_selector("main[aria-busy=false]")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
