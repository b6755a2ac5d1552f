"""How long a test waits for what takes a moment: far longer than that takes on a machine busy with other work.

A test never says that something took less than so many seconds. What must not be waited for is made endless, and
whoever waits for it all the same is stopped by a limit that no slow machine reaches.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg

PATIENCE = 120.0
"""Seconds after which a moment is over. Below the limit of a test, so that the failure says what did not happen."""

ENDLESS = 1000
"""Seconds: of a statement, a lock or a pause that no test sits out."""


def wait_until(so: Callable[[], Any], what: str = "it") -> None:
    """Until it is true.

    :raises AssertionError: it did not become true within :data:`PATIENCE`.
    """
    deadline = time.monotonic() + PATIENCE
    while not so():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE:.0f} s"
        time.sleep(0.02)


def eventually(conn: psycopg.Connection[Any], query: str, found: Callable[[list[Any]], object] = bool) -> list[Any]:
    """The rows of the query, as soon as they are as wanted.

    :raises AssertionError: they were not within :data:`PATIENCE`.
    """
    rows: list[Any] = []

    def as_wanted() -> object:
        rows[:] = conn.execute(query.encode()).fetchall()
        return found(rows)

    wait_until(as_wanted, f"what {query} asks for")
    return rows
