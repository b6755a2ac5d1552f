"""What happens while it happens, on stderr: the engine's events as lines, and below them a bar where somebody looks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from airflow_provider_wmigrate.engine.events import Event, Failed, Finished, Noticed, Started

from .screen import Screen, fitted, is_drawable, plural, took

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

    def __exit__(self, *_: object) -> None:
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
            self._bar.console.print(fitted(text, sys.stderr), markup=False, highlight=False, soft_wrap=True)
        else:
            self._screen.tell(text)

    def _text(self, event: Event) -> str:
        if isinstance(event, Started):
            return str(event) if self._screen.verbose or self._bar is None else ""
        if isinstance(event, Noticed):
            loud = self._screen.verbose or event.severity == "WARNING"
            return f"  {event}" if loud else ""
        if isinstance(event, Finished):
            return self._finished(event)
        if isinstance(event, Failed):  # it is what the command ends with, what others felt apart
            return f"  {event.bystanders}" if event.bystanders and event.bystanders.noticed else ""
        return f"  {event}"

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
        felt = record.bystanders
        if felt and (self._screen.verbose or felt.noticed):
            lines.append(f"  {felt}")
        return "\n".join(lines)


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
