"""Who may know whom. The layers are drawn in pyproject.toml; here they are held, and so is what an import costs."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE = "airflow_provider_wmigrate.engine"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def loaded_by(module: str) -> set[str]:
    """The top-level packages a fresh interpreter has loaded after one import."""
    program = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    answer = run(sys.executable, "-c", program)
    assert answer.returncode == 0, answer.stderr
    return set(answer.stdout.split())


def test_the_probe_sees_what_is_loaded() -> None:
    assert {"json", "yaml"} <= loaded_by("json, yaml")


@pytest.mark.parametrize(
    ("module", "never"),
    [
        (f"{ENGINE}.model", {"airflow", "fastapi", "psycopg", "pydantic", "postgast", "yaml"}),
        (f"{ENGINE}.plan.planner", {"airflow", "fastapi", "psycopg", "pydantic", "postgast", "yaml"}),
        (f"{ENGINE}.folder.folder", {"airflow", "fastapi", "psycopg", "pydantic", "postgast", "yaml"}),
        (f"{ENGINE}.plan.script_rules", {"airflow", "fastapi", "psycopg", "pydantic", "postgast", "yaml"}),
        (f"{ENGINE}.migrator", {"airflow", "fastapi", "pydantic", "postgast", "yaml"}),
    ],
)
def test_what_a_module_must_not_load(module: str, never: set[str]) -> None:
    assert loaded_by(module) & never == set()


def test_the_layers_hold() -> None:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    answer = run(sys.executable, "-c", program, "--config", "pyproject.toml", "--no-cache")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "0 broken" in answer.stdout


def test_no_circle_of_modules() -> None:
    """Not even inside a room, nor by imports for types alone."""
    graph = grimp.build_graph("airflow_provider_wmigrate", cache_dir=None)
    TopologicalSorter({m: graph.find_modules_directly_imported_by(m) for m in graph.modules}).prepare()


def test_the_engine_reads_no_environment_and_logs_nothing() -> None:
    """config.py alone is given the environment's values, by whoever calls it."""
    for file in sorted((ROOT / "airflow_provider_wmigrate" / "engine").rglob("*.py")):
        text = file.read_text()
        for word in (r"os\.environ", "getenv", "import logging", r"\bprint\("):
            assert not re.search(word, text), f"{file.name} has {word}"


def _fields_of_dataclasses(text: str) -> list[str]:
    """Fields of structs whose default is a dataclass's `field`: a struct would take that for the value itself."""
    if not re.search(r"^from dataclasses import .*\bfield\b", text, re.MULTILINE):
        return []
    classes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
    structs = [each for each in classes if any(word.arg == "frozen" for word in each.keywords)]
    return [
        f"{each.name}.{ast.unparse(line.target)}"
        for each in structs
        for line in each.body
        if isinstance(line, ast.AnnAssign) and line.value is not None and ast.unparse(line.value).startswith("field(")
    ]


def test_no_struct_has_the_field_of_a_dataclass() -> None:
    wrong = "from dataclasses import field\nclass A(Struct, frozen=True):\n    names: list[str] = field(default=())"
    assert _fields_of_dataclasses(wrong) == ["A.names"]
    package = ROOT / "airflow_provider_wmigrate"
    assert [found for file in package.rglob("*.py") for found in _fields_of_dataclasses(file.read_text())] == []


def test_contributing_draws_every_file_of_the_engine() -> None:
    """Each room with all its files, and no file that is not there."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    drawn = text[text.index("  engine/\n") :].split("```")[0]
    engine = ROOT / "airflow_provider_wmigrate" / "engine"
    rooms = {line.split("/")[0].strip(): line for line in drawn.splitlines() if re.match(r"    \w+/", line)}
    assert set(rooms) == {d.name for d in engine.iterdir() if (d / "__init__.py").exists()}
    for room, line in rooms.items():
        files = {f.stem for f in (engine / room).glob("*.py")} - {"__init__"}
        assert files <= set(re.findall(r"\w+", line)), f"{room}/ has files that CONTRIBUTING.md does not draw"
        assert (engine / room / "__init__.py").read_text().startswith('"""'), f"{room}/ does not say what it is for"
    ground = {f.stem for f in engine.glob("*.py")} - {"__init__"}
    assert ground <= set(re.findall(r"\w+", drawn))


LONGEST = 350
"""Lines of a module: longer ones have more than one duty."""


@pytest.mark.parametrize("folder", ["airflow_provider_wmigrate", "dev"])
def test_no_module_is_too_long(folder: str) -> None:
    lines = {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in (ROOT / folder).rglob("*.py")}
    assert lines
    assert {file: count for file, count in lines.items() if count > LONGEST} == {}
