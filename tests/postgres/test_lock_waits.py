"""No wait for a lock lasts as long as the server's deadlock_timeout, however short that is, nor long where that is
long: in one transaction, in several of a script's own, and outside of any."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from airflow_provider_wmigrate.engine.catalog.snapshot import taking
from airflow_provider_wmigrate.engine.catalog.snapshot.taking import take
from airflow_provider_wmigrate.engine.errors import OthersWaited, WMigrateError
from airflow_provider_wmigrate.engine.events import Event
from airflow_provider_wmigrate.engine.record import Outcome
from tests.postgres.test_lock_first import (
    BACK,
    BOTH,
    CROSSWISE,
    SLOW,
    TABLES,
    Conn,
    Load,
    MakeMigrator,
    crosswise,
    in_thread,
    retries,
)
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def tables(conn: Conn) -> None:
    conn.execute(TABLES.encode())


def looks_for_deadlocks_after(conn: Conn, time: str) -> None:
    conn.execute(f"ALTER DATABASE {conn.info.dbname} SET deadlock_timeout = '{time}'".encode())


@pytest.mark.parametrize("after", ["10ms", "1h"])
def test_tables_in_the_other_order(database: str, migrator: MakeMigrator, conn: Conn, after: str) -> None:
    looks_for_deadlocks_after(conn, after)
    runner = migrator({"001_a.sql": BOTH, "001_a.rollback.sql": BACK})
    with Load(database, *CROSSWISE, writers=4) as load:
        assert runner.apply("001").outcome is Outcome.APPLIED
        assert runner.roll_back("001").outcome is Outcome.ROLLED_BACK
    assert load.killed == []


def test_a_wait_for_a_row_that_is_too_short_to_be_seen_is_learnt_from(
    database: str, migrator: MakeMigrator, conn: Conn, events: list[Event]
) -> None:
    looks_for_deadlocks_after(conn, "10ms")
    with psycopg.connect(database) as other:
        other.execute("UPDATE b SET v = 1 WHERE id = 1")
        threading.Timer(1.5, other.rollback).start()
        record = migrator({"001_a.sql": "UPDATE a SET v = 0;\nUPDATE b SET v = 0;"}).apply("001")
    assert (record.attempts, retries(events)) == (2, ["a lock was not free within its budget"])


def test_a_late_lock_is_given_up_soon_where_the_server_looks_for_deadlocks_late(
    database: str, migrator: MakeMigrator, conn: Conn
) -> None:
    looks_for_deadlocks_after(conn, "1h")
    killed: list[str | None] = []
    waited: list[float] = []
    with crosswise(database, killed, waited):
        assert migrator({"001_a.sql": SLOW}).apply("001").outcome is Outcome.APPLIED
    assert killed == []
    assert waited[0] < 1.9


@pytest.mark.parametrize(
    ("script", "config"),
    [
        (f"CREATE INDEX CONCURRENTLY i ON a (v);\n{SLOW}", ""),
        (f"BEGIN;\n{SLOW}\nCOMMIT;", "migrations: [{version: 1, transactional: false}]"),
    ],
)
def test_each_transaction_of_a_script_takes_its_locks_first(
    database: str, migrator: MakeMigrator, conn: Conn, events: list[Event], script: str, config: str
) -> None:
    """The late one is not had, so that the second try begins with both."""
    killed: list[str | None] = []
    with crosswise(database, killed):
        record = migrator({"001_a.sql": script, "migration_config.yaml": config}).apply("001")
    assert (record.outcome, killed) == (Outcome.APPLIED, [])
    assert retries(events) == ["a lock was not free within its budget"]


def test_an_index_that_is_built_beside_others_gives_way_to_who_waits_for_it(
    database: str, migrator: MakeMigrator, conn: Conn
) -> None:
    """It waits for the end of a transaction, which then wants to analyse the table: that would be killed."""
    runner = migrator({"001_a.sql": "CREATE INDEX CONCURRENTLY i ON a (v);"})
    waits = "SELECT FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONC%' AND wait_event_type = 'Lock'"
    killed: list[str | None] = []

    def loads() -> None:
        with psycopg.connect(database) as other:
            other.execute("UPDATE a SET v = 1 WHERE id = 1")
            begun.set()
            wait_until(lambda: conn.execute(waits).rowcount, "the build")
            time.sleep(1.2)
            try:
                other.execute("ANALYZE a")
            except psycopg.Error as error:
                killed.append(error.sqlstate)

    begun = threading.Event()
    with in_thread(loads):
        begun.wait()
        with pytest.raises(OthersWaited) as failed:
            runner.apply("001")
    assert (killed, failed.value.retryable) == ([], True)
    assert runner.apply("001").outcome is Outcome.APPLIED


def test_a_snapshot_does_not_wait_with_views_in_hand(database: str, conn: Conn) -> None:
    """Their definitions are read under locks on what they read."""
    conn.execute("CREATE VIEW of_a AS SELECT * FROM a; CREATE VIEW of_b AS SELECT * FROM b")
    killed: list[str | None] = []
    waits = "SELECT FROM pg_locks WHERE relation = 'b'::regclass AND NOT granted"

    def truncates(other: Conn) -> None:
        wait_until(lambda: conn.execute(waits).rowcount, "the snapshot")
        time.sleep(1.2)
        try:
            other.execute("LOCK TABLE a")
        except psycopg.Error as error:
            killed.append(error.sqlstate)
        other.rollback()

    with psycopg.connect(database) as other, psycopg.connect(database, autocommit=True) as looking:
        other.execute("LOCK TABLE b")
        with in_thread(lambda: truncates(other)):
            snapshot = take(looking)
    assert killed == []
    assert {fact.identity for fact in snapshot.facts if fact.kind == "view"} == {"public.of_a", "public.of_b"}


def test_a_snapshot_that_waits_in_vain_says_for_what(
    database: str, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "_PATIENCE", 0)
    conn.execute("CREATE VIEW of_a AS SELECT * FROM a")
    with psycopg.connect(database) as other, psycopg.connect(database, autocommit=True) as looking:
        other.execute("LOCK TABLE a")
        with pytest.raises(WMigrateError) as refused:
            take(looking)
    said = "the schema could not be read: canceling statement due to lock timeout"
    way = "somebody holds locks on what views read; try again when that is over"
    assert str(refused.value) == f"{said}; {way}"
