"""`wmigrate` as a person meets it: in a folder of their own, with a database of their own, and nothing else set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from airflow_provider_wmigrate.cli.main import main
from dev.server_binaries import client_program, find_bindir

FILES = {
    "001_shop.sql": "CREATE TABLE shop (id int);",
    "001_shop.rollback.sql": "DROP TABLE shop;",
    "002_price.sql": "ALTER TABLE shop ADD price int;\nINSERT INTO shop VALUES (1, 2), (3, 4);",
    "002_price.rollback.sql": "ALTER TABLE shop DROP price;",
    "003_view.sql": "CREATE VIEW dear AS SELECT * FROM shop WHERE price > 2;",
    "003_view.rollback.sql": "DROP VIEW dear;",
}

COMMAND = [sys.executable, "-m", "airflow_provider_wmigrate.cli"]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert not self.err, self.err
        return json.loads(self.out)


Wmigrate = Callable[..., Result]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No PG* variable of the machine reaches a test; whoever wants a folder finds an empty one."""
    for name in [name for name in os.environ if name.startswith(("PG", "DATABASE_URL")) and name != "PG_BINDIR"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "no-pgpass"))
    # A server from a package index brings pg_dump along, and nobody's PATH leads there.
    monkeypatch.setenv(
        "PATH", os.pathsep.join([os.environ["PATH"], str(client_program("pg_dump", find_bindir()).parent)])
    )
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def wmigrate(capsys: pytest.CaptureFixture[str]) -> Wmigrate:
    """Run the command in this process."""

    def run(*words: str) -> Result:
        try:
            code = main(words)
        except SystemExit as end:  # help and version
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return run


@pytest.fixture
def pg_environment(database: str) -> dict[str, str]:
    """What a person would export for the test's own database."""
    given = conninfo_to_dict(database)
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGDATABASE": "dbname"}
    return {name: str(given[key]) for name, key in names.items()}


@pytest.fixture
def shop(tmp_path: Path, pg_environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with three pending migrations and a target in the environment."""
    for name, value in pg_environment.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "migrations"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command in a process of its own, without a terminal."""

    def run(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **more}
        return subprocess.run([*COMMAND, *words], text=True, check=False, **more)

    return run
