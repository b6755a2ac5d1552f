"""ALTER EXTENSION timescaledb UPDATE: the first statement of a session of its own, which ends every older session.

The package brings one version. An older one is made of it: the same library and script under the number before, from
which the package has an update.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import LockTimeout, StatementFailed, TimedOut
from airflow_provider_wmigrate.engine.events import Blocked, Event, Stepped
from airflow_provider_wmigrate.engine.model import checksum
from airflow_provider_wmigrate.engine.record import Outcome
from dev.cluster import Cluster
from tests.struck import in_background
from tests.waiting import ENDLESS, eventually

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

UPDATE = "ALTER EXTENSION timescaledb UPDATE"
VERSION = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
RUNNERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'wmigrate%' AND datname = current_database()"
)


@pytest.fixture(scope="module")
def versions(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """The older and the newer one. The files of the older are gone afterwards."""
    if os.environ.get("TIMESCALE_BINDIR"):
        pytest.skip("an older version is made in the folder of Debian's package only, not in TIMESCALE_BINDIR")
    library, share = cluster.bindir.parent / "lib", _extension_folder(cluster.bindir)
    ((new,),) = cluster.execute("SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'")
    steps = [re.fullmatch(rf"timescaledb--(.*)--{re.escape(new)}\.sql", file.name) for file in share.iterdir()]
    same_length = [step[1] for step in steps if step and len(step[1]) == len(new)]
    if not same_length:
        pytest.skip(f"no update to {new} from a version whose number has as many characters")
    old = max(same_length)
    made = {
        library / f"timescaledb-{new}.so": library / f"timescaledb-{old}.so",
        share / f"timescaledb--{new}.sql": share / f"timescaledb--{old}.sql",
    }
    for source, target in made.items():
        target.write_bytes(source.read_bytes().replace(new.encode(), old.encode()))
        target.chmod(source.stat().st_mode)
    yield old, new
    for target in made.values():
        target.unlink()


def _extension_folder(bindir: Path) -> Path:
    """usr/lib/postgresql/17/bin -> usr/share/postgresql/17/extension"""
    return bindir.parents[3] / "share" / "postgresql" / bindir.parent.name / "extension"


@pytest.fixture
def database(bare: str, versions: tuple[str, str]) -> str:
    """With the older version and a hypertable."""
    with psycopg.connect(bare, autocommit=True) as conn:
        conn.execute(f"CREATE EXTENSION timescaledb VERSION '{versions[0]}'".encode())
        conn.execute("CREATE TABLE m (at timestamptz NOT NULL, v int)")
        conn.execute("SELECT create_hypertable('m', 'at')")
        conn.execute("INSERT INTO m SELECT now() - n * interval '1 day', n FROM generate_series(1, 30) n")
    return bare


def version(dsn: str) -> str:
    """Asked by a session of its own: one that has loaded the old version would be ended."""
    with psycopg.connect(dsn) as conn:
        return str(conn.execute(VERSION.encode()).fetchone()[0])  # type: ignore[index]


def journal(dsn: str) -> Any:
    with psycopg.connect(dsn) as conn:
        return conn.execute(
            "SELECT status, statements_done, cardinality(statement_hashes) FROM wmigrate.schema_migrations"
        ).fetchone()


@pytest.mark.parametrize("how", ["", " TO '{}'"])
def test_it_updates_in_the_middle_of_a_script(
    database: str, migrator: MakeMigrator, events: list[Event], versions: tuple[str, str], how: str
) -> None:
    with psycopg.connect(database, autocommit=True) as bystander:
        bystander.execute("SELECT count(*) FROM m")
        script = (
            f"CREATE TABLE a ();\n{UPDATE}{how.format(versions[1])};\nCREATE TABLE b ();\nDELETE FROM m WHERE v = 1;"
        )
        made = migrator({"001_a.sql": script})
        record = made.apply("001")
        assert (record.outcome, record.statements, record.rows) == (Outcome.APPLIED, 4, 1)
        with pytest.raises(psycopg.errors.DuplicateObject, match="already loaded with a different version"):
            bystander.execute("SELECT count(*) FROM m")
    assert version(database) == versions[1]
    assert [e.note for e in events if isinstance(e, Stepped)] == [
        "runs",
        "runs outside a transaction",
        "run in one transaction",
    ]
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT count(*) FROM m").fetchone() == (29,)
        assert made.ledger.verify(conn) == ()


def test_a_failure_behind_it_keeps_it(database: str, migrator: MakeMigrator, versions: tuple[str, str]) -> None:
    with pytest.raises(StatementFailed, match="statement 1 was kept; the next run goes on at statement 2"):
        migrator({"001_a.sql": f"{UPDATE};\nSELECT * FROM nowhere;"}).apply("001")
    assert (version(database), journal(database)) == (versions[1], ("incomplete", 1, 1))
    assert migrator({"001_a.sql": f"{UPDATE};\nSELECT 1;"}).apply("001").outcome is Outcome.APPLIED


@pytest.mark.parametrize(("updated", "note"), [(True, "it has run"), (False, "it runs again")])
def test_in_flight_the_version_tells(
    database: str, migrator: MakeMigrator, events: list[Event], versions: tuple[str, str], updated: bool, note: str
) -> None:
    with pytest.raises(StatementFailed):
        migrator({"001_a.sql": f"VACUUM pg_class;\nSELECT * FROM nowhere;\n{UPDATE};"}).apply("001")
    with psycopg.connect(database, autocommit=True) as conn:  # as a runner leaves it that died
        conn.execute(
            "UPDATE wmigrate.schema_migrations SET statement_hashes = %s, statements_done = 0", [[checksum(UPDATE)]]
        )
    if updated:
        with psycopg.connect(database, autocommit=True) as conn:
            conn.execute(UPDATE)
    events.clear()
    assert migrator({"001_a.sql": f"{UPDATE};"}).apply("001").outcome is Outcome.APPLIED
    assert next(e.note for e in events if isinstance(e, Stepped)) == f"was in flight; {note}"
    assert version(database) == versions[1]


@pytest.fixture
def in_the_way(database: str) -> Iterator[Conn]:
    with psycopg.connect(database) as conn:
        conn.execute("LOCK TABLE _timescaledb_catalog.metadata IN ACCESS EXCLUSIVE MODE")
        yield conn


def block(**budgets: float) -> dict[str, str]:
    words = ", ".join(f"{key}: {value:g}" for key, value in budgets.items())
    return {"001_a.sql": f"{UPDATE};", "migration_config.yaml": f"migrations: [{{version: 1, {words}}}]"}


def test_it_waits_for_a_lock_as_long_as_a_transaction_and_tells_who_holds_it(
    database: str, migrator: MakeMigrator, events: list[Event], in_the_way: Conn, versions: tuple[str, str]
) -> None:
    pid = in_the_way.info.backend_pid
    with pytest.raises(LockTimeout, match=f"held by pid {pid}; nothing ran before it"):
        migrator(block(lock_timeout_seconds=0.5, lock_attempts=2)).apply("001")
    assert next(b.pid for e in events if isinstance(e, Blocked) for b in e.blockers) == pid
    assert (version(database), journal(database)) == (versions[0], None)
    in_the_way.rollback()
    assert migrator(block(lock_attempts=2)).apply("001").outcome is Outcome.APPLIED


def test_the_total_budget_cancels_it(
    database: str, migrator: MakeMigrator, in_the_way: Conn, versions: tuple[str, str]
) -> None:
    with pytest.raises(TimedOut, match="the total budget"):
        migrator(block(lock_timeout_seconds=ENDLESS, timeout_seconds=1)).apply("001")
    assert in_the_way.execute(RUNNERS.encode()).fetchone() == (0,)
    in_the_way.rollback()
    assert version(database) == versions[0]


def test_a_cancel_reaches_it(
    database: str, migrator: MakeMigrator, in_the_way: Conn, versions: tuple[str, str]
) -> None:
    made = migrator(block(lock_timeout_seconds=ENDLESS))
    with in_background(lambda: made.apply("001")) as result:
        eventually(in_the_way, "SELECT 1 FROM pg_locks WHERE NOT granted")
        made.cancel()
    with pytest.raises(StatementFailed, match="cancelled on request"):
        result()
    assert in_the_way.execute(RUNNERS.encode()).fetchone() == (0,)
    in_the_way.rollback()
    assert version(database) == versions[0]


def test_a_migration_that_needs_the_newer_version_may_follow(
    database: str, migrator: MakeMigrator, versions: tuple[str, str]
) -> None:
    needs = f"requires_extensions: [{{name: timescaledb, min_version: {versions[1]}}}]"
    config = {"migration_config.yaml": f"migrations: [{{version: 2, {needs}}}]"}
    alone = {"002_b.sql": "SELECT 1;", **config}
    assert [f.code for f in migrator(alone).plan().findings] == ["extension_too_old"]
    made = migrator({"001_a.sql": f"{UPDATE};", **alone})
    assert made.plan().findings == ()
    for step in made.plan().steps:
        assert made.apply(step.version).outcome is Outcome.APPLIED
