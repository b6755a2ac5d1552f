"""Ends what a session is waiting for: when somebody asks for it, or when its budget is used up."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

_SILENCE_SECONDS = 5.0
"""How long a cancelled statement may take to end before the network is taken for dead."""


class Interruption:
    """What may strike while a session acts, and whether it has.

    :param acting: the connection that the running statement is on.
    """

    def __init__(self, acting: Callable[[], psycopg.Connection[Any]]) -> None:
        self._acting = acting
        self.timed_out = False
        self.counting = False
        """Whether a budget limits what runs."""
        self.requested = False
        # Not an Event: its lock would stand in the way of a signal that comes while another one is being handled.
        self.struck = False

    @contextmanager
    def limited(self, total_seconds: float) -> Iterator[None]:
        """Cancel whatever runs when the total budget is used up.

        statement_timeout counts each statement of a script anew, so the total needs a clock on this side. Where even
        the cancelling changes nothing, the network is silent, and the connection is given up.
        """
        over = threading.Event()

        def strike() -> None:
            self.timed_out = self.struck = True
            self._send_cancel()
            if not over.wait(_SILENCE_SECONDS):
                self._break_off()

        timer = threading.Timer(total_seconds, strike)
        timer.daemon = True
        timer.start()
        self.counting = True
        try:
            yield
        finally:
            self.counting = False
            timer.cancel()
            over.set()

    def cancel(self) -> None:
        """Cancel the running statement on the server; callable from a signal handler or another thread."""
        self.requested = self.struck = True
        self._send_cancel()

    def pause(self, seconds: float) -> bool:
        """Wait between two attempts. False: cancelled, or out of time."""
        end = time.monotonic() + seconds
        while not self.struck and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))
        return not self.struck

    def _send_cancel(self) -> None:
        with suppress(psycopg.Error):
            self._acting().cancel_safe(timeout=3.0)

    def _break_off(self) -> None:
        """End the waiting for an answer from another thread: only a socket's shutdown wakes whoever reads from it."""
        with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(self._acting().fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
