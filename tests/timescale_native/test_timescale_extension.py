"""The extension itself: not preloaded, of the wrong edition, too old, updated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import HistoryError, StatementFailed, WMigrateError
from airflow_provider_wmigrate.engine.events import Event, Stepped
from airflow_provider_wmigrate.engine.record import Outcome
from dev.cluster import Cluster
from dev.timescale_root import timescale_server

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

CREATE = "CREATE EXTENSION IF NOT EXISTS timescaledb;\n"


def needs(**wanted: str) -> str:
    pairs = ", ".join(f"{key}: {value!r}" for key, value in {"name": "timescaledb", **wanted}.items())
    return f"migrations:\n  - version: '001'\n    requires_extensions: [{{{pairs}}}]\n"


def codes(error: pytest.ExceptionInfo[HistoryError]) -> list[str]:
    return [finding.code for finding in error.value.findings]


# Not preloaded


@pytest.fixture(scope="module")
def unloaded(cluster: Cluster) -> Iterator[Cluster]:
    """A server that has the files, but did not load the library at its start."""
    with timescale_server(preload=False) as server:
        yield server


def test_without_a_look_before_the_connection_dies(unloaded: Cluster) -> None:
    with psycopg.connect(unloaded.dsn(), autocommit=True) as conn:
        with pytest.raises(psycopg.Error, match="must be preloaded"):
            conn.execute("CREATE EXTENSION timescaledb")
        assert conn.closed
    ((available,),) = unloaded.execute("SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'")
    assert available == 1, "so this says nothing"


@pytest.mark.parametrize("declared", [True, False])
def test_a_server_that_has_not_preloaded_it_is_found_out(
    unloaded: Cluster, migrator: MakeMigrator, declared: bool
) -> None:
    dsn = unloaded.create_database(f"unloaded_{declared}".lower())
    files = {"001_a.sql": CREATE + "CREATE TABLE a ();"}
    if declared:
        files["migration_config.yaml"] = needs()
    runner = migrator(files, dsn=dsn)
    if declared:
        assert [f.code for f in runner.plan().findings] == ["extension_not_preloaded"]
    with pytest.raises(HistoryError) as refused:
        runner.apply("001")
    assert codes(refused) == ["extension_not_preloaded"]
    assert "shared_preload_libraries" in str(refused.value)
    with psycopg.connect(dsn) as conn:
        events = [e for (e,) in conn.execute("SELECT event FROM wmigrate.audit_log ORDER BY position")]
        assert events == ["ledger_created", "refused"], "nothing was sent, and its connection lives"
    log = unloaded.log_file.read_text()
    assert log.count("FATAL:  extension") <= 1, "only the other test's"


# The wrong edition


@pytest.fixture(scope="module")
def apache(cluster: Cluster) -> Iterator[Cluster]:
    """Both editions can do this: the licence is a setting."""
    with timescale_server(licence="apache") as server:
        yield server


NOT_APACHE = {
    "a continuous aggregate": "CREATE MATERIALIZED VIEW d WITH (timescaledb.continuous) AS"
    " SELECT time_bucket('1 day', at) AS day, count(*) FROM m GROUP BY 1 WITH NO DATA;",
    "a policy": "SELECT add_retention_policy('m', INTERVAL '1 year');",
    "the columnstore": "ALTER TABLE m SET (timescaledb.compress);",
}
TABLE = "CREATE TABLE m (at timestamptz NOT NULL);\nSELECT create_hypertable('m', by_range('at'));\n"


@pytest.mark.parametrize(("name", "script"), NOT_APACHE.items(), ids=NOT_APACHE.keys())
def test_what_the_apache_edition_has_not(apache: Cluster, migrator: MakeMigrator, name: str, script: str) -> None:
    dsn = apache.create_database(name)
    runner = migrator({"001_a.sql": CREATE + TABLE + script}, dsn=dsn)
    with pytest.raises(StatementFailed) as failed:
        runner.apply("001")
    assert (failed.value.sqlstate, failed.value.line, failed.value.retryable) == ("0A000", 4, False)
    assert "this server runs TimescaleDB's Apache edition" in failed.value.hint
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT to_regclass('m')").fetchone() == (None,), "rolled back, with the extension"

    apache.execute("CREATE EXTENSION timescaledb", dbname=name)
    known = migrator({"001_a.sql": TABLE + script, "migration_config.yaml": needs(license="timescale")}, dsn=dsn)
    assert [f.code for f in known.plan().findings] == ["extension_license"]
    with pytest.raises(HistoryError) as refused:
        known.apply("001")
    assert codes(refused) == ["extension_license"]


def test_what_the_apache_edition_has(apache: Cluster, migrator: MakeMigrator) -> None:
    dsn = apache.create_database("hypertable")
    files = {"001_a.sql": CREATE + TABLE, "migration_config.yaml": needs(min_version="2.13")}
    assert migrator(files, dsn=dsn).apply("001").outcome is Outcome.APPLIED


# Too old, and updated


@pytest.fixture
def versions(cluster: Cluster, bare: str) -> tuple[str, str]:
    """An older version that this server can create, and its default."""
    rows = cluster.execute(
        "SELECT v.version, a.default_version FROM pg_available_extension_versions v"
        " JOIN pg_available_extensions a USING (name) WHERE name = 'timescaledb' AND v.version <> a.default_version"
        " ORDER BY string_to_array(v.version, '.')::int[] DESC"
    )
    for older, newest in rows:
        try:
            cluster.execute(f"CREATE EXTENSION timescaledb VERSION '{older}'", dbname=bare.rpartition("/")[2])
        except psycopg.Error:
            continue
        return older, newest
    pytest.skip("this server has the files of one version only")


def version_in(dsn: str) -> str:
    with psycopg.connect(dsn) as conn:
        row = conn.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
        return str(row and row[0])


def test_too_old(versions: tuple[str, str], bare: str, migrator: MakeMigrator) -> None:
    older, newest = versions
    files = {"001_a.sql": TABLE, "migration_config.yaml": needs(min_version=newest)}
    runner = migrator(files, dsn=bare)
    (finding,) = runner.plan().findings
    assert (finding.code, older in finding.message) == ("extension_too_old", True)
    assert "ALTER EXTENSION timescaledb UPDATE" in finding.next_step


def test_updating_it_late_in_a_session_is_refused_by_the_server(versions: tuple[str, str], bare: str) -> None:
    with psycopg.connect(bare, autocommit=True) as conn:
        conn.execute("SELECT 1")
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            conn.execute("ALTER EXTENSION timescaledb UPDATE")
    assert version_in(bare) == versions[0]


def test_a_migration_updates_it(
    versions: tuple[str, str], bare: str, migrator: MakeMigrator, events: list[Event]
) -> None:
    """Also between two other statements: each finds the version it expects, and the next migration goes on with it."""
    files = {
        "001_a.sql": TABLE + "INSERT INTO m VALUES (now());\n"
        "ALTER EXTENSION timescaledb UPDATE;\nCREATE TABLE n (at timestamptz NOT NULL);\n"
        "SELECT create_hypertable('n', by_range('at'));",
        "002_b.sql": "SELECT drop_chunks('m', now() + INTERVAL '1 day');",
        "migration_config.yaml": needs() + f"  - version: '002'\n    requires_extensions:\n"
        f"      - {{name: timescaledb, min_version: '{versions[1]}'}}\n",
    }
    runner = migrator(files, dsn=bare)
    plan = runner.plan()
    assert ([s.version for s in plan.steps], plan.errors) == (["001", "002"], ())
    assert [runner.apply(v).outcome for v in ("001", "002")] == [Outcome.APPLIED] * 2
    assert version_in(bare) == versions[1]
    told = [f"{e.first}-{e.last} {e.note}" for e in events if isinstance(e, Stepped)]
    assert told[0] == "1-3 run in one transaction"
    assert told[1].startswith("4-4 ")
    assert told[2] == "5-6 run in one transaction"
    with psycopg.connect(bare) as conn:
        assert runner.ledger.verify(conn) == ()


def test_two_runners_update_it_once(versions: tuple[str, str], bare: str, migrator: MakeMigrator) -> None:
    """Whoever waits is ended by the server: it had loaded the old version. Whoever updates needs a new connection, and
    the other one may be quicker with the locks. Either way a task's retry finds what is left to do, and no more."""
    files = {"001_a.sql": "CREATE TABLE n (v int);\nALTER EXTENSION timescaledb UPDATE;\nINSERT INTO n VALUES (1);"}
    runners = [migrator(files, dsn=bare) for _ in range(3)]
    runners[0].record("planned")

    def run(runner: Any) -> str:
        for _ in range(5):
            try:
                return str(runner.apply("001").outcome.value)
            except WMigrateError as error:
                if not error.retryable:
                    raise
        return "no end"

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(run, runner) for runner in runners]
        assert sorted(r.result(60) for r in running) == ["already_applied", "already_applied", "applied"]
    assert version_in(bare) == versions[1]
    with psycopg.connect(bare) as conn:
        assert conn.execute("SELECT count(*) FROM n").fetchone() == (1,)
