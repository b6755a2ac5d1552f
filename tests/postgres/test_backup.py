"""What a migration that needs a backup may do with and without one, and places that are no folder."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.backup.outside import Outside
from airflow_provider_wmigrate.engine.errors import BackupFailed, HistoryError
from airflow_provider_wmigrate.engine.events import BackedUp, BackingUp, Event
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.plan.backup_needs import Need, Needs
from airflow_provider_wmigrate.engine.record import Backup, Outcome
from dev.cluster import Cluster
from dev.server_binaries import client_program
from tests.conftest import MakeMigrator
from tests.waiting import wait_until

Conn = psycopg.Connection[Any]

FILES = {
    "001_a.sql": "CREATE TABLE a (id int); INSERT INTO a VALUES (1);"
    " CREATE TABLE whole (id int) PARTITION BY LIST (id); CREATE TABLE part PARTITION OF whole DEFAULT;"
    " INSERT INTO whole VALUES (1);",
    "002_drop.sql": "DROP TABLE a;",
}


@pytest.fixture
def outside(cluster: Cluster) -> Outside:
    where = client_program("pg_dump", cluster.bindir).parent
    return Outside({**os.environ, "PATH": os.pathsep.join([str(where), os.environ["PATH"]])})


@pytest.fixture
def runner(migrator: MakeMigrator, outside: Outside, tmp_path: Path) -> Callable[..., Migrator]:
    """Whoever migrates this folder, with the first file applied."""

    def make(more: str = "", blocks: str = "", place: str = str(tmp_path / "kept"), **files: str) -> Migrator:
        config = f"settings:\n  backup: {{enabled: true, backup_location: '{place}'{more}}}\n{blocks}"
        made = migrator({**FILES, **files, "migration_config.yaml": config})
        made.outside = outside
        made.apply("001")
        return made

    return make


def needs(runner: Migrator) -> Needs:
    return runner.backup_needs(runner.plan(), runner.analyses.of)


def begun(runner: Migrator) -> Backup | None:
    plan = runner.plan()
    steps = [step.version for step in plan.steps]
    return runner.begin_attempt(plan, needs(runner), {"direction": "apply", "steps": steps})


def refused(runner: Migrator, version: str = "002") -> str:
    with pytest.raises(HistoryError) as caught:
        runner.apply(version)
    (finding,) = caught.value.findings
    assert finding.code == "backup_missing"
    return finding.message


WHY = "it takes away table public.a with 1 row (counted)"


def test_nothing_that_needs_a_backup_runs_without_the_one_of_its_own_attempt(
    runner: Callable[..., Migrator], conn: Conn
) -> None:
    mine = runner()
    assert refused(mine) == f"002 needs a backup before it ({WHY}), and this run has none"
    assert begun(mine) is not None
    before = mine.attempt
    other = runner()
    other._access.identity = Identity("another", "dag", "run")
    other.attempt = before
    assert refused(other) == "002 needs a backup before it (its run's plan says so), and this run has none"
    later = runner()
    later.attempt = later.record("planned", details={"steps": ["002"]})
    assert refused(later) == f"002 needs a backup before it ({WHY}), and this run has none"
    assert mine.apply("002").outcome is Outcome.APPLIED
    events = conn.execute("SELECT event, version FROM wmigrate.audit_log ORDER BY position").fetchall()
    assert [event for event, version in events if version == "002"] == ["refused", "refused", "refused", "applied"]


def test_a_script_that_was_edited_since_is_looked_at_anew(runner: Callable[..., Migrator]) -> None:
    mine = runner(**{"002_drop.sql": "SELECT 1;"})
    assert begun(mine) is None
    edited = runner()
    edited.attempt = mine.attempt
    assert refused(edited) == f"002 needs a backup before it ({WHY}), and this run has none"


def test_what_the_plan_did_not_need_is_not_needed_later(runner: Callable[..., Migrator]) -> None:
    """What the same run has made before it is nothing that was there."""
    mine = runner(**{"002_drop.sql": "CREATE TABLE b (id int);", "003_drop.sql": "DROP TABLE b;"})
    assert begun(mine) is None
    mine.apply("002")
    assert mine.apply("003").outcome is Outcome.APPLIED


def test_partitions_go_with_their_table(runner: Callable[..., Migrator]) -> None:
    mine = runner(", backup_scope: relations", **{"002_drop.sql": "TRUNCATE whole;"})
    backup = begun(mine)
    assert backup is not None
    assert (backup.scope, backup.relations) == ("relations", ("public.part", "public.whole"))


def test_names_that_need_quotes(
    runner: Callable[..., Migrator], conn: Conn, cluster: Cluster, outside: Outside
) -> None:
    conn.execute('CREATE SCHEMA "S p"; CREATE TABLE "S p"."a.*ü""" AS SELECT 1 AS one; CREATE TABLE "S p"."a.bü" ()')
    backup = begun(runner(", backup_scope: relations", **{"002_drop.sql": 'DROP TABLE "S p"."a.*ü""";'}))
    assert backup is not None
    assert backup.relations == ('"S p"."a.*ü"""',)
    listing = ["pg_restore", "--list", backup.place]
    listed = subprocess.run(listing, env=outside.environ, capture_output=True, text=True, check=True).stdout
    assert [line for line in listed.splitlines() if "TABLE" in line and "a.bü" in line] == []
    assert len([line for line in listed.splitlines() if "TABLE DATA" in line]) == 1


def test_two_runners_at_once(runner: Callable[..., Migrator], tmp_path: Path) -> None:
    """Each makes its own; one applies, and the other finds it done."""
    both = [runner(), runner()]
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(begun, both))
        outcomes = list(pool.map(lambda one: one.apply("002").outcome, both))
    assert sorted(outcomes) == [Outcome.ALREADY_APPLIED, Outcome.APPLIED]
    assert {file.name for file in (tmp_path / "kept").iterdir()} == {one.name for one in made if one}


def test_it_is_told_how_far_it_is(runner: Callable[..., Migrator], events: list[Event]) -> None:
    backup = begun(runner())
    assert backup is not None
    told = [event for event in events if isinstance(event, BackingUp | BackedUp)]
    assert told[0] == BackingUp(backup.name, pytest.approx(0, abs=5), 0)
    assert told[-1] == BackedUp(backup)


def test_a_time_limit_stops_pg_dump(runner: Callable[..., Migrator], conn: Conn, database: str, tmp_path: Path) -> None:
    """Who holds a lock on a table keeps pg_dump waiting; the limit strikes meanwhile, as that of a task does."""
    mine, waiting = runner(), "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'a'::regclass"

    class Struck(BaseException):
        pass

    def strike(*_: object) -> None:
        raise Struck

    def when_it_waits() -> None:
        wait_until(lambda: conn.execute(waiting).fetchone() == (1,))
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, strike)
    with psycopg.connect(database) as other, ThreadPoolExecutor(1) as pool:
        other.execute("LOCK TABLE a")
        struck = pool.submit(when_it_waits)
        with pytest.raises(Struck):
            mine.back_up({"002": Need("002", "it is asked for", "")})
        struck.result()
        assert conn.execute(waiting).fetchone() == (0,)
    signal.signal(signal.SIGUSR1, before)
    assert [*(tmp_path / "kept").iterdir()] == []


# Places that are no folder


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_place_that_fsspec_reaches(runner: Callable[..., Migrator], conn: Conn, jobs: int) -> None:
    fsspec = pytest.importorskip("fsspec")
    place = f"memory://{conn.info.dbname}/kept"
    backup = begun(runner(f", backup_jobs: {jobs}", place=place))
    assert backup is not None
    fs = fsspec.filesystem("memory")
    files = fs.find(f"/{conn.info.dbname}/kept", detail=True)
    assert backup.place == f"{place}/{backup.name}"
    assert sum(file["size"] for file in files.values()) == backup.bytes
    assert all(name.startswith(f"/{conn.info.dbname}/kept/{backup.name}") for name in files)
    assert [name for name in files if ".partial" in name] == []


def test_a_place_that_nothing_reaches(runner: Callable[..., Migrator], conn: Conn) -> None:
    mine = runner(place="s9://bucket/path")
    with pytest.raises(BackupFailed) as caught:
        begun(mine)
    assert str(caught.value) == (
        "no backup was made, so nothing was touched: s9://bucket/path cannot be reached: Protocol not known: s9;"
        " install what reaches s9 (in Airflow a provider, else fsspec and its library), or choose a folder"
    )
    assert conn.execute("SELECT count(*) FROM a").fetchone() == (1,)
