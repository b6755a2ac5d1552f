"""A library that the server lacks: somebody has to install it, and no connection was lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import ConnectionFailed, LedgerNotWritten, StatementFailed, WMigrateError
from airflow_provider_wmigrate.engine.incidents import Incidents
from airflow_provider_wmigrate.engine.model import Identity

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

FILES = {"001_a.sql": "CREATE TABLE a ();", "002_b.sql": "SELECT 1;\nDO $$ BEGIN END $$;"}
SAYS = 'could not access file "$libdir/gone": No such file or directory'
NEXT = "install the package of this library on the server, in the version that the database uses"


def take_away(conn: Conn) -> None:
    """As after an update of the server's packages, which took an extension's library away."""
    conn.execute("UPDATE pg_catalog.pg_proc SET probin = '$libdir/gone' WHERE proname LIKE 'plpgsql\\_%'")


def test_in_a_script(migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator(FILES)
    made.apply("001")
    take_away(conn)
    with pytest.raises(StatementFailed) as failed:
        made.apply("002")
    assert (failed.value.retryable, failed.value.server_hint) == (False, NEXT)
    assert str(failed.value).startswith(f"002_b.sql:2: {SAYS} (SQLSTATE 58P01) in DO ")


def test_under_the_ledger(migrator: MakeMigrator, conn: Conn, database: str) -> None:
    """A trigger on its tables, such as an audit's."""
    made = migrator({**FILES, "002_b.sql": "SELECT 1"})
    made.apply("001")
    conn.execute("CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    trigger = "CREATE TRIGGER note BEFORE INSERT ON wmigrate.audit_log FOR EACH ROW EXECUTE FUNCTION note()"
    conn.execute(trigger.encode())
    take_away(conn)
    incidents = Incidents(lambda: psycopg.connect(database), "wmigrate", Identity("tester"))
    for call in (
        lambda: made.record("planned"),
        lambda: incidents.claim("failed", "report", version=None, what="it failed"),
    ):
        with pytest.raises(WMigrateError) as failed:
            call()
        assert (type(failed.value), failed.value.retryable) == (WMigrateError, False)
        assert str(failed.value) == f"the ledger cannot be used: {SAYS}; {NEXT}"
    with pytest.raises(LedgerNotWritten) as unwritten:
        made.apply("002")
    assert not unwritten.value.retryable
    assert str(unwritten.value) == (
        f"002_b.sql: the ledger could not be written: {SAYS} (SQLSTATE 58P01); rolled back, nothing of it was kept;"
        f" {NEXT}"
    )


def test_at_the_login(migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator(FILES)
    conn.execute(f"ALTER DATABASE {conn.info.dbname} SET session_preload_libraries = 'gone'".encode())
    with pytest.raises(ConnectionFailed) as failed:
        made.plan()
    assert not failed.value.retryable
    assert str(failed.value).endswith(
        'FATAL:  could not access file "gone": No such file or directory; install that library on the server, or take'
        " it out of session_preload_libraries"
    )


def test_what_heals_by_itself_is_tried_again(migrator: MakeMigrator, conn: Conn) -> None:
    """A full disk is of the same class for the driver."""
    made = migrator(FILES)
    made.apply("001")
    conn.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'no space left' USING ERRCODE = '53100'; END $$;"
        "CREATE TRIGGER full_disk BEFORE INSERT ON wmigrate.audit_log FOR EACH ROW EXECUTE FUNCTION full_disk()"
    )
    with pytest.raises(WMigrateError) as failed:
        made.record("planned")
    assert failed.value.retryable
    assert str(failed.value) == (
        "the ledger cannot be used: no space left, in PL/pgSQL function full_disk() line 1 at RAISE; that is not"
        " wmigrate's own (an event trigger?): fix it, or make it ignore schema wmigrate"
    )
