"""When an environment may be changed: the decision alone, over the clocks of several time zones."""

from __future__ import annotations

from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_wmigrate.engine.errors import ConfigError
from airflow_provider_wmigrate.engine.folder.config.reading import parse_config
from airflow_provider_wmigrate.engine.folder.config.settings import Window
from airflow_provider_wmigrate.engine.model import Finding, Step
from airflow_provider_wmigrate.engine.plan.window import Closed, closed, told, window_findings

BERLIN = ZoneInfo("Europe/Berlin")


def window(*times: str, zone: str = "Europe/Berlin", more: str = "") -> Window:
    """`mon,fri 22:00-05:00`; without days: every day."""
    blocks = []
    for time in times:
        days, _, hours = time.rpartition(" ")
        start, end = hours.split("-")
        blocks.append(f"{{{f'days: [{days}], ' if days else ''}from: {start}, to: '{end}'}}")
    return parse_config(
        f"settings: {{window: {{open: [{', '.join(blocks)}], time_zone: {zone}{more}}}}}"
    ).settings.window


def at(text: str, zone: str = "Europe/Berlin") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def opens(given: Window, now: datetime, takes: float | None = None) -> str:
    """When it opens, in UTC: `open` if it is."""
    found = closed(given, now, takes=takes)
    if found is None:
        return "open"
    return f"{found.opens.astimezone(timezone.utc):%m-%d %H:%M}" if found.opens else "never"


def test_without_a_window_it_is_always_open() -> None:
    assert closed(Window(), at("2026-11-27T12:00")) is None
    inherited = parse_config(
        "settings: {window: {open: [{from: 1:00, to: 2:00}]}}\nenvironments: {development: {window: {open: []}}}"
    )
    assert closed(inherited.settings_for("development").window, at("2026-11-27T12:00")) is None
    assert closed(inherited.settings.window, at("2026-11-27T12:00")) is not None


@pytest.mark.parametrize(
    ("times", "now", "expected"),
    [
        # 2026-11-27 is a Friday; Berlin is one hour before UTC in winter
        (["22:00-23:30"], "2026-11-27T21:59", "11-27 21:00"),
        (["22:00-23:30"], "2026-11-27T22:00", "open"),
        (["22:00-23:30"], "2026-11-27T23:29", "open"),
        (["22:00-23:30"], "2026-11-27T23:30", "11-28 21:00"),
        # past midnight, and the day is that on which it begins
        (["22:00-05:00"], "2026-11-28T04:59", "open"),
        (["fri 22:00-05:00"], "2026-11-28T04:59", "open"),
        (["sat 22:00-05:00"], "2026-11-28T04:59", "11-28 21:00"),
        (["fri 22:00-05:00"], "2026-11-28T05:00", "12-04 21:00"),
        (["thu 22:00-05:00"], "2026-11-27T12:00", "12-03 21:00"),
        # several, in any order; what meets is one
        (["12:00-13:00", "02:00-03:00"], "2026-11-27T04:00", "11-27 11:00"),
        (["fri 22:00-24:00", "sat 00:00-06:00"], "2026-11-27T23:59", "open"),
        # a whole day
        (["sun 00:00-00:00"], "2026-11-29T23:59", "open"),
        (["sun 00:00-24:00"], "2026-11-29T23:59", "open"),
        (["sun 00:00-24:00"], "2026-11-30T00:00", "12-05 23:00"),
    ],
)
def test_open_or_closed_until(times: list[str], now: str, expected: str) -> None:
    assert opens(window(*times), at(now)) == expected


@pytest.mark.parametrize(
    ("times", "now", "expected"),
    [
        # the clock goes forward on 2026-03-29: 02:00 CET is 03:00 CEST, 01:00 UTC
        ("02:30-04:00", "2026-03-29T00:59+00:00", "03-29 01:00"),
        ("02:30-04:00", "2026-03-29T01:00+00:00", "open"),
        ("01:00-02:30", "2026-03-29T00:59+00:00", "open"),
        ("01:00-02:30", "2026-03-29T01:00+00:00", "03-29 23:00"),
        ("02:10-02:50", "2026-03-29T01:00+00:00", "03-30 00:10"),
        ("22:00-05:00", "2026-03-29T02:59+00:00", "open"),
        ("22:00-05:00", "2026-03-29T03:00+00:00", "03-29 20:00"),
        # it goes back on 2026-10-25: 02:00 to 03:00 comes twice, the first time from 00:00 UTC; that one counts
        ("22:00-02:30", "2026-10-25T00:29+00:00", "open"),
        ("22:00-02:30", "2026-10-25T00:30+00:00", "10-25 21:00"),
        ("22:00-02:30", "2026-10-25T01:15+00:00", "10-25 21:00"),
        ("02:15-05:00", "2026-10-25T00:14+00:00", "10-25 00:15"),
        ("02:15-05:00", "2026-10-25T01:05+00:00", "open"),
        ("22:00-05:00", "2026-10-25T03:59+00:00", "open"),
        ("22:00-05:00", "2026-10-25T04:00+00:00", "10-25 21:00"),
    ],
)
def test_the_clock_on_the_wall_is_put_forward_and_back(times: str, now: str, expected: str) -> None:
    assert opens(window(times), datetime.fromisoformat(now)) == expected


def test_a_day_that_a_country_left_out() -> None:
    """Samoa had no 2011-12-30."""
    given = window("fri 00:00-24:00", zone="Pacific/Apia")
    assert opens(given, at("2011-12-29T23:00", "Pacific/Apia")) == "01-05 10:00"


def test_what_does_not_fit_does_not_begin() -> None:
    given, now = window("12:00-13:00", "sun 01:00-05:00", more=", outside: wait"), at("2026-11-27T12:40")
    assert opens(given, now, takes=20 * 60) == "open"
    assert closed(given, now, takes=20 * 60 + 1) == Closed(
        at("2026-11-28T12:00"),
        True,
        "it should take 1201 s, and the window ends at 13:00 CET; the next one opens at 2026-11-28 12:00 CET",
    )
    assert opens(given, now, takes=3 * 3600) == "11-29 00:00"
    never = "it should take 18000 s, longer than any window of this environment is open"
    assert closed(given, now, takes=5 * 3600) == Closed(None, False, never)


@pytest.mark.parametrize(
    ("more", "waits"),
    [("", False), (", outside: wait", True), (", outside: wait, wait_seconds: 36000", True),
     (", outside: wait, wait_seconds: 35999", False)],
)  # fmt: skip
def test_who_may_wait_for_it(more: str, waits: bool) -> None:
    found = closed(window("22:00-23:00", more=more), at("2026-11-27T12:00"))
    said = "this is outside the window of this environment, which opens at 2026-11-27 22:00 CET"
    assert found == Closed(at("2026-11-27T22:00"), waits, said)


def test_a_moment_is_told_with_its_zone() -> None:
    assert told(at("2026-07-01T22:00")) == "2026-07-01 22:00 CEST"


def step(version: str, takes: float | None = None) -> Step:
    return Step("apply", version, "a", "c", takes)


def test_what_a_plan_is_told() -> None:
    steps = [step("001"), step("002", 60), step("003", 7200)]
    given, now = window("22:00-23:00"), at("2026-11-27T12:00")
    outside = "this is outside the window of this environment, which opens at 2026-11-27 22:00 CET"
    never = Finding(
        "outside_window",
        "migration 003 may not begin now: it should take 7200 s, longer than any window of this environment is open",
        "give it a longer window, correct estimated_duration_seconds, or run it with --outside-window",
        version="003",
    )
    assert list(window_findings(given, now, steps)) == [
        Finding(
            "outside_window",
            f"migration 001 may not begin now: {outside}",
            "run it then, or now with --outside-window",
            version="001",
        ),
        never,
    ]
    assert list(window_findings(given, at("2026-11-27T22:30"), steps)) == [never]
    waiting = window("22:00-23:00", more=", outside: wait")
    assert [(f.severity, f.next_step) for f in window_findings(waiting, now, steps[:2])] == [
        ("warning", "a run waits for it, unless it is told --outside-window")
    ]
    assert list(window_findings(given, now, [])) == []


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("time_zone: Europe/Berln", "time_zone: must be a time zone such as Europe/Berlin, not Europe/Berln;"
         " did you mean Europe/Berlin?"),
        ("time_zone: CEST+1/../../x", "time_zone: must be a time zone such as Europe/Berlin, not CEST+1/../../x"),
        ("open: [{from: 22:60, to: 1:00}]", "open[0].from: must be a time of the day such as 22:00, in quotes or not,"
         " not 22:60"),
        ("open: [{from: 2200, to: 1:00}]", "open[0].from: must be a time of the day such as 22:00, in quotes or not,"
         " not 2200"),
        ("open: [{from: 22:00}]", "open[0].to: is missing; it is required"),
        ("open: [{from: 22:00, to: 24:01}]", "open[0].to: must be a time of the day such as 22:00, in quotes or not,"
         " not 24:01"),
        ("open: [{days: [mon, monday], from: 1:00, to: 2:00}]", "open[0].days[1]: must be mon, tue, wed, thu, fri, sat"
         " or sun, not monday; did you mean mon?"),
        ("open: [{days: [], from: 1:00, to: 2:00}]", "open[0].days: must name at least one day"),
        ("outside: skip", "outside: must be fail or wait, not skip"),
    ],
)  # fmt: skip
def test_what_is_no_window(written: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(f"settings:\n  window:\n    {written}\n")
    assert str(caught.value) == f"migration_config.yaml:3: settings.window.{reason}"


def test_a_folder_of_time_zones_is_none() -> None:
    with pytest.raises(ConfigError, match=r"^migration_config.yaml:1: settings.window.time_zone: must be a time zone"):
        parse_config("settings: {window: {time_zone: Europe}}")
