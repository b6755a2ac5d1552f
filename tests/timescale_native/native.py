"""What these tests share beside their fixtures: a server, a table's rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest

from dev.cluster import Cluster, ClusterError
from dev.timescale_root import timescale_server

Conn = psycopg.Connection[Any]


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


def skip_before_218(conn: Conn) -> None:
    ((old,),) = conn.execute(
        "SELECT string_to_array(default_version, '.')::int[] < '{2,18}' FROM pg_available_extensions"
        " WHERE name = 'timescaledb'"
    ).fetchall()
    if old:
        pytest.skip("the columnstore's names are those of TimescaleDB 2.18")


def fill(conn: Conn) -> None:
    conn.execute(
        "INSERT INTO m SELECT t, d, 1 FROM generate_series(timestamptz '2026-01-01 00:00Z', '2026-01-06 23:00Z',"
        " '1 hour') t, generate_series(1, 5) d"
    )
