"""What the tests stand on: one throw-away server per session, one fresh database per test, folders of SQL files.

The server's programs are found as `dev/server_binaries.py` says; `PG_BINDIR` names others.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.events import Event
from airflow_provider_wmigrate.engine.folder.config.root import CONFIG_FILE
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from dev.cluster import Cluster, ClusterError
from dev.memory_room import memory_with_room
from dev.server_binaries import find_bindir, major_version
from dev.skipped import add_to_list
from tests.needs import need

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "migrations"
WITHOUT_TIMESCALEDB = ("001", "002", "004", "005", "006", "007", "008")

Files = Mapping[str, str | bytes]
MakeFolder = Callable[[Files], Path]
StartCluster = Callable[..., AbstractContextManager[Cluster]]
MakeMigrator = Callable[..., Migrator]

_numbers = itertools.count(1)


def pytest_report_header() -> str:
    try:
        bindir = find_bindir()
    except ClusterError as error:
        return f"PostgreSQL: {error}"
    return f"PostgreSQL: {major_version(bindir)} in {bindir}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs_program"):
        need(*marker.args)
    for marker in item.iter_markers("needs_postgresql"):
        major, what = marker.args
        if major_version(find_bindir()) < major:
            pytest.skip(f"PostgreSQL {major} was the first with {what}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where the session's server has lost all of its connections, the test says why: its folder will be gone."""
    report = yield
    cluster = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and isinstance(cluster, Cluster) and (words := cluster.crashes()):
        report.sections.append(("The server's own words", "\n".join(words)))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """`make test` shows what its parts have skipped in one table; see dev/skipped.py."""
    list_file = os.environ.get("SKIPPED_LIST")
    if list_file:
        skipped = terminalreporter.getreports("skipped")
        # Where the test is, not where it was decided to skip it.
        add_to_list(Path(list_file), [(r.nodeid.partition("::")[0], 0, r.longrepr[2]) for r in skipped])


@contextmanager
def _temporary_cluster(more: Mapping[str, Any] = MappingProxyType({}), **arguments: Any) -> Iterator[Cluster]:
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            # A database is made in 15 ms in memory and in 300 ms on a slow disk.
            if memory := memory_with_room():
                patch.setattr(tempfile, "tempdir", str(memory))
            settings = {"max_connections": 150, "jit": False, **more}
            cluster = stack.enter_context(Cluster.temporary(settings=settings, **arguments))
        yield cluster


@pytest.fixture(scope="session")
def start_cluster() -> StartCluster:
    """Start a server other than the session's, for instance one of another major version."""
    return _temporary_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The session's server. Everybody who reaches its port is let in; it forgets everything in the end."""
    with _temporary_cluster() as cluster:
        yield cluster


@pytest.fixture
def database(cluster: Cluster) -> Iterator[str]:
    """The DSN of an empty database of the test's own."""
    name = f"test_{next(_numbers)}"
    yield cluster.create_database(name, template="template0")
    cluster.drop_database(name)


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    """A look into the test's database from outside: superuser, autocommit."""
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Write files into the test's folder of migrations; called again, it replaces what was there."""

    def make(files: Files) -> Path:
        folder = tmp_path / "migrations"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    return make


@pytest.fixture
def events() -> list[Event]:
    """What every migrator of the test told, in order."""
    return []


@pytest.fixture
def migrator(database: str, make_folder: MakeFolder, events: list[Event]) -> MakeMigrator:
    """Make a migrator for the test's database from files, or from a folder that is there."""

    def make(source: Files | Path, *, dsn: str = database, **more: Any) -> Migrator:
        folder = read_folder(source if isinstance(source, Path) else make_folder(source))
        more = {"identity": Identity("tester"), "on_event": events.append, **more}
        return Migrator(lambda: psycopg.connect(dsn), folder, **more)

    return make


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped migrations that a plain PostgreSQL can run."""
    folder = tmp_path_factory.mktemp("shipped")
    for file in SHIPPED.iterdir():
        if file.name[:3] in WITHOUT_TIMESCALEDB:
            shutil.copy(file, folder)
    versions = {file.name[:3] for file in folder.iterdir()}
    (folder / CONFIG_FILE).write_text(_config_of(versions))
    return folder


def _config_of(versions: set[str]) -> str:
    """The dependencies of the shipped config, for some of its versions."""
    blocks = [b for b in read_config_blocks() if b["version"] in versions]
    return "migrations:\n" + "".join(
        f"  - {{version: '{b['version']}', dependencies: {b['dependencies']}}}\n" for b in blocks
    )


def read_config_blocks() -> list[dict[str, Any]]:
    import yaml

    blocks: list[dict[str, Any]] = yaml.safe_load((SHIPPED / CONFIG_FILE).read_text())["migrations"]
    return blocks


@pytest.fixture(scope="session")
def warehouse_template(cluster: Cluster, shipped: Path) -> str:
    """The name of a database with the shipped schema, to be copied."""
    dsn = cluster.create_database("warehouse_template", template="template0")
    migrator = Migrator(lambda: psycopg.connect(dsn), read_folder(shipped), identity=Identity("tester"))
    for version in migrator.migrations:
        migrator.apply(version)
    return "warehouse_template"


@pytest.fixture
def warehouse(cluster: Cluster, warehouse_template: str) -> Iterator[psycopg.Connection[Any]]:
    """The shipped schema in a database of the test's own, without TimescaleDB: superuser, autocommit."""
    name = f"warehouse_{next(_numbers)}"
    dsn = cluster.create_database(name, template=warehouse_template)
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn
    cluster.drop_database(name)
