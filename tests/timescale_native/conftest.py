"""A native TimescaleDB for the tests: what the WebAssembly one cannot show, which is locks, concurrency, cancelling,
preloading and licences. `make test-timescale`; see `dev/timescale_root.py` for what it needs.

Debian's package is the Apache edition. `TIMESCALE_BINDIR` names a server of the full one, and no test is skipped.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from native import fill, running_server, skip_unless_full

from dev.cluster import Cluster

Conn = psycopg.Connection[Any]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The session's server, here one that has TimescaleDB loaded. Its scheduler of jobs is off."""
    with running_server() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def extended(cluster: Cluster) -> str:
    """The name of a database with the extension, to be copied."""
    cluster.create_database("extended", template="template0")
    cluster.execute("CREATE EXTENSION timescaledb", dbname="extended")
    return "extended"


@pytest.fixture
def database(cluster: Cluster, extended: str) -> Iterator[str]:
    """The DSN of a database of the test's own, with the extension and nothing else."""
    name = f"extended_{next(_numbers)}"
    yield cluster.create_database(name, template=extended)
    cluster.drop_database(name)


@pytest.fixture
def bare(cluster: Cluster) -> Iterator[str]:
    """The same without the extension."""
    name = f"bare_{next(_numbers)}"
    yield cluster.create_database(name, template="template0")
    cluster.drop_database(name)


@pytest.fixture
def full_edition(database: str) -> None:
    skip_unless_full(database)


@pytest.fixture
def hypertable(conn: Conn) -> None:
    """`m`: six days of readings in as many chunks."""
    conn.execute("CREATE TABLE m (at timestamptz NOT NULL, device int NOT NULL, value float8)")
    conn.execute("SELECT create_hypertable('m', by_range('at', INTERVAL '1 day'))")
    fill(conn)
