"""What a dry run tries, what it does not try and why, and what it leaves in the audit log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.errors import StatementFailed
from airflow_provider_wmigrate.engine.events import Event, Finished, Started
from airflow_provider_wmigrate.engine.locks_taken import LockTaken
from airflow_provider_wmigrate.engine.record import Outcome, Record
from airflow_provider_wmigrate.engine.session.scratch import PREFIX, ScratchServer
from tests.untimed import untimed

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

TABLE = "CREATE TABLE t (id int);\n"
INDEX = "CREATE INDEX CONCURRENTLY t_id ON t (id);\n"
LATER = {"002_b.sql": "CREATE TABLE b ();"}
MOOD = {
    "001_type.sql": "CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE person (m mood);",
    "002_value.sql": "ALTER TYPE mood ADD VALUE 'happy';",
    "003_use.sql": "ALTER TABLE person ALTER m\n  SET DEFAULT 'happy';",
    "004_view.sql": "CREATE VIEW v AS SELECT 1;",
}
ONLY_AFTER_COMMIT = (
    "003_use.sql:1: it uses a value that 002_value adds to an enum type, which is possible only after a commit"
)


def outcomes(events: list[Event]) -> list[tuple[str, Outcome, str | None]]:
    return [(e.record.version, e.record.outcome, e.record.reason) for e in events if isinstance(e, Finished)]


def dry_rows(conn: Conn) -> list[tuple[str, str, Any]]:
    rows = conn.execute(
        "SELECT event, version, details FROM wmigrate.audit_log"
        " WHERE event IN ('dry_run', 'not_tried', 'failed', 'rollback_failed') ORDER BY position"
    ).fetchall()
    return [(event, version, details) for event, version, details in rows]


def declared(**more: str) -> dict[str, str]:
    words = ", ".join(f"{key}: {value}" for key, value in more.items())
    return {"migration_config.yaml": f"migrations: [{{version: '001', {words}}}]"}


def not_tried(record: Record) -> str:
    assert record.outcome is Outcome.NOT_TRIED
    assert record.as_dict()["outcome"] == "not_tried"
    assert (record.statements, record.rows, record.duration_ms, record.locks) == (0, 0, 0, ())
    assert record.reason is not None
    return record.reason


@pytest.mark.parametrize(
    ("script", "config", "reason"),
    [
        (TABLE + INDEX, {}, "001_a.sql:2: CREATE INDEX CONCURRENTLY cannot be undone by a transaction"),
        (
            "DO $$ BEGIN CREATE TABLE t (); COMMIT; END $$;",
            declared(transactional="false"),
            "001_a.sql: it is declared transactional: false, and a dry run is one transaction",
        ),
        (TABLE + INDEX, declared(transactional="false"), "001_a.sql:2: CREATE INDEX CONCURRENTLY cannot be undone"),
        (
            TABLE + "SELECT lsn FROM pg_create_logical_replication_slot('wmigrate_dry', 'test_decoding');",
            {},
            "001_a.sql:2: pg_create_logical_replication_slot() cannot be undone by a transaction",
        ),
        (TABLE + "WITH w AS (SELECT PG_CATALOG.Pg_Switch_WAL()) TABLE w;", {}, "001_a.sql:2: pg_switch_wal() cannot"),
        (TABLE + "COPY t TO PROGRAM 'true';", {}, "001_a.sql:2: COPY to a file or a program cannot be undone"),
    ],
)
def test_what_is_not_one_transaction_is_not_tried(
    migrator: MakeMigrator, conn: Conn, events: list[Event], script: str, config: dict[str, str], reason: str
) -> None:
    files = {"001_a.sql": script} | LATER | config
    assert not_tried(migrator(files).apply("001", dry_run=True)).startswith(reason)
    depends = {"migration_config.yaml": "migrations: [{version: '001', transactional: false}, {version: '002'}]"}
    chained = files | (depends if config else {})
    assert not_tried(migrator(chained).apply("002", dry_run=True)) == "002_b.sql: it needs 001_a, which was not tried"
    assert [e for e in events if isinstance(e, Started)] == []
    there = conn.execute("SELECT to_regclass('t'), to_regclass('b'), to_regnamespace('wmigrate')").fetchone()
    assert there == (None, None, None)


def test_what_was_not_tried_is_in_the_audit_log(migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator({"001_a.sql": TABLE + INDEX})
    made.record("planned")
    record = made.apply("001", dry_run=True)
    ((event, version, details),) = dry_rows(conn)
    assert (event, version) == ("not_tried", "001")
    assert (details["reason"], details["direction"], details["dry_run"]) == (record.reason, "apply", True)
    head = conn.execute("SELECT value FROM wmigrate.application_metadata WHERE key = 'audit_head'").fetchone()
    assert head == (record.audit_head,)


@pytest.mark.parametrize("transactional", ["auto", "false"])
def test_a_dry_run_does_not_try_what_was_begun(migrator: MakeMigrator, transactional: str) -> None:
    config = declared(transactional=transactional)
    with pytest.raises(StatementFailed):
        migrator({"001_a.sql": TABLE + INDEX + "SELECT 1/0;"} | config).apply("001")
    record = migrator({"001_a.sql": TABLE + INDEX} | config).apply("001", dry_run=True)
    reason = "001_a.sql: it was begun before and is not finished, and a dry run goes on with nothing"
    assert not_tried(record) == reason


def test_a_rollback_that_no_transaction_undoes_is_not_tried(migrator: MakeMigrator) -> None:
    files = {"001_a.sql": TABLE, "001_a.rollback.sql": "DROP TABLE t;"} | LATER
    made = migrator(files | {"002_b.rollback.sql": "DROP INDEX CONCURRENTLY IF EXISTS i;"})
    made.apply("001")
    made.apply("002")
    reason = "002_b.rollback.sql:1: DROP INDEX CONCURRENTLY cannot be undone by a transaction"
    assert not_tried(made.roll_back("002", dry_run=True)) == reason
    assert not_tried(made.roll_back("001", dry_run=True)) == "001_a.rollback.sql: it needs 002_b, which was not tried"


def test_an_enum_value_of_the_migration_before(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    made = migrator(MOOD)
    made.apply("001")
    events.clear()
    record = made.apply("004", dry_run=True)
    assert not_tried(record) == "004_view.sql: it needs 003_use, which was not tried"
    assert outcomes(events) == [
        ("002", Outcome.DRY_RUN, None),
        ("003", Outcome.NOT_TRIED, ONLY_AFTER_COMMIT),
        ("004", Outcome.NOT_TRIED, record.reason),
    ]
    assert [(event, version) for event, version, _ in dry_rows(conn)] == [
        ("dry_run", "002"), ("not_tried", "003"), ("not_tried", "004")
    ]  # fmt: skip
    for version in ("002", "003", "004"):
        assert made.apply(version).outcome is Outcome.APPLIED


def test_an_enum_value_that_the_script_itself_adds_is_a_failure(migrator: MakeMigrator) -> None:
    """It would fail for good too: the grammar does not see what is added inside a string."""
    adds = "DO $$ BEGIN EXECUTE $q$ALTER TYPE mood ADD VALUE 'glad'$q$; END $$;\nSELECT 'glad'::mood;"
    made = migrator(MOOD | {"002_value.sql": "SELECT 1;", "003_use.sql": adds})
    made.apply("001")
    with pytest.raises(StatementFailed) as failed:
        made.apply("003", dry_run=True)
    assert (failed.value.sqlstate, failed.value.line) == ("55P04", 2)
    advice = "use it in a later migration: a new value of an enum type can be used only after the commit that adds it"
    assert failed.value.hint == advice


def test_what_does_not_depend_on_the_one_that_needs_a_commit_is_tried(
    migrator: MakeMigrator, events: list[Event]
) -> None:
    needs = {"002": ["001"], "003": ["002"], "004": ["002"], "005": ["003", "004"]}
    blocks = "".join(f"  - {{version: '{v}', dependencies: {n}}}\n" for v, n in needs.items())
    files = MOOD | {"005_end.sql": "SELECT 1;", "migration_config.yaml": "migrations:\n" + blocks}
    made = migrator(files)
    made.apply("001")
    events.clear()
    made.apply("005", dry_run=True)
    tried = {version: outcome for version, outcome, _ in outcomes(events)}
    assert tried == {
        "002": Outcome.DRY_RUN, "003": Outcome.NOT_TRIED, "004": Outcome.DRY_RUN, "005": Outcome.NOT_TRIED
    }  # fmt: skip


PARENT = (
    "CREATE TABLE p (id int PRIMARY KEY);\n"
    "CREATE TABLE c (p int CONSTRAINT to_p REFERENCES p DEFERRABLE INITIALLY DEFERRED,"
    " q int CONSTRAINT to_q REFERENCES p DEFERRABLE);\n"
    "INSERT INTO c VALUES (1); INSERT INTO p VALUES (1);"
)


@pytest.mark.parametrize(
    "second",
    [
        "INSERT INTO c VALUES (2); INSERT INTO p VALUES (2);",
        "CREATE TABLE d (p int REFERENCES p DEFERRABLE INITIALLY DEFERRED); INSERT INTO d VALUES (3);"
        " INSERT INTO p VALUES (3);",
        "ALTER TABLE c ADD COLUMN more int; ALTER TABLE p ADD COLUMN more int;",
    ],
    ids=["one that was there", "one of its own", "nothing is pending"],
)
def test_deferred_constraints_are_as_if_the_migration_before_had_committed(migrator: MakeMigrator, second: str) -> None:
    made = migrator({"001_a.sql": PARENT, "002_b.sql": second})
    assert made.apply("002", dry_run=True).outcome is Outcome.DRY_RUN
    made.apply("001")
    assert made.apply("002").outcome is Outcome.APPLIED


def test_an_immediate_constraint_is_not_deferred_by_the_migration_before(migrator: MakeMigrator) -> None:
    first = PARENT.replace("INSERT", "SET CONSTRAINTS to_q DEFERRED; INSERT", 1)
    made = migrator({"001_a.sql": first, "002_b.sql": "INSERT INTO c VALUES (1, 9); INSERT INTO p VALUES (9);"})
    with pytest.raises(StatementFailed) as failed:
        made.apply("002", dry_run=True)
    assert (failed.value.file, failed.value.sqlstate) == ("002_b.sql", "23503")


def test_prepared_statements_cursors_and_sequences_do_not_reach_the_next_script(migrator: MakeMigrator) -> None:
    script = (
        "CREATE SEQUENCE {0}; SELECT nextval('{0}'); PREPARE q AS SELECT 1;"
        " DECLARE c CURSOR FOR SELECT 1; LISTEN wmigrate_test;"
    )
    files = {"001_a.sql": script.format("one"), "002_b.sql": script.format("two")}
    assert migrator(files).apply("002", dry_run=True).outcome is Outcome.DRY_RUN


def test_each_of_a_chain_is_measured(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    made = migrator({"001_a.sql": "SELECT pg_sleep(0.2);", "002_b.sql": "SELECT 1; SELECT 2;"})
    made.record("planned")
    made.apply("002", dry_run=True)
    first, second = (e.record for e in events if isinstance(e, Finished))
    assert (first.version, first.outcome, first.statements) == ("001", Outcome.DRY_RUN, 1)
    assert (second.version, second.outcome, second.statements) == ("002", Outcome.DRY_RUN, 2)
    assert first.duration_ms >= 200
    ((event, version, details),) = dry_rows(conn)
    assert (event, version, details["chain"]) == (
        "dry_run", "002", {"001": first.duration_ms, "002": second.duration_ms}
    )  # fmt: skip


def test_each_of_a_chain_has_its_own_limits(migrator: MakeMigrator) -> None:
    """The budget of the last one is not that of all of them."""
    config = "migrations:\n  - {version: '001'}\n  - {version: '002', dependencies: ['001'], timeout_seconds: 1}\n"
    files = {"001_a.sql": "SELECT pg_sleep(1.5);", "002_b.sql": "SELECT 1;", "migration_config.yaml": config}
    assert migrator(files).apply("002", dry_run=True).outcome is Outcome.DRY_RUN


def test_a_failure_is_recorded_with_the_migration_that_failed(migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator({"001_a.sql": "SELECT 1/0;"} | LATER)
    made.record("planned")
    with pytest.raises(StatementFailed):
        made.apply("002", dry_run=True)
    ((event, version, details),) = dry_rows(conn)
    assert (event, version, details["dry_run"]) == ("failed", "001", True)


def test_a_failed_dry_run_of_a_rollback_is_no_failed_rollback(migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator({"001_a.sql": TABLE, "001_a.rollback.sql": "DROP TABLE not_there;"})
    made.apply("001")
    with pytest.raises(StatementFailed) as failed:
        made.roll_back("001", dry_run=True)
    assert str(failed.value).startswith('001_a.rollback.sql:1: table "not_there" does not exist (SQLSTATE 42P01)')


# Locks


SETUP = (
    "CREATE SCHEMA old; CREATE SCHEMA new; CREATE TABLE big (id int); CREATE TABLE big4 (id int);"
    " CREATE TABLE old.moves (id int); CREATE VIEW seen AS SELECT * FROM big"
)
TAKES = (
    "DROP TABLE big CASCADE;\nALTER TABLE big4 RENAME TO big5;\nALTER TABLE old.moves SET SCHEMA new;\n"
    "ALTER SCHEMA old RENAME TO older;\nCREATE TABLE made (); CREATE TABLE short_lived (); DROP TABLE short_lived;"
)
LOCKS = tuple(
    LockTaken(name, "AccessExclusiveLock", dropped=dropped)
    for name, dropped in [
        ("old.moves", False), ("public.big", True), ("public.big4", False), ("public.made", False),
        ("public.seen", True),
    ]
)  # fmt: skip


def test_locks_are_told_by_the_names_that_others_know(migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute(SETUP)
    made = migrator({"001_a.sql": TAKES})
    assert untimed(made.apply("001", dry_run=True).locks) == LOCKS
    assert untimed(made.apply("001").locks) == LOCKS
    rows = conn.execute("SELECT details -> 'locks' FROM wmigrate.audit_log WHERE event = 'applied'").fetchone()
    assert rows is not None
    assert [(row["relation"], row["dropped"]) for row in rows[0]] == [(k.relation, k.dropped) for k in LOCKS]


def test_what_a_migration_of_a_chain_dropped_is_told_with_it(migrator: MakeMigrator, events: list[Event]) -> None:
    made = migrator({"001_a.sql": TABLE, "002_b.sql": "DROP TABLE t;", "003_c.sql": "SELECT 1;"})
    made.apply("003", dry_run=True)
    first, second, _ = (e.record for e in events if isinstance(e, Finished))
    assert untimed(first.locks) == (LockTaken("public.t", "AccessExclusiveLock"),)
    assert untimed(second.locks) == (LockTaken("public.t", "AccessExclusiveLock", dropped=True),)


@pytest.mark.parametrize(
    ("call", "tried"),
    [
        ("setval('n', 7)", False),
        ("setval('public.\"n\"'::regclass, 7, true)", False),
        ("setval(pg_get_serial_sequence('counted', 'id'), 7)", False),
        ("setval((SELECT oid FROM pg_class WHERE relname = 'n'), 7)", False),
        ("setval('new_one', 7)", True),
        ("setval(pg_get_serial_sequence('newly_counted', 'id'), 7)", True),
    ],
)
def test_a_sequence_that_is_there_is_not_set_by_a_dry_run(
    migrator: MakeMigrator, conn: Conn, call: str, tried: bool
) -> None:
    """No ROLLBACK takes setval back, unless the sequence is as new as the transaction."""
    conn.execute("CREATE SEQUENCE n; CREATE TABLE counted (id serial)")
    before = conn.execute("SELECT last_value, is_called FROM n").fetchone()
    script = f"CREATE SEQUENCE new_one;\nCREATE TABLE newly_counted (id serial);\nSELECT {call};"
    record = migrator({"001_a.sql": script}).apply("001", dry_run=True)
    assert record.outcome is (Outcome.DRY_RUN if tried else Outcome.NOT_TRIED)
    assert tried or record.reason == "001_a.sql:3: setval() cannot be undone by a transaction"
    assert conn.execute("SELECT last_value, is_called FROM n").fetchone() == before
    assert conn.execute("SELECT last_value, is_called FROM counted_id_seq").fetchone() == (1, False)


@pytest.mark.parametrize("fill", ["INSERT INTO t VALUES (1);", ""], ids=["rows", "empty"])
def test_what_was_written_anew_is_told(migrator: MakeMigrator, conn: Conn, fill: str) -> None:
    """As the server did it, by the old name. An empty table takes no time."""
    conn.execute("CREATE TABLE t (id int); CREATE TABLE u (id int); INSERT INTO u VALUES (1);" + fill)
    made = migrator({"001_a.sql": "ALTER TABLE t ALTER id TYPE bigint; ALTER TABLE t RENAME TO s;", "002_b.sql": ""})
    first, second = made.try_each(["001", "002"])
    assert (first.rewritten, second.rewritten) == (("public.t",) if fill else (), ())
    assert first.as_dict()["rewritten"] == [*first.rewritten]


# On a scratch database


@pytest.fixture
def server(database: str, conn: Conn) -> Any:
    """The target's own, on which no scratch database is left."""
    yield ScratchServer(lambda: psycopg.connect(database))
    query = "SELECT datname FROM pg_database WHERE datname LIKE %s"
    assert conn.execute(query, [f"{PREFIX}%"]).fetchall() == []


def there(records: list[Record]) -> list[tuple[str, str, str | None]]:
    return [(r.version, r.on_scratch.outcome, r.on_scratch.reason) for r in records if r.on_scratch]


def test_what_no_transaction_takes_runs_on_a_scratch_database(
    migrator: MakeMigrator, conn: Conn, server: ScratchServer
) -> None:
    after = {"003_c.sql": "ALTER TABLE t ADD c int;", "004_d.sql": "INSERT INTO t VALUES (2), (3);"}
    made = migrator({"001_a.sql": TABLE + "INSERT INTO t VALUES (1);", "002_b.sql": INDEX} | after)
    made.apply("001")
    records = made.try_each(["002", "003", "004"], scratch=server)
    assert [record.outcome for record in records] == [Outcome.NOT_TRIED] * 3, "here nothing was executed"
    assert there(records) == [("002", "ran", None), ("003", "ran", None), ("004", "ran", None)]
    last = records[-1].on_scratch
    assert last is not None
    assert (last.rows, untimed(last.locks)) == (2, (LockTaken("public.t", "RowExclusiveLock"),))
    assert str(last) == f"on a scratch database, which has no rows of the target, it ran in {last.duration_ms} ms"
    assert [event for event, *_ in dry_rows(conn)] == ["not_tried"] * 3, (
        "the ledger tells what happened to its database"
    )
    assert conn.execute("SELECT id, to_regclass('t_id') FROM t").fetchall() == [(1, None)]


def test_what_needs_a_commit_runs_on_a_scratch_database(migrator: MakeMigrator, server: ScratchServer) -> None:
    made = migrator(MOOD)
    made.apply("001")
    records = made.try_each(["002", "003", "004"], scratch=server)
    assert [record.outcome for record in records] == [Outcome.DRY_RUN, Outcome.NOT_TRIED, Outcome.NOT_TRIED]
    assert there(records) == [("003", "ran", None), ("004", "ran", None)]


def test_a_rollback_runs_on_a_scratch_database(migrator: MakeMigrator, conn: Conn, server: ScratchServer) -> None:
    undo = {"001_a.rollback.sql": "DROP TABLE t;", "002_b.rollback.sql": "DROP INDEX CONCURRENTLY t_id;"}
    files = {"001_a.sql": TABLE, "002_b.sql": INDEX} | undo
    made = migrator(files)
    made.apply_each(["001", "002"])
    records = made.try_each(["002", "001"], "rollback", scratch=server)
    assert there(records) == [("002", "ran", None), ("001", "ran", None)]
    assert conn.execute("SELECT to_regclass('t_id')").fetchone() == ("t_id",)
    other = migrator(
        files | {"002_b.rollback.sql": "DROP INDEX CONCURRENTLY IF EXISTS t_id;"}, rollback_script="ledger"
    )
    reason = "the rollback script of 002 in the folder is not the one in the ledger"
    assert there(other.try_each(["002"], "rollback", scratch=server)) == [("002", "not_tried", reason)]


def test_a_failure_on_a_scratch_database(migrator: MakeMigrator, server: ScratchServer) -> None:
    files = {"001_a.sql": TABLE, "002_b.sql": "CREATE INDEX CONCURRENTLY i ON nowhere (id);", "003_c.sql": "SELECT 1;"}
    second, third = migrator(files).try_each(["001", "002", "003"], scratch=server)[1:]
    assert second.on_scratch is not None
    assert (second.on_scratch.outcome, second.on_scratch.reason) == (
        "failed",
        '002_b.sql:1: relation "nowhere" does not exist (SQLSTATE 42P01) in CREATE INDEX CONCURRENTLY i ON nowhere'
        " (id); nothing ran before it, and nothing of it was kept",
    )
    assert there([third]) == [
        ("003", "not_tried", f"002, which comes before it, does not work there: {second.on_scratch.reason}")
    ]


def test_what_may_reach_beyond_a_scratch_database(migrator: MakeMigrator, conn: Conn, server: ScratchServer) -> None:
    """Also of what is applied already: it would run once more. A server of one's own is another matter."""
    made = migrator({"001_a.sql": TABLE + "ALTER ROLE CURRENT_USER SET work_mem = '4MB';", "002_b.sql": INDEX})
    made.apply("001")
    reason = "`ALTER ROLE` may reach beyond a scratch database; name a server of its own with --scratch"
    assert there(made.try_each(["002"], scratch=server)) == [("002", "not_tried", reason)]
    assert there(made.try_each(["002"], scratch=replace(server, apart=True))) == [("002", "ran", None)]
    conn.execute("ALTER ROLE CURRENT_USER RESET work_mem")


def test_a_target_that_the_folder_does_not_make(migrator: MakeMigrator, conn: Conn, server: ScratchServer) -> None:
    """What is applied there and cannot be applied to an empty database, or not with the folder as it is."""
    files = {"001_a.sql": "ALTER TABLE t ADD b int;", "002_b.sql": INDEX}
    conn.execute(TABLE)
    made = migrator(files)
    made.apply("001")
    ((version, outcome, reason),) = there(made.try_each(["002"], scratch=server))
    assert (version, outcome) == ("002", "not_tried")
    assert str(reason).startswith(
        'the applied migrations cannot be applied to an empty database: 001_a.sql:1: relation "t" does not exist'
    )


def test_nobody_may_make_a_scratch_database(migrator: MakeMigrator, conn: Conn, database: str) -> None:
    conn.execute("CREATE ROLE nobody_makes LOGIN")
    poor = ScratchServer(lambda: psycopg.connect(database, user="nobody_makes"))
    reason = (
        "no scratch database can be made: permission denied to create database; give the role CREATEDB, or name a"
        " server on which it has that with --scratch"
    )
    try:
        made = migrator({"001_a.sql": TABLE, "002_b.sql": INDEX})
        assert there(made.try_each(["001", "002"], scratch=poor)) == [("002", "not_tried", reason)]
    finally:
        conn.execute("DROP ROLE nobody_makes")
