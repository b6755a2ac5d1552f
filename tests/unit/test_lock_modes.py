"""The table of lock modes, beside the one in PostgreSQL's manual."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.engine.lock_modes import LockMode

MANUAL = """
AccessShare           .......X
RowShare              ......XX
RowExclusive          ....XXXX
ShareUpdateExclusive  ...XXXXX
Share                 ..XX.XXX
ShareRowExclusive     ..XXXXXX
Exclusive             .XXXXXXX
AccessExclusive       XXXXXXXX
"""


@pytest.mark.parametrize("row", MANUAL.split("\n")[1:-1])
def test_modes_conflict_as_the_manual_says(row: str) -> None:
    name, marks = row.split()
    mode = LockMode.of(name + "Lock")
    assert "".join("X" if mode.conflicts(other) else "." for other in LockMode) == marks


def test_a_mode_has_the_names_that_the_server_gives_it() -> None:
    assert LockMode.SHARE_UPDATE_EXCLUSIVE.keyword == "SHARE UPDATE EXCLUSIVE"
    assert LockMode.SHARE_UPDATE_EXCLUSIVE.shown == "ShareUpdateExclusiveLock"
