"""A table with many partitions is told as one table, and a lock table too small for it with the number it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.catalog.locks import gathered
from airflow_provider_wmigrate.engine.errors import StatementFailed
from airflow_provider_wmigrate.engine.events import Event, Retrying
from airflow_provider_wmigrate.engine.locks_taken import LockTaken
from airflow_provider_wmigrate.engine.record import Outcome

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

MANY = (
    "CREATE TABLE m (id int PRIMARY KEY) PARTITION BY RANGE (id);"
    "DO $$ BEGIN FOR n IN 1..{0} LOOP"
    " EXECUTE format('CREATE TABLE m_%s PARTITION OF m FOR VALUES FROM (%s) TO (%s)', n, n, n + 1); COMMIT;"
    "END LOOP; END $$"
)


def make(conn: Conn, partitions: int) -> None:
    for statement in MANY.format(partitions).split(";", 1):
        conn.execute(statement.encode())


def test_locks_are_told_by_table(migrator: MakeMigrator, conn: Conn) -> None:
    make(conn, 30)
    record = migrator({"001_a.sql": "ALTER TABLE m ADD COLUMN note text;"}).apply("001")
    assert record.outcome is Outcome.APPLIED
    assert [str(lock) for lock in record.locks] == ["public.m and its 30 chunks or partitions (AccessExclusiveLock)"]
    (row,) = conn.execute("SELECT details -> 'locks' FROM wmigrate.audit_log WHERE event = 'applied'").fetchall()
    assert [{**lock, "held_ms": None} for lock in row[0]] == [
        {
            "relation": "public.m",
            "mode": "AccessExclusiveLock",
            "held_ms": None,
            "dropped": False,
            "parts": 30,
            "whole": True,
        }
    ]


def test_parts_that_are_locked_without_their_table() -> None:
    taken = [
        LockTaken("s.m", "RowExclusiveLock"),
        LockTaken("s.m_1", "AccessExclusiveLock", held_ms=7, dropped=True),
        LockTaken("s.m_2", "AccessExclusiveLock", held_ms=9, dropped=True),
        LockTaken("s.other", "ShareLock"),
    ]
    assert [str(lock) for lock in gathered(taken, {"s.m_1": "s.m", "s.m_2": "s.m"})] == [
        "s.m (RowExclusiveLock)",
        "2 chunks or partitions of s.m (AccessExclusiveLock, dropped)",
        "s.other (ShareLock)",
    ]


def test_a_lock_table_that_is_too_small(
    start_cluster: Any, migrator: MakeMigrator, events: list[Event], make_folder: Callable[..., Any]
) -> None:
    with start_cluster(more={"max_locks_per_transaction": 10, "max_connections": 20}) as cluster:
        dsn = cluster.create_database("many")
        with psycopg.connect(dsn, autocommit=True) as conn:
            make(conn, 900)
        with pytest.raises(StatementFailed) as failed:
            migrator({"001_a.sql": "SELECT 1;\nALTER TABLE m ADD COLUMN note text;"}, dsn=dsn).apply("001")
    assert (failed.value.sqlstate, failed.value.line, failed.value.retryable) == ("53200", 2, False)
    assert failed.value.hint == (
        "the tables it names have 900 chunks or partitions, for which it needs 1,800 places in the lock table, and all"
        " sessions share 200: set max_locks_per_transaction to 123 or more (now 10) and restart the server, or change"
        " fewer chunks in one migration"
    )
    assert not [e for e in events if isinstance(e, Retrying)]
