"""Which sessions the matrix has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from dev.server_binaries import MAJORS, NPM_VERSIONS, OLDEST_MAJOR

ROOT = Path(__file__).resolve().parents[2]


def test_each_python_once_each_server_once_and_the_oldest_together() -> None:
    command = [sys.executable, "-m", "nox", "--list", "--json"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    sessions = [(each["session"], each["python"]) for each in json.loads(listed)]
    pythons = [(f"python-{version}", version) for version in ("3.10", "3.11", "3.12", "3.13")]
    servers = [(f"postgresql(major={major})", "3.13") for major in (13, 14, 15, 16, 17, 18)]
    others = [("upgrades", "3.13"), ("lowest", "3.10"), ("extras", "3.13")]
    assert sessions == [*pythons, *servers, *others]


def test_every_supported_major_comes_from_one_place() -> None:
    """The system's is found first; the others are fetched."""
    assert min(MAJORS) == OLDEST_MAJOR
    assert all(version.startswith(f"{major}.") for major, version in NPM_VERSIONS.items())
    assert set(NPM_VERSIONS) <= set(MAJORS)
