"""Extensions as migrations need them, and as a target has them."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class RequiredExtension(Struct, frozen=True):
    """An extension the script needs, and whether a server without it fails the plan or skips the migration."""

    name: str
    when_missing: Literal["fail", "skip"] = "fail"
    min_version: str | None = None
    license: Literal["timescale"] | None = None
    """Of timescaledb: what its Apache edition has not."""


class Extension(Struct, frozen=True):
    """An extension as a target database has it, or could."""

    installed: str | None = None
    """Its version in this database; None: not created."""
    default_version: str | None = None
    """What CREATE EXTENSION would give; None: its files are gone."""
    preloaded: bool = True
    """False: the server would have to load its library at start, and did not."""
    license: str | None = None
    """Of timescaledb: apache or timescale. None: unknown, which it is as long as the extension is not created."""
