"""pg_upgrade makes no difference in a snapshot. Not a part of `make test`: each takes some ten seconds. `make
test-matrix ARGS='-s upgrades'` runs it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from airflow_provider_wmigrate.engine.catalog.snapshot.comparing import diff
from airflow_provider_wmigrate.engine.catalog.snapshot.facts import Snapshot
from airflow_provider_wmigrate.engine.catalog.snapshot.taking import take
from dev.cluster import Cluster, free_port
from dev.lock_table import SCHEMA
from dev.server_binaries import MAJORS, Account, server_programs

EVERYTHING = Path(__file__).parents[1] / "postgres" / "one_of_everything.sql"
NEWEST = max(MAJORS)
OPTION = "SELECT count(*) FROM pg_attribute WHERE attoptions::text LIKE '%pg_attver%'"
"""Of some minor releases of 15, in which no statement sets it."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the server's account may go."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def taken(cluster: Cluster) -> Snapshot:
    with psycopg.connect(cluster.dsn("original"), autocommit=True) as conn:
        return take(conn)


def told(account: Account, folder: Path, *command: str | Path) -> None:
    words = account.command([str(word) for word in command])
    answer = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, **account.popen_arguments())
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr


@pytest.mark.parametrize("major", [major for major in MAJORS if major < NEWEST])
def test_pg_upgrade_makes_no_difference(major: int, folder: Path) -> None:
    programs = {version: server_programs(version) for version in (major, NEWEST)}
    old, new = programs[major], programs[NEWEST]
    if old is None or new is None or not (old / "pg_upgrade").exists():
        pytest.skip(f"the PostgreSQL {major} that can be had has no pg_upgrade")
    account = Account.for_server()
    account.own(folder)
    settings = {"wal_level": "logical"}
    with Cluster(folder / "old", bindir=old, settings=settings, fsync=False) as cluster:
        cluster.create_database("original")
        for file in (SCHEMA, EVERYTHING):
            told(
                account, folder, new / "psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", cluster.dsn("original"), "-f", file
            )
        if cluster.execute(OPTION, dbname="original") != [(0,)]:
            pytest.skip(f"this PostgreSQL {major} has an option of columns that a newer one does not know")
        before = taken(cluster)
    with Cluster(folder / "new", bindir=new, fsync=False):
        pass  # makes the folder
    told(account, folder, new / "pg_checksums", "--disable", "-D", folder / "new")
    folders = ["-b", old, "-B", new, "-d", folder / "old", "-D", folder / "new"]
    ports = ["-U", "postgres", "-s", folder, "-p", str(free_port()), "-P", str(free_port())]
    told(account, folder, new / "pg_upgrade", *folders, *ports, "--link", "--no-sync")
    with Cluster(folder / "new", bindir=new, settings=settings, fsync=False) as cluster:
        after = taken(cluster)

    assert [difference.sentence for difference in diff(before, after)] == []
    assert after.fingerprint == before.fingerprint
