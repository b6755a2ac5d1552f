"""The fault suite in its short form: every fault on most kinds of migration once, and the moments that were hard.

The long form is `make faults`; docs/faults.md says what is struck and how.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from harness import shortages
from harness.arena import KINDS, LIMIT, Arena, eventually
from harness.crowd import crowd, write_folder
from harness.faults import FAULTS
from harness.kinds import LOCKER, READER, SNAPSHOT, Hold
from harness.moments import Held, Moment, OnWire, Told, on_wire
from harness.strike import Plan, Verdict, plans, strike

from airflow_provider_wmigrate.engine.errors import ScriptError
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.record import Outcome

SEED = 4
WAITED_THROUGH = {"network silent": 1, "network silent, unnoticed": 1, "server restarted": 3, "server killed (-9)": 3}
"""Faults that take seconds: how many strikes are enough here."""
SHORTAGES = {
    "server frozen": ["each alone"],
    "lock timeout": ["transactional", "journalled", "commits inside", "repeatable"],
    "budget used up": ["journalled", "commits inside"],
    "deadlock": ["transactional", "commits inside, rollback"],
    "serialization failure": ["commits inside", "commits inside, rollback", "repeatable"],
    "no synchronous standby": ["mixed", "commits inside"],
    "disk full": ["transactional", "journalled", "mixed", "rollback"],
    "runner's clock wrong": ["transactional", "journalled", "commits inside"],
}
"""Faults on the kinds of migration that they say most about."""
MOST_KINDS = [kind for kind in KINDS if kind not in ("commits inside, rollback", "repeatable")]
"""These two say little more of the other faults; the long form has them all."""


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with Arena(tmp_path_factory.mktemp("faults")) as arena:
        yield arena


def unharmed(verdict: Verdict) -> bool:
    assert (verdict.losses, verdict.remarks) == ([], []), f"{verdict.plan}: {verdict.advice}"
    return True


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in SHORTAGES])
def test_a_fault_on_every_kind_of_migration(arena: Arena, fault: str) -> None:
    count = WAITED_THROUGH.get(fault, len(MOST_KINDS))
    for plan in plans(arena, SEED, count, kinds=MOST_KINDS, faults=[fault]):
        assert unharmed(strike(arena, plan))


@pytest.mark.parametrize(
    ("fault", "kind"), [pytest.param(f, k, id=f"{f}, {k}") for f, kinds in SHORTAGES.items() for k in kinds]
)
def test_what_a_runner_needs_and_does_not_get(arena: Arena, fault: str, kind: str) -> None:
    found = plans(arena, SEED, 1, kinds=[kind], faults=[fault])
    if not found:
        pytest.skip("only root can have a disk of its own")
    assert unharmed(strike(arena, found[0]))


def test_a_full_disk_is_told_in_the_servers_words(arena: Arena) -> None:
    if arena.disk is None:
        pytest.skip("only root can have a disk of its own")
    verdict = strike(arena, Plan("transactional", "disk full", Told(0), coin=False))
    assert unharmed(verdict)
    assert "No space left on device (SQLSTATE 53100)" in verdict.ends[0]
    assert verdict.ends[1:] == ["applied"]


@pytest.mark.parametrize("fault", ["runner killed (-9)", "backend terminated", "runner cancels (SIGTERM)"])
@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        pytest.param("journalled", Held(Hold(1, SNAPSHOT)), id="an index built but not valid"),
        pytest.param("journalled", Held(Hold(5, LOCKER)), id="a REINDEX that leaves its new index behind"),
        pytest.param("journalled", Held(Hold(7, READER)), id="a partition half detached"),
        pytest.param("mixed", Told(3), id="a search path that a SELECT has set"),
    ],
)
def test_moments_that_were_hard(arena: Arena, kind: str, moment: Moment, fault: str) -> None:
    assert unharmed(strike(arena, Plan(kind, fault, moment, coin=True)))


def test_a_person_is_asked_where_nobody_else_can_tell(arena: Arena) -> None:
    """A CALL has run, and its runner died before it could write that down."""
    calls = [m for m in on_wire(arena.learn(KINDS["each alone"])) if m.side == "after" and "CALL note" in m.text]
    for later in (0, 1, 2, 3, 4, 0):  # on a slow machine the watch asks in between, and the call is a later request
        moment = replace(calls[0], number=calls[0].number + later)
        verdict = strike(arena, Plan("each alone", "runner killed (-9)", moment, coin=False))
        assert unharmed(verdict)
        if "CALL note" in arena.wire.held_text:
            break
    assert verdict.result == "stopped"
    assert "say that it ran" in (verdict.advice or "")


@pytest.mark.parametrize("runners", [2, 5])
def test_several_runners_on_one_folder(arena: Arena, tmp_path: Path, runners: int) -> None:
    folder = write_folder(tmp_path)
    for _ in range(3):
        assert crowd(arena, folder, runners) == []


# What it led to


def migrator(arena: Arena, database: str, folder: Path, **files: str) -> Migrator:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.{'yaml' if name == 'migration_config' else 'sql'}").write_text(text)
    return Migrator(lambda: psycopg.connect(arena.direct(database)), read_folder(folder), identity=Identity("tester"))


def test_a_script_that_gives_the_locks_back_is_not_run_twice(arena: Arena, tmp_path: Path) -> None:
    script = "CREATE TABLE t (id int);\nDISCARD ALL;\nSELECT pg_sleep(0.6);\nINSERT INTO t VALUES (1);\n"
    with arena.database("template0") as database, ThreadPoolExecutor(2) as pool:
        first, second = (migrator(arena, database, tmp_path / "a", **{"001_a": script}) for _ in range(2))
        running = pool.submit(first.apply, "001")
        with arena.conn(database) as conn:
            here = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            sleeping = f"{here} AND wait_event = 'PgSleep'".encode()
            eventually(lambda: conn.execute(sleeping).fetchone() == (1,), "the first one sleeps")
            assert second.apply("001").outcome is Outcome.ALREADY_APPLIED
            assert running.result(LIMIT).outcome is Outcome.APPLIED
            assert conn.execute("SELECT id FROM t").fetchall() == [(1,)]


def test_a_script_that_nobody_can_split_is_not_recorded_as_applied(arena: Arena, tmp_path: Path) -> None:
    config = "migrations:\n  - {version: '001', transactional: false}\n"
    files = {"001_a": "CREATE TABLE t (id int);\nFROBNICATE t;\n", "migration_config": config}
    with arena.database("template0") as database:
        runner = migrator(arena, database, tmp_path / "a", **files)
        with pytest.raises(ScriptError, match="cannot be run statement by statement"):
            runner.apply("001")
        assert runner.read().entries == ()


# The suite can fail


@pytest.fixture
def sabotaged(arena: Arena) -> Iterator[Arena]:
    yield arena
    arena.sabotage = None


def test_a_journal_written_only_afterwards_is_found(sabotaged: Arena) -> None:
    sabotaged.sabotage = "journal after"
    call = Held(KINDS["each alone"].holds[0])
    verdict = strike(sabotaged, Plan("each alone", "runner killed (-9)", call, coin=False))
    assert verdict.losses == ['rows of public.trail too much: ("each 1")']


def test_an_entry_in_a_transaction_of_its_own_is_found(sabotaged: Arena) -> None:
    script: OnWire = next(m for m in on_wire(sabotaged.learn(KINDS["transactional"])) if "INSERT INTO orders" in m.text)
    sabotaged.sabotage = "entry apart"
    later = [OnWire(script.number + n, "before", "") for n in range(1, 7)]
    plans = (Plan("transactional", "network reset", moment, coin=False) for moment in later)
    assert any(strike(sabotaged, plan).losses for plan in plans)


@pytest.mark.parametrize("fault", ["lock timeout", "budget used up", "deadlock", "serialization failure"])
def test_an_error_taken_for_no_effect_is_found(sabotaged: Arena, fault: str) -> None:
    sabotaged.sabotage = "errors undo all"
    after_commit = Held(KINDS["commits inside"].holds[0])
    verdict = strike(sabotaged, Plan("commits inside", fault, after_commit, coin=False))
    assert 'rows of public.paid too much: ("pays 1",1)' in verdict.losses


@pytest.mark.parametrize("fault", ["lock timeout", "disk full"])
def test_an_error_taken_for_success_is_found(sabotaged: Arena, fault: str) -> None:
    if fault == "disk full" and sabotaged.disk is None:
        pytest.skip("only root can have a disk of its own")
    sabotaged.sabotage = "errors are done"
    building = Held(KINDS["journalled"].holds[0])
    verdict = strike(sabotaged, Plan("journalled", fault, building, coin=False))
    assert any(loss.startswith("index missing: ('public', 'items_label_price'") for loss in verdict.losses)


def test_a_runner_that_waits_for_ever_is_found(sabotaged: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotaged.sabotage = "patient"
    monkeypatch.setattr(shortages, "LIMIT", 12.0)
    verdict = strike(sabotaged, Plan("transactional", "server frozen", Told(0), coin=False))
    assert verdict.losses == ["hang: timed out"]


def test_a_commit_that_no_standby_has_is_found(sabotaged: Arena) -> None:
    sabotaged.sabotage = "unconfirmed"
    verdict = strike(sabotaged, Plan("transactional", "no synchronous standby", Told(0), coin=False))
    assert verdict.losses == ["told as done, and nothing of the standby that never confirmed it"]


def test_a_budget_by_the_time_of_day_is_found(sabotaged: Arena) -> None:
    sabotaged.sabotage = "time of day"
    verdict = strike(sabotaged, Plan("transactional", "runner's clock wrong", Told(0), coin=False))
    assert any(loss.startswith("the clock alone made it fail: ") for loss in verdict.losses)


def test_runners_without_locks_are_found(sabotaged: Arena, tmp_path: Path) -> None:
    sabotaged.sabotage = "no locks"
    assert any(crowd(sabotaged, write_folder(tmp_path), 5) for _ in range(5))
