"""Every shipped rollback gives back the schema before it, on each major version of PostgreSQL at hand."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from glob import glob
from pathlib import Path

import psycopg
import pytest

from airflow_provider_wmigrate.engine.folder.folder import Folder, read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from dev.cluster import Cluster, ClusterError, find_bindir
from dev.server_binaries import (
    OLDEST_MAJOR,
    SYSTEM_BINDIRS,
    client_program,
    embedded_bindir,
    major_version,
)

VERSIONS = ("001", "002", "004", "005", "006", "007", "008")


def majors() -> dict[int, Path]:
    """One folder of server programs per major version: the one all other tests use, the system's, the wheel's."""
    found = [Path(folder) for pattern in SYSTEM_BINDIRS for folder in sorted(glob(pattern))]
    try:
        found.insert(0, find_bindir())
        found += filter(None, [embedded_bindir()])
    except ClusterError:
        pass
    by_major: dict[int, Path] = {}
    for folder in found:
        by_major.setdefault(major_version(folder), folder)
    return {major: folder for major, folder in sorted(by_major.items()) if major >= OLDEST_MAJOR}


AT_HAND = [pytest.param(folder, id=f"PostgreSQL {major}") for major, folder in majors().items()]
ONE_MORE = pytest.mark.skip(reason="only one PostgreSQL here; for another one: pip install --group postgresql")
if len(AT_HAND) < 2:
    AT_HAND.append(pytest.param(None, id="another major", marks=ONE_MORE))


@pytest.fixture(scope="module", params=AT_HAND)
def server(
    request: pytest.FixtureRequest, start_cluster: Callable[..., AbstractContextManager[Cluster]]
) -> Iterator[Cluster]:
    with start_cluster(bindir=request.param) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def folder(shipped: Path) -> Folder:
    return read_folder(shipped)


def dump(server: Cluster, dsn: str) -> list[str]:
    """The schema as DDL, without the ledger, and without what newer pg_dumps write with a random key."""
    command = [str(client_program("pg_dump", server.bindir)), "--schema-only", "--exclude-schema=wmigrate", dsn]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return [line for line in answer.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def migrator(dsn: str, folder: Folder) -> Migrator:
    return Migrator(lambda: psycopg.connect(dsn), folder, identity=Identity("tester"))


@pytest.mark.parametrize("version", VERSIONS)
def test_apply_roll_back_apply(server: Cluster, folder: Folder, version: str) -> None:
    if version not in folder.graph.parents:
        pytest.skip(f"migration {version} is not shipped yet")
    name = f"round_trip_{version}"
    dsn = server.create_database(name, template="template0")
    runner = migrator(dsn, folder)
    for needed in folder.graph.order:
        if needed in folder.graph.ancestors([version]):
            runner.apply(needed)

    before = dump(server, dsn)
    runner.apply(version)
    after = dump(server, dsn)
    assert after != before
    runner.roll_back(version)
    assert dump(server, dsn) == before
    runner.apply(version)
    assert dump(server, dsn) == after
    server.drop_database(name)


def test_everything_can_be_rolled_back_at_once(server: Cluster, folder: Folder) -> None:
    dsn = server.create_database("round_trip_all", template="template0")
    runner = migrator(dsn, folder)
    empty = dump(server, dsn)
    for version in folder.graph.order:
        runner.apply(version)
    for version in reversed(folder.graph.order):
        runner.roll_back(version)
    assert dump(server, dsn) == empty
    server.drop_database("round_trip_all")
