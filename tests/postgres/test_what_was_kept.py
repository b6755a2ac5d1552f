"""What a failure outside a transaction has left is said as it is: by the journal and the server, not by the error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.decisions.alone import Decider
from airflow_provider_wmigrate.engine.decisions.repair import repair
from airflow_provider_wmigrate.engine.errors import (
    HistoryError,
    LedgerNotWritten,
    LockTimeout,
    RollbackFailed,
    StatementFailed,
    TimedOut,
    WMigrateError,
)
from airflow_provider_wmigrate.engine.events import Event, Stepped
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.model import Identity, Status
from airflow_provider_wmigrate.engine.record import Outcome
from tests.waiting import wait_until

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

DECLARED = {"migration_config.yaml": "migrations: [{version: 1, transactional: false}]"}
REPEATABLE = {"migration_config.yaml": "migrations: [{version: 1, transactional: false, repeatable: true}]"}
PAY = "INSERT INTO paid VALUES (1);"
DO = "DO $$ BEGIN {} COMMIT; {} END $$;"
ERRORS = {
    "40001": "RAISE EXCEPTION 'not serializable' USING ERRCODE = '40001';",
    "40P01": "RAISE EXCEPTION 'circle' USING ERRCODE = '40P01';",
    "55P03": "SET LOCAL lock_timeout = '10ms'; LOCK TABLE held;",
    "22012": "PERFORM 1 / 0;",
    "57014": "RAISE EXCEPTION 'an administrator' USING ERRCODE = '57014';",
}
OPEN = (
    "nothing ran before it, and what statement 1 committed before it failed is kept; look at the database, then say"
    " with repair that it ran, or that it is to run again"
)
IN_FLIGHT = (
    "001_p.sql:1: statement 1 of migration 001 was started, but it is not known whether it ran to its end; look at the"
    " database, then say that it ran: `wmigrate repair 001 --ran`, or that it is to run: `wmigrate repair 001 --again`"
)


@pytest.fixture(autouse=True)
def tables(conn: Conn) -> None:
    conn.execute("CREATE TABLE paid (id int); CREATE TABLE held (id int)")
    conn.execute(
        "CREATE PROCEDURE pay() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO paid VALUES (1); COMMIT; PERFORM 1/0; END $$"
    )


def paid(conn: Conn) -> int:
    return int(conn.execute("SELECT count(*) FROM paid").fetchall()[0][0])


def entries(conn: Conn) -> list[tuple[Any, ...]]:
    """status, direction, done, begun"""
    return conn.execute(
        "SELECT status, direction, statements_done, cardinality(statement_hashes) FROM wmigrate.schema_migrations"
    ).fetchall()


def failure(made: Any, act: str = "apply") -> WMigrateError:
    with pytest.raises(WMigrateError) as failed:
        getattr(made, act)("001")
    return failed.value


# A statement that commits on its way


@pytest.mark.parametrize("sqlstate", ERRORS)
def test_what_has_committed_is_never_repeated_by_itself(
    migrator: MakeMigrator, conn: Conn, database: str, sqlstate: str
) -> None:
    files = {"001_p.sql": DO.format(PAY, ERRORS[sqlstate])} | DECLARED
    with psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE held")
        first = failure(migrator(files))
    assert isinstance(first, (StatementFailed, LockTimeout))
    assert (first.outcome, first.retryable) == (OPEN, False)
    assert entries(conn) == [("incomplete", "apply", 0, 1)]
    assert str(failure(migrator(files))) == IN_FLIGHT
    assert paid(conn) == 1


@pytest.mark.parametrize("sqlstate", ERRORS)
def test_what_has_committed_nothing_leaves_nothing(
    migrator: MakeMigrator, conn: Conn, database: str, sqlstate: str
) -> None:
    """Seen from outside it is the same statement; how many transactions it had tells."""
    files = {"001_p.sql": f"DO $$ BEGIN {PAY} {ERRORS[sqlstate]} COMMIT; END $$;"} | DECLARED
    with psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE held")
        first = failure(migrator(files))
    assert isinstance(first, (StatementFailed, LockTimeout))
    assert first.outcome == "nothing ran before it, and nothing of it was kept"
    assert first.retryable is (sqlstate[:2] in ("40", "55"))
    assert entries(conn) == []
    assert migrator(files).plan().statuses == {"001": Status.FAILED}
    assert paid(conn) == 0


def test_a_procedure_too_and_a_person_says_it(
    migrator: MakeMigrator, conn: Conn, make_folder: Any, database: str
) -> None:
    files = {"001_p.sql": "CREATE TABLE one ();\nCALL pay();\nCREATE TABLE two ();"} | DECLARED
    assert str(failure(migrator(files))) == (
        "001_p.sql:2: division by zero (SQLSTATE 22012) in CALL pay(), PL/pgSQL function pay() line 1 at PERFORM;"
        " statement 1 was kept, and what statement 2 committed before it failed is kept; look at the database, then say"
        " with repair that it ran, or that it is to run again"
    )
    connect = lambda: psycopg.connect(database)  # noqa: E731
    folder = read_folder(make_folder(files))
    repair(Decider(connect, folder, Identity("ann"), "one is paid"), "001", "ran")
    assert migrator(files).apply("001").statements == 1
    assert paid(conn) == 1


def test_cancelled_in_the_middle(migrator: MakeMigrator, conn: Conn) -> None:
    files = {"001_p.sql": DO.format(PAY, "PERFORM pg_sleep(60);")} | DECLARED
    made = migrator(files)
    timer = threading.Thread(target=_cancel_when_paid, args=[made, conn])
    timer.start()
    error = failure(made)
    timer.join()
    assert str(error).startswith("001_p.sql:1: cancelled on request (SQLSTATE 57014)")
    assert isinstance(error, StatementFailed)
    assert (error.outcome, error.retryable) == (OPEN, False)
    assert str(failure(migrator(files))) == IN_FLIGHT


def test_cancelled_before_it_was_sent(migrator: MakeMigrator, conn: Conn) -> None:
    """Nobody is asked about a statement that the server never had."""
    files = {"001_p.sql": DO.format(PAY, "")} | DECLARED

    def listen(event: Event) -> None:
        if isinstance(event, Stepped):
            made.cancel()

    made = migrator(files, on_event=listen)
    error = failure(made)
    assert isinstance(error, StatementFailed)
    assert error.outcome == "nothing ran before it, and nothing of it was kept"
    assert entries(conn) == []
    assert migrator(files).apply("001").outcome is Outcome.APPLIED
    assert paid(conn) == 1


def _cancel_when_paid(made: Any, conn: Conn) -> None:
    wait_until(lambda: paid(conn))
    made.cancel()


def test_the_budget_is_used_up_in_the_middle(migrator: MakeMigrator) -> None:
    config = {"migration_config.yaml": "migrations: [{version: 1, transactional: false, timeout_seconds: 1}]"}
    files = {"001_p.sql": DO.format(PAY, "PERFORM pg_sleep(60);")} | config
    error = failure(migrator(files))
    assert isinstance(error, TimedOut)
    assert (error.outcome, error.retryable) == (OPEN, False)
    assert str(failure(migrator(files))) == IN_FLIGHT


def test_declared_repeatable_it_is_run_again(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    files = {"001_p.sql": DO.format(PAY, ERRORS["40001"])} | REPEATABLE
    error = failure(migrator(files))
    assert isinstance(error, StatementFailed)
    assert (error.outcome, error.retryable) == ("nothing ran before it; the next run goes on at statement 1", True)
    assert entries(conn) == [("incomplete", "apply", 0, 0)]
    conn.execute("UPDATE wmigrate.schema_migrations SET statement_hashes = '{x}'")  # as if its runner had died
    hashes = conn.execute("SELECT encode(sha256(%s), 'hex')", [files["001_p.sql"].rstrip(";").encode()]).fetchall()[0]
    conn.execute("UPDATE wmigrate.schema_migrations SET statement_hashes = ARRAY[%s]", hashes)
    failure(migrator(files))
    assert "was in flight; it runs again" in [e.note for e in events if isinstance(e, Stepped)]
    assert paid(conn) == 2


def test_rollbacks_are_not_repeated_either(migrator: MakeMigrator, conn: Conn) -> None:
    files = {"001_p.sql": "SELECT 1;", "001_p.rollback.sql": DO.format(PAY, ERRORS["40001"])} | DECLARED
    migrator(files).apply("001")
    first = failure(migrator(files), "roll_back")
    assert isinstance(first, RollbackFailed)
    assert not first.retryable
    assert entries(conn) == [("incomplete", "rollback", 0, 1)]
    assert str(failure(migrator(files), "roll_back")) == IN_FLIGHT.replace("001_p.sql", "001_p.rollback.sql")
    assert paid(conn) == 1


def test_a_statement_that_the_catalogs_know_is_not_asked_about(migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute("INSERT INTO paid VALUES (1), (1)")
    files = {"001_p.sql": "CREATE UNIQUE INDEX CONCURRENTLY paid_id ON paid (id);"}
    error = failure(migrator(files))
    assert isinstance(error, StatementFailed)
    assert error.outcome == "nothing ran before it; the next run goes on at statement 1"
    assert entries(conn) == [("incomplete", "apply", 0, 0)]


# Nothing ran


@pytest.mark.parametrize(
    "statement", ["DROP INDEX CONCURRENTLY nowhere;", "CREATE INDEX CONCURRENTLY i ON nowhere (a);"]
)
def test_nothing_ran_is_pending(migrator: MakeMigrator, conn: Conn, statement: str) -> None:
    files = {"001_p.sql": statement + "\nSELECT 1;"}
    error = failure(migrator(files))
    assert isinstance(error, StatementFailed)
    assert error.outcome == "nothing ran before it, and nothing of it was kept"
    assert entries(conn) == []
    assert migrator(files).plan().findings == ()
    rows = conn.execute("SELECT event FROM wmigrate.audit_log ORDER BY position").fetchall()
    assert rows == [("ledger_created",), ("started",), ("failed",)]


def test_a_rollback_of_which_nothing_ran_stays_applied(migrator: MakeMigrator, conn: Conn) -> None:
    files = {"001_p.sql": "CREATE TABLE a ();", "001_p.rollback.sql": "DROP INDEX CONCURRENTLY nowhere;\nDROP TABLE a;"}
    migrator(files).apply("001")
    before = conn.execute("SELECT * FROM wmigrate.schema_migrations").fetchall()
    failure(migrator(files), "roll_back")
    assert conn.execute("SELECT * FROM wmigrate.schema_migrations").fetchall() == before
    assert migrator(files).apply("001").outcome is Outcome.ALREADY_APPLIED
    mended = migrator({**files, "001_p.rollback.sql": "DROP TABLE a;"})
    mended.rollback_script = "folder"
    assert mended.roll_back("001").outcome is Outcome.ROLLED_BACK


def test_a_rollback_of_what_is_incomplete_goes_back_to_that(migrator: MakeMigrator, conn: Conn) -> None:
    files = {
        "001_p.sql": "SET search_path = pg_catalog, public;\nCREATE TABLE public.a ();\nVACUUM;\nSELECT 1/0;",
        "001_p.rollback.sql": "DROP INDEX CONCURRENTLY nowhere;\nDROP TABLE a;",
    }
    failure(migrator(files))
    before = conn.execute("SELECT * FROM wmigrate.schema_migrations").fetchall()
    failure(migrator(files), "roll_back")
    assert conn.execute("SELECT * FROM wmigrate.schema_migrations").fetchall() == before
    mended = {**files, "001_p.sql": files["001_p.sql"].replace("1/0", "1")}
    assert migrator(mended).apply("001").statements == 1


# The ledger's own statements


def test_that_the_ledger_could_not_be_written_is_said(migrator: MakeMigrator, conn: Conn) -> None:
    files = {"001_p.sql": "CREATE TABLE kept ();\nDROP SCHEMA wmigrate CASCADE;"} | DECLARED
    error = failure(migrator(files))
    assert isinstance(error, LedgerNotWritten)
    assert str(error) == (
        '001_p.sql: the ledger could not be written: relation "wmigrate.schema_migrations" does not exist (SQLSTATE'
        " 42P01); statement 1 was kept; look at the ledger's tables: a script must leave them alone"
    )
    assert conn.execute("SELECT to_regclass('kept') IS NOT NULL").fetchone() == (True,)


def test_after_a_statement_that_nothing_can_undo(migrator: MakeMigrator, conn: Conn) -> None:
    script = (
        "CREATE INDEX CONCURRENTLY paid_id ON paid (id);\n"
        "DO $$ BEGIN ALTER TABLE wmigrate.schema_migrations RENAME TO x; COMMIT; END $$;"
    )
    error = failure(migrator({"001_p.sql": script} | DECLARED))
    assert str(error) == (
        '001_p.sql: the ledger could not be written: relation "wmigrate.schema_migrations" does not exist (SQLSTATE'
        " 42P01); statements 1 to 2 were kept; look at the ledger's tables: a script must leave them alone"
    )


def test_in_one_transaction_nothing_is_kept(migrator: MakeMigrator, conn: Conn) -> None:
    error = failure(migrator({"001_p.sql": "CREATE TABLE kept ();\nDROP SCHEMA wmigrate CASCADE;"}))
    assert str(error) == (
        '001_p.sql: the ledger could not be written: relation "wmigrate.application_metadata" does not exist (SQLSTATE'
        " 42P01); rolled back, nothing of it was kept; look at the ledger's tables: a script must leave them alone"
    )
    assert conn.execute("SELECT to_regclass('kept') IS NULL").fetchone() == (True,)


def test_a_connection_lost_outside_a_transaction(migrator: MakeMigrator, conn: Conn) -> None:
    script = "CREATE TABLE kept ();\nDO $$ BEGIN COMMIT; PERFORM pg_terminate_backend(pg_backend_pid()); END $$;"
    files = {"001_p.sql": script} | DECLARED
    error = failure(migrator(files))
    assert isinstance(error, StatementFailed)
    assert error.outcome == "statement 1 was kept; whether statement 2 ran is not known, the next run looks"
    assert error.retryable
    assert entries(conn) == [("incomplete", "apply", 1, 2)]


# A SELECT that only reads


@pytest.mark.parametrize(
    "select",
    ["SELECT count(*), max(id) FROM paid WHERE id + 1 > 0", "SELECT now(), random(), n.last_value FROM pg_settings, n"],
)
def test_a_select_that_only_reads_is_run_again_unasked(
    migrator: MakeMigrator, conn: Conn, events: list[Event], select: str
) -> None:
    conn.execute("CREATE SEQUENCE n")
    script = f"CREATE TABLE kept ();\n{select};\nSELECT 1/0;"
    failure(migrator({"001_p.sql": script} | DECLARED))
    conn.execute("UPDATE wmigrate.schema_migrations SET statements_done = 1")  # died before it could write that it ran
    events.clear()
    migrator({"001_p.sql": script.replace("1/0", "1")} | DECLARED).apply("001")
    assert next(e.note for e in events if isinstance(e, Stepped)) == "was in flight; it has run"


@pytest.mark.parametrize(
    "select",
    [
        "SELECT pay_again()",
        "SELECT nextval('n')",
        "INSERT INTO paid VALUES (2)",
        "SELECT pg_advisory_lock(7)",
        "SELECT PG_CATALOG.Pg_Advisory_Lock(7)",
        "SELECT pg_notify('a', 'b')",
        "SELECT * FROM locking",
        "SELECT 1 @+@ 2",
        "SELECT p.settled FROM paid p",
        "SELECT * FROM elsewhere",
    ],
)
def test_one_that_may_act_is_asked_about(migrator: MakeMigrator, conn: Conn, select: str) -> None:
    """A READ ONLY transaction stops writes to tables and little else."""
    conn.execute(
        "CREATE SEQUENCE n; CREATE FUNCTION pay_again() RETURNS int LANGUAGE sql AS 'SELECT 1';"
        "CREATE VIEW locking AS SELECT pg_try_advisory_lock(8);"
        "CREATE FUNCTION add_twice(int, int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';"
        "CREATE OPERATOR @+@ (LEFTARG = int, RIGHTARG = int, FUNCTION = add_twice);"
        "CREATE FUNCTION settled(paid) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';"
        "CREATE VIEW elsewhere AS SELECT 1"
    )
    if select.startswith("INSERT"):
        select = "WITH w AS (INSERT INTO paid VALUES (2) RETURNING id) SELECT * FROM w"
    script = f"CREATE TABLE kept ();\n{select};\nSELECT 1/0;"
    failure(migrator({"001_p.sql": script} | DECLARED))
    conn.execute("UPDATE wmigrate.schema_migrations SET statements_done = 1")
    with pytest.raises(
        HistoryError, match="statement 2 of migration 001 was started, but it is not known whether it ran to its end"
    ):
        migrator({"001_p.sql": script.replace("1/0", "1")} | DECLARED).apply("001")
    assert paid(conn) == select.count("INSERT")
