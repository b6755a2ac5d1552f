"""Roles that may little: what they need is said beforehand, enough is enough, and a refusal's hint fits its cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from airflow_provider_wmigrate.engine.errors import LedgerDamaged, WMigrateError
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.health.inspection import check_health
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import Finding
from airflow_provider_wmigrate.engine.record import Outcome

MakeMigrator = Callable[..., Any]
MakeFolder = Callable[..., Any]
Conn = psycopg.Connection[Any]

FILES = {"001_t.sql": "CREATE TABLE app.t ();", "001_t.rollback.sql": "DROP TABLE app.t;"}
_numbers = count(1)


@pytest.fixture
def role(conn: Conn) -> Iterator[str]:
    """A role that owns schema app, and may create no schemas."""
    name = f"mig {next(_numbers)}"
    quoted = sql.Identifier(name)
    conn.execute(sql.SQL("CREATE ROLE {} LOGIN; CREATE SCHEMA app AUTHORIZATION {}").format(quoted, quoted))
    yield name
    conn.execute(sql.SQL("DROP OWNED BY {}; DROP ROLE {}").format(quoted, quoted))


@pytest.fixture
def dsn(database: str, role: str) -> str:
    return make_conninfo("", **{**conninfo_to_dict(database), "user": role})


@pytest.fixture
def runner(migrator: MakeMigrator, dsn: str) -> Any:
    return migrator(FILES, dsn=dsn)


def run(conn: Conn, statements: str, role: str) -> None:
    conn.execute(statements.replace("ROLE", f'"{role}"').encode())


def lacks(role: str, *statements: str) -> Finding:
    return Finding(
        "ledger_rights",
        f"the role {role} may not write the ledger in schema wmigrate, so nothing can be run",
        f"ask a database administrator to run: {'; '.join(statements)}",
        severity="warning",
    )


@pytest.mark.parametrize(
    "prepared",
    [
        "CREATE SCHEMA wmigrate AUTHORIZATION ROLE",
        "CREATE SCHEMA wmigrate; GRANT USAGE, CREATE ON SCHEMA wmigrate TO ROLE",
    ],
    ids=["owned by the role", "owned by the DBA"],
)
def test_a_schema_that_a_dba_made_is_enough(runner: Any, conn: Conn, role: str, prepared: str) -> None:
    run(conn, prepared, role)
    assert runner.plan().findings == ()
    assert runner.apply("001", dry_run=True).outcome is Outcome.DRY_RUN
    assert runner.apply("001").outcome is Outcome.APPLIED
    assert runner.roll_back("001").outcome is Outcome.ROLLED_BACK
    assert Ledger().verify(conn) == ()


@pytest.mark.parametrize(
    ("prepared", "refused", "granted"),
    [
        ("SELECT 1", "permission denied for database {database}", 'CREATE SCHEMA "wmigrate" AUTHORIZATION "{role}"'),
        (
            "CREATE SCHEMA wmigrate",
            "permission denied for schema wmigrate",
            'GRANT USAGE, CREATE ON SCHEMA "wmigrate" TO "{role}"',
        ),
        (
            "CREATE SCHEMA wmigrate; GRANT USAGE ON SCHEMA wmigrate TO ROLE",
            "permission denied for schema wmigrate",
            'GRANT CREATE ON SCHEMA "wmigrate" TO "{role}"',
        ),
    ],
    ids=["no schema", "no right on it", "no right to create in it"],
)
def test_what_is_missing_is_said_beforehand_and_when_it_is_missed(
    runner: Any, conn: Conn, role: str, dsn: str, make_folder: MakeFolder, prepared: str, refused: str, granted: str
) -> None:
    run(conn, prepared, role)
    grant = granted.format(role=role)
    assert runner.plan().findings == (lacks(role, grant),)
    health = check_health(lambda: psycopg.connect(dsn), read_folder(make_folder(FILES)), timeout_seconds=60)
    (pending,) = (c for c in health.checks if c.name == "pending")
    assert (pending.status, pending.next_step) == ("degraded", f"ask a database administrator to run: {grant}")
    why = refused.format(database=conn.info.dbname)
    said = f"the ledger cannot be used: {why}; ask a database administrator to run: {grant}"
    for call in (
        lambda: runner.apply("001"),
        lambda: runner.apply("001", dry_run=True),
        lambda: runner.record("planned"),
    ):
        with pytest.raises(WMigrateError) as error:
            call()
        assert str(error.value) == said
    conn.execute(grant.encode())
    assert runner.apply("001").outcome is Outcome.APPLIED, "what it says is enough"


def test_a_ledger_of_somebody_else(migrator: MakeMigrator, runner: Any, conn: Conn, role: str) -> None:
    migrator(FILES).record("planned")
    migrator({}).record("planned")
    grants = [
        f'GRANT USAGE ON SCHEMA "wmigrate" TO "{role}"',
        f'GRANT SELECT, INSERT, UPDATE ON "wmigrate"."application_metadata" TO "{role}"',
        f'GRANT SELECT, INSERT ON "wmigrate"."audit_log" TO "{role}"',
        f'GRANT SELECT, INSERT, UPDATE, DELETE ON "wmigrate"."schema_migrations" TO "{role}"',
    ]
    with pytest.raises(WMigrateError) as error:
        runner.plan()
    where = "the ledger cannot be used: permission denied for schema wmigrate"
    assert str(error.value) == f"{where}; ask a database administrator to run: {'; '.join(grants)}"
    conn.execute(grants[0].encode())
    for table in ("application_metadata", "audit_log", "schema_migrations"):
        conn.execute(f'GRANT SELECT ON wmigrate.{table} TO "{role}"'.encode())
    fewer = [grant.replace("SELECT, ", "") for grant in grants[1:]]
    assert migrator(FILES).plan().findings == ()
    assert runner.plan().findings == (lacks(role, *fewer),)
    for grant in fewer:
        conn.execute(grant.encode())
    assert runner.plan().findings == ()
    assert runner.apply("001").outcome is Outcome.APPLIED
    conn.execute(f'REVOKE INSERT ON wmigrate.audit_log FROM "{role}"'.encode())
    assert runner.plan().findings == (), "nothing is pending, so nothing is missed"


def test_an_event_triggers_refusal_is_not_a_missing_grant(runner: Any, conn: Conn, role: str) -> None:
    run(conn, "GRANT CREATE ON DATABASE " + conn.info.dbname + " TO ROLE", role)
    conn.execute(
        "CREATE TABLE ddl_audit (tag text);"
        "CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO public.ddl_audit VALUES (tg_tag); END';"
        "CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION note()"
    )
    said = (
        "the ledger cannot be used: permission denied for table ddl_audit, in PL/pgSQL function note() line 1 at SQL"
        " statement; that is not wmigrate's own (an event trigger?): fix it, or make it ignore schema wmigrate"
    )
    for how in ({}, {"dry_run": True}):
        with pytest.raises(WMigrateError) as error:
            runner.apply("001", **how)
        assert str(error.value) == said
    conn.execute(
        "DROP EVENT TRIGGER note; CREATE OR REPLACE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS"
        " 'BEGIN RAISE ''no DDL today''; END'; CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION note()"
    )
    with pytest.raises(WMigrateError) as error:
        runner.apply("001")
    assert str(error.value) == said.replace("permission denied for table ddl_audit", "no DDL today").replace(
        "at SQL statement", "at RAISE"
    )
    conn.execute("DROP EVENT TRIGGER note")


@pytest.mark.parametrize("table", ["schema_migrations", "application_metadata", "audit_log"])
def test_row_security_never_hides_what_was_applied(
    runner: Any, conn: Conn, role: str, dsn: str, make_folder: MakeFolder, table: str
) -> None:
    run(conn, "CREATE SCHEMA wmigrate AUTHORIZATION ROLE", role)
    runner.apply("001")
    conn.execute(f"ALTER TABLE wmigrate.{table} ENABLE ROW LEVEL SECURITY".encode())
    assert runner.apply("001").outcome is Outcome.ALREADY_APPLIED, "it does not hold for the owner"
    conn.execute(f"ALTER TABLE wmigrate.{table} FORCE ROW LEVEL SECURITY".encode())
    hint = f"ALTER TABLE wmigrate.{table} DISABLE ROW LEVEL SECURITY, or give the role BYPASSRLS"
    said = f"row security on wmigrate.{table} may hide rows of the ledger from this role; {hint}"
    for call in (
        runner.read,
        runner.plan,
        runner.head,
        lambda: runner.plan_rollback(to=None),
        lambda: runner.apply("001"),
        lambda: runner.roll_back("001"),
        lambda: runner.record("planned"),
    ):
        with pytest.raises(LedgerDamaged) as error:
            call()
        assert str(error.value) == said
    health = check_health(lambda: psycopg.connect(dsn), read_folder(make_folder(FILES)), timeout_seconds=60)
    (wrong,) = (c for c in health.checks if c.status == "unhealthy")
    assert (wrong.name, wrong.next_step) == ("ledger", hint)
    conn.execute(sql.SQL("ALTER ROLE {} BYPASSRLS").format(sql.Identifier(role)))
    assert runner.roll_back("001").outcome is Outcome.ROLLED_BACK
