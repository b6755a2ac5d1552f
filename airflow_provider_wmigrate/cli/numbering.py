"""The number of the next migration, written as the folder writes its numbers."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_YEARS = range(1990, 2100)
"""A number that would be a time outside of these is just a number."""

_CALENDAR = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f"}
"""Digits of a date or a time -> how it is written; of 17 the last three are milliseconds."""
_SECONDS = {10: 1, 13: 1000}
"""Digits of a time since 1970 -> its unit's part of a second."""


def next_number(newest: str | None, now: datetime) -> str:
    """One more than the newest or, where that is a time, the time now in the same manner, in UTC.

    :param newest: the digits of the newest migration's file; None: there is none.
    :param now: with a time zone.
    """
    if newest is None:
        return "001"
    following = int(newest) + 1
    if at := _as_time(newest, now.astimezone(timezone.utc)):
        following = max(following, int(at))  # a colleague's clock may be ahead of ours
    return str(following).zfill(len(newest))


def _as_time(digits: str, now: datetime) -> str | None:
    """The time now, written as these digits are; None: they are no time."""
    length = len(digits)
    try:
        if length in _CALENDAR:
            pattern = _CALENDAR[length]
            then = datetime.strptime(digits[:14], pattern.removesuffix("%f")).replace(tzinfo=timezone.utc)
            return now.strftime(pattern)[:length] if then.year in _YEARS else None
        if length in _SECONDS:
            unit = _SECONDS[length]
            then = _EPOCH + timedelta(seconds=int(digits) / unit)
            return str(int((now - _EPOCH).total_seconds() * unit)) if then.year in _YEARS else None
    except ValueError:
        return None
    return None
