"""What a call costs, what it loads, and where else the table of verbs is used: Airflow and the shells."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_wmigrate.cli.arguments import AIRFLOW, COMMON
from airflow_provider_wmigrate.cli.verbs import VERBS, options

COMMAND = [sys.executable, "-m", "airflow_provider_wmigrate.cli"]
HEAVY = {"airflow", "psycopg", "pydantic", "rich", "yaml", "postgast", "fastapi"}


def loaded_by(words: list[str]) -> set[str]:
    """The top-level packages a fresh interpreter has loaded after one call."""
    program = (
        f"import sys; from airflow_provider_wmigrate.cli.__main__ import main; sys.argv[1:] = {words!r}\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "LOADED" in answer.stdout, answer.stderr
    return set(answer.stdout.rpartition("LOADED")[2].split())


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (["--help"], set()),
        (["statsu"], set()),
        (["completion", "bash"], set()),
        (["new", "--templates"], {"yaml"}),
        (["graph"], {"yaml"}),
        (["check", "--offline"], {"yaml", "postgast"}),
        (["status"], {"yaml", "psycopg"}),
        (["up", "--yes"], {"yaml", "psycopg", "postgast"}),
        (["health"], {"yaml", "psycopg", "postgast"}),
    ],
)
def test_a_verb_loads_what_it_needs_and_never_airflow(shop: Path, words: list[str], allowed: set[str]) -> None:
    assert loaded_by(words) & HEAVY <= allowed


@pytest.mark.parametrize("words", [["status"], ["plan"], ["up", "--yes"], ["graph", "--statuses"], ["history"]])
def test_a_look_loads_nothing_that_acts_or_reads_sql(shop: Path, words: list[str]) -> None:
    """A third of a call's time is the loading of modules."""
    assert subprocess.run([*COMMAND, "up", "--yes"], capture_output=True, check=False).returncode == 0
    program = (
        f"import sys; from airflow_provider_wmigrate.cli.__main__ import main; sys.argv[1:] = {words!r}; main()\n"
        "print('LOADED', *(name for name in sys.modules if name.startswith('airflow_provider_wmigrate.')))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = answer.stdout.rpartition("LOADED")[2].split()
    package = "airflow_provider_wmigrate."
    acting = ("cli.run", "cli.progress", "engine.migrator", "engine.run.", "engine.sql.", "engine.plan.script_rules")
    assert [name for name in loaded if name.removeprefix(package).startswith(acting)] == []
    assert len(loaded) < 80


def test_what_ends_is_not_looked_through_for_garbage(shop: Path) -> None:
    """That costs a sixth of a short call."""
    program = (
        "import gc, sys; from airflow_provider_wmigrate.cli.__main__ import main; sys.argv[1:] = ['status']; main()\n"
        "print('FROZEN', gc.get_freeze_count() > 10_000)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.endswith("FROZEN True\n")


def test_it_starts_hardly_slower_than_what_it_stands_on(shop: Path) -> None:
    """As a ratio of processor times, measured in turns: a busy machine slows both sides."""

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def fastest(command: list[str]) -> float:
        times = []
        for _ in range(4):
            before = spent()
            subprocess.run(command, capture_output=True, check=True)
            times.append(spent() - before)
        return min(times)

    assert fastest([*COMMAND, "--help"]) < 8 * fastest([sys.executable, "-c", "import argparse, json, logging"])
    libraries = "import psycopg, yaml"
    assert fastest([*COMMAND, "status"]) < 4 * fastest([sys.executable, "-c", libraries])


# Airflow


def test_airflow_gets_every_verb_and_option(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = (
        "import json; from airflow_provider_wmigrate.cli.airflow_commands import get_cli_commands\n"
        "(group,) = get_cli_commands()\n"
        "print('TABLE', json.dumps({c.name: sorted(f for a in c.args for f in a.flags) for c in group.subcommands}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    table = json.loads(answer.stdout.rpartition("TABLE")[2])
    assert table == {
        verb.name: sorted(
            flag
            for argument in (*(a for a in verb.arguments if not a.is_option), *options(verb, AIRFLOW))
            for flag in argument.flags
        )
        for verb in VERBS
        if not verb.only_wmigrate
    }


def test_the_definition_is_light() -> None:
    program = (
        "import sys, airflow_provider_wmigrate.cli.airflow_commands; print(*{n.partition('.')[0] for n in sys.modules})"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(answer.stdout.split()) & HEAVY == set()


def test_the_real_airflow_command(shop: Path, pg_environment: dict[str, str], tmp_path: Path) -> None:
    airflow = Path(sys.executable).parent / "airflow"
    if not airflow.exists():
        pytest.skip("there is no airflow command beside this Python")
    given = pg_environment
    connection = {"conn_type": "postgres", "host": given["PGHOST"], "port": int(given["PGPORT"]),
                  "login": given["PGUSER"], "schema": given["PGDATABASE"], "password": "s3cret"}  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_SHOP": json.dumps(connection),
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(airflow), "wmigrate", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    status = run("status", "--conn-id", "shop", "--json")
    assert status.returncode == 0, status.stderr
    data = json.loads(status.stdout)
    assert data["target"]["source"] == "connection shop"
    assert data["counts"] == {"pending": 3}
    assert "s3cret" not in status.stdout + status.stderr
    unknown = run("status", "--conn-id", "shoop")
    assert unknown.returncode == 1
    assert unknown.stderr.strip().splitlines()[-1].startswith("airflow wmigrate: The conn_id `shoop` isn't defined")
    nobody = run("up", "--conn-id", "shop")
    assert (nobody.returncode, "there is nobody to ask; give --yes" in nobody.stderr) == (2, True)
    declared = run("baseline", "2", "--no-compare", "--reason", "it was there", "--conn-id", "shop", "--yes")
    assert declared.returncode == 0, declared.stderr
    assert "001_shop: declared applied\n002_price: declared applied\n" in declared.stdout


# Shells


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    return {
        shell: subprocess.run([*COMMAND, "completion", shell], capture_output=True, text=True, check=True).stdout
        for shell in ("bash", "zsh", "fish")
    }


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_knows_every_verb_and_option(scripts: dict[str, str], shell: str) -> None:
    script = scripts[shell]
    for verb in VERBS:
        assert verb.name in script
        for argument in (*verb.arguments, *COMMON):
            for flag in argument.flags if argument.is_option else argument.choices:
                as_fish = f"-l {flag[2:]}" if flag[:2] == "--" else f"-s {flag[1:]}" if flag[0] == "-" else flag
                assert (as_fish if shell == "fish" else flag) in script
    if shutil.which(shell):
        checked = [shell, "--no-execute"] if shell == "fish" else [shell, "-n"]
        assert subprocess.run(checked, input=script, text=True, capture_output=True, check=False).stderr == ""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("wmigrate sta", "status"),
        ("wmigrate up --d", "--dry-run --dsn"),
        ("wmigrate new x --template hyp", "hypertable"),
        ("wmigrate graph --format ", "mermaid dot"),
        ("wmigrate audit ver", "verify --verbose"),
        ("wmigrate --folder migr", "migrations"),
        ("wmigrate --folder migrations pl", "plan"),
        ("wmigrate up --to ", ""),
        ("wmigrate completion f", "fish"),
    ],
)
def test_bash_completes(shop: Path, scripts: dict[str, str], line: str, words: str) -> None:
    *before, last = line.split(" ")
    typed = " ".join(f"'{word}'" for word in (*before, last))
    program = f'{scripts["bash"]}\nCOMP_WORDS=({typed}); COMP_CWORD={len(before)}; _wmigrate; echo "${{COMPREPLY[*]}}"'
    answer = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    found: Callable[[str], set[str]] = lambda text: set(text.split())  # noqa: E731
    if last == "ver":
        assert "verify" in found(answer.stdout)
    else:
        assert found(answer.stdout) == found(words)


def test_an_answer_in_any_locale(shop: Path, process: Any) -> None:
    (shop / "migration_config.yaml").write_text('migrations: [{version: 1, description: "ünï"}]\n')
    answer = process("status", "--json", env={**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"})
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["migrations"][0]["description"] == "ünï"
