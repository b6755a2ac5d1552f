"""The process that is struck. One warm process is kept, which has everything imported, and forks for every run.

A run tells what it does line by line (JSON) over a socket of its own, and waits there for `go` where it is asked to.
SIGTERM cancels, as the task's `on_kill` does; SIGUSR1 raises in the main thread, as Airflow's execution timeout does.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


class Struck(BaseException):
    """What a task's time limit raises: no Exception, so that no `except Exception` swallows it."""


# The harness's side


@dataclass
class Run:
    """A run in its own process, seen from outside."""

    pid: int
    line: socket.socket
    told: list[dict[str, Any]] = field(default_factory=list)
    over: bool = False
    killed: bool = False
    _rest: bytes = b""

    def next(self, seconds: float) -> dict[str, Any] | None:
        """The next thing it tells; None: it has ended.

        :raises TimeoutError: neither.
        """
        self.line.settimeout(seconds)
        while b"\n" not in self._rest:
            try:
                data = self.line.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                self.over = True
                return None
            self._rest += data
        first, _, self._rest = self._rest.partition(b"\n")
        self.told.append(json.loads(first))
        return self.told[-1]

    def until(self, what: str, seconds: float, *, number: int = 1) -> dict[str, Any] | None:
        """The `number`-th thing of this name it tells from now on; None: it has ended without."""
        while (message := self.next(seconds)) is not None:
            if message["told"] == what:
                number -= 1
                if not number:
                    return message
            elif message["told"] == "end":
                return None
        return None

    def end(self, seconds: float) -> dict[str, Any] | None:
        """What it ended with; None: it died."""
        for message in self.told:
            if message["told"] == "end":
                return message
        return self.until_end(seconds)

    def until_end(self, seconds: float) -> dict[str, Any] | None:
        while (message := self.next(seconds)) is not None:
            if message["told"] == "end":
                return message
        return None

    def is_over(self) -> bool:
        """Whether it has ended; takes whatever it has told until then."""
        try:
            self.end(0.01)
        except TimeoutError:
            return False
        return True

    def go(self, times: int = 1) -> None:
        with contextlib.suppress(OSError):
            self.line.sendall(b"go\n" * times)

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.killed = True
        self.send(signal.SIGKILL)

    def close(self) -> None:
        """Let it go, or make it."""
        self.line.close()
        if not self.over:
            self.send(signal.SIGKILL)
            self.over = True


class Zygote:
    """The warm process."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "harness.runner", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'faults'}"},
                stdin=subprocess.DEVNULL,
            )
        self._control.settimeout(30)
        if self._control.recv(16) != b"warm":
            raise RuntimeError("the runner's process does not start")

    def start(self, **job: Any) -> Run:
        """Begin a run.

        :param job: `dsn`, `folder`, `verb`, `version` (several apart by spaces), `name`, `wait_at` (events at which it
            waits for go), `sabotage`, `impatient` (gives up a silent server within seconds), `clock` (jumps).
        """
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [json.dumps(job).encode()], [theirs.fileno()])
            pid = int(self._control.recv(16).decode())
        return Run(pid, ours)

    def close(self) -> None:
        self._control.close()
        self._process.wait(10)


# The runner's side


def _serve(control: socket.socket) -> None:
    # Warm: what a run imports is there before it is forked.
    import postgast  # noqa: F401
    import psycopg  # noqa: F401

    import airflow_provider_wmigrate.engine.migrator  # noqa: F401
    from airflow_provider_wmigrate.engine.model import Script
    from airflow_provider_wmigrate.engine.sql.analysis import analyse

    analyse(Script.of("001_warm.sql", "SELECT 1"))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody has to wait for the dead
    control.sendall(b"warm")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 65536, 1)
        if not message:
            return
        line = socket.socket(fileno=descriptors[0])
        pid = os.fork()
        if not pid:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _run(line, json.loads(message))
            os._exit(0)
        line.close()
        control.sendall(str(pid).encode())


class _Teller:
    """The runner's end of the line."""

    def __init__(self, line: socket.socket, wait_at: list[str]) -> None:
        self._line, self._wait_at = line, wait_at
        self._lock = threading.RLock()  # a signal's handler tells too, and may come in between

    def tell(self, what: str, **more: Any) -> None:
        with self._lock, contextlib.suppress(BrokenPipeError):  # nobody listens any more
            self._line.sendall(json.dumps({"told": what, **more}, default=str).encode() + b"\n")

    def tell_and_wait(self, what: str, **more: Any) -> None:
        self.tell(what, **more)
        if what in self._wait_at:
            # In short waits: a signal that another thread was given is seen only between them.
            while not select.select([self._line], [], [], 0.05)[0]:
                pass
            self._line.recv(3)

    def linger(self) -> None:
        """Live on for a while, as a task's process does."""
        self._line.settimeout(20)
        with contextlib.suppress(OSError):
            while self._line.recv(4096):
                pass


def _run(line: socket.socket, job: dict[str, Any]) -> None:
    import psycopg

    from airflow_provider_wmigrate.engine.events import Event
    from airflow_provider_wmigrate.engine.folder.folder import read_folder
    from airflow_provider_wmigrate.engine.migrator import Migrator
    from airflow_provider_wmigrate.engine.model import Identity

    if job.get("impatient"):
        _be_impatient()
    if job.get("clock"):
        _lose_the_clock()
    if job.get("sabotage"):
        from harness.sabotage import SABOTAGE

        SABOTAGE[job["sabotage"]]()
    teller = _Teller(line, job.get("wait_at", []))

    def listen(event: Event) -> None:
        first = getattr(event, "first", None)
        teller.tell_and_wait(type(event).__name__, event=str(event), first=first)

    identity = Identity(job["name"], run_id=job["name"])
    folder = read_folder(Path(job["folder"]))
    migrator = Migrator(lambda: psycopg.connect(job["dsn"]), folder, identity=identity, on_event=listen)
    running = True

    def terminated(_: int, __: FrameType | None) -> None:
        migrator.cancel()
        teller.tell("cancelled")

    def timed_out(_: int, __: FrameType | None) -> None:
        if running:
            raise Struck

    signal.signal(signal.SIGTERM, terminated)
    signal.signal(signal.SIGUSR1, timed_out)
    kept: BaseException | None = None
    try:
        teller.tell_and_wait("ready")
        act = migrator.roll_back if job["verb"] == "roll_back" else migrator.apply
        outcomes = [act(version).outcome.value for version in job["version"].split()]
        running = False
    except BaseException as error:
        running = False
        kept = error
    teller.tell("end", **(_described(kept) if kept else {"outcome": " ".join(outcomes)}))
    teller.linger()  # and holds on to the exception: what was left open stays open


def _be_impatient() -> None:
    """The limits of the engine's own calls, shorter."""
    from airflow_provider_wmigrate.engine.session import answering, interruption

    answering.ANSWER_SECONDS, answering.CANCEL_SECONDS = 1.5, 0.5
    interruption._SILENCE_SECONDS = 1.0


def _lose_the_clock() -> None:
    """The time of day is another one whenever it is asked for. How long something lasts can still be measured."""
    true, dice = time.time, random.Random(1)

    def wrong() -> float:
        return true() + dice.uniform(-1, 1) * 365 * 86400

    time.time = wrong
    time.time_ns = lambda: round(wrong() * 1e9)


def _described(error: BaseException) -> dict[str, Any]:
    from airflow_provider_wmigrate.engine.errors import WMigrateError

    answer = {"error": type(error).__name__, "message": str(error), "retryable": getattr(error, "retryable", True)}
    if isinstance(error, WMigrateError):
        return {**answer, "hint": error.hint, "codes": [f.code for f in getattr(error, "findings", ())]}
    return answer if isinstance(error, Struck) else {**answer, "foreign": "".join(traceback.format_exception(error))}


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
