"""``dev/timescale_root.py`` where it cannot work: one sentence that says why and what next. That it works is shown by
``make test-timescale``, which stands on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dev.server_binaries import ClusterError
from dev.timescale_root import timescale_server


def refusal() -> str:
    with pytest.raises(ClusterError) as refused, timescale_server():
        pass
    return str(refused.value)


def test_a_named_server_without_timescaledb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "pg_config"
    program.write_text(f"#!/bin/sh\necho {tmp_path}\n")
    program.chmod(0o755)
    monkeypatch.setenv("TIMESCALE_BINDIR", str(tmp_path))
    control = tmp_path / "extension" / "timescaledb.control"
    assert refusal() == f"TIMESCALE_BINDIR={tmp_path} is a PostgreSQL without TimescaleDB: {control} is not there"


def test_a_named_folder_that_is_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMESCALE_BINDIR", str(tmp_path))
    assert refusal().startswith(f"TIMESCALE_BINDIR={tmp_path} is no bin folder of a PostgreSQL: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may")
def test_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIMESCALE_BINDIR", raising=False)
    assert refusal().endswith("as root only: set TIMESCALE_BINDIR")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may")
def test_without_the_tool_that_unpacks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIMESCALE_BINDIR", raising=False)
    monkeypatch.setenv("WMIGRATE_TIMESCALE_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal().endswith("is not installed: apt-get install mmdebstrap")
    assert list(tmp_path.iterdir()) == [], "nothing half made"
