"""Locks of hypertables that are not free: each wait ends with its budget, says who held it up, and is tried again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import LockTimeout, StatementFailed
from airflow_provider_wmigrate.engine.events import Blocked, Event, Retrying, Waiting
from airflow_provider_wmigrate.engine.record import Outcome
from tests.struck import WORKING, in_background
from tests.waiting import PATIENCE, eventually, wait_until

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

READ = "SELECT count(*) FROM m"
WRITE = "INSERT INTO m VALUES ('2026-01-02 12:00Z', 1, 1)"
PLAIN = "CREATE TABLE p (at timestamptz NOT NULL, value float8);\n"
MAKE = "SELECT create_hypertable('p', by_range('at'), migrate_data => true);\n"

BLOCKED = {
    "a hypertable is made beside a writer": ("INSERT INTO p VALUES (now(), 1)", MAKE),
    "a hypertable is made beside a reader": ("SELECT * FROM p", MAKE),
    "a column is added beside a reader": (READ, "ALTER TABLE m ADD COLUMN unit text;"),
    "a column is added beside a writer": (WRITE, "ALTER TABLE m ADD COLUMN unit text;"),
    "an index is built beside a writer": (WRITE, "CREATE INDEX m_value ON m (value);"),
    "chunks are dropped beside a reader": (READ, "SELECT drop_chunks('m', timestamptz '2026-01-03 00:00Z');"),
    "chunks are dropped beside a writer": (WRITE, "SELECT drop_chunks('m', timestamptz '2026-01-03 00:00Z');"),
}
CONFIG = "settings:\n  execution: {lock_timeout_seconds: 0.3, lock_attempts: 2}\n"


@pytest.mark.usefixtures("hypertable")
@pytest.mark.parametrize(("holds", "script"), BLOCKED.values(), ids=BLOCKED.keys())
def test_patience_ends_and_nothing_is_left(
    database: str, migrator: MakeMigrator, conn: Conn, events: list[Event], holds: str, script: str
) -> None:
    conn.execute(PLAIN)
    before = state(conn)
    with psycopg.connect(database, application_name="in the way") as other:
        pid = other.info.backend_pid
        other.execute(holds)
        with pytest.raises(LockTimeout) as failed:
            migrator({"001_a.sql": script, "migration_config.yaml": CONFIG}).apply("001")
    assert (failed.value.holders, failed.value.retryable) == ((pid,), True)
    assert "in the way" in failed.value.hint
    assert [e.lock_timeout_seconds for e in events if isinstance(e, Retrying)] == [0.6]
    blocked = [e for e in events if isinstance(e, Blocked)]
    assert [b.application for e in blocked for b in e.blockers][:1] == ["in the way"]
    assert state(conn) == before
    assert migrator({"001_a.sql": script, "migration_config.yaml": CONFIG}).apply("001").outcome is Outcome.APPLIED


def state(conn: Conn) -> list[Any]:
    """Columns, indexes and chunks of every table."""
    return conn.execute(
        "SELECT attrelid::regclass::text, attname::text FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid"
        " JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname IN ('public', '_timescaledb_internal')"
        " AND relkind IN ('r', 'i') AND attnum > 0"
        " UNION ALL SELECT 'hypertable', hypertable_name FROM timescaledb_information.hypertables ORDER BY 1, 2"
    ).fetchall()


@pytest.mark.usefixtures("hypertable")
def test_a_writer_that_ends_in_time_is_waited_for(database: str, migrator: MakeMigrator, events: list[Event]) -> None:
    script = "UPDATE m SET value = 2;\nALTER TABLE m ADD COLUMN unit text;"
    config = CONFIG.replace("2}", "9}")
    apply = migrator({"001_a.sql": script, "migration_config.yaml": config}).apply
    with psycopg.connect(database) as writer:
        writer.execute(WRITE)
        with in_background(lambda: apply("001")) as result:
            wait_until(lambda: any(isinstance(e, Retrying) for e in events), "a second attempt")
            writer.commit()
    record = result()
    assert record.outcome is Outcome.APPLIED
    assert record.attempts > 1
    assert record.rows in (720, 721), "the whole transaction ran again, and its rows count once"
    assert "public.m" in [lock.relation for lock in record.locks if lock.mode == "AccessExclusiveLock"]


def test_two_runners_and_a_hypertable(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    """One makes it, the other waits outside any transaction and then finds it made; a plan reads meanwhile."""
    conn.execute("SELECT pg_advisory_lock(4711)")
    files = {"001_a.sql": PLAIN + MAKE + "SELECT pg_advisory_xact_lock(4711);"}
    migrator(files).record("planned")
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(migrator(files).apply, "001") for _ in range(2)]
        eventually(conn, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted")
        assert [step.version for step in migrator(files).plan().steps] == ["001"], "planning waits for nobody"
        wait_until(lambda: any(isinstance(e, Waiting) for e in events), "the second runner's wait")
        conn.execute("SELECT pg_advisory_unlock(4711)")
        outcomes = sorted(future.result(PATIENCE).outcome.value for future in running)
    assert outcomes == ["already_applied", "applied"]
    assert {e.version for e in events if isinstance(e, Waiting)} == {"001"}
    assert conn.execute("SELECT hypertable_name FROM timescaledb_information.hypertables").fetchall() == [("p",)]


def test_two_hypertables_side_by_side(migrator: MakeMigrator, conn: Conn) -> None:
    """Both are made at once, and both refer to the same table, whose writers each of them stops."""
    conn.execute("CREATE TABLE device (id int PRIMARY KEY)")
    table = "CREATE TABLE {0} (at timestamptz NOT NULL, device int REFERENCES device);\n"
    make = "SELECT pg_sleep(0.3);\nSELECT create_hypertable('{0}', by_range('at'));\n"
    files = {
        "001_a.sql": (table + make).format("a"),
        "002_b.sql": (table + make).format("b"),
        "migration_config.yaml": "migrations:\n  - {version: '001', dependencies: []}\n"
        "  - {version: '002', dependencies: []}\n",
    }
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(migrator(files).apply, version) for version in ("001", "002")]
        assert [future.result(PATIENCE).outcome for future in running] == [Outcome.APPLIED] * 2
    names = conn.execute("SELECT hypertable_name FROM timescaledb_information.hypertables ORDER BY 1").fetchall()
    assert names == [("a",), ("b",)]


def test_a_move_of_data_is_cancelled(migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute(PLAIN)
    conn.execute("INSERT INTO p SELECT t, 1 FROM generate_series(now() - INTERVAL '400 days', now(), '1 minute') t")
    before = state(conn)
    runner = migrator({"001_a.sql": MAKE.replace("by_range('at')", "by_range('at', INTERVAL '1 day')")})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(runner.apply, "001")
        eventually(conn, MOVING)
        runner.cancel()
        error = running.exception(PATIENCE)
    assert isinstance(error, StatementFailed)
    assert error.server_message == "cancelled on request"
    assert state(conn) == before
    assert conn.execute("SELECT count(*) FROM p").fetchone() == (400 * 24 * 60 + 1,)
    assert not conn.execute(f"SELECT pid FROM pg_stat_activity WHERE {WORKING}".encode()).fetchall()
    events = [e for (e,) in conn.execute("SELECT event FROM wmigrate.audit_log ORDER BY position")]
    assert events == ["ledger_created", "failed"]


MOVING = (
    "SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE relation = 'p'::regclass"
    f" AND mode = 'AccessExclusiveLock' AND granted AND {WORKING}"
)
