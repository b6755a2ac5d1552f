"""Programs that a machine may lack: where they are looked for, what a test says without one, the table in the end."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dev import programs
from dev.programs import PACKAGES, browser_environment, find, install_system, lacking
from dev.skipped import ROOT, add_to_list, table
from tests.needs import lacks, need


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder in which programs are looked for."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "SERVERS", str(tmp_path))
    monkeypatch.setenv("PG_BINDIR", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    return tmp_path


def program(folder: Path, name: str, script: str = "") -> str:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}")
    file.chmod(0o755)
    return str(file)


def test_the_systems_programs_come_first(only: Path) -> None:
    there = {name: program(only, name) for name in PACKAGES}
    program(only, "initdb")
    assert {name: find(name) for name in PACKAGES} == there
    assert lacking(system=True) == []
    assert need("curl", "node") == [there["curl"], there["node"]]


def test_what_an_index_gave_is_none_of_the_system(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = only / "chromium-of-npm"
    browser.mkdir()
    monkeypatch.setattr(programs, "BROWSER", browser)
    place = program(browser, "chromium")
    assert (find("chromium"), find("chromium", system=True)) == (place, None)
    libraries, fonts = str(browser / "al2023" / "lib"), str(browser / "fonts")
    assert browser_environment(place) == {"LD_LIBRARY_PATH": libraries, "FONTCONFIG_PATH": fonts}
    assert browser_environment("/usr/bin/chromium") == {}


def test_a_script_of_this_environment_is_no_program_of_the_system(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts the real one as a child, which would be left behind when it is stopped."""
    monkeypatch.setattr(sys, "executable", str(only / "python"))
    monkeypatch.setattr(programs, "SERVERS", "")
    program(only, "node")
    assert find("node", system=True) is None


def test_without_a_program_a_test_is_skipped_and_in_ci_it_fails(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "curl is not installed (as root: make test-system, or Debian's package curl)"
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception) as skipped:
        need("curl")
    assert str(skipped.value) == reason
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception) as failed:
        lacks("curl")
    assert str(failed.value) == f"CI must have everything: {reason}"


def test_the_packages_of_what_is_missing(
    only: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = only / "asked"
    program(only, "apt-get", f'echo "$@" >> {asked}')
    for name in PACKAGES:
        if name not in ("curl", "redis-server"):
            program(only, name)
    program(only, "initdb")
    code = install_system()
    if os.geteuid() == 0:
        wanted = ["update -qq", "install -y -qq --no-install-recommends curl redis-server"]
        assert (code, asked.read_text().splitlines()) == (0, wanted)
    else:
        assert (code, asked.exists()) == (1, False)
        assert capsys.readouterr().err == "only root can install curl redis-server: run this as root\n"


def test_the_table_of_what_was_skipped(tmp_path: Path) -> None:
    listed = tmp_path / "new" / "skipped"
    one = (str(ROOT / "tests" / "postgres" / "test_pooler.py"), 92, "Skipped: pgbouncer is not installed")
    add_to_list(listed, [one, one])
    add_to_list(listed, [("tests/web/test_fuzz.py", 1, "Skipped: no fuzzing")])
    assert table(listed.read_text().splitlines()).splitlines() == [
        "skipped: 3",
        "  file                           tests  why",
        "  tests/postgres/test_pooler.py      2  pgbouncer is not installed",
        "  tests/web/test_fuzz.py             1  no fuzzing",
    ]
    assert table([]) == ""
