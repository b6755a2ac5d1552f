"""The suite under load in its short form: every sub-command of ALTER TABLE on two tables, once there and back, while an
application uses them.

The long form is `make bystanders`; docs/bystanders.md says what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from load.cases import CASES
from load.measure import LOCK_BUDGET
from load.suite import OFF, against_the_order, sub_commands
from load.world import World, world


@pytest.fixture(scope="module")
def made() -> Iterator[World]:
    with world() as made:
        yield made


def test_nobody_else_pays_for_any_sub_command_of_alter_table(made: World, tmp_path: Path) -> None:
    felt = sub_commands(made, tmp_path / "short", CASES, 2)
    assert (felt.failed, felt.aborted) == ([], [])
    assert felt.log.statements > 1000
    assert felt.longest < LOCK_BUDGET + 0.1 + felt.noise


def test_what_the_application_felt_is_in_the_record(made: World, tmp_path: Path) -> None:
    """Its writers wait for a script that takes a second."""
    sleeps = "ALTER COLUMN c SET DEFAULT 1;\nSELECT pg_sleep(0.6)"
    felt = against_the_order(made, tmp_path / "felt", [sleeps])
    (window,) = felt.windows
    assert (felt.failed, felt.aborted) == ([], [])
    assert window.record is not None
    assert window.record.bystanders is not None
    told = (window.record.bystanders.longest_wait_ms or 0) / 1000
    assert told == pytest.approx(felt.longest_in(window), rel=0.2)
    assert window.record.bystanders.sessions == 4


def test_without_locks_first_the_application_pays(made: World, tmp_path: Path) -> None:
    """So the tests above can fail."""
    scripts = [f"ALTER COLUMN c SET DEFAULT {number}" for number in range(3)]
    felt = against_the_order(made, tmp_path / "off", scripts, execution={**OFF, "lock_attempts": 2})
    assert {each.sqlstate for each in felt.aborted} == {"40P01"}
