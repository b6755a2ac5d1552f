"""An Airflow whose processes are started here: each leads a session of its own, is watched, and has a log."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dev.airflow_client import AirflowClient, AirflowServerError
from dev.watchdog import Watchdog, stop_sessions


class AirflowProcesses(AirflowClient):
    """What the demo and the deployment without containers have in common.

    :param log_dir: one file per process.
    """

    def __init__(self, log_dir: Path, url: str, *, user: str, password: str) -> None:
        self.log_dir = log_dir
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._watchdog = Watchdog()
        super().__init__(url, user=user, password=password)

    def launch(self, name: str, command: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        """Start a process in the folder."""
        with self.log_file(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._watchdog.watch(self.processes[name].pid)

    def await_end(self, name: str, seconds: float) -> None:
        """Of a process that ends by itself."""
        try:
            status = self.processes[name].wait(seconds)
        except subprocess.TimeoutExpired:
            raise AirflowServerError(f"{name} took more than {seconds:.0f} s: {self.log_tail(name)}") from None
        if status != 0:
            raise AirflowServerError(f"{name} ended with {status}: {self.log_tail(name)}")
        self._watchdog.forget(self.processes.pop(name).pid)

    def end(self, names: Iterable[str], seconds: float, polite: int = signal.SIGTERM) -> None:
        """The polite signal to the first process of each, and SIGKILL to all that is left of them after the time."""
        ended = [self.processes.pop(name) for name in list(names) if name in self.processes]
        stop_sessions({process.pid: (polite, signal.SIGKILL) for process in ended}, seconds)
        for process in ended:
            process.wait()
            self._watchdog.forget(process.pid)

    def check(self) -> None:
        """Raise if a process has ended by itself."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise AirflowServerError(f"{name} ended with {process.returncode}: {self.log_tail(name)}")

    def log_file(self, name: str) -> Path:
        return self.log_dir / f"{name}.log"

    def log_tail(self, component: str) -> str:
        """The last lines of a process's log, then its path."""
        file = self.log_file(component)
        lines = file.read_text(errors="replace").rstrip().splitlines() if file.exists() else []
        return "\n".join(["", *lines[-12:], f"(log: {file})"])


def surroundings() -> dict[str, str]:
    """What these processes have of the caller's environment.

    The caller's own AIRFLOW variables are left out: connections and settings of another Airflow must not leak into
    this one. The processes talk to one another on 127.0.0.1; a proxy for the outer world cannot reach that.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    proxied = inherited.get("NO_PROXY") or inherited.get("no_proxy")
    local = ",".join(filter(None, [proxied, "127.0.0.1,localhost"]))
    return {**inherited, "NO_PROXY": local, "no_proxy": local, "PYTHONUNBUFFERED": "1"}
