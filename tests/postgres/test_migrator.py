"""The migrator against a real server: what is applied, refused, undone and recorded."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any

import psycopg
import pytest
from msgspec.structs import asdict

from airflow_provider_wmigrate.engine.errors import (
    ConnectionFailed,
    HistoryError,
    LedgerNotWritten,
    LockTimeout,
    RollbackFailed,
    ScriptError,
    StatementFailed,
    TimedOut,
    UnknownVersion,
    WMigrateError,
)
from airflow_provider_wmigrate.engine.events import Event, Failed, Finished, Noticed, Started, Waiting
from airflow_provider_wmigrate.engine.ledger.ledger import LEDGER_VERSION
from airflow_provider_wmigrate.engine.locks_taken import LockTaken
from airflow_provider_wmigrate.engine.model import Identity, Status
from airflow_provider_wmigrate.engine.record import Outcome, ServerWords
from dev.cluster import Cluster
from tests.untimed import untimed
from tests.waiting import PATIENCE, eventually

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

# Two that depend on one another in the order of their numbers, as they do when nothing is declared.
AB = {
    "001_a.sql": "CREATE TABLE a (id int PRIMARY KEY);",
    "001_a.rollback.sql": "DROP TABLE a;",
    "002_b.sql": "CREATE TABLE b (id int REFERENCES a);",
    "002_b.rollback.sql": "DROP TABLE b;",
}


def config(**execution: object) -> str:
    lines = "".join(f"    {key}: {value}\n" for key, value in execution.items())
    return f"settings:\n  execution:\n{lines}"


def relations(conn: Conn) -> list[str]:
    """Every table and view that is not the server's own or the ledger's."""
    query = """
        SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'wmigrate') AND n.nspname NOT LIKE 'pg\\_t%'
        AND c.relkind IN ('r', 'v', 'm', 'p') ORDER BY 1"""
    return [name for (name,) in conn.execute(query)]


def has_ledger(conn: Conn) -> bool:
    return conn.execute("SELECT to_regclass('wmigrate.audit_log') IS NOT NULL").fetchone() == (True,)


def applied(conn: Conn) -> list[str]:
    return [v for (v,) in conn.execute("SELECT version FROM wmigrate.schema_migrations ORDER BY version")]


def audited(conn: Conn) -> list[tuple[str, str | None]]:
    query = "SELECT event, version FROM wmigrate.audit_log WHERE event <> 'ledger_created' ORDER BY position"
    return conn.execute(query).fetchall()


def metadata(conn: Conn) -> dict[str, str]:
    return dict(conn.execute("SELECT key, value FROM wmigrate.application_metadata").fetchall())


HERE = "FROM pg_stat_activity WHERE datname = current_database() AND"
SOMEBODY_SLEEPS = f"SELECT {HERE} wait_event = 'PgSleep'"
NOBODY_WORKS = f"SELECT WHERE NOT EXISTS (SELECT {HERE} application_name LIKE 'wmigrate%')"


# Apply


def test_apply_runs_the_script_and_records_it(migrator: MakeMigrator, conn: Conn) -> None:
    identity = Identity("ann", dag_id="warehouse", run_id="manual__1", task_id="migrate.001_a", try_number=2)
    files = {
        "001_a.sql": "CREATE TABLE a (id int); INSERT INTO a VALUES (1), (2);",
        "001_a.rollback.sql": "DROP TABLE a",
    }
    record = migrator(files, identity=identity).apply("001")

    assert (record.version, record.name, record.outcome) == ("001", "a", Outcome.APPLIED)
    assert (record.statements, record.rows) == (2, 2)
    assert record.identity == identity
    assert untimed(record.locks) == (LockTaken("public.a", "AccessExclusiveLock"),)
    assert relations(conn) == ["a"]

    row = conn.execute(
        "SELECT name, status, checksum, checksum_algorithm, dependencies, rollback_sql, statements_done,"
        " statements_total, actor, dag_id, run_id, task_id, try_number, applied_at <= now(), duration_ms >= 0"
        " FROM wmigrate.schema_migrations"
    ).fetchall()
    script = ("a", "applied", record.checksum, "sha256", [], "DROP TABLE a", 2, 2)
    assert row == [(*script, "ann", "warehouse", "manual__1", "migrate.001_a", 2, True, True)]
    assert audited(conn) == [("applied", "001")]
    assert metadata(conn)["audit_head"] == record.audit_head
    assert metadata(conn)["schema_version"] == "001"


def test_versions_may_be_typed_without_their_zeros(migrator: MakeMigrator, conn: Conn) -> None:
    both = migrator(AB)
    assert both.apply("1").version == "001"
    assert both.apply(" 02 ").version == "002"
    assert both.roll_back("2").version == "002"
    assert applied(conn) == ["001"]


def test_apply_again_does_nothing(migrator: MakeMigrator, conn: Conn) -> None:
    both = migrator(AB)
    both.apply("001")
    before = audited(conn)
    record = both.apply("001")
    assert (record.outcome, record.duration_ms, record.statements) == (Outcome.ALREADY_APPLIED, 0, 0)
    assert audited(conn) == before


@pytest.mark.parametrize("act", ["apply", "roll_back"])
def test_a_version_nobody_has(migrator: MakeMigrator, conn: Conn, act: str) -> None:
    with pytest.raises(UnknownVersion, match=r"^no migration 012 in this folder.*; did you mean 002\?$"):
        getattr(migrator(AB), act)("012")
    assert not has_ledger(conn)


def test_a_file_edited_after_it_was_applied_is_refused(migrator: MakeMigrator, conn: Conn) -> None:
    migrator(AB).apply("001")
    with pytest.raises(HistoryError) as refused:
        migrator(AB | {"001_a.sql": "CREATE TABLE other ()"}).apply("001")
    (finding,) = refused.value.findings
    assert (finding.code, finding.version, finding.file) == ("changed", "001", "001_a.sql")
    assert str(refused.value).startswith("001_a.sql: was edited after it was applied on 20")
    assert str(refused.value).endswith(" if the database is as the file says now: `wmigrate repair 001 --accept`")
    assert relations(conn) == ["a"]
    assert audited(conn)[-1] == ("refused", "001")


def test_a_migration_waits_for_its_dependency(migrator: MakeMigrator, conn: Conn) -> None:
    first = "apply 001 first: `wmigrate up --to 001`"
    with pytest.raises(HistoryError, match=rf"^002_b\.sql: migration 002 needs 001, which is not applied; {first}$"):
        migrator(AB).apply("002")
    assert relations(conn) == []
    assert audited(conn) == [("refused", "002")]


def test_events_in_order(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    both = migrator(
        {
            **AB,
            "001_a.sql": "DO $$ BEGIN RAISE NOTICE 'half % done', '50%'; END $$; CREATE TABLE a (id int PRIMARY KEY)",
        }
    )
    record = both.apply("001")
    started, noticed, finished = events
    assert isinstance(started, Started)
    assert (started.version, started.direction, started.dry_run) == ("001", "apply", False)
    assert started.rollback is not None
    assert started.rollback.text == "DROP TABLE a;"
    assert started.backend_pid > 0
    assert noticed == Noticed("001", "NOTICE", "half 50% done")
    assert finished == Finished(record)


def test_an_outer_transaction_in_the_file_is_unwrapped(migrator: MakeMigrator, conn: Conn) -> None:
    files = {"001_a.sql": "-- from another tool\nBEGIN;\nCREATE TABLE a ();\nSAVEPOINT s;\nROLLBACK TO s;\nCOMMIT;\n"}
    assert migrator(files).apply("001").statements == 3
    assert relations(conn) == ["a"]


def test_statements_newer_than_the_grammar_are_left_to_the_server(migrator: MakeMigrator, conn: Conn) -> None:
    """The parser cannot say what this is, so nothing but the transaction's own mark stands in the way of a COMMIT."""
    files = {"001_a.sql": "CREATE TABLE a (); COMMIT; BEGIN; WIBBLE"}
    with pytest.raises(StatementFailed, match=r'^001_a\.sql:1:35: syntax error at or near "WIBBLE"'):
        migrator(files).apply("001")
    assert relations(conn) == []


@pytest.mark.parametrize("ending", ["COMMIT;", "COMMIT; BEGIN;", "COMMIT AND CHAIN;"])
def test_a_commit_that_the_grammar_did_not_see_is_noticed(migrator: MakeMigrator, conn: Conn, ending: str) -> None:
    """SYSTEM_USER became a reserved word with PostgreSQL 16: older servers take what our newer grammar does not."""
    if conn.info.server_version >= 160000:
        pytest.skip("this server refuses the script as well")
    files = {"001_a.sql": f"CREATE TABLE a (system_user int); {ending} CREATE TABLE z ();"}
    with pytest.raises(StatementFailed) as failed:
        migrator(files).apply("001")
    assert str(failed.value) == (
        "001_a.sql: the script ended the transaction it ran in; part of it may have been committed, the ledger does"
        " not know it; remove its transaction control; what it committed must be judged by a person"
    )
    assert not failed.value.retryable
    assert "a" in relations(conn)
    assert audited(conn) == [("failed", "001")]


# Failures leave nothing


@dataclass(frozen=True)
class Failing:
    script: str
    place: str
    sqlstate: str
    says: str
    statement: str = ""
    said: ServerWords = field(default_factory=ServerWords)


NO_FUNCTION = "No function matches the given name and argument types. You might need to add explicit type casts."
FAILING = {
    "syntax": Failing("CREATE TABLE t ();\nSELEC 1;", "2:1", "42601", 'syntax error at or near "SELEC"'),
    "missing table": Failing(
        "CREATE TABLE t ();\n\nINSERT INTO\n  nowhere VALUES (1);", "4:3", "42P01", 'relation "nowhere" does not exist',
        "INSERT INTO nowhere VALUES (1)",
    ),
    "third statement at run time": Failing(
        "CREATE TABLE t ();\nSELECT 1;\n\n-- why\nSELECT 1 / 0;", "5", "22012", "division by zero", "SELECT 1 / 0"
    ),
    "behind text of several bytes a character": Failing(
        "COMMENT ON SCHEMA public IS 'größer ≥ 日本語 🙂';\nCREATE TABLE t ();/* ü */ SELECT é FROM t;",
        "2:34",
        "42703",
        'column "é" does not exist',
        "SELECT é FROM t",
    ),
    "in a function": Failing(
        dedent("""\
            CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $f$
            BEGIN
                RAISE 'no' USING ERRCODE = 'WM002';
            END $f$;
            SELECT f();
        """),
        "5",
        "WM002",
        "no",
        "SELECT f()",
        ServerWords(
            context="PL/pgSQL function f() line 3 at RAISE", function="PL/pgSQL function f() line 3 at RAISE"
        ),
    ),
    "a raised hint": Failing(
        "DO $$ BEGIN RAISE 'no stock for %', 7 USING HINT = 'order some', ERRCODE = 'WM001'; END $$",
        "1",
        "WM001",
        "no stock for 7",
        "DO ...",
        ServerWords(hint="order some", context="PL/pgSQL function inline_code_block line 1 at RAISE"),
    ),
    "unknown function with the server's hint": Failing(
        "SELECT\n\tnot_there(1);", "2:2", "42883", "function not_there(integer) does not exist",
        "SELECT not_there(1)", ServerWords(hint=NO_FUNCTION),
    ),
    "inside an unwrapped transaction": Failing(
        "-- two\n-- lines\nBEGIN;\nCREATE TABLE t ();\n  SELECT nothing;\nCOMMIT;",
        "5:10",
        "42703",
        'column "nothing" does not exist',
        "SELECT nothing",
    ),
    "deferred constraint": Failing(
        dedent("""\
            CREATE TABLE t (id int PRIMARY KEY, other int REFERENCES t DEFERRABLE INITIALLY DEFERRED);
            INSERT INTO t VALUES (1, 2);
        """),
        "2",
        "23503",
        'insert or update on table "t" violates foreign key constraint "t_other_fkey" (Key (other)=(2) is not present'
        ' in table "t".)',
        said=ServerWords(detail='Key (other)=(2) is not present in table "t".', constraint="t_other_fkey"),
    ),
    "windows line ends": Failing(
        "CREATE TABLE t ();\r\n\r\nSELECT 1 / 0;\r\n", "3", "22012", "division by zero", "SELECT 1 / 0"
    ),
    "a secret": Failing(
        "/* it's */ CREATE ROLE\n nobody PASSWORD 'hunter2' SUPERUSER ADMIN nosuchrole",
        "1", "42704", 'role "nosuchrole" does not exist', "CREATE ROLE nobody PASSWORD ..."
    ),
    "a long one": Failing(
        "SELECT 1111111111, 2222222222, 3333333333, 4444444444, 5555555555 / 0",
        "1", "22012", "division by zero", "SELECT 1111111111, 2222222222, 3333333333, 4444444444, ..."
    ),
}  # fmt: skip


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("case", FAILING.values(), ids=FAILING.keys())
def test_a_failed_statement_leaves_nothing_and_says_where(
    migrator: MakeMigrator, conn: Conn, events: list[Event], case: Failing, dry_run: bool
) -> None:
    runner = migrator({"001_t.sql": case.script})
    runner.record("planned")
    with pytest.raises(StatementFailed) as failed:
        runner.apply("001", dry_run=dry_run)
    error = failed.value
    where = "001_t.sql" + (f":{case.place}" if case.place else "")
    hint = f"; {case.said.hint}" if case.said.hint else ""
    says = f"{case.says} (SQLSTATE {case.sqlstate})" + (f" in {case.statement}" if case.statement else "")
    says += f", {case.said.function}" if case.said.function else ""
    assert str(error) == f"{where}: {says}; rolled back, nothing of it was kept{hint}"
    assert error.statement == (case.statement or None)
    assert error.sqlstate == case.sqlstate
    assert not error.retryable
    told = events[-1]
    assert isinstance(told, Failed)
    assert told.bystanders is not None
    assert told == Failed("001", "apply", str(error), case.sqlstate, dry_run, case.said, told.bystanders)

    assert relations(conn) == []
    assert applied(conn) == []
    assert audited(conn) == [("planned", None), ("failed", "001")]
    (details,) = conn.execute("SELECT details FROM wmigrate.audit_log WHERE event = 'failed'").fetchone() or ()
    assert set(details.pop("session")) == {"user", "address", "pid"}
    words = {name: text for name, text in asdict(case.said).items() if text}
    expected = {"direction": "apply", "error": str(error), "sqlstate": case.sqlstate, "dry_run": dry_run}
    assert details == expected | words | {"bystanders": told.bystanders.as_dict()}


def test_a_script_that_makes_its_transaction_read_only(migrator: MakeMigrator) -> None:
    with pytest.raises(LedgerNotWritten) as failed:
        migrator({"001_t.sql": "SET TRANSACTION READ ONLY;"}).apply("001")
    assert str(failed.value) == (
        "001_t.sql: the ledger could not be written: cannot execute SELECT FOR UPDATE in a read-only transaction"
        " (SQLSTATE 25006); rolled back, nothing of it was kept; take out what makes the transaction read-only"
    )


def test_it_can_be_applied_once_it_is_mended(migrator: MakeMigrator, conn: Conn) -> None:
    with pytest.raises(StatementFailed):
        migrator({"001_t.sql": "CREATE TABLE t (); SELECT 1/0"}).apply("001")
    assert migrator({"001_t.sql": "CREATE TABLE t ();"}).apply("001").outcome is Outcome.APPLIED
    assert audited(conn) == [("failed", "001"), ("applied", "001")]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            "CREATE TABLE t (id int);\n\nCOPY t FROM stdin;",
            "^001_t.sql:3: COPY FROM stdin waits for data that is not there; write it on the lines below, .*",
        ),
        (
            "CREATE TABLE t (id int);\n\nCOPY t FROM stdin;\n1\n2\n",
            "^001_t.sql:3: the data of COPY FROM stdin does not end; .*",
        ),
        (
            "CREATE TABLE t (id int);\nCOPY t TO stdout;\nSELECT 1;",
            "^001_t.sql:2: COPY TO stdout has nobody to read it; select into a table instead$",
        ),
        ("CREATE TABLE t ();\nCOMMIT;", "^001_t.sql:2: COMMIT is transaction control; .*"),
    ],
)  # fmt: skip
def test_what_a_script_may_not_do(migrator: MakeMigrator, conn: Conn, script: str, expected: str) -> None:
    runner = migrator({"001_t.sql": script})
    with pytest.raises((ScriptError, StatementFailed), match=expected) as failed:
        runner.apply("001")
    assert not failed.value.retryable
    assert relations(conn) == []
    assert applied(conn) == []
    assert migrator({"001_t.sql": "CREATE TABLE t ()"}).apply("001").outcome is Outcome.APPLIED


def test_no_server(migrator: MakeMigrator, cluster: Cluster) -> None:
    with pytest.raises(ConnectionFailed, match=r"^no connection to the target database: .*refused") as failed:
        migrator(AB, dsn="postgresql://postgres@127.0.0.1:1/none").apply("001")
    assert failed.value.retryable


# Scripts that change the session or the ledger under our feet

UNRULY = {
    "role": "SET ROLE pg_monitor;",
    "local role": "SET LOCAL ROLE pg_monitor;",
    "session authorization": "SET SESSION AUTHORIZATION pg_monitor;",
    "empty search path, as pg_dump writes it": "SELECT pg_catalog.set_config('search_path', '', false);",
    "search path": "CREATE SCHEMA s; SET search_path = s; CREATE TABLE schema_migrations (version int);",
    "functions that shadow": (
        "CREATE SCHEMA s; CREATE FUNCTION s.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
        " $$ SELECT 'epoch'::timestamptz $$; SET search_path = s, pg_catalog;"
    ),
    "operators that shadow": (
        "CREATE SCHEMA s; CREATE FUNCTION s.never(text, text) RETURNS bool LANGUAGE sql AS 'SELECT false';"
        " CREATE OPERATOR s.= (LEFTARG = text, RIGHTARG = text, FUNCTION = s.never); SET search_path = s, pg_catalog;"
    ),
    "reset all": "SET search_path = pg_temp; RESET ALL;",
    "reset role": "RESET ROLE; RESET SESSION AUTHORIZATION;",
    "dates": "SET DateStyle = 'German, DMY'; SET IntervalStyle = 'iso_8601'; SET TimeZone = 'NPT-5:45';",
    "a time zone without a name": "SET TIME ZONE INTERVAL '-08:30' HOUR TO MINUTE;",
    "strings": "SET standard_conforming_strings = off; SET bytea_output = 'escape'; SET extra_float_digits = -15;",
    "encoding": "SET client_encoding = 'LATIN1';",
    "no encoding": "SET client_encoding = 'SQL_ASCII';",
    "constraints": "SET CONSTRAINTS ALL DEFERRED;",
    "temporary tables": "CREATE TEMP TABLE schema_migrations (v int); CREATE TEMP TABLE audit_log () ON COMMIT DROP;",
    "row security": "SET row_security = off; SET default_transaction_read_only = on;",
    "replica": "SET session_replication_role = replica;",
    "discard": "PREPARE p AS SELECT 1; DISCARD TEMP; DISCARD PLANS; DISCARD SEQUENCES; DEALLOCATE ALL;",
    "listening": "LISTEN wmigrate; NOTIFY wmigrate, 'me'; UNLISTEN *;",
    "advisory locks": "SELECT pg_advisory_unlock_all(), pg_advisory_lock(1);",
    "cursors": "DECLARE c CURSOR WITH HOLD FOR SELECT 1; FETCH ALL FROM c;",
    "percent signs and braces": "CREATE TABLE \"%s {} {0} %(x)s\" (a text DEFAULT '100% {schema}'); SELECT 5 % 3;",
    "dollar quotes": "DO $do$ BEGIN EXECUTE $x$ SELECT ';', '--', '/*' $x$; END $do$;",
    "identifiers with quotes": 'CREATE SCHEMA "a""b;c"; CREATE TABLE "a""b;c"."d\'e" ();',
    "escape strings": r"SELECT E'it\'s; fine', U&'\0041', e'\\';",
    "a thousand statements": "SELECT 1;" * 1000,
}  # fmt: skip


@pytest.mark.parametrize("script", UNRULY.values(), ids=UNRULY.keys())
def test_what_a_script_does_to_its_session_stays_there(migrator: MakeMigrator, conn: Conn, script: str) -> None:
    conn.execute("LISTEN wmigrate")
    files = {"001_first.sql": script, "001_first.rollback.sql": script, "002_b.sql": "CREATE TABLE second ()"}
    runner = migrator(files, identity=Identity("Zoë 日本"))
    assert runner.apply("001", dry_run=True).outcome is Outcome.DRY_RUN
    first, second = runner.apply("001"), runner.apply("002")

    assert (first.outcome, second.outcome) == (Outcome.APPLIED, Outcome.APPLIED)
    assert applied(conn) == ["001", "002"]
    assert conn.execute("SELECT DISTINCT actor FROM wmigrate.audit_log").fetchall() == [("Zoë 日本",)]
    recent = "SELECT bool_and(at BETWEEN now() - interval '1 min' AND now()) FROM wmigrate.audit_log"
    assert conn.execute(recent).fetchone() == (True,)
    assert runner.ledger.verify(conn) == ()
    assert len([n for n in conn.notifies(timeout=PATIENCE, stop_after=2) if n.payload == "wmigrate"]) == 2


def test_limits_a_script_sets_end_with_it(migrator: MakeMigrator, conn: Conn, database: str) -> None:
    """Somebody else writes to the ledger just then, for longer than those limits."""
    script = """
        DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM go_on) LOOP PERFORM pg_sleep(0.05); END LOOP; END $$;
        SET statement_timeout = '200ms';
        SET lock_timeout = '200ms';
        SET idle_in_transaction_session_timeout = '200ms';
    """
    conn.execute("CREATE TABLE go_on ()")
    runner = migrator({"001_a.sql": script})
    with ThreadPoolExecutor(1) as pool, psycopg.connect(database) as other:
        running = pool.submit(runner.apply, "001")
        eventually(conn, SOMEBODY_SLEEPS)
        other.execute("SELECT FROM wmigrate.application_metadata FOR UPDATE")
        conn.execute("INSERT INTO go_on DEFAULT VALUES")
        eventually(conn, f"SELECT {HERE} wait_event_type = 'Lock'")
        time.sleep(0.4)
        other.rollback()
        assert running.result().outcome is Outcome.APPLIED


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("DROP SCHEMA wmigrate CASCADE", 'relation "wmigrate.application_metadata" does not exist'),
        ("DROP TABLE wmigrate.audit_log", 'relation "wmigrate.audit_log" does not exist'),
        ("ALTER SCHEMA wmigrate RENAME TO w", 'relation "wmigrate.application_metadata" does not exist'),
        ("DELETE FROM wmigrate.application_metadata", "wmigrate.application_metadata has no audit_head"),
        ("TRUNCATE wmigrate.audit_log", "audit_log is append-only: TRUNCATE refused"),
    ],
)
def test_a_script_that_takes_the_ledger_away_fails(migrator: MakeMigrator, conn: Conn, script: str, says: str) -> None:
    runner = migrator({"001_a.sql": script})
    with pytest.raises(WMigrateError) as failed:
        runner.apply("001")
    assert says in str(failed.value)
    assert audited(conn) == [("failed", "001")]
    assert runner.ledger.verify(conn) == ()


@pytest.mark.parametrize(
    "setting", ["datestyle = 'SQL, DMY'", "default_transaction_read_only = on", "search_path = ''"]
)
def test_settings_of_the_database_do_not_matter(migrator: MakeMigrator, conn: Conn, setting: str) -> None:
    name = conn.info.dbname
    conn.execute(f'ALTER DATABASE "{name}" SET {setting}'.encode())
    runner = migrator({"001_a.sql": "CREATE TABLE public.a ()", "001_a.rollback.sql": "DROP TABLE public.a"})
    runner.apply("001", dry_run=True)
    runner.apply("001")
    runner.roll_back("001")
    assert relations(conn) == []


def test_names_with_quotes(cluster: Cluster, migrator: MakeMigrator) -> None:
    name, role = 'it\'s "odd" %s', "ro\"le's"
    cluster.execute('CREATE ROLE "ro""le\'s" LOGIN')
    cluster.create_database(name, owner=role)
    try:
        dsn = cluster.dsn(name, user=role)
        runner = migrator(AB, dsn=dsn)
        assert [runner.apply(v).outcome for v in ("001", "002")] == [Outcome.APPLIED] * 2
        assert runner.roll_back("002").outcome is Outcome.ROLLED_BACK
    finally:
        cluster.drop_database(name)
        cluster.execute('DROP ROLE "ro""le\'s"')


def test_a_role_that_works_as_another_one(cluster: Cluster, migrator: MakeMigrator, conn: Conn) -> None:
    """The login role may nothing itself; its settings make it somebody who may, also after a script changed that."""
    cluster.execute("CREATE ROLE owning; CREATE ROLE working LOGIN NOINHERIT IN ROLE owning")
    cluster.execute("ALTER ROLE working SET role = owning")
    cluster.execute(f'ALTER DATABASE "{conn.info.dbname}" OWNER TO owning')
    try:
        runner = migrator({"001_a.sql": "SET ROLE NONE"}, dsn=cluster.dsn(conn.info.dbname, user="working"))
        assert runner.apply("001").outcome is Outcome.APPLIED
    finally:
        conn.execute("DROP OWNED BY owning")
        cluster.execute(f'ALTER DATABASE "{conn.info.dbname}" OWNER TO postgres')
        cluster.execute("DROP ROLE working, owning")


def test_a_role_without_rights_is_told_which_it_needs(cluster: Cluster, migrator: MakeMigrator, conn: Conn) -> None:
    cluster.execute("CREATE ROLE nobody_here LOGIN")
    try:
        runner = migrator(AB, dsn=cluster.dsn(conn.info.dbname, user="nobody_here"))
        with pytest.raises(WMigrateError) as refused:
            runner.apply("001")
        assert str(refused.value) == (
            f"the ledger cannot be used: permission denied for database {conn.info.dbname};"
            ' ask a database administrator to run: CREATE SCHEMA "wmigrate" AUTHORIZATION "nobody_here"'
        )
    finally:
        cluster.execute("DROP ROLE nobody_here")


# Roll back


def test_roll_back_undoes_and_forgets(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    both = migrator(AB)
    both.apply("001")
    both.apply("002")
    record = both.roll_back("002")
    assert (record.outcome, record.version) == (Outcome.ROLLED_BACK, "002")
    assert relations(conn) == ["a"]
    assert applied(conn) == ["001"]
    assert audited(conn)[-1:] == [("rolled_back", "002")]
    assert metadata(conn)["schema_version"] == "001"
    both.roll_back("001")
    assert relations(conn) == []
    assert metadata(conn)["schema_version"] == ""
    assert [e.direction for e in events if isinstance(e, Started)] == ["apply", "apply", "rollback", "rollback"]


def test_roll_back_of_what_is_not_applied_does_nothing(migrator: MakeMigrator, conn: Conn) -> None:
    assert migrator(AB).roll_back("001").outcome is Outcome.NOT_APPLIED
    assert not has_ledger(conn)


def test_roll_back_is_refused_while_an_applied_one_depends_on_it(migrator: MakeMigrator, conn: Conn) -> None:
    both = migrator(AB)
    both.apply("001")
    both.apply("002")
    with pytest.raises(
        HistoryError,
        match=r"^migration 001 cannot be rolled back: 002 depends on it; roll back first: `wmigrate down --only 002`$",
    ):
        both.roll_back("001")
    assert relations(conn) == ["a", "b"]
    assert audited(conn)[-1] == ("refused", "001")


def test_the_dependencies_as_applied_count(migrator: MakeMigrator, conn: Conn) -> None:
    """The folder says today that 002 needs nothing; the database was built when it did."""
    both = migrator(AB)
    both.apply("001")
    both.apply("002")
    edited = AB | {"migration_config.yaml": "migrations:\n  - {version: 2, dependencies: []}\n"}
    with pytest.raises(HistoryError, match="002 depends on it"):
        migrator(edited).roll_back("001")


@pytest.mark.parametrize(
    ("now", "left"),
    [
        pytest.param({"003_c.sql": "SELECT 1"}, [], id="the files are gone"),
        pytest.param({"001_a.sql": AB["001_a.sql"]}, [], id="the rollback is gone"),
        pytest.param(
            {"001_a.sql": "CREATE TABLE z ()", "001_a.rollback.sql": AB["001_a.rollback.sql"]}, [],
            id="only the migration changed",
        ),
    ],
)  # fmt: skip
def test_which_rollback_script_is_run(migrator: MakeMigrator, conn: Conn, now: dict[str, str], left: list[str]) -> None:
    migrator(AB).apply("001")
    assert migrator(now).roll_back("001").outcome is Outcome.ROLLED_BACK
    assert relations(conn) == left


@pytest.mark.parametrize(
    "now",
    [
        pytest.param({"001_a.sql": "CREATE TABLE z ()"}, id="both changed"),
        pytest.param({"001_a.sql": AB["001_a.sql"]}, id="only the rollback changed"),
    ],
)
def test_of_two_rollback_scripts_a_person_chooses_one(migrator: MakeMigrator, conn: Conn, now: dict[str, str]) -> None:
    migrator(AB).apply("001")
    mended = migrator({**now, "001_a.rollback.sql": "ALTER TABLE a RENAME TO kept"})
    for dry_run in (True, False):
        with pytest.raises(HistoryError, match="is not the one recorded when it was applied") as refused:
            mended.roll_back("001", dry_run=dry_run)
        assert [finding.code for finding in refused.value.findings] == ["rollback_differs"]
    assert (relations(conn), applied(conn)) == (["a"], ["001"])
    mended.rollback_script = "folder"
    assert mended.roll_back("001").outcome is Outcome.ROLLED_BACK
    assert relations(conn) == ["kept"]
    conn.execute("DROP TABLE kept")
    migrator(AB).apply("001")
    mended.rollback_script = "ledger"
    assert mended.roll_back("001").outcome is Outcome.ROLLED_BACK
    assert relations(conn) == []


def test_what_is_declared_irreversible_is_not_rolled_back(migrator: MakeMigrator, conn: Conn) -> None:
    migrator(AB).apply("001")
    config = "migrations:\n  - {version: 1, rollback_supported: false}\n"
    with pytest.raises(HistoryError, match="migration 001_a is declared irreversible"):
        migrator({"001_a.sql": AB["001_a.sql"], "migration_config.yaml": config}).roll_back("001")
    assert relations(conn) == ["a"]


def test_without_any_rollback_script(migrator: MakeMigrator, conn: Conn) -> None:
    alone = migrator({"001_a.sql": "CREATE TABLE a ()"})
    alone.apply("001")
    with pytest.raises(HistoryError) as refused:
        alone.roll_back("001")
    assert str(refused.value) == (
        "001_a.sql: migration 001_a has no rollback script, neither in the folder nor in the ledger;"
        " write 001_a.rollback.sql; or restore a backup"
    )
    assert relations(conn) == ["a"]


def test_a_failed_rollback_leaves_things_as_they_were(migrator: MakeMigrator, conn: Conn) -> None:
    both = migrator(AB | {"001_a.rollback.sql": "DROP TABLE a;\nDROP TABLE not_there;"})
    both.apply("001")
    with pytest.raises(RollbackFailed) as failed:
        both.roll_back("001")
    assert str(failed.value) == (
        'rollback of 001 failed: 001_a.rollback.sql:2: table "not_there" does not exist (SQLSTATE 42P01)'
        " in DROP TABLE not_there; rolled back, nothing of it was kept"
    )
    assert isinstance(failed.value.cause, StatementFailed)
    assert relations(conn) == ["a"]
    assert applied(conn) == ["001"]
    assert audited(conn)[-1:] == [("rollback_failed", "001")]


# Dry run


@pytest.mark.needs_postgresql(14, "client_connection_check_interval")
def test_each_script_of_a_dry_run_has_a_session_as_if_it_were_its_own(migrator: MakeMigrator) -> None:
    settings = ("client_connection_check_interval", "application_name", "idle_in_transaction_session_timeout")
    shown = "SELECT " + ", ".join(f"current_setting('{name}')" for name in settings)
    alone = "DO $$ BEGIN RAISE WARNING '%', (SELECT r FROM (" + shown + ") r); END $$;"
    heard: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Noticed) and event.severity == "WARNING":
            heard.append(event.message)

    first = alone + "SET application_name = 'other'; SET client_connection_check_interval = 0;"
    migrator({"001_a.sql": first, "002_b.sql": alone}, on_event=hear).apply("002", dry_run=True)
    assert len(heard) == 2
    assert heard[0] == heard[1]
    assert heard[0].startswith("(500ms,")


def test_a_dry_run_on_a_database_without_ledger_leaves_no_trace(migrator: MakeMigrator, conn: Conn) -> None:
    record = migrator(AB).apply("001", dry_run=True)
    assert (record.outcome, record.statements, record.audit_head) == (Outcome.DRY_RUN, 1, None)
    assert relations(conn) == []
    assert conn.execute("SELECT to_regnamespace('wmigrate')").fetchone() == (None,)


def test_a_dry_run_leaves_one_audit_row(migrator: MakeMigrator, conn: Conn) -> None:
    both = migrator(AB)
    both.apply("001")
    before = (audited(conn), metadata(conn)["schema_version"])
    record = both.apply("002", dry_run=True)
    assert untimed(record.locks) == (
        LockTaken("public.a", "ShareRowExclusiveLock"),
        LockTaken("public.b", "AccessExclusiveLock"),
    )
    assert relations(conn) == ["a"]
    assert applied(conn) == ["001"]
    assert (audited(conn), metadata(conn)["schema_version"]) == ([*before[0], ("dry_run", "002")], before[1])


def test_a_dry_run_first_runs_what_it_needs(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    assert migrator(AB).apply("002", dry_run=True).outcome is Outcome.DRY_RUN
    assert [(e.version, e.dry_run) for e in events if isinstance(e, Started)] == [("001", True), ("002", True)]
    assert relations(conn) == []
    assert not has_ledger(conn)


def test_in_a_dry_run_one_script_does_not_see_what_another_left_in_the_session(
    migrator: MakeMigrator, conn: Conn
) -> None:
    left = "CREATE SCHEMA s; SET search_path = s; SET ROLE pg_monitor; SET statement_timeout = 1;"
    files = {
        "001_a.sql": "CREATE TEMP TABLE t (a int);" + left,
        "002_b.sql": "CREATE TEMP TABLE t (b int); CREATE TABLE b (); INSERT INTO public.b DEFAULT VALUES;",
    }
    assert migrator(files).apply("002", dry_run=True).outcome is Outcome.DRY_RUN


def test_a_dry_run_of_a_rollback_first_rolls_back_what_depends_on_it(
    migrator: MakeMigrator, conn: Conn, events: list[Event]
) -> None:
    both = migrator(AB)
    both.apply("001")
    both.apply("002")
    events.clear()
    assert both.roll_back("001", dry_run=True).outcome is Outcome.DRY_RUN
    assert [e.version for e in events if isinstance(e, Started)] == ["002", "001"]
    assert relations(conn) == ["a", "b"]
    assert applied(conn) == ["001", "002"]
    assert audited(conn)[-1] == ("dry_run", "001")


def test_a_failure_in_a_chain_names_the_file_that_failed(migrator: MakeMigrator, conn: Conn) -> None:
    deferred = "CREATE TABLE a (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO a VALUES (1), (1);"
    for script, place in ((AB["001_a.sql"] + "\nSELECT 1/0", "001_a.sql:2: "), (deferred, "001_a.sql:2: ")):
        with pytest.raises(StatementFailed) as failed:
            migrator(AB | {"001_a.sql": script}).apply("002", dry_run=True)
        assert str(failed.value).startswith(place)
        assert failed.value.version == "001"


def test_a_dry_run_does_not_hold_up_others(migrator: MakeMigrator, conn: Conn, database: str) -> None:
    """Its scripts may take long; whoever writes to the ledger meanwhile must not wait for them."""
    slow = migrator(AB | {"002_b.sql": "CREATE TABLE b (); SELECT pg_sleep(1000)"})
    slow.record("planned")
    thread = threading.Thread(target=_ignoring(lambda: slow.apply("002", dry_run=True)))
    thread.start()
    eventually(conn, SOMEBODY_SLEEPS)
    migrator(AB).record("planned")
    slow.cancel()
    thread.join()


@pytest.mark.parametrize(
    ("execution", "act", "says"),
    [
        ({"dry_run_enabled": "false"}, {"dry_run": True}, "dry runs are switched off; settings.execution.dry_run_en"),
        ({"rollback_enabled": "false"}, {}, "rollbacks are switched off; settings.execution.rollback_enabled is false"),
    ],
)
def test_what_the_config_switches_off(
    migrator: MakeMigrator, conn: Conn, execution: dict[str, str], act: dict[str, bool], says: str
) -> None:
    with pytest.raises(WMigrateError) as refused:
        migrator(AB | {"migration_config.yaml": config(**execution)}).roll_back("001", **act)
    assert str(refused.value).startswith(says)
    assert not has_ledger(conn)


# Budgets, locks, cancelling


@pytest.mark.parametrize(
    ("execution", "script", "says"),
    [
        (
            {"timeout_seconds": 1},
            "SELECT pg_sleep(0.6);\nSELECT pg_sleep(0.6);\nSELECT pg_sleep(1000);",
            "the total budget (timeout_seconds) was used up, the statement was cancelled",
        ),
        (
            {"statement_timeout_seconds": 0.3},
            "SELECT pg_sleep(0.1);\nSELECT pg_sleep(1000);",
            "canceling statement due to statement timeout",
        ),
    ],
    ids=["total", "statement"],
)
def test_budgets(migrator: MakeMigrator, conn: Conn, execution: dict[str, Any], script: str, says: str) -> None:
    with pytest.raises(TimedOut) as failed:
        migrator({"001_a.sql": script, "migration_config.yaml": config(**execution)}).apply("001")
    words = script.splitlines()[1].rstrip(";")
    says = f"001_a.sql:2: {says} (SQLSTATE 57014) in {words}; rolled back, nothing of it was kept"
    assert str(failed.value) == says
    assert applied(conn) == []
    assert audited(conn) == [("failed", "001")]
    eventually(conn, NOBODY_WORKS)


def test_a_migration_has_a_budget_of_its_own(migrator: MakeMigrator) -> None:
    own = "migrations:\n  - {version: 1, timeout_seconds: 1}\n"
    with pytest.raises(TimedOut, match="total budget"):
        migrator({"001_a.sql": "SELECT pg_sleep(1000)", "migration_config.yaml": own}).apply("001")


def test_a_table_somebody_else_holds(migrator: MakeMigrator, conn: Conn, database: str) -> None:
    impatient = {"migration_config.yaml": config(lock_timeout_seconds=0.4, lock_attempts=2)}
    runner = migrator(AB | impatient)
    runner.apply("001")
    with psycopg.connect(database, application_name="reader") as reader:
        reader.execute("SELECT FROM a")
        with pytest.raises(LockTimeout) as failed:
            migrator(AB | {"002_b.sql": "SELECT 1;\nDROP TABLE a;"} | impatient).apply("002")
        pid = reader.info.backend_pid
    assert failed.value.retryable
    assert re.fullmatch(
        rf"002_b\.sql:2: a lock of this migration was not free within 0\.8 s, held by pid {pid}; rolled back, nothing"
        rf" of it was kept; pid {pid} \(postgres, reader, its query since \d\d:\d\d:\d\d UTC\) held it up",
        str(failed.value),
    )
    assert applied(conn) == ["001"]
    assert migrator(AB | impatient).apply("002").outcome is Outcome.APPLIED


def test_another_runner_holds_the_migration(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    slow = migrator({"001_a.sql": "SELECT pg_sleep(1000)"})
    thread = threading.Thread(target=_ignoring(slow.apply), args=["001"])
    thread.start()
    eventually(conn, SOMEBODY_SLEEPS)
    holder = next(e.backend_pid for e in events if isinstance(e, Started))
    events.clear()
    impatient = {"001_a.sql": "SELECT pg_sleep(1000)", "migration_config.yaml": config(lock_wait_seconds=1.5)}
    with pytest.raises(LockTimeout) as failed:
        migrator(impatient).apply("001")
    assert failed.value.holders == (holder,)
    assert f", held by pid {holder}; nothing was changed; " in str(failed.value)
    first = events[0]
    assert isinstance(first, Waiting)
    assert (first.version, first.what, first.holders) == ("001", "the advisory lock of this migration", (holder,))
    slow.cancel()
    thread.join()


def test_a_report_waits_for_another_one_with_a_bound(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    made = migrator({"001_a.sql": "SELECT 1", "migration_config.yaml": config(lock_wait_seconds=1.2)})
    with made.telling():
        (pid,) = conn.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory'").fetchone()
        assert made.apply("001").outcome == "applied", "migrations go on"
        events.clear()
        with pytest.raises(LockTimeout) as failed, made.telling():
            raise AssertionError("two at once")
    what = "the lock of the reports on this ledger"
    assert str(failed.value) == (
        f"{what} was not free within 1.2 s, held by pid {pid}; nothing was changed; another runner is at work; look at"
        " pg_stat_activity, or raise lock_wait_seconds"
    )
    assert [(e.version, e.what, e.holders) for e in events if isinstance(e, Waiting)] == [(None, what, (pid,))]
    with made.telling():
        pass


def _ignoring(call: Callable[..., object]) -> Callable[..., None]:
    def quiet(*args: object) -> None:
        with suppress(WMigrateError):
            call(*args)

    return quiet


def test_cancel_from_another_thread(migrator: MakeMigrator, conn: Conn) -> None:
    slow = migrator({"001_a.sql": "CREATE TABLE a ();\nSELECT pg_sleep(1000)"})
    caught: list[Exception] = []

    def run() -> None:
        try:
            slow.apply("001")
        except WMigrateError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    eventually(conn, SOMEBODY_SLEEPS)
    slow.cancel()
    thread.join()
    (error,) = caught
    says = "cancelled on request (SQLSTATE 57014) in SELECT pg_sleep(1000)"
    assert str(error) == f"001_a.sql:2: {says}; rolled back, nothing of it was kept"
    assert isinstance(error, StatementFailed)
    assert error.retryable
    assert relations(conn) == []
    assert audited(conn)[-1] == ("failed", "001")


@pytest.mark.needs_postgresql(14, "client_connection_check_interval")
def test_an_exception_from_outside_ends_the_statement_on_the_server(migrator: MakeMigrator, conn: Conn) -> None:
    """As Airflow's task timeout does it: a signal handler raises in the middle of the wait."""

    class OutOfTime(BaseException):
        pass

    def strike(*_: object) -> None:
        raise OutOfTime

    # The server would notice the loss of its client too, but half a second later, and not on every platform.
    script = "SET client_connection_check_interval = 0; CREATE TABLE a (); SELECT pg_sleep(1000)"
    before = signal.signal(signal.SIGUSR1, strike)
    timer = threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGUSR1])
    timer.start()
    try:
        with pytest.raises(OutOfTime):
            migrator({"001_a.sql": script}).apply("001")
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    eventually(conn, NOBODY_WORKS)
    assert relations(conn) == []


def test_the_run_can_be_seen_in_pg_stat_activity(migrator: MakeMigrator, conn: Conn) -> None:
    script = "CREATE TABLE a AS SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    migrator({"001_a.sql": script}, identity=Identity("ann", run_id="manual__7")).apply("001")
    assert conn.execute("SELECT * FROM a").fetchone() == ("wmigrate apply 001 manual__7",)


# What else the ledger is told


def test_a_plan_reads_and_creates_nothing(migrator: MakeMigrator, conn: Conn) -> None:
    both = migrator(AB)
    plan = both.plan()
    assert [(s.action, s.version) for s in plan.steps] == [("apply", "001"), ("apply", "002")]
    assert not has_ledger(conn)
    both.apply("001")
    assert both.plan().statuses == {"001": Status.APPLIED, "002": Status.PENDING}
    assert [s.version for s in both.plan_rollback(to="0").steps] == ["001"]
    assert [s.version for s in both.plan_rollback(to="1").steps] == []


def test_plans_of_databases_with_and_without_extensions(migrator: MakeMigrator, conn: Conn) -> None:
    state = migrator(AB).read()
    assert state.extensions is not None
    assert "plpgsql" in state.extensions
    assert "timescaledb" not in state.extensions
    assert state.ledger_version is None


def test_the_ledger_is_created_once(migrator: MakeMigrator, conn: Conn) -> None:
    both = migrator(AB)
    both.record("planned", details={"steps": ["001"]})
    both.apply("001")
    both.record_success()
    created = "SELECT position, details - 'session' FROM wmigrate.audit_log WHERE event = 'ledger_created'"
    assert conn.execute(created).fetchall() == [(1, {"ledger_version": LEDGER_VERSION})]


def test_what_a_successful_run_leaves(migrator: MakeMigrator, conn: Conn) -> None:
    system = "migration_system: {version: 2.1, description: Ours, created: 2025-01-02, last_updated: 2025-03-04}\n"
    runner = migrator(AB | {"migration_config.yaml": system})
    runner.record_success()
    found = metadata(conn)
    run = found.pop("last_successful_run")
    assert conn.execute("SELECT now() - %s::timestamptz < interval '1 min'", [run]).fetchone() == (True,)
    found.pop("audit_head")
    assert found == {
        "ledger_version": str(LEDGER_VERSION),
        "application_version": "2.1",
        "application_description": "Ours",
        "folder_created": "2025-01-02",
        "folder_last_updated": "2025-03-04",
    }


def test_whoever_listens_is_told_of_commits_only(migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute("LISTEN wmigrate")
    both = migrator(AB | {"002_b.sql": "CREATE TABLE b (); SELECT 1/0"})
    both.apply("001", dry_run=True)
    both.apply("001")
    with pytest.raises(StatementFailed):
        both.apply("002")
    both.roll_back("001")
    conn.execute("NOTIFY wmigrate, 'that was all'")
    told = [(n.channel, n.payload) for n in conn.notifies(timeout=PATIENCE, stop_after=3)]
    assert told == [*[("wmigrate", "wmigrate")] * 2, ("wmigrate", "that was all")]


def test_a_ledger_in_a_schema_of_its_own(migrator: MakeMigrator, conn: Conn) -> None:
    """Two projects in one database: neither sees the other's entries."""
    one = migrator(AB | {"migration_config.yaml": "settings: {ledger: {schema: one}}\n"})
    one.apply("001")
    two = migrator({"001_x.sql": "CREATE TABLE x ()", "migration_config.yaml": "settings: {ledger: {schema: two}}\n"})
    assert two.plan().statuses == {"001": Status.PENDING}
    two.apply("001")
    entries = conn.execute("SELECT name FROM one.schema_migrations UNION ALL SELECT name FROM two.schema_migrations")
    assert entries.fetchall() == [("a",), ("x",)]
