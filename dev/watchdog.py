"""A second process that clears up when the first one is killed before it could.

A test run that is shot, or a demo whose terminal is closed, leaves its servers behind: nobody is left to stop
them. The watchdog holds one end of a pipe and the starter the other. However the starter ends, the kernel
closes the pipe, and the watchdog then stops what it was told about.

A server is named by its first process, which leads a session of its own (``start_new_session=True``): the
polite signal goes to that process, which knows how to end the others, and the sure one to all that is left of
the session. Process groups would not do: Airflow gives every task its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

GRACE_SECONDS = 10.0

Signals = tuple[int, int]


class Watchdog:
    """The starter's end of the pipe."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, leader: int, polite: signal.Signals, sure: signal.Signals) -> None:
        self._tell(f"watch {leader} {polite.value} {sure.value}")

    def forget(self, leader: int) -> None:
        """After a normal stop: the number may soon belong to somebody else's process."""
        self._tell(f"forget {leader}")

    def remove(self, folder: Path) -> None:
        """Also delete this folder, if it is still there at the end."""
        self._tell(f"remove {folder}")

    def dismiss(self) -> None:
        """Let it end; it acts on whatever was not forgotten."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()


def session_members(leader: int) -> list[int]:
    """The living processes of the session that ``leader`` opened, also when it is gone itself."""
    return [pid for pid in _all_processes() if _session(pid) == leader and not _is_zombie(pid)]


def stop_sessions(watched: Mapping[int, Signals], grace: float = GRACE_SECONDS) -> None:
    """The polite signal to every leader, ``grace`` seconds for all together, the sure one to who is left."""
    for leader, (polite, _) in watched.items():
        _send(leader, polite)
    deadline = time.monotonic() + grace
    while any(session_members(leader) for leader in watched) and time.monotonic() < deadline:
        time.sleep(0.1)
    for leader, (_, sure) in watched.items():
        for pid in session_members(leader):
            _send(pid, sure)


def _all_processes() -> list[int]:
    if os.path.exists("/proc/self/stat"):
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    answer = subprocess.run(["ps", "-A", "-o", "pid="], capture_output=True, text=True, check=False)
    return [int(word) for word in answer.stdout.split()]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _is_zombie(pid: int) -> bool:
    """Ended, but not yet collected by its parent, which may never do it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "Z"


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def main() -> None:
    watched: dict[int, Signals] = {}
    folders: list[str] = []
    for line in sys.stdin:
        verb, _, rest = line.rstrip("\n").partition(" ")
        if verb == "watch":
            leader, polite, sure = map(int, rest.split())
            watched[leader] = (polite, sure)
        elif verb == "forget":
            watched.pop(int(rest), None)
        elif verb == "remove":
            folders.append(rest)
    stop_sessions(watched)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
