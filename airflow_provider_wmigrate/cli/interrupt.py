"""Ctrl-C and SIGTERM while the server works: the statement is cancelled there, and the call ends in an orderly way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.events import Event, Failed, Finished, Started

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_wmigrate.engine.migrator import Migrator


_INSIST_SECONDS = 0.5
"""A cancel that reaches the server between two statements does nothing, so it is sent again until it worked."""


@dataclass
class Stop:
    """Whether somebody asked for an end, and whether what ran has ended since."""

    requested: bool = False
    settled: threading.Event = field(default_factory=threading.Event)
    running: str = ""

    def hear(self, event: Event) -> None:
        """A listener: from its failure or its end on, a migration must not be cancelled any more. That of an earlier
        one may be told while the next one runs."""
        if isinstance(event, Started):
            self.running = event.version
            self.settled.clear()
        elif isinstance(event, Failed) or (isinstance(event, Finished) and event.record.version == self.running):
            self.settled.set()


@contextmanager
def stoppable(migrator: Migrator, stop: Stop, tell: Callable[[str], None]) -> Iterator[None]:
    """Inside, the first Ctrl-C cancels what runs on the server; a second one does not wait for the answer."""

    def insist() -> None:
        while not stop.settled.wait(_INSIST_SECONDS):
            migrator.cancel()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True
        tell("stopping: the running statement is being cancelled on the server (press Ctrl-C again not to wait for it)")
        migrator.cancel()
        threading.Thread(target=insist, name="wmigrate cancel", daemon=True).start()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        stop.settled.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def state_sentence(migrator: Migrator) -> str:
    """What is true of the database now, asked anew."""
    try:
        known = migrator.plan().statuses
    except WMigrateError as error:
        return f"what the database holds could not be read ({error}); ask with `wmigrate status`"
    counts: dict[str, list[str]] = {}
    for version, status in known.items():
        counts.setdefault(status.words, []).append(version)
    parts = [f"{len(versions)} {status}{_some(versions, status)}" for status, versions in counts.items()]
    return f"the database now has {', '.join(parts)}" if parts else "the database has no migration"


def _some(versions: list[str], status: str) -> str:
    if status == "applied":
        return f" (up to {versions[-1]})"
    return f" ({', '.join(versions[:3])}{' ...' if len(versions) > 3 else ''})"
