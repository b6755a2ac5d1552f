"""`make test-matrix`: the built wheel, installed as a stranger would, on every Python and every PostgreSQL found here.

Each row: a virtual environment with the wheel, `pip check`, `airflow providers list`, and tests that are run from the
sdist, without the checkout's own package. Environments are kept in .test/matrix and made anew with --fresh.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from dev.matrix_places import default_major, find_pythons, find_servers
from dev.matrix_plan import EXTRAS, LOWEST, Environment, Row, plan
from dev.server_binaries import ClusterError

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".test" / "matrix"
PACKAGE = "airflow_provider_wmigrate"
TOOLS = ("pytest>=8.4", "pytest-timeout>=2.4", "aiosmtpd>=1.4.6")
CORE = ("tests/unit", "tests/postgres/test_migrator.py", "tests/postgres/test_ledger.py")
FULL = ("tests/unit", "tests/postgres", "tests/cli", "tests/airflow")
BY_EXTRA = ("tests/operating/test_alerts.py", "tests/operating/test_metrics.py")
CHECKOUT_ONLY = ("--ignore=tests/unit/test_architecture.py", "--ignore=tests/unit/test_docs.py")
"""What they test is the source tree, not an installed package."""


@dataclass
class Result:
    """What became of a row: the outcome of each step, in order."""

    row: Row
    steps: dict[str, str] = field(default_factory=dict)
    airflow: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return bool(self.steps) and all(outcome != "failed" for outcome in self.steps.values())


class Failed(Exception):
    """A step failed; the row's log says why."""


class Run:
    """One row at work.

    :param log: file that gets everything the steps print.
    """

    def __init__(self, row: Row, python: Path, bindir: Path, log: Path) -> None:
        self.result = Result(row)
        self._python, self._bindir, self._log = python, bindir, log
        self._venv = PLACE / row.environment.name
        self._log.unlink(missing_ok=True)

    def all(self, tests: list[str], wheel: Path, sources: Path) -> Result:
        began = time.monotonic()
        try:
            self._step("install", lambda: self._install(wheel))
            self._step("pip check", self._check)
            self._step("provider", self._provider)
            self._step("tests", lambda: self._tests(tests, sources))
        except Failed:
            pass
        self.result.seconds = time.monotonic() - began
        return self.result

    def _step(self, name: str, work: Callable[[], str]) -> None:
        self.result.steps[name] = "failed"
        self.result.steps[name] = work()

    def _install(self, wheel: Path) -> str:
        stamp = self._venv / "installed"
        wanted = f"{wheel.name} {wheel.stat().st_mtime_ns}"
        if stamp.exists() and stamp.read_text() == wanted:
            return "kept"
        shutil.rmtree(self._venv, ignore_errors=True)
        self._call([str(self._python), "-m", "venv", str(self._venv)])
        environment = self.result.row.environment
        extras = "[openlineage,smtp,statsd]" if environment.kind == "extras" else ""
        pins = "constraints-lowest.txt" if environment.kind == "lowest" else "constraints.txt"
        uv = shutil.which("uv")
        tool = [uv, "pip", "install", "--python", self._bin("python")] if uv else [self._bin("pip"), "install"]
        self._call([*tool, "--quiet", "--constraint", str(ROOT / pins), f"{wheel}{extras}", *TOOLS])
        stamp.write_text(wanted)
        return "ok"

    def _check(self) -> str:
        self._call([self._bin("pip"), "check"])
        return "ok"

    def _provider(self) -> str:
        home = self._venv / "airflow"
        said = self._call([self._bin("airflow"), "providers", "list", "-o", "plain"], AIRFLOW_HOME=str(home))
        where = self._call([self._bin("python"), "-c", f"import {PACKAGE} as p; print(p.__file__)"])
        self.result.airflow = self._call([self._bin("airflow"), "version"], AIRFLOW_HOME=str(home)).split()[-1]
        if "airflow-provider-wmigrate" not in said or str(self._venv) not in where:
            raise Failed
        return "listed"

    def _tests(self, tests: list[str], sources: Path) -> str:
        """Each part of the tests in a process of its own, as the Makefile runs them."""
        counts: Counter[str] = Counter()
        for _, part in groupby(tests, key=lambda path: Path(path).parts[1]):
            command = [self._bin("python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", *CHECKOUT_ONLY, *part]
            said = self._call([*command, "-m", "not e2e"], cwd=sources, PG_BINDIR=str(self._bindir))
            for number, outcome in re.findall(r"(\d+) (passed|skipped)", said.splitlines()[-1]):
                counts[outcome] += int(number)
        return ", ".join(f"{number} {outcome}" for outcome, number in counts.items()) or "none"

    def _bin(self, name: str) -> str:
        return str(self._venv / "bin" / name)

    def _call(self, command: list[str], *, cwd: Path | None = None, **environ: str) -> str:
        done = subprocess.run(
            command,
            cwd=cwd or self._log.parent,
            env={**_clean(), **environ},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        with self._log.open("a") as log:
            log.write(f"$ {' '.join(command)}\n{done.stdout}\n")
        if done.returncode != 0:
            raise Failed
        return done.stdout.strip()


def _clean() -> dict[str, str]:
    """Without what would lead a fresh environment to this one."""
    mine = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "AIRFLOW_HOME", "AIRFLOW_CONFIG")
    return {name: value for name, value in os.environ.items() if name not in mine}


def main() -> int:
    arguments = _arguments()
    os.nice(5)
    try:
        pythons, servers, major = find_pythons(), find_servers(), default_major()
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    rows = [row for row in plan(pythons, servers, major) if not arguments.rows or row.name in arguments.rows]
    if not rows:
        print("no such row; there are:", *(row.name for row in plan(pythons, servers, major)), file=sys.stderr)
        return 2
    if arguments.fresh:
        shutil.rmtree(PLACE, ignore_errors=True)
    wheel, sources = _built()
    results = []
    for row in rows:
        log = PLACE / f"{row.name}.log"
        tests = _tests_of(row.environment, full=arguments.full)
        run = Run(row, pythons[row.environment.python], servers[row.major], log)
        result = run.all(tests, wheel, sources)
        results.append(result)
        outcome = "passed" if result.passed else f"FAILED, see {log}"
        print(f"{row.name}: {outcome} in {result.seconds:.0f} s", flush=True)
    _show(results)
    return 0 if all(result.passed for result in results) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make test-matrix", description=__doc__)
    parser.add_argument("rows", nargs="*", help="names of rows, such as py3.12, pg16, lowest, extras; none: all")
    parser.add_argument("--full", action="store_true", help="every test of unit, postgres, cli and airflow")
    parser.add_argument("--fresh", action="store_true", help="make the environments anew")
    return parser.parse_args()


def _tests_of(environment: Environment, *, full: bool) -> list[str]:
    if environment.kind == EXTRAS:
        return list(BY_EXTRA)
    return list(FULL if full else (*CORE, "tests/airflow") if environment.kind == LOWEST else CORE)


def _built() -> tuple[Path, Path]:
    """The wheel, and the sdist unpacked without the package: what is tested must come from the wheel."""
    (wheel,) = (ROOT / "dist").glob("*.whl")
    (archive,) = (ROOT / "dist").glob("*.tar.gz")
    PLACE.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(PLACE / "sources", ignore_errors=True)
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extraction_filter = tarfile.data_filter
        tar.extractall(PLACE / "sources")
    (sources,) = (PLACE / "sources").iterdir()
    shutil.rmtree(sources / PACKAGE)
    return wheel, sources


def _show(results: list[Result]) -> None:
    from rich.console import Console
    from rich.table import Table

    steps = ("install", "pip check", "provider", "tests")
    table = Table("Row", "Python", "PostgreSQL", "Airflow", *steps, "Seconds")
    for result in results:
        environment = result.row.environment
        cells = (result.row.name, environment.python, str(result.row.major), result.airflow)
        outcomes = (result.steps.get(step, "") for step in steps)
        style = "" if result.passed else "red"
        table.add_row(*cells, *outcomes, f"{result.seconds:.0f}", style=style)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    sys.exit(main())
