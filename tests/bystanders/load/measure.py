"""What the application felt while migrations ran beside it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.record import Record

from .application import Log, Slow

LOCK_BUDGET = 0.6
"""Seconds: the longest wait of a script that holds locks, by the server's deadlock_timeout of a second."""


@dataclass(frozen=True, slots=True)
class Window:
    """One call of the migrator, by the system's monotonic clock, in seconds."""

    name: str
    start: float
    end: float
    record: Record | None
    error: str | None

    @classmethod
    def of(cls, name: str, act: Callable[[], Record]) -> Window:
        start, record, error = time.monotonic(), None, None
        try:
            record = act()
        except WMigrateError as raised:
            error = str(raised)
        return cls(name, start, time.monotonic(), record, error)

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def overlaps(self, each: Slow) -> bool:
        return each.start < self.end and each.end > self.start


@dataclass(frozen=True, slots=True)
class Felt:
    """What the application felt of a number of calls."""

    windows: Sequence[Window]
    log: Log

    @property
    def aborted(self) -> list[Slow]:
        return self.log.aborted

    @property
    def failed(self) -> list[str]:
        return [f"{window.name}: {window.error}" for window in self.windows if window.error]

    def longest_in(self, window: Window) -> float:
        """The longest that a statement took which met this call, in seconds."""
        return _longest(each for each in self.log.slow if window.overlaps(each))

    @property
    def longest(self) -> float:
        """The longest that a statement took while a migration ran, in seconds."""
        return max((self.longest_in(window) for window in self.windows), default=0.0)

    @property
    def noise(self) -> float:
        """The longest that a statement took which met none: what machine and application do by themselves."""
        return _longest(e for e in self.log.slow if not any(window.overlaps(e) for window in self.windows))

    @property
    def is_wrong(self) -> bool:
        """Somebody was aborted, waited for longer than he may, or a migration did not get through."""
        return bool(self.aborted or self.failed) or self.longest > LOCK_BUDGET + 0.1 + self.noise

    @property
    def tried_again(self) -> int:
        return sum(window.record.attempts - 1 for window in self.windows if window.record)

    def lines(self) -> list[str]:
        """A line for each call."""
        return [self._line(window) for window in self.windows]

    def _line(self, window: Window) -> str:
        errors = Counter(each.sqlstate for each in self.aborted if window.overlaps(each))
        told = [
            f"{window.seconds * 1000:.0f} ms",
            f"{window.record.attempts} tries" if window.record else f"failed: {window.error}",
            f"longest statement beside it {self.longest_in(window) * 1000:.0f} ms",
            *(f"{count} aborted ({sqlstate})" for sqlstate, count in errors.items()),
        ]
        return f"{window.name}: {', '.join(told)}"

    def cells(self) -> dict[str, str]:
        """For a row of a table."""
        calls = [window.seconds for window in self.windows]
        return {
            "calls": f"{len(calls)}",
            "failed": f"{len(self.failed)}",
            "second tries": f"{self.tried_again}",
            "longest call": f"{max(calls, default=0):.2f} s",
            "statements of the application": f"{self.log.statements:,}",
            "aborted": f"{len(self.aborted)}",
            "longest statement": f"{self.longest * 1000:.0f} ms",
            "longest without a migration": f"{self.noise * 1000:.0f} ms",
        }


def _longest(statements: Iterable[Slow]) -> float:
    return max((each.seconds for each in statements), default=0.0)
