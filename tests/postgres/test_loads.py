"""Loads and migrations keep out of one another's way, and each side tells whom it waits for."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import ConnectionFailed, LockTimeout
from airflow_provider_wmigrate.engine.events import Event, Started, Waiting
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.record import Outcome
from airflow_provider_wmigrate.engine.session.advisory import LOADS, MIGRATIONS
from airflow_provider_wmigrate.engine.session.loads import Holder, holders, load_guard
from tests.random_loads import run
from tests.waiting import PATIENCE, wait_until

Conn = psycopg.Connection[Any]
MakeMigrator = Callable[..., Migrator]

GUARD = "settings: {{guard: {{enabled: true, wait_seconds: {wait}, hold_back_seconds: {hold}}}}}\n"
FILES = {
    "migration_config.yaml": GUARD.format(wait=60, hold=60),
    "001_a.sql": "CREATE TABLE a (id int);",
    "001_a.rollback.sql": "DROP TABLE a;",
    "002_b.sql": "CREATE INDEX CONCURRENTLY a_id ON a (id);",
    "002_b.rollback.sql": "DROP INDEX a_id;",
    "003_c.sql": "CREATE TABLE c (id int);",
}


def guarded(**more: str) -> dict[str, str]:
    return {**FILES, **{name.replace("__", "."): text for name, text in more.items()}}


def limits(wait: float, hold: float) -> dict[str, str]:
    return {**FILES, "migration_config.yaml": GUARD.format(wait=wait, hold=hold)}


@contextmanager
def load(database: str, name: str = "sales.load_orders", *, wait: float = 60, told: Any = None) -> Iterator[Any]:
    with load_guard(
        lambda: psycopg.connect(database), name, wait_seconds=wait, told=told or (lambda *_: None)
    ) as ended:
        yield ended


ELSEWHERE = """
import sys
import psycopg
from airflow_provider_wmigrate.engine.errors import LockTimeout
from airflow_provider_wmigrate.engine.session.loads import load_guard

dsn, name, wait = sys.argv[1:]
try:
    with load_guard(lambda: psycopg.connect(dsn), name, wait_seconds=float(wait), told=print) as ended:
        ended()
        print("it was at work")
except LockTimeout as error:
    print(error)
"""


def load_elsewhere(database: str, name: str, *, wait: float) -> str:
    """In a process of its own, as every load but those within one another is."""
    command = [sys.executable, "-c", ELSEWHERE, database, name, str(wait)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout.strip()


def names(conn: Conn, lock: Any) -> list[str]:
    return [holder.name for holder in holders(conn, lock)]


@pytest.mark.parametrize("version", ["001", "002"])
def test_a_migration_waits_for_a_load_and_tells_which(
    migrator: MakeMigrator, conn: Conn, database: str, events: list[Event], version: str
) -> None:
    """In one transaction or statement by statement; a new load does not begin meanwhile."""
    made = migrator(FILES)
    if version == "002":
        made.apply("001")
    events.clear()
    with ThreadPoolExecutor() as pool, load(database) as ended:
        running = pool.submit(made.apply, version)
        wait_until(lambda: any(isinstance(e, Waiting) for e in events))
        assert not running.done()
        assert names(conn, MIGRATIONS) == [f"wmigrate apply {version}"]
        refused = load_elsewhere(database, "late", wait=0.2)
        ended()
        assert running.result(PATIENCE).outcome is Outcome.APPLIED
    assert re.fullmatch(
        rf"the guard was not free within [\d.]+ s; the load has not begun; apply {version} \(pid \d+, user postgres\)"
        " held it; run it when they have ended, or let it wait longer",
        refused,
    )
    told = next(str(e) for e in events if isinstance(e, Waiting))
    (pid,) = [part for part in told.replace(",", "").split() if part.isdigit()][:1]
    assert told == f"waiting for load sales.load_orders (pid {pid}, user postgres) to end since 1 s"
    assert (names(conn, LOADS), names(conn, MIGRATIONS)) == ([], [])


def test_a_load_waits_for_a_migration_and_tells_which(migrator: MakeMigrator, conn: Conn, database: str) -> None:
    told: list[tuple[float, tuple[Holder, ...]]] = []
    go_on = threading.Event()

    def listen(event: Event) -> None:
        if isinstance(event, Started):
            assert go_on.wait(PATIENCE)

    made = migrator(FILES, on_event=listen)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(made.apply, "001")
        try:
            wait_until(lambda: names(conn, MIGRATIONS))
            with pytest.raises(LockTimeout) as refused, load(database, wait=1.3, told=lambda *a: told.append(a)):
                pass
        finally:
            go_on.set()
        running.result(PATIENCE)
    ((waited, (migration,)),) = told
    assert 1 <= waited < 1.3
    assert str(migration) == f"apply 001 (pid {migration.pid}, user postgres)"
    assert str(refused.value).startswith("the guard was not free within 1.")
    assert str(refused.value).endswith(
        f"the load has not begun; {migration} held it; run it when they have ended, or let it wait longer"
    )
    with load(database, wait=0.1) as ended:
        ended()


def test_loads_do_not_wait_for_loads_nor_migrations_for_migrations(
    migrator: MakeMigrator, conn: Conn, database: str
) -> None:
    with load(database, "one", wait=0.1), load(database, "two", wait=0.1):
        assert names(conn, LOADS) == ["wmigrate load one", "wmigrate load two"]
    together = threading.Barrier(2, timeout=PATIENCE)

    def listen(event: Event) -> None:
        if isinstance(event, Started) and event.version in ("001", "003"):
            together.wait()

    config = FILES["migration_config.yaml"] + "migrations: [{version: '003', dependencies: []}]\n"
    made = migrator({**FILES, "migration_config.yaml": config})
    other = migrator(made._folder.path, on_event=listen)
    first = migrator(made._folder.path, on_event=listen)
    made.record("planned")  # so that there is a ledger
    with ThreadPoolExecutor() as pool:
        results = [pool.submit(one.apply, version) for one, version in ((first, "001"), (other, "003"))]
        assert [r.result(PATIENCE).outcome for r in results] == [Outcome.APPLIED] * 2
    assert len(made.apply_each(["002"], jobs=2)) == 1


def test_a_migration_gives_up_and_nothing_was_changed(migrator: MakeMigrator, conn: Conn, database: str) -> None:
    made = migrator(limits(1, 60))
    with load(database), pytest.raises(LockTimeout) as caught:
        made.apply("001")
    assert str(caught.value).startswith(
        "the guard was not free within 1.0 s; nothing was changed; load sales.load_orders"
    )
    assert str(caught.value).endswith("held it; run it when they have ended, or raise settings.guard.wait_seconds")
    assert (caught.value.retryable, names(conn, MIGRATIONS)) == (True, [])
    assert conn.execute("SELECT event FROM wmigrate.audit_log").fetchall() == [("ledger_created",)]
    assert made.apply("001").outcome is Outcome.APPLIED


def test_other_loads_are_held_back_for_no_longer_than_the_budget(
    migrator: MakeMigrator, conn: Conn, database: str
) -> None:
    """A long load, a migration that waits, and a short load that would wait for both: it begins after a second."""
    made = migrator(limits(20, 1))
    with ThreadPoolExecutor() as pool, ExitStack() as long:
        ended = long.enter_context(load(database, "long"))
        running = pool.submit(made.apply, "001")
        wait_until(lambda: names(conn, MIGRATIONS))
        assert load_elsewhere(database, "short", wait=10).splitlines()[-1] == "it was at work"
        assert not running.done()
        ended()
        assert running.result(PATIENCE).outcome is Outcome.APPLIED


def test_a_load_within_a_load_is_let_in(migrator: MakeMigrator, conn: Conn, database: str) -> None:
    """A migration waits for the outer one; the inner one would wait for the migration."""
    made = migrator(FILES)
    with ThreadPoolExecutor() as pool, load(database) as ended:
        running = pool.submit(made.apply, "001")
        wait_until(lambda: names(conn, MIGRATIONS))
        with load(database, "inner", wait=0.1) as inner_ended:
            inner_ended()
        ended()
        assert running.result(PATIENCE).outcome is Outcome.APPLIED


def test_a_guard_that_was_lost_is_told(conn: Conn, database: str) -> None:
    lost = (
        "no connection to the target database: the guard of this load was lost while it was at work, so a migration may"
        " have run meanwhile; look at what it has loaded, or run it again"
    )
    with load(database) as ended:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'wmigrate load%'"
        )
        with pytest.raises(ConnectionFailed) as caught:
            ended()
    assert str(caught.value) == lost


def test_without_the_setting_nothing_changes(migrator: MakeMigrator, database: str) -> None:
    files = {name: text for name, text in FILES.items() if name.endswith(".sql")}
    with load(database):
        assert migrator(files).apply("001").outcome is Outcome.APPLIED


def test_a_dry_run_waits_for_nobody(migrator: MakeMigrator, database: str) -> None:
    with load(database):
        assert migrator(FILES).apply("001", dry_run=True).outcome is Outcome.DRY_RUN


def test_a_rollback_waits_too(migrator: MakeMigrator, database: str) -> None:
    made = migrator(limits(1, 60))
    made.apply("001")
    with load(database), pytest.raises(LockTimeout):
        made.roll_back("001")
    assert made.roll_back("001").outcome is Outcome.ROLLED_BACK


def test_a_load_that_comes_between_two_is_waited_for(migrator: MakeMigrator, database: str, conn: Conn) -> None:
    """What begins behind a commit looks for loads anew."""
    stack = ExitStack()

    def listen(event: Event) -> None:
        if isinstance(event, Started) and event.version == "001":
            # a program that takes the lock without looking, as no guard does
            other = stack.enter_context(psycopg.connect(database, autocommit=True, application_name="psql"))
            other.execute("SELECT pg_advisory_lock_shared(%s)", [LOADS.number])

    files = {name: text for name, text in limits(1, 60).items() if "002" not in name}
    made = migrator(files, on_event=listen)
    with stack, pytest.raises(LockTimeout, match=r"; psql \(pid \d+, user postgres\) held it; "):
        made.apply_each(["001", "003"])
    assert conn.execute("SELECT version FROM wmigrate.schema_migrations").fetchall() == [("001",)]


def test_a_script_that_gives_the_guard_back_stops_where_a_load_begins(
    migrator: MakeMigrator, database: str, conn: Conn
) -> None:
    """DISCARD ALL gives it back in the middle of a script that runs statement by statement."""
    script = "VACUUM a;\nDISCARD ALL;\nSELECT pg_sleep(0);\nCREATE INDEX CONCURRENTLY a_id ON a (id);"
    stack, opened = ExitStack(), list[bool]()

    def listen(event: Event) -> None:
        if isinstance(event, Started) and event.version == "002" and not opened:
            opened.append(True)
            other = stack.enter_context(psycopg.connect(database, autocommit=True))
            other.execute("SELECT pg_advisory_lock_shared(%s)", [LOADS.number])

    made = migrator({**FILES, "002_b.sql": script}, on_event=listen)
    made.apply("001")
    with stack, pytest.raises(LockTimeout) as caught:
        made.apply("002")
    assert "a load that began meanwhile goes on; it is resumed by the next run" in str(caught.value)
    assert made.apply("002").outcome is Outcome.APPLIED


def test_at_random_moments_they_are_never_together(database: str, tmp_path: Path) -> None:
    """The short form of `make loads`."""
    found = run(database, tmp_path, count=40, seed=3)
    assert (found["began"], found["failed"], found["deadlocks"]) == ({"load": 28, "migration": 12}, 0, 0)
    assert max(found["longest"].values()) < PATIENCE
