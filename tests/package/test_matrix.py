"""Which rows the matrix has, and which places it finds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dev.matrix_places import MAJORS, NPM_VERSIONS, find_pythons
from dev.matrix_plan import Environment, plan
from dev.server_binaries import OLDEST_MAJOR

PYTHONS = {version: Path(version) for version in ("3.9", "3.13", "3.10")}
SERVERS = {major: Path(str(major)) for major in (18, 14, 15)}


def test_each_python_once_each_server_once_and_the_oldest_together() -> None:
    rows = [(row.name, row.environment, row.major) for row in plan(PYTHONS, SERVERS, 15)]
    assert rows == [
        ("py3.9", Environment("3.9"), 15),
        ("py3.10", Environment("3.10"), 15),
        ("py3.13", Environment("3.13"), 15),
        ("pg14", Environment("3.13"), 14),
        ("pg18", Environment("3.13"), 18),
        ("lowest", Environment("3.9", "lowest"), 14),
        ("extras", Environment("3.13", "extras"), 15),
    ]


def test_every_supported_major_comes_from_one_place() -> None:
    """Debian's is found first; the others are fetched."""
    assert min(MAJORS) == OLDEST_MAJOR
    assert all(version.startswith(f"{major}.") for major, version in NPM_VERSIONS.items())
    assert set(NPM_VERSIONS) <= set(MAJORS)


def test_the_environments_have_names_of_their_own() -> None:
    names = [row.environment.name for row in plan(PYTHONS, SERVERS, 15)]
    assert sorted(set(names)) == ["py3.10", "py3.13", "py3.13-extras", "py3.9", "py3.9-lowest"]


def test_pythons_are_found_and_what_does_not_run_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "python3.12"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PYTHONS", f"{broken}:/nowhere/python:{sys.executable}")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert list(find_pythons()) == [f"{sys.version_info[0]}.{sys.version_info[1]}"]
