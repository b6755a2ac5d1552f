"""The two servers that are measured on: in memory, where CPU is all there is, and on disk, which a commit waits for."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.cluster import Cluster
from dev.server_binaries import major_version

MEMORY = Path("/dev/shm")
_TICKS = os.sysconf("SC_CLK_TCK")
# Nothing that begins by itself in the middle of a measurement.
_QUIET: dict[str, bool | str] = {
    "autovacuum": False,
    "jit": False,
    "checkpoint_timeout": "1h",
    "max_wal_size": "16GB",
}
_SLOW: dict[str, bool | str] = {"commit_delay": "5000", "commit_siblings": "0"}
"""Microseconds before each flush, also with no other transaction at work (PostgreSQL's manual, section 20.5.1)."""
_numbers = itertools.count(1)


class Server:
    """A running cluster, and what it has cost so far."""

    def __init__(self, cluster: Cluster, place: str) -> None:
        self.cluster = cluster
        self.place = place
        pid = cluster.running_pid()
        assert pid is not None
        self._postmaster = pid
        time.sleep(0.5)
        self._standing = len(children(pid))

    @property
    def port(self) -> int:
        return self.cluster.port

    @property
    def major(self) -> int:
        return major_version(self.cluster.bindir)

    @contextmanager
    def database(self) -> Iterator[str]:
        """The name of an empty database, gone with the block."""
        name = f"bench_{next(_numbers)}"
        self.cluster.create_database(name, template="template0")
        try:
            yield name
        finally:
            self.cluster.drop_database(name)

    def dsn(self, database: str, *, port: int | None = None) -> str:
        """Without TLS, which none of the tools is measured with."""
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}?sslmode=disable"

    def cpu_seconds(self) -> float:
        """User and system time of the server's processes, those that have ended included; in steps of 10 ms."""
        mine = _cpu_ticks(self._postmaster)
        return (sum(mine) + sum(sum(_cpu_ticks(pid)[:2]) for pid in children(self._postmaster))) / _TICKS

    def wait_idle(self, seconds: float = 5) -> None:
        """Until the processes that served a client have ended: their time is only then counted for certain."""
        deadline = time.monotonic() + seconds
        while len(children(self._postmaster)) > self._standing and time.monotonic() < deadline:
            time.sleep(0.005)


def children(pid: int) -> list[int]:
    """The processes that its first thread has started, and that have not ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has ended
        return []


def cpu_seconds_below(pid: int, *, patience: float = 10) -> float:
    """User and system time of all that a process and its children have started and that has ended, and of the children.

    :param patience: seconds that what the children have started is given to end: only then its time is counted.
    """
    deadline = time.monotonic() + patience
    while any(children(child) for child in children(pid)) and time.monotonic() < deadline:
        time.sleep(0.01)
    ended = sum(_cpu_ticks(pid)[2:])
    return (ended + sum(sum(_cpu_ticks(child)) for child in children(pid))) / _TICKS


def _cpu_ticks(pid: int) -> list[int]:
    """utime, stime, cutime and cstime of /proc/PID/stat; zeros for a process that is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return [0, 0, 0, 0]
    return [int(field) for field in text.rpartition(")")[2].split()[11:15]]


@contextmanager
def running(place: str, disk: Path) -> Iterator[Server]:
    """A server whose data lies in `memory` (/dev/shm, no fsync) or on `disk` (below that folder, fsync as shipped); or
    in memory on a `slow-disk`, where the server itself makes each flush of its log 5 ms longer."""
    parent = disk if place == "disk" else MEMORY
    settings = _QUIET | (_SLOW if place == "slow-disk" else {})
    folder = Path(tempfile.mkdtemp(prefix="wmigrate-bench-", dir=parent))
    try:
        folder.chmod(0o755)
        cluster = Cluster(folder / "data", settings=settings, fsync=place != "memory")
        cluster.start(remove_afterwards=folder)
        with cluster:
            yield Server(cluster, place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
