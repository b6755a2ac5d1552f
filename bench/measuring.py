"""What a command costs: wall time, CPU seconds of the client and of the server, peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bench.servers import Server

_ENVIRONMENT = ("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR")


class CommandFailed(Exception):
    """A measured command ended with another code than 0; the message is the last line of what it said."""

    def __init__(self, call: Sequence[str], code: float, said: str) -> None:
        super().__init__(f"ended with {code:.0f}: {said.rpartition(chr(10))[2]}")
        self.whole = f"{' '.join(call)} ended with {code:.0f}:\n{said}"


@dataclass(frozen=True, slots=True)
class Command:
    """What a verb of a tool comes to: one or several calls after one another.

    :param folder: where they run.
    :param environment: on top of a few of the caller's variables; PG* and AIRFLOW* never come from there.
    """

    calls: Sequence[Sequence[str]]
    folder: Path
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds, and MB at the peak of the client."""

    wall: float
    client: float
    server: float
    peak_mb: float

    @property
    def cpu(self) -> float:
        return self.client + self.server


class Meter:
    """Runs commands one at a time and tells what each cost."""

    def __enter__(self) -> Meter:
        launcher = Path(__file__).with_name("launcher.py")
        self._launcher = subprocess.Popen(
            [sys.executable, "-S", "-E", str(launcher)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._launcher.communicate()

    def cost(self, command: Command, server: Server) -> Cost:
        """Run it. A server's CPU seconds are told in hundredths.

        :raises CommandFailed: it did not end with 0.
        """
        before = server.cpu_seconds()
        answers = [self._call(call, command) for call in command.calls]
        server.wait_idle()
        spent = server.cpu_seconds() - before
        return Cost(
            wall=sum(answer["wall"] for answer in answers),
            client=sum(answer["client"] for answer in answers),
            server=spent,
            peak_mb=max(answer["peak_mb"] for answer in answers),
        )

    def _call(self, call: Sequence[str], command: Command) -> dict[str, float]:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment.update(command.environment)
        with tempfile.NamedTemporaryFile(prefix="bench-", suffix=".log") as said:
            order = [list(call), environment, str(command.folder), said.name]
            assert self._launcher.stdin is not None
            assert self._launcher.stdout is not None
            self._launcher.stdin.write(json.dumps(order) + "\n")
            self._launcher.stdin.flush()
            answer: dict[str, float] = json.loads(self._launcher.stdout.readline())
            if answer["status"] != 0:
                raise CommandFailed(call, answer["status"], Path(said.name).read_text(errors="replace").strip())
        return answer
