"""Scripts that cannot run in one transaction: journalled, interrupted, resumed, judged, rolled back."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import HistoryError, RollbackFailed, StatementFailed
from airflow_provider_wmigrate.engine.events import Event, Stepped
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity, Status
from airflow_provider_wmigrate.engine.record import Outcome
from tests.waiting import wait_until

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

TABLE = "CREATE TABLE t (id int, v text);\n"
INDEX = "CREATE INDEX CONCURRENTLY t_id ON t (id);\n"
BROKEN = "INSERT INTO nowhere VALUES (1);\n"
ROLLBACK = "DROP INDEX CONCURRENTLY IF EXISTS t_id;\nDROP TABLE IF EXISTS t;\n"


def entry(conn: Conn) -> tuple[Any, ...] | None:
    """status, direction, done, total, begun"""
    return conn.execute(
        "SELECT status, direction, statements_done, statements_total, cardinality(statement_hashes)"
        " FROM wmigrate.schema_migrations"
    ).fetchone()


def notes(events: list[Event]) -> list[str]:
    return [f"{e.first}-{e.last} {e.note}" for e in events if isinstance(e, Stepped)]


def indexes(conn: Conn) -> dict[str, bool]:
    rows = conn.execute("SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 't'::regclass")
    return dict(rows.fetchall())


def test_neighbours_share_a_transaction(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    script = TABLE + "INSERT INTO t VALUES (1, 'a');\n" + INDEX + "INSERT INTO t VALUES (2, 'b');\n"
    record = migrator({"001_a.sql": script}).apply("001")
    assert (record.outcome, record.statements, record.rows) == (Outcome.APPLIED, 4, 2)
    assert notes(events) == ["1-2 run in one transaction", "3-3 runs outside a transaction", "4-4 runs"]
    assert entry(conn) == ("applied", "apply", 4, 4, 0)
    assert indexes(conn) == {"t_id": True}


def test_a_failure_keeps_what_ran_and_a_retry_goes_on_there(
    migrator: MakeMigrator, conn: Conn, events: list[Event]
) -> None:
    script = TABLE + INDEX + "INSERT INTO t VALUES (1, 'a');\n"
    with pytest.raises(StatementFailed) as failed:
        migrator({"001_a.sql": script + BROKEN}).apply("001")
    assert str(failed.value) == (
        '001_a.sql:4:13: relation "nowhere" does not exist (SQLSTATE 42P01) in INSERT INTO nowhere VALUES (1); '
        "statements 1 to 2 were kept; the next run goes on at statement 3"
    )
    assert entry(conn) == ("incomplete", "apply", 2, 4, 2)

    events.clear()
    mended = migrator({"001_a.sql": script})
    plan = mended.plan()
    assert [s.version for s in plan.steps] == ["001"]
    assert plan.statuses == {"001": Status.INCOMPLETE}
    assert [(f.code, f.severity) for f in plan.findings] == [("incomplete", "warning")]
    assert mended.apply("001").outcome is Outcome.APPLIED
    assert notes(events) == ["3-3 runs"]
    assert entry(conn) == ("applied", "apply", 3, 3, 0)
    assert conn.execute("SELECT count(*) FROM t").fetchone() == (1,)


def test_an_executed_statement_must_not_be_edited(migrator: MakeMigrator, conn: Conn) -> None:
    with pytest.raises(StatementFailed):
        migrator({"001_a.sql": TABLE + INDEX + BROKEN}).apply("001")
    edited = TABLE.replace("v text", "v varchar") + INDEX
    with pytest.raises(HistoryError, match=r"001_a.sql:1: statement 1 of migration 001 has run and was edited since"):
        migrator({"001_a.sql": edited}).apply("001")
    with pytest.raises(HistoryError, match="statement 2 of migration 001 has run and is gone"):
        migrator({"001_a.sql": TABLE}).apply("001")
    commented = "-- why\n" + TABLE + "\n/* more */\n" + INDEX
    assert migrator({"001_a.sql": commented}).apply("001").outcome is Outcome.APPLIED


@pytest.mark.parametrize("hidden", ["", "IF NOT EXISTS "])
def test_an_invalid_index_is_dropped_and_built_again(
    migrator: MakeMigrator, conn: Conn, events: list[Event], hidden: str
) -> None:
    conn.execute(TABLE + "INSERT INTO t VALUES (1), (1);")
    folder = {"001_a.sql": f"CREATE UNIQUE INDEX CONCURRENTLY {hidden}t_id ON t (id);"}
    with pytest.raises(StatementFailed, match="could not create unique index"):
        migrator(folder).apply("001")
    assert indexes(conn) == {"t_id": False}
    assert entry(conn) == ("incomplete", "apply", 0, 1, 0)

    conn.execute("DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t)")
    events.clear()
    assert migrator(folder).apply("001").outcome is Outcome.APPLIED
    assert notes(events)[0] == "1-1 dropped index public.t_id, which a failed build had left invalid"
    assert indexes(conn) == {"t_id": True}


def run(dsn: str, folder: Path) -> None:
    Migrator(lambda: psycopg.connect(dsn), read_folder(folder), identity=Identity("killed")).apply("001")


def killed_in_the_middle(dsn: str, folder: Path, conn: Conn, statement: str) -> None:
    """Apply 001 in a process that is shot as soon as the statement runs, and wait for the server to notice."""
    process = multiprocessing.get_context("spawn").Process(target=run, args=[dsn, folder])
    process.start()
    assert process.pid is not None
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s AND state = 'active' AND pid <> pg_backend_pid()"
    )
    wait_until(lambda: conn.execute(running, [f"%{statement}%"]).fetchone() == (1,))
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    wait_until(lambda: conn.execute(running, [f"%{statement}%"]).fetchone() == (0,))


@pytest.mark.needs_postgresql(14, "client_connection_check_interval")
def test_an_index_in_flight_is_found_out(
    database: str, migrator: MakeMigrator, make_folder: Any, conn: Conn, events: list[Event]
) -> None:
    conn.execute(TABLE)
    files = {"001_a.sql": INDEX + "INSERT INTO t VALUES (1, 'a');"}
    folder = make_folder(files)
    with psycopg.connect(database) as reader:
        reader.execute("SELECT * FROM t")
        reader.execute("INSERT INTO t VALUES (0, 'old')")  # CONCURRENTLY waits for this transaction
        killed_in_the_middle(database, folder, conn, "CREATE INDEX CONCURRENTLY t_id")
    assert entry(conn) == ("incomplete", "apply", 0, 2, 1)
    assert migrator(folder).apply("001").outcome is Outcome.APPLIED
    assert "1-1 was in flight; it runs again" in notes(events)
    assert indexes(conn) == {"t_id": True}


def test_an_index_that_was_built_is_not_built_again(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    files = {"001_a.sql": TABLE + INDEX + BROKEN}
    with pytest.raises(StatementFailed):
        migrator(files).apply("001")
    conn.execute("UPDATE wmigrate.schema_migrations SET statements_done = 1")  # died before it could write that it ran
    events.clear()
    assert migrator({"001_a.sql": TABLE + INDEX}).apply("001").outcome is Outcome.APPLIED
    assert notes(events) == ["2-2 was in flight; it has run"]


@pytest.mark.needs_postgresql(14, "client_connection_check_interval")
def test_what_nobody_can_tell_is_left_to_a_person(
    database: str, migrator: MakeMigrator, make_folder: Any, conn: Conn
) -> None:
    conn.execute("CREATE PROCEDURE slow() LANGUAGE plpgsql AS $$ BEGIN COMMIT; PERFORM pg_sleep(1000); END $$")
    config = "migrations:\n  - version: '001'\n    transactional: false\n"
    folder = make_folder({"001_a.sql": "CALL slow();\n", "migration_config.yaml": config})
    killed_in_the_middle(database, folder, conn, "CALL slow")
    with pytest.raises(HistoryError) as stopped:
        migrator(folder).apply("001")
    assert str(stopped.value).startswith(
        "001_a.sql:1: statement 1 of migration 001 was started, but it is not known whether it ran to its end"
    )
    assert entry(conn) == ("incomplete", "apply", 0, 1, 1)


def test_a_new_enum_value_can_be_used_in_the_same_script(migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute("CREATE TYPE colour AS ENUM ('red'); CREATE TABLE c (colour colour);")
    script = "ALTER TYPE colour ADD VALUE 'blue';\nINSERT INTO c VALUES ('blue');"
    assert migrator({"001_a.sql": script}).apply("001").rows == 1


def test_settings_of_the_script_are_repeated(migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute("CREATE SCHEMA s; CREATE ROLE stepper; GRANT ALL ON SCHEMA s TO stepper;")
    script = "SET search_path = s;\nSET ROLE stepper;\n" + TABLE + INDEX
    try:
        with pytest.raises(StatementFailed):
            migrator({"001_a.sql": script + BROKEN}).apply("001")
        migrator({"001_a.sql": script + "CREATE INDEX CONCURRENTLY t_v ON t (v);\nCREATE TABLE u ();"}).apply("001")
        owners = conn.execute("SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 's' ORDER BY 1")
        assert owners.fetchall() == [("t", "stepper"), ("u", "stepper")]
        assert conn.execute("SELECT to_regclass('s.t_v') IS NOT NULL").fetchone() == (True,)
    finally:
        conn.execute("DROP OWNED BY stepper CASCADE; DROP ROLE stepper;")


def test_roll_back_statement_by_statement(migrator: MakeMigrator, conn: Conn) -> None:
    files = {"001_a.sql": TABLE + INDEX, "001_a.rollback.sql": ROLLBACK}
    migrator(files).apply("001")
    record = migrator(files).roll_back("001")
    assert (record.outcome, record.statements) == (Outcome.ROLLED_BACK, 2)
    assert entry(conn) is None
    assert conn.execute("SELECT to_regclass('t') IS NULL").fetchone() == (True,)


def test_an_interrupted_rollback_must_be_finished(migrator: MakeMigrator, conn: Conn) -> None:
    files = {"001_a.sql": TABLE + INDEX, "001_a.rollback.sql": "DROP INDEX CONCURRENTLY t_id;\nDROP TABLE tt;\n"}
    migrator(files).apply("001")
    with pytest.raises(RollbackFailed, match="statement 1 was kept"):
        migrator(files).roll_back("001")
    assert entry(conn) == ("incomplete", "rollback", 1, 2, 1)
    mended = migrator({**files, "001_a.rollback.sql": "DROP INDEX CONCURRENTLY t_id;\nDROP TABLE t;\n"})
    assert [f.severity for f in mended.plan().findings] == ["error"]
    with pytest.raises(
        HistoryError, match="the rollback of 001_a was started outside a transaction and is not finished"
    ):
        mended.apply("001")
    mended.rollback_script = "folder"
    assert mended.roll_back("001").outcome is Outcome.ROLLED_BACK
    assert mended.plan().statuses == {"001": Status.PENDING}


def test_an_incomplete_migration_can_be_rolled_back(migrator: MakeMigrator, conn: Conn) -> None:
    files = {"001_a.sql": TABLE + INDEX + BROKEN, "001_a.rollback.sql": ROLLBACK}
    with pytest.raises(StatementFailed):
        migrator(files).apply("001")
    assert migrator(files).roll_back("001").outcome is Outcome.ROLLED_BACK
    assert conn.execute("SELECT to_regclass('t') IS NULL").fetchone() == (True,)


def test_every_statement_is_in_the_audit_log_as_part_of_one_migration(migrator: MakeMigrator, conn: Conn) -> None:
    with pytest.raises(StatementFailed):
        migrator({"001_a.sql": TABLE + INDEX + BROKEN}).apply("001")
    made = migrator({"001_a.sql": TABLE + INDEX})
    made.apply("001")
    rows = conn.execute("SELECT event, details ->> 'statements_done' FROM wmigrate.audit_log ORDER BY position")
    assert rows.fetchall()[1:] == [("started", "0"), ("failed", None), ("started", "2"), ("applied", None)]
    assert made.ledger.verify(conn) == ()
