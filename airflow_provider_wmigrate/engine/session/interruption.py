"""Ends what a session is waiting for: when somebody asks for it, or when its budget is used up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
from msgspec import Struct

from .answering import Limit

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.record import Bystanders


class Spared(Struct, frozen=True):
    """Others for whose sake what runs has to end."""

    bystanders: Bystanders
    limit_seconds: float | None
    """None: one of them waits for what runs, which waits for it."""
    blocked: bool
    """What runs waits for a lock itself: another time it may be free."""


class Interruption(Limit):
    """What may strike while a session acts, and whether it has. Where even a cancel changes nothing, the network is
    silent, and the connection is given up (`answering`).

    :param acting: the connection that the running statement is on.
    """

    def __init__(self, acting: Callable[[], psycopg.Connection[Any]]) -> None:
        super().__init__()
        self._acting = acting
        self.requested = False
        self.spared: Spared | None = None

    @property
    def timed_out(self) -> bool:
        """Whether the budget was used up."""
        if self.end is not None and time.monotonic() > self.end:
            self.passed = True
        return self.passed

    @property
    def struck(self) -> bool:
        """Whether what runs has to end."""
        return self.requested or self.timed_out or self.spared is not None

    @contextmanager
    def limited(self, total_seconds: float, on_wait: Callable[[float], None] | None = None) -> Iterator[None]:
        """Cancel whatever runs when the total budget is used up.

        statement_timeout counts each statement of a script anew, so the total needs a clock on this side.

        :param on_wait: called now and then while something runs, with the monotonic clock.
        """
        self.end, self.passed, self.on_wait = time.monotonic() + total_seconds, False, on_wait
        try:
            yield
        finally:
            self.passed = self.timed_out
            self.end = self.on_wait = None

    def cancel(self) -> None:
        """Cancel the running statement on the server; callable from a signal handler or another thread."""
        self.requested = True
        with suppress(psycopg.Error):
            self._acting().cancel_safe(timeout=3.0)

    def spare(self, others: Spared | None) -> None:
        """Cancel the running statement for the sake of others; None: no more. Callable from another thread."""
        self.spared, self.strikes = others, others is not None

    def pause(self, seconds: float) -> bool:
        """Wait between two attempts. False: cancelled, or out of time."""
        end = time.monotonic() + seconds
        while not self.struck and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))
        return not self.struck
