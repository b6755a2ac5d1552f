"""What these tests share beside their fixtures: waiting for the server, a runner that is shot, a table's rows."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from dev.cluster import Cluster, ClusterError
from dev.timescale_root import timescale_server

Conn = psycopg.Connection[Any]

WORKING = "datname = current_database() AND application_name LIKE 'wmigrate%'"


@contextmanager
def running_server(**arguments: Any) -> Iterator[Cluster]:
    """Skips, with the reason, where there can be none."""
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(timescale_server(**arguments))
        except ClusterError as error:
            pytest.skip(str(error))
        yield cluster


def skip_unless_full(dsn: str) -> None:
    """:param dsn: of a database that has the extension."""
    with psycopg.connect(dsn) as conn:
        row = conn.execute("SELECT current_setting('timescaledb.license')").fetchone()
    if row != ("timescale",):
        pytest.skip(f"needs the full edition (TIMESCALE_BINDIR), this server's licence is {row and row[0]}")


def fill(conn: Conn) -> None:
    conn.execute(
        "INSERT INTO m SELECT t, d, 1 FROM generate_series(timestamptz '2026-01-01 00:00Z', '2026-01-06 23:00Z',"
        " '1 hour') t, generate_series(1, 5) d"
    )


def eventually(conn: Conn, query: str, found: Callable[[list[Any]], bool] = bool, seconds: float = 20.0) -> list[Any]:
    """The rows, as soon as they are as wanted."""
    deadline = time.monotonic() + seconds
    while not found(rows := conn.execute(query.encode()).fetchall()):
        assert time.monotonic() < deadline, f"{query} still gives {rows}"
        time.sleep(0.05)
    return rows


def apply_001(dsn: str, folder: Path) -> None:
    Migrator(lambda: psycopg.connect(dsn), read_folder(folder), identity=Identity("killed")).apply("001")


def killed_while(dsn: str, folder: Path, conn: Conn, true: str) -> None:
    """Apply 001 in a process that is shot as soon as a query about it gives rows; return when the server noticed."""
    process = multiprocessing.get_context("spawn").Process(target=apply_001, args=[dsn, folder])
    process.start()
    assert process.pid is not None
    eventually(conn, true)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    eventually(conn, f"SELECT pid FROM pg_stat_activity WHERE {WORKING}", lambda rows: not rows)
