"""Follow a page of docs/ as a reader does, and compare what its commands print: `python -m dev.walkthrough PAGE ...`.

Every page gets an empty folder, one shell and a PostgreSQL server on which its databases do not exist yet. With
``--update`` what was printed is written into the page; only what differs each time (times, ports, process numbers,
hashes) may differ from it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dev.cluster import Cluster
from dev.ports import free_ports
from dev.timescale_root import timescale_server
from dev.watchdog import Watchdog, stop_sessions

PATIENCE = 300.0
"""Seconds for one command."""
PORT_OF_AIRFLOW = "8080"
NEEDS_TIMESCALEDB = "<!-- needs timescaledb -->"
"""In a page that is followed on a native TimescaleDB of the community edition."""

_CHANGES = {
    r"\b(127\.0\.0\.1|localhost):\d+": "HOST",
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(\+00:00|Z| UTC)?": "TIME",
    r"\b\d\d:\d\d:\d\d\b": "TIME",
    r"\b\d+(\.\d+)? (ms|s|min)\b": "DURATION",
    r"\b\d+(\.\d+)? [kM]B\b": "SIZE",
    r"\b(server process|pid) \d+": "PROCESS",
    r"\b\w+@[\w.-]+": "WHO",
    r"\b[0-9a-f]{64}\b": "HASH",
    r"\d{8}T\d{6}Z-[0-9a-f]{6}": "MOMENT",
    r"PostgreSQL \d+\.\d+": "SERVER",
    r"(001_existing_schema: applied in DURATION:) \d+": r"\1 SOME",  # what pg_dump writes depends on its version
    r" {2,}": "  ",
    r"-{3,}": "---",
    r" +$": "",
}
"""What is different each time."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a command printed, and the status it ended with."""

    step: RunCommand
    output: str
    status: int

    @property
    def as_the_page_says(self) -> bool:
        return self.step.output is None or _matches(normalised(self.step.output), normalised(self.output))


class WalkError(Exception):
    """A page cannot be followed any further."""


class Shell:
    """One bash for a whole page: what a command exports is there for the next one."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
        self._status = 0
        self._watchdog = Watchdog()
        self._watchdog.watch(self._process.pid, signal.SIGTERM, signal.SIGKILL)
        self._watchdog.remove(folder)
        self.run("set -m")  # as in a terminal: `kill %1` ends all processes of a job

    def run(self, command: str) -> tuple[str, int]:
        """What it printed, both streams together, and its status. What is left of it in the background stays silent."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        marker = f"-- {os.urandom(8).hex()}"
        stop = threading.Timer(PATIENCE, self._kill)
        stop.start()
        try:
            # `$?` is still that of the command before.
            self._process.stdin.write(f"{{ (exit {self._status})\n{command}\n}} </dev/null\n")
            self._process.stdin.write(f"printf '\\n%s %d\\n' '{marker}' $?\n")
            self._process.stdin.flush()
            lines: list[str] = []
            for line in self._process.stdout:
                if line.startswith(marker):
                    self._status = int(line.removeprefix(marker))
                    return "".join(lines).removesuffix("\n"), self._status
                lines.append(line)
        finally:
            stop.cancel()
        raise WalkError(f"`{command}` ended the shell or took longer than {PATIENCE:.0f} s:\n{''.join(lines)}")

    def _kill(self) -> None:
        stop_sessions({self._process.pid: (signal.SIGKILL, signal.SIGKILL)}, 0)

    def close(self) -> None:
        """End it, and everything it started."""
        stop_sessions({self._process.pid: (signal.SIGTERM, signal.SIGKILL)}, 0)
        self._process.wait()
        self._watchdog.forget(self._process.pid)
        self._watchdog.dismiss()


def walk(page: str, cluster: Cluster) -> Iterator[Told]:
    """Do what the page says, one command after another.

    :raises WalkError: a command that prepares something failed, or one that fails is shown as if it had not.
    """
    with tempfile.TemporaryDirectory(prefix="wmigrate-page-") as name, _databases_of_its_own(cluster):
        folder = Path(name)
        api_port, *log_ports = map(str, free_ports(3))
        shell = Shell(folder, _environment(folder, cluster, api_port, log_ports))
        try:
            todo = list(steps(page))
            for step, following in zip(todo, [*todo[1:], None], strict=True):
                if isinstance(step, WriteFile):
                    file = folder / step.name
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(step.text)
                    continue
                output, status = shell.run(step.command.replace(f":{PORT_OF_AIRFLOW}", f":{api_port}"))
                asked = isinstance(following, RunCommand) and following.command == "echo $?"
                if status and not asked:
                    raise WalkError(
                        f"line {step.line}: `{step.command}` ended with {status}: "
                        f"let `$ echo $?` follow if that is right\n{output}"
                    )
                yield Told(step, output.replace(str(folder), "/home/ann/shop"), status)
        finally:
            shell.close()


@contextlib.contextmanager
def _databases_of_its_own(cluster: Cluster) -> Iterator[None]:
    """Databases and roles that the page makes go with it."""
    queries = {"DATABASE": "SELECT datname FROM pg_database", "ROLE": "SELECT rolname FROM pg_roles"}
    before = {kind: cluster.execute(query) for kind, query in queries.items()}
    try:
        yield
    finally:
        for kind, query in queries.items():
            for (name,) in set(cluster.execute(query)) - set(before[kind]):
                force = " WITH (FORCE)" if kind == "DATABASE" else ""
                cluster.execute(f'DROP {kind} "{name}"{force}')


def _environment(folder: Path, cluster: Cluster, api_port: str, log_ports: list[str]) -> dict[str, str]:
    """Of this machine's own only where programs are. The ports stand for the usual ones, which may be taken here."""
    return {
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), str(cluster.bindir), os.environ.get("PATH", "")]),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "LOGNAME": "ann",
        "USER": "ann",
        "PGPORT": str(cluster.port),
        "PGPASSFILE": str(folder / "no-pgpass"),
        "AIRFLOW__API__PORT": api_port,
        "AIRFLOW__API__BASE_URL": f"http://localhost:{api_port}",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": log_ports[0],
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": log_ports[1],
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def normalised(text: str) -> list[str]:
    """Its lines without what is different each time."""
    for pattern, word in _CHANGES.items():
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return text.rstrip("\n").splitlines()


def _matches(said: list[str], printed: list[str]) -> bool:
    """Line by line; a line ``...`` in the page stands for any number of lines."""
    if not said or said[0] != "...":
        return said[:1] == printed[:1] and (not said or _matches(said[1:], printed[1:]))
    return any(_matches(said[1:], printed[at:]) for at in range(len(printed) + 1))


def updated(page: str, told: list[Told], port: int) -> str:
    """The page with what its commands printed, where that is something else than the page says."""
    for answer in reversed(told):
        if not answer.as_the_page_says:
            text = answer.output.rstrip("\n").replace(f"localhost:{port}", "localhost:5432")
            text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
            page = page[: answer.step.begin] + text + ("\n" if text else "") + page[answer.step.end :]
    return page


def main() -> int:
    """Follow the named pages."""
    parser = argparse.ArgumentParser(prog="python -m dev.walkthrough", description=__doc__)
    parser.add_argument("pages", nargs="+", type=Path, metavar="PAGE")
    parser.add_argument("--update", action="store_true", help="write what was printed into the page")
    options = parser.parse_args()
    failed = False
    for file in options.pages:
        page = file.read_text(encoding="utf-8")
        with timescale_server() if NEEDS_TIMESCALEDB in page else Cluster.temporary() as cluster:
            told: list[Told] = []
            try:
                for answer in walk(page, cluster):
                    told.append(answer)
                    if not answer.as_the_page_says:
                        print(f"{file}:{answer.step.line}: $ {answer.step.command}\n{answer.output}")
            except WalkError as error:
                failed = True
                print(f"{file}: {error}")
            failed |= not options.update and not all(answer.as_the_page_says for answer in told)
            if options.update:
                file.write_text(updated(page, told, cluster.port), encoding="utf-8")
            print(f"{file}: {len(told)} commands")
    return int(failed)


_BLOCK = re.compile(
    r"(?:^`(?P<file>[\w./-]+)`:\n\n(?!```console))?^```(?P<language>\w+)\n(?P<fenced>.*?)^```$"
    r"|^<!-- setup\n(?P<setup>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class WriteFile:
    """A file as the page shows it."""

    line: int
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class RunCommand:
    """A command, and what the page says that it prints; `output` is None where the page says nothing (setup).

    `begin` and `end` are where that output stands in the page.
    """

    line: int
    command: str
    output: str | None
    begin: int
    end: int


Step = WriteFile | RunCommand


def steps(page: str) -> Iterator[Step]:
    """Everything a reader does."""
    for block in _BLOCK.finditer(page):
        line = page.count("\n", 0, block.start()) + 1
        if block["setup"] is not None:
            yield RunCommand(line, block["setup"].rstrip(), None, block.end(), block.end())
        elif block["file"]:
            yield WriteFile(line, block["file"], block["fenced"])
        elif block["language"] == "console":
            yield from _commands(page, block.start("fenced"), block.end("fenced"))


def _commands(page: str, begin: int, end: int) -> Iterator[RunCommand]:
    """A command goes on in the next line after a backslash; everything else up to the next ``$`` is its output."""
    for found in re.finditer(r"^\$ ((?:.*\\\n)*.*\n)((?:(?!\$ ).*\n)*)", page[begin:end], re.MULTILINE):
        line = page.count("\n", 0, begin + found.start()) + 1
        yield RunCommand(line, found[1].rstrip("\n"), found[2], begin + found.start(2), begin + found.end(2))


if __name__ == "__main__":
    sys.exit(main())
