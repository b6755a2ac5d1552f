"""A terminal for the command, as a person has one."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Mapping

COMMAND = [sys.executable, "-m", "airflow_provider_wmigrate.cli"]
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-7]|38)(?:;[0-9;]*)?m")


class Terminal:
    """The command in a terminal of its own.

    :param columns: its width.
    """

    def __init__(self, *words: str, environment: Mapping[str, str] | None = None, columns: int = 200) -> None:
        self.text = ""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            heed_ctrl_c()
            os.execve(COMMAND[0], [*COMMAND, *words], {**os.environ, "TERM": "xterm-256color", **(environment or {})})

    def until(self, text: str, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < end, f"{text!r} never came: {self.text!r}"
            if not self._read():
                raise AssertionError(f"it ended without {text!r}: {self.text!r}")

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def end(self) -> int:
        while self._read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    @property
    def plain(self) -> str:
        return ESCAPE.sub("", self.text).replace("\r", "")

    def _read(self) -> bool:
        if select.select([self._fd], [], [], 0.1)[0]:
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                return False
            self.text += data.decode(errors="replace")
            return bool(data)
        return True


def heed_ctrl_c() -> None:
    """A test run in the background of a script has SIGINT ignored; a program in a terminal has not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
