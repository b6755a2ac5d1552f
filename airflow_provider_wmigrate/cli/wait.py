"""wait: until the target accepts connections, as scripts need it that start a server beside the migrations."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_wmigrate.engine.errors import ConnectionFailed

from .call import Answer, Call
from .failure import NotReady
from .screen import took

if TYPE_CHECKING:
    from .screen import Screen

_PAUSES = (0.1, 0.2, 0.5, 1.0)
"""Seconds between two tries; the last one holds from then on."""


def wait(call: Call) -> Answer:
    """Try until a session can be opened.

    :raises ConnectionFailed: the login was refused in a way that waiting cannot change.
    :raises NotReady: the time is over.
    """
    target, limit, start = call.target, call.arguments.timeout, time.monotonic()
    tries, told = 0, ""
    while True:
        tries += 1
        try:
            with call.session():
                break
        except ConnectionFailed as error:
            pause = _PAUSES[min(tries, len(_PAUSES)) - 1]
            if not error.retryable:
                raise
            if time.monotonic() + pause > start + limit:
                many = "1 try" if tries == 1 else f"{tries} tries"
                hint = "find out why, or give a longer --timeout"
                raise NotReady(f"{target} is not ready after {limit} s and {many}: {error}", hint=hint) from error
            if str(error) != told and not call.screen.as_json:
                call.screen.tell(f"waiting up to {limit} s for {target}: {error}")
                told = str(error)
            time.sleep(pause)
    waited = int((time.monotonic() - start) * 1000)

    def show(screen: Screen) -> None:
        screen.line(f"{str(target)[0].upper()}{str(target)[1:]} accepts connections, after {took(waited)}.")

    return Answer({"target": call.target_document(), "waited_ms": waited, "tries": tries}, show)
