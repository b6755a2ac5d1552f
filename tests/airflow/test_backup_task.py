"""The backup of a run in a real Airflow: between plan and migrations, only where one is needed, and never taken for
granted."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow_runner import Runner, applied, audit

from dev.cluster import Cluster
from dev.server_binaries import client_program
from tests.waiting import PATIENCE, wait_until

MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]

FILES = {
    "001_a.sql": "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 20);",
    "002_b.sql": "CREATE TABLE b (id int);",
    "003_drop.sql": "DROP TABLE a;",
    "004_c.sql": "CREATE TABLE c (id int);",
}
NOTHING = "no backup was made, so nothing was touched: "


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture(autouse=True)
def _programs(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    where = client_program("pg_dump", cluster.bindir).parent
    monkeypatch.setenv("PATH", os.pathsep.join([str(where), os.environ["PATH"]]))


@pytest.fixture
def folder(make_folder: MakeFolder, kept: Path) -> Callable[..., Path]:
    """The first files, with backups."""

    def make(count: int, more: str = "") -> Path:
        backup = f"{{enabled: true, backup_location: {kept}{more}}}"
        config = f"settings:\n  execution: {{retry_attempts: 0}}\n  backup: {backup}\n"
        return make_folder({**dict([*FILES.items()][:count]), "migration_config.yaml": config})

    return make


def test_only_where_something_needs_one_and_then_before_all_else(
    runner: Runner, folder: Callable[..., Path], conn: Conn, kept: Path
) -> None:
    first = runner.run(runner.migrations(folder(2)))
    assert (first.state, first.order) == ("success", ["plan", "001_a", "002_b", "report"]), "nothing is taken away"
    dag = runner.migrations(folder(4))
    run = runner.run(dag)
    assert (run.state, run.order) == ("success", ["plan", "backup", "003_drop", "004_c", "report"])
    why = "it takes away table public.a with 20 rows (counted)"
    assert run.xcoms["plan", "plan"]["backup_needed"] == {"003": why}
    assert f"- needs a backup: {why}" in run.xcoms["plan", "markdown"]
    (file,) = kept.glob("*")
    backup = run.returned("backup")
    assert (backup["place"], [*backup["versions"]]) == (str(file), ["003"])
    told = f"### Backup\n\nbackup of the whole database in {backup['seconds']:.1f} s: {file}"
    assert run.xcoms["backup", "markdown"].startswith(told)
    assert run.returned("report")["backup"] == backup
    events = [event for (event,) in conn.execute("SELECT event FROM wmigrate.audit_log ORDER BY position").fetchall()]
    assert events[-5:] == ["planned", "backed_up", "applied", "applied", "reported"]
    again = runner.run(dag)
    assert (again.state, again.order) == ("success", ["plan", "report"])
    assert again.returned("report")["backup"] is None


def test_without_a_backup_nothing_runs_also_when_a_task_is_cleared(
    runner: Runner, folder: Callable[..., Path], conn: Conn, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.run(runner.migrations(folder(2)))
    dag = runner.migrations(folder(4))
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(kept))
        run = runner.run(dag)
    way = "install PostgreSQL's client programs, of the server's major version or a newer one"
    assert (run.state, run.order) == ("failed", ["plan", "backup", "report"])
    assert str(run.errors["backup"]) == f"{NOTHING}pg_dump is not on the path; {way}"
    assert str(run.errors["report"]) == (
        "no backup could be made, so nothing was touched; the log of migrate.backup says why"
    )
    assert (applied(conn), [*kept.glob("*")]) == (["001", "002"], [])
    # Marked by hand as done, it is not; nor does clearing the task of a migration make a backup.
    run.mark("success", "migrate.backup")
    run.clear("migrate.003_drop", "migrate.004_c", "migrate.report")
    assert (run.state, applied(conn)) == ("failed", ["001", "002"])
    assert str(run.errors["003_drop"]) == (
        "003 needs a backup before it (its run's plan says so), and this run has none; clear the run's backup task with"
        " its downstream, or run `wmigrate up`, which makes one; `backup: false` for 003 in the config says that it"
        " needs none"
    )
    run.clear("migrate.backup", "migrate.003_drop", "migrate.004_c", "migrate.report")
    assert (run.state, applied(conn)) == ("success", ["001", "002", "003", "004"])
    assert run.returned("report")["backup"]["place"] == str(next(kept.glob("*")))


def snapshot(name: str, conn_id: str, versions: dict[str, str]) -> str:
    """As somebody has it who has a managed database."""
    return f"snapshot of {conn_id} for {', '.join(versions)}"


def test_a_snapshot_in_place_of_pg_dump(runner: Runner, folder: Callable[..., Path], conn: Conn, kept: Path) -> None:
    runner.run(runner.migrations(folder(2)))
    run = runner.run(runner.migrations(folder(4), snapshot=f"{__name__}.snapshot"))
    assert (run.state, applied(conn)) == ("success", ["001", "002", "003", "004"])
    backup = run.returned("backup")
    assert (backup["method"], backup["place"], [*kept.glob("*")]) == ("snapshot", "snapshot of target for 003", [])


def without_one(name: str, conn_id: str, versions: dict[str, str]) -> str:
    """As somebody has it whose cloud says no."""
    raise PermissionError("not allowed\nto do this")


def test_a_snapshot_that_fails(runner: Runner, folder: Callable[..., Path], conn: Conn) -> None:
    runner.run(runner.migrations(folder(2)))
    run = runner.run(runner.migrations(folder(4), snapshot=f"{__name__}.without_one", on_run_failure="roll_back"))
    assert (run.state, applied(conn)) == ("failed", ["001", "002"])
    why = f"snapshot {__name__}.without_one failed: not allowed to do this"
    told = f"{NOTHING}{why}; correct what it says, and clear this task with its downstream"
    assert str(run.errors["backup"]) == told
    assert audit(conn, "backup_failed") == [(None, {"error": told, "versions": ["003"]})]


def test_before_a_rollback(runner: Runner, folder: Callable[..., Path], conn: Conn, kept: Path) -> None:
    path = folder(1, ", backup_before_rollback: true")
    (path / "001_a.rollback.sql").write_text("DROP TABLE a;")
    runner.run(runner.migrations(path))
    run = runner.run(runner.rollback(path, "0"))
    assert (run.state, run.order) == ("success", ["plan", "backup", "001_a", "report"])
    assert (run.returned("backup")["place"], applied(conn)) == (str(next(kept.glob("*"))), [])


def test_a_task_that_is_killed_stops_pg_dump(
    runner: Runner, folder: Callable[..., Path], conn: Conn, kept: Path, database: str
) -> None:
    """Who holds a lock on a table keeps pg_dump waiting."""
    runner.run(runner.migrations(folder(2)))
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'b'::regclass"
    before = signal.getsignal(signal.SIGTERM)

    def strike() -> None:
        wait_until(lambda: conn.execute(waiting).fetchone() == (1,))
        os.kill(os.getpid(), signal.SIGTERM)

    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE b")
        thread = threading.Thread(target=strike, daemon=True)
        thread.start()
        run = runner.run(runner.migrations(folder(4)))
        thread.join(PATIENCE)
        assert conn.execute(waiting).fetchone() == (0,)
    signal.signal(signal.SIGTERM, before)
    assert (run.state, applied(conn), [*kept.glob("*")]) == ("failed", ["001", "002"], [])


def test_an_operator_alone_makes_its_own(runner: Runner, folder: Callable[..., Path], conn: Conn, kept: Path) -> None:
    from airflow_provider_wmigrate import ApplyMigrationOperator

    runner.run(runner.migrations(folder(2)))
    alone = ApplyMigrationOperator(task_id="alone", folder=folder(4), conn_id="target", version="003")
    run = runner.run(runner.of(alone))
    assert (run.state, applied(conn)) == ("success", ["001", "002", "003"])
    assert [details["place"] for _, details in audit(conn, "backed_up")] == [str(next(kept.glob("*")))]
