"""How long Airflow lets the task of a migration take at the most, whatever environment its run chooses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine.folder.config.root import Config
    from .engine.folder.config.settings import Settings
    from .engine.model import Migration

_MARGIN = timedelta(seconds=60)
"""Airflow's timeout is only the net under the engine's own budgets, which end a migration cleanly."""


def every_settings(config: Config) -> list[Settings]:
    """Which environment a run chooses is known only when it runs; tasks are made for the most patient one."""
    return [config.settings, *(config.settings_for(name) for name in config.environments)]


def longest(migration: Migration, settings: list[Settings]) -> timedelta:
    return _longest(migration.timeout_seconds, settings)


def together(migrations: Iterable[Migration], settings: list[Settings]) -> timedelta:
    """For one task that may have to do all of them, each within a budget of its own."""
    counted = Counter(migration.timeout_seconds for migration in migrations)
    return sum((count * _longest(seconds, settings) for seconds, count in counted.items()), timedelta())


def _longest(seconds: float | None, settings: list[Settings]) -> timedelta:
    """:param seconds: what the migration declares."""
    budgets = [seconds or s.execution.timeout_seconds for s in settings]
    waits = [s.execution.lock_wait_seconds for s in settings]
    return timedelta(seconds=max(budgets) + max(waits)) + _MARGIN
