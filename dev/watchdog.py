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
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

GRACE_SECONDS = 10.0

Signals = tuple[int, int]


class Watchdog:
    """The starter's end of the pipe; the other process is there from the first word until it is dismissed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._sessions: dict[int, Signals] = {}
        self._folders: list[str] = []

    def watch(self, leader: int, polite: int = signal.SIGTERM, sure: int = signal.SIGKILL) -> None:
        self._sessions[leader] = (polite, sure)
        self._tell()

    def forget(self, leader: int) -> None:
        """After a normal stop: the number may soon belong to somebody else's process."""
        if self._sessions.pop(leader, None):
            self._tell()

    def remove(self, folder: Path) -> None:
        """Also delete this folder, if it is still there at the end, and unmount what is mounted in it."""
        self._folders.append(str(folder))
        self._tell()

    def dismiss(self) -> None:
        """Let it end; it acts on whatever was not forgotten."""
        if self._process is not None:
            self._process.communicate()
        self._process, self._sessions, self._folders = None, {}, []

    def _tell(self) -> None:
        """All there is, each time: its last line is what it acts on."""
        if self._process is None:
            command = [sys.executable, "-I", str(Path(__file__).resolve())]
            quiet = subprocess.DEVNULL
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True
            )
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps([list(self._sessions.items()), self._folders]).encode() + b"\n")
            self._process.stdin.flush()


def gone(pid: int) -> bool:
    """Ended, also where its parent has not collected it, which may never happen."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def wait_until(so: Callable[[], bool], seconds: float, every: float = 0.02) -> bool:
    """Whether it came true within the time; asked at least once."""
    deadline = time.monotonic() + seconds
    while not so():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every)
    return True


def stop_sessions(watched: Mapping[int, Signals], grace: float = GRACE_SECONDS) -> None:
    """The polite signal to every leader, ``grace`` seconds for all together, the sure one to who is left."""

    def left() -> list[tuple[int, int]]:
        """The living processes of the sessions, also of one whose leader is gone."""
        living = [(pid, _session(pid)) for pid in psutil.pids()]
        return [(pid, watched[leader][1]) for pid, leader in living if leader in watched and not gone(pid)]

    def none_left_of_those_made_to_end() -> bool:
        for pid, sure in left():
            _send(pid, sure)
        return not left()

    for leader, (polite, _) in watched.items():
        _send(leader, polite)
    if not wait_until(lambda: not left(), grace, 0.1):
        wait_until(none_left_of_those_made_to_end, GRACE_SECONDS)


def _session(pid: int) -> int:
    """0: it has ended."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _remove(folder: str) -> None:
    mounted = [partition.mountpoint for partition in psutil.disk_partitions(all=True)]
    for place in (place for place in mounted if Path(folder) in Path(place).parents):
        subprocess.run(["umount", "--lazy", place], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    sessions: list[tuple[int, Signals]] = []
    folders: list[str] = []
    for line in sys.stdin:
        sessions, folders = json.loads(line)
    stop_sessions(dict(sessions))
    for folder in folders:
        _remove(folder)


if __name__ == "__main__":
    main()
