"""The workflows: valid, and made of make targets that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_there_are_two() -> None:
    assert [file.stem for file in WORKFLOWS] == ["release", "test"]


def test_they_follow_the_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*command, *map(str, WORKFLOWS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_every_make_target_exists(file: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    (parts,) = re.findall(r"^PARTS := (.*)$", makefile, re.M)
    targets = {*re.findall(r"^([\w-]+):", makefile, re.M), *parts.split()}
    used = re.findall(r"run: (?:sudo )?make ([\w-]+)", file.read_text())
    assert used
    assert set(used) <= targets


def test_they_install_and_test_as_ci_run_does() -> None:
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yaml").read_text())["jobs"]["test"]
    there = [step["run"].removeprefix("sudo ") for step in job["steps"] if "run" in step]
    ours = re.findall(r"^make .*$", (ROOT / ".ci" / "run").read_text(), re.M)
    assert there == ours == ["make test-system", "make test"]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_they_may_do_as_little_as_possible(file: Path) -> None:
    workflow = yaml.safe_load(file.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    more = {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
    assert more == {"release": {"publish": {"id-token": "write"}, "announce": {"contents": "write"}}}.get(file.stem, {})
    assert all(job["timeout-minutes"] <= 120 for job in workflow["jobs"].values())
    assert "secrets." not in file.read_text()
    assert all(re.search(r"@(v\d+|release/v\d+)$", step["uses"]) for step in steps(workflow) if "uses" in step)
