"""A disk of a few megabytes that can be filled up. Only root can have one; others do without."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dev.server_binaries import Account

_SIZE = "48m"


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A file system in memory."""

    place: Path
    """An empty folder on it that belongs to the server's account."""

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Nothing more can be stored on it, until the block ends."""
        ballast = self.place.parent / "ballast"
        try:
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                for size in (1 << 16, 1 << 12):
                    with contextlib.suppress(OSError):
                        while file.write(b"x" * size) == size:
                            pass
            yield
        finally:
            ballast.unlink()


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[SmallDisk | None]:
    """None: this account may not mount a file system."""
    place.mkdir()
    mounted = os.geteuid() == 0 and not _run("mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=0755", "tmpfs", place)
    if not mounted:
        yield None
        return
    try:
        folder = place / "tablespace"
        folder.mkdir(mode=0o700)
        Account.for_server().own(folder)
        yield SmallDisk(folder)
    finally:
        _run("umount", "--lazy", place)


def _run(*command: str | Path) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode
