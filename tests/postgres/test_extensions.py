"""What a server says of its extensions, and the look at them under the lock, before anything of a script is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.catalog.extensions import preflight, read_extensions
from airflow_provider_wmigrate.engine.errors import HistoryError
from airflow_provider_wmigrate.engine.extension import Extension
from airflow_provider_wmigrate.engine.model import Migration, Script
from airflow_provider_wmigrate.engine.sql.analysis import analyse

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]
CONFIG = "migration_config.yaml"


def test_what_a_plain_server_has(conn: Conn) -> None:
    found = read_extensions(conn)
    assert found["plpgsql"] == Extension("1.0", "1.0")
    assert found["pg_trgm"].installed is None
    assert found["pg_trgm"].default_version
    assert "timescaledb" not in found


def test_every_role_may_ask(conn: Conn) -> None:
    conn.execute("CREATE ROLE nobody_special")
    try:
        conn.execute("SET ROLE nobody_special")
        assert "plpgsql" in read_extensions(conn)
    finally:
        conn.execute("RESET ROLE; DROP ROLE nobody_special")


def refused(migrator: Any, version: str = "001", **how: Any) -> str:
    with pytest.raises(HistoryError) as stopped:
        migrator.apply(version, **how)
    return str(stopped.value)


@pytest.mark.parametrize("dry_run", [False, True])
def test_creating_timescaledb_undeclared_is_refused_before_anything_is_sent(
    migrator: MakeMigrator, conn: Conn, dry_run: bool
) -> None:
    """Where its files are but its library is not preloaded, it would end the connection."""
    made = migrator({"001_a.sql": "CREATE TABLE t ();\nCREATE EXTENSION IF NOT EXISTS timescaledb;"})
    assert refused(made, dry_run=dry_run) == (
        "001_a.sql: migration 001 needs extension timescaledb, which this server cannot create: its files are not"
        " there; install timescaledb on the server"
    )
    assert conn.execute("SELECT to_regclass('t') IS NULL").fetchone() == (True,)
    if not dry_run:
        events = conn.execute("SELECT event, details -> 'findings' FROM wmigrate.audit_log ORDER BY position")
        assert events.fetchall()[1:] == [("refused", ["extension_missing"])]


def test_what_is_declared_is_looked_at_under_the_lock_again(migrator: MakeMigrator) -> None:
    files = {"001_a.sql": "SELECT 1;", CONFIG: "migrations: [{version: 1, requires_extensions: [no_such_thing]}]"}
    assert "migration 001 needs extension no_such_thing" in refused(migrator(files))


@pytest.mark.parametrize(("version", "codes"), [("1.0", []), ("1.1", ["extension_too_old"])])
def test_the_version_that_is_there(migrator: MakeMigrator, version: str, codes: list[str]) -> None:
    needs = f"[{{name: plpgsql, min_version: {version}}}]"
    made = migrator({"001_a.sql": "SELECT 1;", CONFIG: f"migrations: [{{version: 1, requires_extensions: {needs}}}]"})
    assert [finding.code for finding in made.plan().findings] == codes
    if codes:
        assert "needs extension plpgsql 1.1 or newer, and this database has 1.0" in refused(made)


def test_a_dry_run_looks_at_what_comes_before_too(migrator: MakeMigrator) -> None:
    files = {
        "001_a.sql": "SELECT 1;",
        "002_b.sql": "SELECT 1;",
        CONFIG: "migrations: [{version: 1, requires_extensions: [no_such_thing]}]",
    }
    assert "migration 001 needs extension no_such_thing" in refused(migrator(files), "002", dry_run=True)


def test_nobody_asks_for_a_script_that_needs_none(database: str) -> None:
    """The look reads files on the server; most migrations do not pay for it."""
    script = Script.of("001_a.sql", "CREATE EXTENSION pg_trgm;")
    closed = psycopg.connect(database)
    closed.close()
    assert preflight(closed, [(Migration("001", "a", script), analyse(script))]) == ()
