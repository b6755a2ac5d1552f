"""Locks that are not free: waits that rise, whole transactions again, who blocks, and for how long others wait."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import LockTimeout
from airflow_provider_wmigrate.engine.events import Blocked, Event, HeldLong, Retrying
from airflow_provider_wmigrate.engine.record import Outcome
from tests.waiting import eventually

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

ALTER = "INSERT INTO t VALUES (1);\nALTER TABLE t ADD COLUMN w int;"


def budgets(**execution: object) -> str:
    lines = "".join(f"    {key}: {value}\n" for key, value in execution.items())
    return f"settings:\n  execution:\n{lines}"


@pytest.fixture
def table(conn: Conn) -> None:
    conn.execute("CREATE TABLE t (id int)")


@pytest.mark.usefixtures("table")
def test_a_lock_is_waited_for_with_rising_patience(
    database: str, migrator: MakeMigrator, conn: Conn, events: list[Event]
) -> None:
    files = {"001_a.sql": ALTER, "migration_config.yaml": budgets(lock_timeout_seconds=0.3)}
    with psycopg.connect(database, application_name="long reader") as reader:

        def listen(event: Event) -> None:
            events.append(event)
            if isinstance(event, Retrying) and event.attempt == 2:
                reader.rollback()

        reader.execute("SELECT * FROM t")
        record = migrator(files, on_event=listen).apply("001")
    assert record.outcome is Outcome.APPLIED
    assert record.attempts == 3
    assert conn.execute("SELECT count(*) FROM t").fetchone() == (1,), "the whole transaction ran again, and counts once"
    retries = [e for e in events if isinstance(e, Retrying)]
    assert [e.attempt for e in retries] == list(range(1, record.attempts))
    assert [e.lock_timeout_seconds for e in retries] == [0.6, 1.2]
    blocked = next(e for e in events if isinstance(e, Blocked))
    assert [b.application for b in blocked.blockers] == ["long reader"]
    assert [b.application for b in record.blocked_by] == ["long reader"]
    details = conn.execute("SELECT details FROM wmigrate.audit_log WHERE event = 'applied'").fetchone()
    assert details is not None
    assert details[0]["attempts"] == record.attempts
    assert details[0]["blocked_by"][0]["application"] == "long reader"
    assert "SELECT * FROM t" not in str(details), "a blocker's query may hold values"


@pytest.mark.usefixtures("table")
def test_patience_ends(database: str, migrator: MakeMigrator, conn: Conn) -> None:
    files = {"001_a.sql": ALTER, "migration_config.yaml": budgets(lock_timeout_seconds=0.4, lock_attempts=2)}
    with psycopg.connect(database, application_name="idler") as reader:
        pid = reader.info.backend_pid
        reader.execute("SELECT * FROM t")
        with pytest.raises(LockTimeout) as failed:
            migrator(files).apply("001")
    assert failed.value.retryable
    assert failed.value.holders == (pid,)
    assert str(failed.value).startswith(
        f"001_a.sql:2: a lock of this migration was not free within 0.8 s, held by pid {pid}; "
        "rolled back, nothing of it was kept; pid"
    )
    assert conn.execute("SELECT count(*) FROM t").fetchone() == (0,)


@pytest.mark.usefixtures("table")
def test_budgets_of_one_migration(database: str, migrator: MakeMigrator) -> None:
    config = "migrations:\n  - {version: '001', lock_timeout_seconds: 0.1, lock_attempts: 1}\n"
    with psycopg.connect(database) as reader:
        reader.execute("SELECT * FROM t")
        with pytest.raises(LockTimeout, match=r"within 0\.1 s"):
            migrator({"001_a.sql": ALTER, "migration_config.yaml": config}).apply("001")


@pytest.mark.usefixtures("table")
def test_the_total_budget_ends_the_attempts(database: str, migrator: MakeMigrator) -> None:
    config = budgets(lock_timeout_seconds=0.1, lock_timeout_max_seconds=0.1, lock_attempts=1000, timeout_seconds=1)
    with psycopg.connect(database) as reader:
        reader.execute("SELECT * FROM t")
        start = time.monotonic()
        with pytest.raises(LockTimeout):
            migrator({"001_a.sql": ALTER, "migration_config.yaml": config}).apply("001")
        assert time.monotonic() - start < 50, "a thousand attempts take a hundred seconds"


@pytest.mark.usefixtures("table")
def test_a_deadlock_is_tried_again(database: str, migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    conn.execute("CREATE TABLE u (id int); INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)")
    script = "UPDATE t SET id = 2;\nSELECT pg_sleep(0.6);\nUPDATE u SET id = 2;"
    files = {"001_a.sql": script, "migration_config.yaml": budgets(lock_timeout_seconds=20, lock_first="false")}

    ready = threading.Event()

    def crosswise() -> None:
        with psycopg.connect(database) as other:
            other.execute("SET deadlock_timeout = '30s'")  # so that the migration is the one that is chosen
            other.execute("UPDATE u SET id = 3")
            ready.set()
            theirs = "SELECT 1 FROM pg_locks WHERE relation = 't'::regclass AND mode = 'RowExclusiveLock'"
            while not other.execute(theirs).rowcount:
                time.sleep(0.01)
            other.execute("UPDATE t SET id = 3")

    thread = threading.Thread(target=crosswise)
    thread.start()
    assert ready.wait(20)
    record = migrator(files).apply("001")
    thread.join()
    assert record.attempts == 2
    assert [e.reason for e in events if isinstance(e, Retrying)] == ["deadlock"]
    assert conn.execute("SELECT t.id, u.id FROM t, u").fetchone() == (2, 2)


@pytest.mark.usefixtures("table")
def test_readers_wait_no_longer_than_the_budget(database: str, migrator: MakeMigrator) -> None:
    """A storm of readers behind an idle transaction that holds up an ALTER, which holds up the readers."""
    budget = 0.3
    config = budgets(lock_timeout_seconds=budget, lock_timeout_max_seconds=budget, lock_attempts=4)
    waits: list[float] = []
    over = threading.Event()

    def read() -> None:
        with psycopg.connect(database, autocommit=True) as conn:
            while not over.is_set():
                start = time.monotonic()
                conn.execute("SELECT count(*) FROM t")
                waits.append(time.monotonic() - start)
                time.sleep(0.005)

    readers = [threading.Thread(target=read) for _ in range(8)]
    with psycopg.connect(database) as idle:
        idle.execute("SELECT * FROM t")
        for reader in readers:
            reader.start()
        with pytest.raises(LockTimeout):
            migrator({"001_a.sql": ALTER, "migration_config.yaml": config}).apply("001")
        over.set()
        for reader in readers:
            reader.join()
    assert max(waits) > budget / 20, "the storm met the migration"
    assert max(waits) < 20 * budget, "each wait is a part of the budget, and the readers come between two"


@pytest.mark.usefixtures("table")
def test_a_table_locked_for_long_is_told(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    script = "ALTER TABLE t ADD COLUMN w int;\nCREATE TABLE mine (id int);\nSELECT pg_sleep(2);"
    config = budgets(lock_hold_warning_seconds=0.5)
    record = migrator({"001_a.sql": script, "migration_config.yaml": config}).apply("001")
    warned = [e for e in events if isinstance(e, HeldLong)]
    assert [(e.lock.relation, e.lock.mode) for e in warned] == [("public.t", "AccessExclusiveLock")]
    held = {lock.relation: lock.held_ms for lock in record.locks}
    assert held["public.mine"] is None, "nobody can wait for what they cannot see"
    assert 1000 < (held["public.t"] or 0) <= record.duration_ms + 1000
    rows = conn.execute("SELECT details -> 'locks' FROM wmigrate.audit_log WHERE event = 'applied'").fetchone()
    assert rows is not None
    lock = {"relation": "public.t", "mode": "AccessExclusiveLock", "held_ms": held["public.t"], "dropped": False}
    assert lock in rows[0]


@pytest.mark.usefixtures("table")
def test_an_index_built_concurrently_has_the_long_budget(database: str, migrator: MakeMigrator, conn: Conn) -> None:
    """It waits for every older transaction; the short budget of an ALTER would end each of its tries."""
    files = {
        "001_a.sql": "CREATE INDEX CONCURRENTLY t_id ON t (id);",
        "migration_config.yaml": budgets(lock_timeout_seconds=0.1, lock_attempts=1),
    }
    with psycopg.connect(database) as older:
        older.execute("INSERT INTO t VALUES (1)")

        def commit() -> None:
            eventually(conn, "SELECT FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()")
            time.sleep(0.5)
            older.commit()

        with ThreadPoolExecutor(1) as pool:
            ending = pool.submit(commit)
            record = migrator(files).apply("001")
            ending.result()
    assert record.outcome is Outcome.APPLIED
    assert record.duration_ms > 500
    assert conn.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_id'::regclass").fetchone() == (True,)


# Whose limit it was, and who holds the lock


def lock_timeout(made: Any) -> LockTimeout:
    with pytest.raises(LockTimeout) as failed:
        made.apply("001")
    return failed.value


BLOCK = ", by a limit that the script set in a function or a block"


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("SET lock_timeout = '100ms';\nALTER TABLE t ADD w int;", r"within 0\.1 s, the limit that 001_a\.sql:1 sets; "),
        ("SELECT set_config('lock_timeout', '100ms', true);\nALTER TABLE t ADD w int;", rf"within 0\.\d+ s{BLOCK}; "),
        (
            "RESET lock_timeout;\nALTER TABLE t ADD w int;",
            r"within 0\.\d+ s, the limit of the role, the database or the server, to which 001_a\.sql:1 resets it; ",
        ),
        ("SELECT 1;\nLOCK TABLE t NOWAIT;", r"within 0 s, as NOWAIT asks; "),
    ],
    ids=["SET", "set_config", "RESET", "NOWAIT"],
)
def test_the_limit_that_held_is_told(database: str, migrator: MakeMigrator, conn: Conn, script: str, says: str) -> None:
    conn.execute("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET lock_timeout = 200', current_database()); END $$")
    config = budgets(lock_timeout_seconds=20, lock_attempts=1)
    with psycopg.connect(database) as reader:
        reader.execute("SELECT * FROM t")
        error = lock_timeout(migrator({"001_a.sql": script, "migration_config.yaml": config}))
    assert re.fullmatch(
        rf"001_a\.sql:2: a lock of this migration was not free {says}rolled back, nothing of it was kept; .*",
        re.sub(r", held by pid \d+;", ";", str(error)),
    )


@pytest.mark.usefixtures("table")
def test_a_dry_run_tells_what_it_waited(database: str, migrator: MakeMigrator) -> None:
    """It has one attempt, and no risen limit."""
    config = budgets(lock_timeout_seconds=0.3, lock_attempts=5)
    with psycopg.connect(database) as reader:
        reader.execute("SELECT * FROM t")
        with pytest.raises(LockTimeout, match=r"was not free within 0\.3 s"):
            migrator({"001_a.sql": ALTER, "migration_config.yaml": config}).apply("001", dry_run=True)


@pytest.mark.usefixtures("table")
def test_a_limit_outside_a_transaction_is_its_own(database: str, migrator: MakeMigrator) -> None:
    config = budgets(lock_timeout_seconds=20, concurrent_lock_timeout_seconds=0.4, lock_attempts=1)
    with psycopg.connect(database) as writer:
        writer.execute("LOCK TABLE t IN ROW EXCLUSIVE MODE")
        files = {"001_a.sql": "CREATE INDEX CONCURRENTLY t_id ON t (id);", "migration_config.yaml": config}
        with pytest.raises(LockTimeout, match=r"was not free within 0\.4 s"):
            migrator(files).apply("001")


def test_a_prepared_transaction_is_told_with_the_way_to_end_it(
    start_cluster: Callable[..., Any], migrator: MakeMigrator, events: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    """In a time zone that Python does not know: psycopg would warn of it, once in a process."""
    files = {
        "001_a.sql": "ALTER TABLE t ADD w int;",
        "migration_config.yaml": budgets(lock_timeout_seconds=1.5, lock_attempts=1),
    }
    with start_cluster(more={"max_prepared_transactions": 2, "timezone": "<+09>-9"}) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            conn.execute("CREATE TABLE t (id int)")
            for gid, what in (("it's orphaned", "INSERT INTO t VALUES (1)"), ("innocent", "CREATE TABLE other ()")):
                conn.execute(f"BEGIN; {what}; PREPARE TRANSACTION '{gid.replace(chr(39), chr(39) * 2)}'".encode())
            prepared = conn.execute(
                "SELECT prepared AT TIME ZONE 'UTC' FROM pg_prepared_xacts WHERE gid ~ 's'"
            ).fetchone()
        error = lock_timeout(migrator(files, dsn=server.dsn()))
    assert prepared is not None
    since = f"{prepared[0]:%Y-%m-%d %H:%M:%S}"
    assert error.holders == ()
    assert str(error) == (
        "001_a.sql:1: a lock of this migration was not free within 1.5 s; rolled back, nothing of it was kept; prepared"
        f' transaction "it\'s orphaned" of postgres since {since} UTC held it up: end it with'
        " ROLLBACK PREPARED 'it''s orphaned' or COMMIT PREPARED 'it''s orphaned'"
    )
    assert [b.prepared for e in events if isinstance(e, Blocked) for b in e.blockers] == ["it's orphaned"]
    assert [record.getMessage() for record in caplog.records if record.name == "psycopg"] == []
