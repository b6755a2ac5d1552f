"""What the application felt while migrations ran beside it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.record import Record

from .application import Log, Slow

LOCK_BUDGET = 0.5
"""Seconds for which a migration stands in front of others at most while it waits for a lock: half of the server's
deadlock_timeout."""
BOUND = LOCK_BUDGET + 0.1
"""Seconds that a statement of the application may take, beside a script that is over in a moment."""
SEEN = 0.25
"""Seconds from which on the record has to know of a wait: the first look comes after 0.2 s, each next one 0.05 s
later."""
APART = 0.2
"""Share of what the application's own log says by which the record's figure may differ."""


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

    @property
    def told(self) -> float:
        """The record's longest wait, in seconds; 0 where it was not looked for."""
        felt = self.record.bystanders if self.record else None
        return (felt.longest_wait_ms or 0) / 1000 if felt else 0.0

    def overlaps(self, each: Slow) -> bool:
        return each.start < self.end and each.end > self.start


@dataclass(frozen=True, slots=True)
class Felt:
    """What the application felt of a number of calls.

    :param hold: seconds for which each script does nothing while it holds its locks.
    """

    windows: Sequence[Window]
    log: Log
    hold: float = 0.0

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
    def compared(self) -> dict[Window, float]:
        """The calls of which record or log tell a wait that is long enough to be seen, and how far the record is away
        from the log, as a share of it."""
        both = ((window, window.told, self.longest_in(window)) for window in self.windows if window.record)
        return {window: abs(told - felt) / felt for window, told, felt in both if felt and max(told, felt) >= SEEN}

    @property
    def told_wrong(self) -> list[str]:
        """Calls of which the record says another longest wait than the application's log."""
        return [self._line(window) for window, apart in self.compared.items() if apart > APART]

    @property
    def is_wrong(self) -> bool:
        """Somebody was aborted, waited for longer than he may or than the record says, or a migration did not get
        through."""
        return bool(self.aborted or self.failed or self.told_wrong) or self.longest > BOUND + self.hold

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
            f"longest statement beside it {self.longest_in(window) * 1000:.0f} ms, told {window.told * 1000:.0f} ms",
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
            "records compared": f"{len(self.compared)}",
            "farthest apart": f"{max(self.compared.values(), default=0):.0%}",
        }


def _longest(statements: Iterable[Slow]) -> float:
    return max((each.seconds for each in statements), default=0.0)
