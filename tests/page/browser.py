"""The browser of the tests and of the screenshots: a Chromium, driven by Playwright."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright._impl._driver import compute_driver_executable
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from dev.programs import browser_environment, find
from tests.needs import lacks, need
from tests.waiting import PATIENCE

expect.set_options(timeout=PATIENCE * 1000)

ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window: ``$CHROMIUM``, the system's, that of npm, or Playwright's own if it was installed."""
    place = find("chromium")
    with sync_playwright() as playwright:
        environment = {**os.environ, **browser_environment(place)}
        browser = playwright.chromium.launch(executable_path=place, args=ARGS, env=environment)
        yield browser
        browser.close()


@contextmanager
def chromium_or_skip() -> Iterator[Browser]:
    """The same for tests. One that is here and does not start is an error, not a reason to skip."""
    if not _driver_runs():
        os.environ["PLAYWRIGHT_NODEJS_PATH"] = need("node")[0]
    if find("chromium") is None:
        with sync_playwright() as playwright:
            if not os.path.exists(playwright.chromium.executable_path):
                lacks("chromium")
    try:
        with chromium() as browser:
            yield browser
    except Error as error:
        pytest.fail(f"the browser does not start: install chromium, or set CHROMIUM; {error}")


def _driver_runs() -> bool:
    """The Node.js that Playwright brings needs a library (libatomic) that a small system may lack."""
    node = os.environ.get("PLAYWRIGHT_NODEJS_PATH") or compute_driver_executable()[0]
    return subprocess.run([node, "--version"], capture_output=True, check=False).returncode == 0


COUNT_QUESTIONS = """(() => { const real = window.fetch; let open = 0;
  const count = (by) => { open += by; document.documentElement.dataset.unanswered = open; };
  const drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  window.fetch = async (...what) => { count(1);
    try { const answer = await real(...what); return new Response(await answer.arrayBuffer(), answer); }
    finally { drawn().then(() => count(-1)); } }; })()"""
"""For the start of a page: it counts which of its questions have no answer yet, or one that is not drawn yet."""


def answered(page: Page) -> None:
    """All that the page has asked for has come, and is drawn: for what is said *not* to be there."""
    page.wait_for_selector("html[data-unanswered='0'] main[aria-busy=false]", state="attached")


def settle(page: Page) -> None:
    """What moves into its place has come there, and the page has been painted."""
    page.evaluate(
        "() => Promise.all(document.getAnimations().filter((one) => one.effect.getComputedTiming().endTime < Infinity)"
        ".map((one) => one.finished.catch(() => null)))"
        ".then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))))"
    )
