"""What was observed, without how long it took: a slow machine has a time to tell where a quick one has none."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from airflow_provider_wmigrate.engine.locks_taken import LockTaken


def untimed(locks: Iterable[LockTaken]) -> tuple[LockTaken, ...]:
    """The locks as one reads them of a script that nobody had the time to watch."""
    return tuple(replace(lock, held_ms=None) for lock in locks)
