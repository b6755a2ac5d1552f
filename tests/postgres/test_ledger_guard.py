"""Whoever changes an entry, a stored rollback script or the trigger behind the log is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.decisions.alone import Decider
from airflow_provider_wmigrate.engine.decisions.baseline import baseline
from airflow_provider_wmigrate.engine.decisions.repair import repair
from airflow_provider_wmigrate.engine.errors import HistoryError, StatementFailed
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.health.inspection import check_health
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity, checksum
from airflow_provider_wmigrate.engine.record import Outcome

MakeMigrator = Callable[..., Any]
MakeFolder = Callable[..., Any]
Conn = psycopg.Connection[Any]

ASK = "find out who has write access to the ledger"
FILES = {
    "001_a.sql": "CREATE TABLE a ();",
    "001_a.rollback.sql": "DROP TABLE a;",
    "002_b.sql": "CREATE TABLE b ();",
    "002_b.rollback.sql": "DROP TABLE b;",
}
WITHOUT_ROLLBACKS = {name: text for name, text in FILES.items() if "rollback" not in name}
STEPWISE = {
    "003_i.sql": "CREATE INDEX CONCURRENTLY i ON a ((1));\nCREATE INDEX CONCURRENTLY j ON a (nope);",
    "003_i.rollback.sql": "DROP INDEX CONCURRENTLY i;",
}


def codes(conn: Conn) -> list[tuple[str, str | None]]:
    return [(f.code, f.version) for f in Ledger().verify(conn)]


def messages(conn: Conn) -> list[str]:
    return [f.message for f in Ledger().verify(conn)]


@pytest.fixture
def runner(migrator: MakeMigrator) -> Any:
    """001 and 002 are applied."""
    runner = migrator(FILES)
    runner.apply("001")
    runner.apply("002")
    return runner


# Entries


@pytest.mark.parametrize(
    ("column", "lie"),
    [
        ("name", "'other'"),
        ("status", "'incomplete'"),
        ("direction", "'rollback'"),
        ("checksum", "repeat('0', 64)"),
        ("checksum_algorithm", "'md5'"),
        ("dependencies", "'{}'"),
        ("rollback_checksum", "repeat('0', 64)"),
        ("applied_at", "applied_at - interval '1 microsecond'"),
        ("applied_at", "'infinity'"),
        ("duration_ms", "duration_ms + 1"),
        ("actor", "'bob'"),
        ("dag_id", "'d'"),
        ("run_id", "'r'"),
        ("task_id", "'t'"),
        ("try_number", "2"),
    ],
)
def test_any_changed_fact_of_an_entry_is_found(runner: Any, conn: Conn, column: str, lie: str) -> None:
    assert codes(conn) == []
    conn.execute(f"UPDATE wmigrate.schema_migrations SET {column} = {lie} WHERE version = '002'".encode())
    first = Ledger().verify(conn)[0]
    assert (first.code, first.version, first.next_step) == ("entry_forged", "002", f"put back what was, and {ASK}")
    place = "migration 002: its entry is not that of row 3 (applied) of the audit log: "
    assert first.message.startswith(f"{place}{column} is ")


def test_an_entry_put_in_or_taken_out_by_hand_is_found(runner: Any, conn: Conn) -> None:
    conn.execute("DELETE FROM wmigrate.schema_migrations WHERE version = '001'")
    assert messages(conn) == ["migration 001: its entry is gone, but row 2 (applied) of the audit log has one"]
    conn.execute("UPDATE wmigrate.schema_migrations SET version = '003' WHERE version = '002'")
    assert messages(conn) == [
        "migration 001: its entry is gone, but row 2 (applied) of the audit log has one",
        "migration 002: its entry is gone, but row 3 (applied) of the audit log has one",
        "migration 003: its entry has no row in the audit log",
    ]


def test_an_entry_put_back_after_its_rollback_is_found(runner: Any, conn: Conn) -> None:
    conn.execute("CREATE TABLE kept AS TABLE wmigrate.schema_migrations")
    runner.roll_back("002")
    assert codes(conn) == []
    conn.execute("INSERT INTO wmigrate.schema_migrations SELECT * FROM kept WHERE version = '002'")
    row = Ledger().log.rows(conn, after=3)
    message = f"migration 002: it has an entry, but row 4 ({next(iter(row)).event}) of the audit log has none"
    assert messages(conn) == [message]


def test_every_honest_way_agrees(database: str, migrator: MakeMigrator, make_folder: MakeFolder, conn: Conn) -> None:
    """Stepwise and its failure, dry runs, baseline and repair write what they did into entry and log alike."""
    files = FILES | STEPWISE
    connect, ann = lambda: psycopg.connect(database), Identity("ann", run_id="r", try_number=1)
    conn.execute("CREATE TABLE a ()")
    baseline(Decider(connect, read_folder(make_folder(files)), ann, "it was there"), "1")
    assert codes(conn) == []
    runner = migrator(files)
    runner.apply("002", dry_run=True)
    runner.apply("002")
    assert codes(conn) == []
    with pytest.raises(StatementFailed):
        runner.apply("003")
    assert codes(conn) == []
    edited = read_folder(make_folder(files | {"001_a.sql": "CREATE TABLE a (); -- mended"}))
    repair(Decider(connect, edited, ann, "a comment"), "001", "accept")
    assert codes(conn) == []
    runner.roll_back("003")
    assert codes(conn) == []
    assert migrator(files | {"003_i.sql": "CREATE INDEX CONCURRENTLY i ON a ((1));"}).apply("003")
    assert codes(conn) == []


def test_every_row_of_a_run_says_which_bundle_its_files_came_from(
    database: str, make_folder: MakeFolder, conn: Conn
) -> None:
    """A row of an apply and one beside it, both within the chain."""
    who = Identity("ann", run_id="r", bundle=("warehouse", "4f2c"))
    runner = Migrator(lambda: psycopg.connect(database), read_folder(make_folder(FILES)), identity=who)
    runner.record("planned", details={"steps": ["001"]})
    runner.apply("001")
    rows = [(row.event, row.details.get("bundle")) for row in Ledger().log.rows(conn)]
    bundle = {"name": "warehouse", "version": "4f2c"}
    assert rows == [("ledger_created", bundle), ("planned", bundle), ("applied", bundle)]
    assert codes(conn) == []


def test_an_incomplete_entry_is_compared_too(migrator: MakeMigrator, conn: Conn) -> None:
    runner = migrator(FILES | STEPWISE)
    runner.apply("001")
    runner.apply("002")
    with pytest.raises(StatementFailed):
        runner.apply("003")
    conn.execute("DELETE FROM wmigrate.schema_migrations WHERE version = '003'")
    assert codes(conn) == [("entry_forged", "003")]


# Stored rollback scripts


def test_a_stored_rollback_script_that_was_changed_is_not_run(runner: Any, migrator: MakeMigrator, conn: Conn) -> None:
    wicked, right = "DROP TABLE a; DROP TABLE b;", checksum(FILES["002_b.rollback.sql"])
    conn.execute("UPDATE wmigrate.schema_migrations SET rollback_sql = %s WHERE version = '002'", [wicked])
    says = (
        f"the rollback script of migration 002 in the ledger has the checksum {checksum(wicked)}, but {right} was"
        " stored; put 002_b.rollback.sql into the folder beside its migration and say `--script folder`, or restore the"
        f" ledger's row; {ASK}"
    )
    changed = "migration 002: its rollback script was changed: its checksum is"
    assert messages(conn) == [f"{changed} {checksum(wicked)}, rollback_checksum says {right}"]
    bare = migrator(WITHOUT_ROLLBACKS)
    for how in ({}, {"dry_run": True}):
        with pytest.raises(HistoryError) as refused:
            bare.roll_back("002", **how)
        assert str(refused.value) == says
        assert refused.value.audit_head == bare.head()
    conn.execute(
        "UPDATE wmigrate.schema_migrations SET rollback_checksum = %s WHERE version = '002'", [checksum(wicked)]
    )
    with pytest.raises(HistoryError) as refused:
        bare.roll_back("002")
    assert str(refused.value) == says
    assert codes(conn) == [("entry_forged", "002")]
    assert conn.execute("SELECT to_regclass('a'), to_regclass('b')").fetchone() == ("a", "b")

    runner.rollback_script = "folder"
    assert runner.roll_back("002").outcome is Outcome.ROLLED_BACK, "the way forward: the folder's script"
    assert codes(conn) == []
    assert bare.roll_back("001").outcome is Outcome.ROLLED_BACK, "one that nobody changed is run from the ledger"


# The trigger

_GONE = (
    'audit_log can be changed: the trigger audit_log_append_only on "wmigrate"."audit_log" keeps it append-only, but '
)
_MAKE = (
    "CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE {} ON wmigrate.audit_log"
    " FOR EACH STATEMENT {} EXECUTE FUNCTION {}"
)
_DROP = "DROP TRIGGER audit_log_append_only ON wmigrate.audit_log;"
_NOTHING = "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_DROP, "it is gone"),
        ("ALTER TABLE wmigrate.audit_log DISABLE TRIGGER USER", "it is disabled"),
        ("ALTER TABLE wmigrate.audit_log ENABLE REPLICA TRIGGER audit_log_append_only", "it is disabled"),
        (
            _DROP + _MAKE.format("", "", "wmigrate.refuse_change()"),
            "it does not fire before every UPDATE, DELETE and TRUNCATE",
        ),
        (
            _DROP + _MAKE.format("OR TRUNCATE", "WHEN (current_user <> 'bob')", "wmigrate.refuse_change()"),
            "it does not fire before every UPDATE, DELETE and TRUNCATE",
        ),
        (
            _DROP + _MAKE.format("OR TRUNCATE", "", "wmigrate.refuse_change()").replace("UPDATE", "UPDATE OF event"),
            "it does not fire before every UPDATE, DELETE and TRUNCATE",
        ),
        (
            _NOTHING + _DROP + _MAKE.format("OR TRUNCATE", "", "nothing()"),
            "it calls public.nothing instead of wmigrate.refuse_change",
        ),
        (
            _NOTHING.replace("FUNCTION nothing", "OR REPLACE FUNCTION wmigrate.refuse_change"),
            "its function wmigrate.refuse_change was replaced",
        ),
    ],
)
def test_an_audit_log_that_can_be_changed_is_told(runner: Any, conn: Conn, change: str, reason: str) -> None:
    conn.execute(change.encode())
    (found,) = Ledger().verify(conn)
    assert (found.code, found.message) == ("append_only_off", _GONE + reason)


def test_a_trigger_that_fires_always_is_as_good(runner: Any, conn: Conn) -> None:
    conn.execute("ALTER TABLE wmigrate.audit_log ENABLE ALWAYS TRIGGER audit_log_append_only")
    assert codes(conn) == []


# Who asks


def test_health_tells_a_forged_entry(runner: Any, database: str, make_folder: MakeFolder, conn: Conn) -> None:
    def chain(expected: str | None = None) -> Any:
        folder = read_folder(make_folder(FILES))
        health = check_health(lambda: psycopg.connect(database), folder, expected_head=expected, timeout_seconds=60)
        return next((c.status, c.reason) for c in health.checks if c.name == "audit_chain")

    known = runner.head()
    assert chain(known) == ("healthy", "3 rows follow one another")
    conn.execute("UPDATE wmigrate.schema_migrations SET actor = 'bob' WHERE version = '002'")
    place = "migration 002: its entry is not that of row 3 (applied) of the audit log:"
    assert chain() == ("unhealthy", f"{place} actor is 'bob' and was 'tester'")
    conn.execute("DROP SCHEMA wmigrate CASCADE")
    assert chain() == ("unknown", "there is no ledger yet")
    assert chain(known) == ("unhealthy", f"audit_log: the ledger is gone, which had 3 rows at head {known}")


def test_a_ledger_that_is_gone_is_not_intact(runner: Any, conn: Conn) -> None:
    known = runner.head()
    conn.execute("DROP SCHEMA wmigrate CASCADE")
    assert Ledger().verify(conn) == ()
    (found,) = Ledger().verify(conn, expected_head=known)
    message = f"audit_log: the ledger is gone, which had 3 rows at head {known}"
    assert (found.code, found.message) == ("audit_chain_broken", message)


def test_who_was_at_the_other_end_stands_in_every_row(runner: Any, conn: Conn) -> None:
    sessions = [row.details["session"] for row in Ledger().log.rows(conn)]
    assert {(s["user"], s["address"]) for s in sessions} == {("postgres", "127.0.0.1")}
    assert all(s["pid"] > 0 for s in sessions)
