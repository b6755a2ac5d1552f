"""What happens while it happens, on stderr: the engine's events as lines, and below them a bar where somebody looks."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from airflow_provider_wmigrate.engine.events import (
    Blocked,
    Event,
    Finished,
    HeldLong,
    Noticed,
    Retrying,
    Started,
    Stepped,
    Waiting,
)

from .screen import Screen, is_drawable, plural, took

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_DOING = {"apply": "applying", "rollback": "rolling back"}


class Progress:
    """A listener for a migrator; a context in which the bar is drawn.

    :param steps: how many migrations there are to go through.
    """

    def __init__(self, screen: Screen, steps: int) -> None:
        self._screen, self._steps = screen, steps
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Progress:
        if self._steps and is_drawable(sys.stderr):
            self._bar = _bar()
            self._task = self._bar.add_task("", total=self._steps)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, event: Event) -> None:
        if self._bar is not None and self._task is not None:
            if isinstance(event, Started):
                self._bar.update(self._task, description=f"{_DOING[event.direction]} {event.version}_{event.name}")
            if isinstance(event, Finished):
                self._bar.advance(self._task)
        text = self._text(event)
        if text and (self._screen.verbose or not self._screen.as_json):
            self.tell(text)

    def tell(self, text: str) -> None:
        """A line that stays."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._screen.tell(text)

    def _text(self, event: Event) -> str:
        if isinstance(event, Started):
            return _started(event) if self._screen.verbose or self._bar is None else ""
        if isinstance(event, Noticed):
            loud = self._screen.verbose or event.severity == "WARNING"
            return f"  {event.severity}: {event.message}" if loud else ""
        if isinstance(event, Finished):
            return self._finished(event)
        return _beside(event)

    def _finished(self, event: Finished) -> str:
        record = event.record
        if record.reason:  # the answer says it
            return ""
        did = ""
        if record.statements:
            did = (
                f" in {took(record.duration_ms)}: {plural(record.statements, 'statement')}, {record.rows} rows changed"
            )
        lines = [f"{record.version}_{record.name}: {record.outcome.value.replace('_', ' ')}{did}"]
        if self._screen.verbose:
            lines += [f"  locked {lock}" for lock in record.locks]
        return "\n".join(lines)


def _beside(event: Event) -> str:
    """What a person must know while they wait."""
    if isinstance(event, Stepped):
        which = str(event.first) if event.first == event.last else f"{event.first} to {event.last}"
        return f"  statement {which} of {event.total} (line {event.line}): {event.note}"
    if isinstance(event, Waiting):
        held = f", held by pid {', '.join(map(str, event.holders))}" if event.holders else ""
        return f"  waiting for {event.what} since {event.waited_seconds:.0f} s{held}"
    if isinstance(event, Blocked):
        return f"  blocked for {event.waited_seconds:.1f} s by {'; '.join(map(str, event.blockers))}"
    if isinstance(event, Retrying):
        return f"  attempt {event.attempt} rolled back: {event.reason}; again in {event.pause_seconds:.1f} s"
    if isinstance(event, HeldLong):
        return f"  {event.lock.relation} was locked against everybody for longer than {event.limit_seconds:g} s"
    return ""


def _started(event: Started) -> str:
    dry = " (dry run)" if event.dry_run else ""
    return f"{_DOING[event.direction]} {event.version}_{event.name}{dry} on server process {event.backend_pid}"


def _bar() -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True, highlight=False),
        transient=True,
    )
