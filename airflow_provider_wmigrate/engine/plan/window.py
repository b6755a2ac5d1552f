"""When an environment may be changed: a window and a moment -> open, or closed until another moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING

from msgspec import Struct

from airflow_provider_wmigrate.engine.folder.config.settings import DAYS, UTC
from airflow_provider_wmigrate.engine.model import Finding, Severity, Step

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.folder.config.settings import Window

_AHEAD = 15
"""Days that are looked at: each weekday twice."""


class Closed(Struct, frozen=True):
    """A migration may not begin.

    :param opens: when it may; None: never, for it takes longer than any window is open.
    :param waits: it may be waited for that.
    """

    opens: datetime | None
    waits: bool
    said: str
    """A sentence that says why."""

    @property
    def way(self) -> str:
        """What to do, for one who sits at a terminal."""
        if self.opens is None:
            return "give it a longer window, correct estimated_duration_seconds, or run it with --outside-window"
        return "run it then, or now with --outside-window"


def closed(window: Window, now: datetime, *, takes: float | None = None) -> Closed | None:
    """Why a migration may not begin at a moment; None: it may.

    :param now: with its time zone.
    :param takes: seconds that it should take, if anybody said so; it has to end before the window does.
    """
    if not window.open:
        return None
    zone, needed = _zone(window.time_zone), timedelta(seconds=takes or 0)
    spans = [span for span in _spans(window, now.astimezone(zone).date(), zone) if span[1] > now]
    fits = next((span for span in spans if span[1] - max(span[0], now) >= needed), None)
    if fits is None:
        said = f"{_lasts(needed)}, longer than any window of this environment is open"
        return Closed(None, False, said)
    if fits[0] <= now:
        return None
    opens = fits[0].astimezone(zone)
    waits = window.outside == "wait" and (fits[0] - now).total_seconds() <= window.wait_seconds
    begun = next((span for span in spans if span[0] <= now), None)
    if begun is not None:
        ends = begun[1].astimezone(zone)
        said = f"{_lasts(needed)}, and the window ends at {ends:%H:%M %Z}; the next one opens at {told(opens)}"
    else:
        said = f"this is outside the window of this environment, which opens at {told(opens)}"
    return Closed(fits[0], waits, said)


def told(moment: datetime) -> str:
    """A moment as people read it."""
    return f"{moment:%Y-%m-%d %H:%M %Z}"


def _zone(name: str) -> tzinfo:
    if name == UTC:
        return timezone.utc
    from zoneinfo import ZoneInfo  # most folders have no window

    return ZoneInfo(name)


def _lasts(needed: timedelta) -> str:
    return f"it should take {needed.total_seconds():g} s"


def window_findings(window: Window, now: datetime, steps: Iterable[Step]) -> Iterator[Finding]:
    """What the window says of a plan: of its first step, and of steps that no window is long enough for."""
    for at, step in enumerate(steps):
        found = closed(window, now, takes=step.estimated_duration_seconds)
        if found is None or (at and found.opens is not None):
            continue
        way = "a run waits for it, unless it is told --outside-window" if found.waits else found.way
        severity: Severity = "warning" if found.waits else "error"
        message = f"migration {step.version} may not begin now: {found.said}"
        yield Finding("outside_window", message, way, severity, step.version)


# Spans of time


def _spans(window: Window, today: date, zone: tzinfo) -> list[tuple[datetime, datetime]]:
    """From and to of each time that it is open, in UTC and in order; what meets or overlaps is one."""
    found: list[tuple[datetime, datetime]] = []
    every = sorted(
        (_moment(day, each.start, zone), _moment(day + timedelta(days=each.end <= each.start), each.end, zone))
        for day in (today + timedelta(days=offset) for offset in range(-2, _AHEAD))
        for each in window.open
        if DAYS[day.weekday()] in each.days
    )
    for start, end in every:
        if start >= end:  # all of it is left out when the clock is put forward
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _moment(day: date, minutes: int, zone: tzinfo) -> datetime:
    """A time on the wall as a moment, in UTC. Of an hour that comes twice the first counts; a time that is left out is
    the moment at which the clock is put forward.

    :param minutes: since midnight, up to 24 hours.
    """
    wall = datetime(day.year, day.month, day.day) + timedelta(minutes=minutes)
    moment = wall.replace(tzinfo=zone).astimezone(timezone.utc)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    after = moment.astimezone(zone).utcoffset()
    found = wall.replace(tzinfo=zone, fold=1).astimezone(timezone.utc)
    while found.astimezone(zone).utcoffset() != after:
        found += timedelta(minutes=1)
    return found
