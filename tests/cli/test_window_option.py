"""wmigrate outside the window of an environment: it refuses, waits, or is told to begin all the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.planning import Planning

Wmigrate = Callable[..., Any]

OPENS = datetime(2026, 11, 27, 22, tzinfo=timezone.utc)
CLOSED = (
    "migration 001 may not begin now: this is outside the window of this environment, which opens at 2026-11-27 23:00"
    " CET"
)


class Clock:
    """It stands, half a second before the window opens, until it was asked for the last of the standing times."""

    begun: float | None = None
    standing: int | None = None

    def __call__(self) -> datetime:
        if self.standing == 0 and self.begun is None:
            self.begun = time.monotonic()
        if self.standing:
            self.standing -= 1
        gone = 0 if self.begun is None else time.monotonic() - self.begun
        return OPENS - timedelta(seconds=0.5 - gone)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, shop: Path) -> Clock:
    clock = Clock()
    monkeypatch.setattr(Planning, "now", staticmethod(clock))
    (shop / "migration_config.yaml").write_text(
        "settings: {window: {open: [{from: 23:00, to: 24:00}], time_zone: Europe/Berlin}}\n"
        "environments: {waits: {window: {outside: wait}}}\n"
    )
    return clock


@pytest.mark.usefixtures("clock")
def test_it_refuses_until_somebody_says_so(wmigrate: Wmigrate, conn: psycopg.Connection[Any]) -> None:
    way = "run it then, or now with --outside-window"
    plan = wmigrate("plan")
    assert (plan.code, plan.out.splitlines()[-1]) == (3, f"error: {CLOSED}; {way}")
    refused = wmigrate("up", "--yes")
    assert (refused.code, refused.out, refused.err) == (3, "", f"wmigrate: {CLOSED}; {way}\n")
    assert wmigrate("up", "--dry-run").code == 0
    assert wmigrate("check").code == 0
    assert wmigrate("up", "--yes", "--outside-window").code == 0
    back = wmigrate("down", "002", "--yes")
    assert (back.code, back.err) == (3, f"wmigrate: {CLOSED.replace('001', '003')}; {way}\n")
    assert wmigrate("down", "002", "--yes", "--outside-window").code == 0
    rows = conn.execute(
        "SELECT version, details ->> 'because' FROM wmigrate.audit_log WHERE event = 'outside_window' ORDER BY position"
    ).fetchall()
    assert rows == [(version, "--outside-window") for version in ("001", "002", "003", "003")]


def test_it_waits_until_the_window_opens(wmigrate: Wmigrate, clock: Clock) -> None:
    plan = wmigrate("plan", "--environment", "waits")
    told = f"warning: {CLOSED}; a run waits for it, unless it is told --outside-window"
    assert (plan.code, plan.out.splitlines()[-1]) == (0, told)
    clock.standing = 2  # once for the plan, once at the beginning of 001: a slow machine is told the same
    run = wmigrate("up", "--yes", "--environment", "waits")
    assert (run.code, run.err.splitlines()[0]) == (0, told)
    assert f"{CLOSED}; run it then, or now with --outside-window" in run.err
    assert run.out.startswith("Applied 3 migrations in ")
