"""Where what is thrown away lies fast: in memory, if that has room."""

from __future__ import annotations

import shutil
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM = 2 * 1024**3
"""Bytes. A server that finds no room for its log ends at once, and all of its connections with it."""


def memory_with_room() -> Path | None:
    """A folder in memory; None: there is none, or it is too small (a container has 64 MB), or full."""
    return _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM else None
