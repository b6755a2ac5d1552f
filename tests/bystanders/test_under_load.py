"""The suite under load in its short form: every sub-command of ALTER TABLE on two tables, once there and back, while an
application uses them.

The long form is `make bystanders`; docs/bystanders.md says what is measured.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from load.application import Application, Load
from load.cases import CASES, Case
from load.measure import BOUND, Felt, Window
from load.suite import OFF, against_the_order, sub_commands
from load.world import TABLES, World, world
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.record import Record
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def made() -> Iterator[World]:
    with world() as made:
        yield made


def test_nobody_else_pays_for_any_sub_command_of_alter_table(made: World, tmp_path: Path) -> None:
    felt = sub_commands(made, tmp_path / "short", CASES, 2)
    assert (felt.failed, felt.aborted) == ([], [])
    assert felt.log.statements > 1000
    assert felt.longest < BOUND


def test_what_the_application_felt_is_in_the_record(made: World, tmp_path: Path) -> None:
    """Of what keeps all out, writers alone, and nobody."""
    names = ("set data type, rewritten", "add foreign key", "set statistics")
    felt = sub_commands(made, tmp_path / "held", {name: CASES[name] for name in names}, 2, hold=0.5)
    assert (felt.failed, felt.aborted, felt.told_wrong) == ([], [], [])
    assert {window.name.removesuffix(", undone") for window in felt.compared} == set(names[:2])
    other = [dataclasses.replace(window, record=_with_longer_wait(window)) for window in felt.compared]
    assert len(Felt(other, felt.log).told_wrong) == len(other), "it can fail"


def _with_longer_wait(window: Window) -> Record:
    assert window.record is not None
    assert window.record.bystanders is not None
    longer = replace(window.record.bystanders, longest_wait_ms=round(1500 * window.told))
    return replace(window.record, bystanders=longer)


def test_writers_in_the_other_order_are_all_seen(made: World, tmp_path: Path) -> None:
    felt = against_the_order(made, tmp_path / "felt", ["ALTER COLUMN c SET DEFAULT 1"], hold=0.6)
    (window,) = felt.windows
    assert (felt.failed, felt.aborted, felt.told_wrong) == ([], [], [])
    assert window.record is not None
    assert window.record.bystanders is not None
    assert (len(felt.compared), window.record.bystanders.sessions) == (1, 4)


@contextmanager
def autovacuum(made: World, table: str) -> Iterator[None]:
    """One works on a table, for far longer than anybody here waits."""
    slow = "autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 1"
    made.execute(f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0, {slow})")
    for _ in range(20):
        made.execute(f"UPDATE {table} SET v = v + 1")
    made.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    try:
        made.execute("SELECT pg_reload_conf()")
        works = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND query LIKE '%public.{}'"
        wait_until(lambda: made.execute(works.format(table)), "an autovacuum")
        yield
    finally:
        made.execute("ALTER SYSTEM RESET autovacuum_naptime")
        made.execute("SELECT pg_reload_conf()")


def test_an_autovacuum_gives_way_and_nobody_waits_meanwhile(made: World, tmp_path: Path) -> None:
    """It does so only after deadlock_timeout, for which writers must not stand behind the migration."""
    cases = {"one": Case("ADD COLUMN n int", "DROP COLUMN n")}
    migrator = made.migrator(tmp_path / "vacuum", cases, TABLES[:1], {"lock_timeout_seconds": 60})
    with autovacuum(made, "a"), Application(Load(made.dsn, (("a", "b"),))) as application:
        time.sleep(1)
        window = Window.of("one", lambda: migrator.apply("001"))
        time.sleep(1)
        felt = Felt([window], application.log())
    assert (felt.failed, felt.aborted) == ([], [])
    assert window.record is not None
    assert "autovacuum worker" in [each.user for each in window.record.blocked_by]
    assert felt.longest < BOUND


def test_without_locks_first_the_application_pays(made: World, tmp_path: Path) -> None:
    """So the tests above can fail."""
    scripts = [f"ALTER COLUMN c SET DEFAULT {number}" for number in range(3)]
    felt = against_the_order(made, tmp_path / "off", scripts, execution={**OFF, "lock_attempts": 2})
    assert {each.sqlstate for each in felt.aborted} == {"40P01"}
