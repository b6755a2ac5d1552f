"""Locks on chunks are told of their hypertable: in the record, in the audit row, in the output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

pytestmark = pytest.mark.usefixtures("hypertable")


def test_what_the_columnstore_keeps_is_of_the_hypertable_too(
    migrator: MakeMigrator, conn: Conn, full_edition: None
) -> None:
    conn.execute("ALTER TABLE m SET (timescaledb.compress)")
    conn.execute("SELECT compress_chunk(c) FROM show_chunks('m') c LIMIT 2")
    locks = [str(lock) for lock in migrator({"001_a.sql": "ALTER TABLE m ADD COLUMN note text;"}).apply("001").locks]
    assert not [lock for lock in locks if "hyper_" in lock and "_compressed_hypertable_" not in lock], locks
    assert [lock for lock in locks if lock.startswith("public.m and its ")]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (
            "ALTER TABLE m ADD COLUMN note text;",
            "public.m and its 6 chunks or partitions (AccessExclusiveLock)",
        ),
        (
            "SELECT drop_chunks('m', older_than => '2026-01-03Z'::timestamptz);",
            "2 chunks or partitions of public.m (AccessExclusiveLock, dropped)",
        ),
    ],
)
def test_locks_are_told_of_the_hypertable(migrator: MakeMigrator, script: str, told: str) -> None:
    for dry_run in (True, False):
        locks = [str(lock) for lock in migrator({"001_a.sql": script}).apply("001", dry_run=dry_run).locks]
        assert told in locks
        assert not [lock for lock in locks if "_hyper_" in lock], locks
