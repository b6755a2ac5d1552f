"""What a migration has to pass before it begins: the window of the environment, and the guard of loads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import Struct

from airflow_provider_wmigrate.engine.errors import OutsideWindow
from airflow_provider_wmigrate.engine.folder.config.settings import Guard, Window
from airflow_provider_wmigrate.engine.plan.window import Closed, closed, told


class Gate(Struct, frozen=True):
    """Asked at every beginning, for the window may have ended since the plan.

    :param now: the time, with its zone.
    :param because: why migrations may begin outside the window; empty: they may not.
    :param guard: how loads are waited for; None: they are not.
    """

    window: Window
    now: Callable[[], datetime]
    because: str = ""
    guard: Guard | None = None

    def closed(self, takes: float | None) -> Closed | None:
        """:param takes: seconds that it should take, if anybody said so."""
        return closed(self.window, self.now(), takes=takes)

    def check(self, version: str, takes: float | None) -> dict[str, Any] | None:
        """Whether it may begin now: inside the window, or for a reason that the audit log has to know (its details).

        :raises OutsideWindow: it may not.
        """
        found = self.closed(takes)
        if found is None:
            return None
        if not self.because:
            raise OutsideWindow(version, found.said, opens=found.opens, waits=found.waits, hint=found.way)
        return {"because": self.because, "opens": told(found.opens) if found.opens else None}
