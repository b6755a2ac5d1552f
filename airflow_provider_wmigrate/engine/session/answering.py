"""How long a connection waits for its server. Each call of ours has an end, whatever the server or the network does.

Two things can be wrong. A network that is gone takes no packet: the operating system notices it, once it is asked to
look (keepalives, TCP_USER_TIMEOUT). A server that stopped, or a proxy that lost its other end, takes every packet and
answers none: that only a clock on this side notices.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg

ANSWER_SECONDS = 40.0
"""How long one call of ours may take: a little more than the server itself allows it (`connection.OWN_TIMEOUT`)."""
CANCEL_SECONDS = 5.0
"""How long the server may take to end what was cancelled, and to take the cancel itself."""

_KEEPALIVES = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}
"""Seconds of idleness before the first question, between questions, questions; milliseconds for what was sent."""


@dataclass
class Limit:
    """What limits the calls on a connection in place of `ANSWER_SECONDS`, such as a script's budget."""

    end: float | None = None
    """On the monotonic clock; None: nothing does at the moment."""
    passed: bool = False
    """The end came while a call was under way."""
    on_wait: Callable[[float], None] | None = None
    """Called now and then while a call is under way, with the monotonic clock."""
    strikes: bool = False
    """Whatever is under way is to be cancelled at once."""
    committing: bool = False
    """But not this: it lets everybody go, and a cancel would only cut short the wait for a standby."""


def keep_alive(conn: psycopg.Connection[Any]) -> None:
    """Have the operating system notice a network that is gone in half a minute, instead of two hours.

    What the connection's own parameters say about it counts more. A Unix socket has no network.
    """
    given = conn.info.get_parameters()
    if any(name.startswith(("keepalives", "tcp_user_timeout")) for name in given):
        return
    with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(conn.fileno())) as line:
        if line.family == socket.AF_UNIX:
            return
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVES.items():
            if hasattr(socket, name):  # not every platform has all of them
                line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def limit_answers(conn: psycopg.Connection[Any], limit: Limit | None = None) -> None:
    """From now on each call on this connection ends: it is cancelled when the server does not answer in time, and the
    connection is given up when that changes nothing (`psycopg.OperationalError` without SQLSTATE)."""
    limit = limit or Limit()

    def wait(steps: Any, *arguments: Any, **more: Any) -> Any:
        return psycopg.Connection.wait(conn, _ending(conn, steps, limit), *arguments, **more)

    conn.wait = wait  # type: ignore[method-assign, assignment] # psycopg waits in this method


def _ending(conn: psycopg.Connection[Any], steps: Generator[Any, Any, Any], limit: Limit) -> Generator[Any, Any, Any]:
    """The steps of one call, as psycopg takes them, with an end.

    psycopg goes on with "nothing is ready" some ten times a second while it waits, so that the clock is read.
    """
    begun, cancelled = time.monotonic(), False
    limited = limit.end is not None and not limit.passed
    end = limit.end if limited and limit.end is not None else begun + ANSWER_SECONDS
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            now = time.monotonic()
            if limit.on_wait is not None:
                limit.on_wait(now)
            if now > end or (limit.strikes and not (cancelled or ready or limit.committing)):
                if cancelled:
                    conn.close()
                    raise psycopg.OperationalError(f"the server does not answer any more (after {now - begun:.0f} s)")
                limit.passed = limit.passed or (limited and now > end)
                with suppress(psycopg.Error):
                    conn.cancel_safe(timeout=CANCEL_SECONDS)
                end, cancelled = time.monotonic() + CANCEL_SECONDS, True
            wanted = steps.send(ready)
    except StopIteration as over:
        return over.value
