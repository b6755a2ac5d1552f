"""The ledger: understandable to whoever finds it, append-only, and forged by nobody unnoticed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace
from psycopg import sql
from psycopg.types.json import Jsonb

from airflow_provider_wmigrate.engine.errors import LedgerDamaged, LedgerTooNew
from airflow_provider_wmigrate.engine.ledger import asking
from airflow_provider_wmigrate.engine.ledger.creation import make_current
from airflow_provider_wmigrate.engine.ledger.ledger import LEDGER_VERSION, AuditRow, Ledger
from airflow_provider_wmigrate.engine.ledger.trail import GENESIS
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.record import Outcome
from airflow_provider_wmigrate.engine.session.session import open_session

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

ANN = Identity("ann", dag_id="d", run_id="r", task_id="t", try_number=1)
COLUMNS = list(AuditRow.__struct_fields__)
A = {"001_a.sql": "CREATE TABLE a ();", "001_a.rollback.sql": "DROP TABLE a;"}


@pytest.fixture
def ledger(conn: Conn) -> Ledger:
    """A ledger with seven rows in its audit log and its guard disarmed, as only a superuser can."""
    ledger = Ledger()
    with conn.transaction():
        make_current(ledger, conn, ANN)
        for number in range(2, 8):
            details = {"number": number, "nested": {"ü": [1.5, None, True]}}
            ledger.log.append(conn, "applied", ANN, version=f"{number:03d}", duration_ms=number, details=details)
    conn.execute("ALTER TABLE wmigrate.audit_log DISABLE TRIGGER USER")
    return ledger


def problems(ledger: Ledger, conn: Conn, expected_head: str | None = None) -> list[str]:
    """What is wrong with the chain."""
    found = ledger.verify(conn, expected_head=expected_head)
    return [f.message.removeprefix("audit_log: ") for f in found if f.code == "audit_chain_broken"]


def head(conn: Conn) -> str:
    (value,) = conn.execute("SELECT value FROM wmigrate.application_metadata WHERE key = 'audit_head'").fetchone() or ()
    return str(value)


def set_head(conn: Conn, value: str) -> None:
    conn.execute("UPDATE wmigrate.application_metadata SET value = %s WHERE key = 'audit_head'", [value])


def insert(conn: Conn, row: AuditRow) -> None:
    values = [Jsonb(v) if name == "details" else v for name, v in ((n, getattr(row, n)) for n in COLUMNS)]
    conn.execute("INSERT INTO wmigrate.audit_log VALUES (" + ", ".join(["%s"] * len(values)) + ")", values)


def rehashed(row: AuditRow, **changes: object) -> AuditRow:
    """As a forger makes it, who knows how the hash is computed."""
    row = replace(row, **changes)  # type: ignore[arg-type]
    return replace(row, hash=row.computed_hash())


@pytest.mark.parametrize("short", [asking._SHORT, 0], ids=["looked through", "by steps"])
def test_of_each_migration_the_last_attempt_that_nothing_settled(
    ledger: Ledger, conn: Conn, monkeypatch: pytest.MonkeyPatch, short: int
) -> None:
    monkeypatch.setattr(asking, "_SHORT", short)
    with conn.transaction():
        for version, event, details in (
            ("003", "failed", {"error": "no table", "sqlstate": "42P01"}),
            ("003", "planned", {}),
            ("003", "dry_run", {}),
            ("004", "failed", {"error": "deadlock"}),
            ("004", "applied", {}),
            ("005", "rollback_failed", {"error": "no right"}),
            ("006", "failed", {"error": "tried", "dry_run": True}),
            ("007", "repaired", {"decision": "forget"}),
            ("007", "repaired", {"decision": "settle"}),
            ("002", "repaired", {"decision": "forget"}),
            ("002", "applied", {}),
            ("010", "failed", {"error": "never applied"}),
        ):
            ledger.log.append(conn, event, ANN, version=version, details=details)
    found = ledger.state(conn).last_events
    assert [(e.version, e.event, e.identity, e.error, e.sqlstate, e.forgotten) for e in found] == [
        ("003", "failed", ANN, "no table", "42P01", False),
        ("005", "rollback_failed", ANN, "no right", None, False),
        ("007", "repaired", ANN, "", None, True),
        ("010", "failed", ANN, "never applied", None, False),
    ]


# What somebody finds


@pytest.mark.parametrize("kind", ["r", "f"])
def test_everything_in_the_ledger_says_what_it_is(ledger: Ledger, conn: Conn, kind: str) -> None:
    described = {
        "r": """
            SELECT c.relname || coalesce('.' || a.attname, ''), d.description
            FROM pg_class c
            JOIN LATERAL (
                SELECT attname, attnum FROM pg_attribute
                WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped UNION ALL SELECT NULL, 0
            ) a ON true
            LEFT JOIN pg_description d ON (d.objoid, d.objsubid, d.classoid) = (c.oid, a.attnum, 'pg_class'::regclass)
            WHERE c.relnamespace = 'wmigrate'::regnamespace AND c.relkind = 'r'""",
        "f": "SELECT proname, obj_description(oid) FROM pg_proc WHERE pronamespace = 'wmigrate'::regnamespace",
    }
    rows = conn.execute(described[kind].encode()).fetchall()
    assert len(rows) == {"r": 5 + 20 + 5 + 13 + 9 + 9, "f": 2}[kind]
    assert [name for name, description in rows if not description] == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE wmigrate.audit_log SET actor = 'somebody else'",
        "UPDATE wmigrate.audit_log SET actor = actor WHERE false",
        "DELETE FROM wmigrate.audit_log WHERE position = 2",
        "TRUNCATE wmigrate.audit_log",
        "TRUNCATE wmigrate.audit_log, wmigrate.schema_migrations CASCADE",
        "INSERT INTO wmigrate.audit_log TABLE wmigrate.audit_log ON CONFLICT (position) DO UPDATE SET event = ''",
    ],
)
def test_the_audit_log_is_append_only_even_for_a_superuser(ledger: Ledger, conn: Conn, statement: str) -> None:
    conn.execute("ALTER TABLE wmigrate.audit_log ENABLE TRIGGER USER")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=r"^audit_log is append-only: \w+ refused"):
        conn.execute(statement.encode())
    assert problems(ledger, conn) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("version", "'1'"),
        ("version", "'0001'"),
        ("status", "'done'"),
        ("duration_ms", "-1"),
        ("statements_total", "0"),
        ("rollback_sql", "NULL"),
    ],
)
def test_the_server_refuses_entries_without_meaning(
    migrator: MakeMigrator, conn: Conn, column: str, value: str
) -> None:
    migrator(A).apply("001")
    with pytest.raises(psycopg.errors.CheckViolation):
        conn.execute(f"UPDATE wmigrate.schema_migrations SET {column} = {value}".encode())


# Forgery

LIES: dict[str, str] = {
    "position": "100",
    "at": "at + interval '1 microsecond'",
    "event": "'rolled_back'",
    "version": "'999'",
    "actor": "'bob'",
    "dag_id": "NULL",
    "run_id": "run_id || ' '",
    "task_id": "''",
    "try_number": "2",
    "duration_ms": "coalesce(duration_ms, 0) + 1",
    "details": """details || '{"number": 0}'""",
    "previous_hash": "repeat('1', 64)",
    "hash": "repeat('f', 64)",
}


@pytest.mark.parametrize("row", [1, 4, 7], ids=["first", "middle", "last"])
@pytest.mark.parametrize("column", COLUMNS)
def test_any_changed_column_is_found(ledger: Ledger, conn: Conn, column: str, row: int) -> None:
    query = sql.SQL("UPDATE wmigrate.audit_log SET {} = {} WHERE position = {}")
    lie = sql.SQL(LIES[column])  # type: ignore[arg-type]
    assert conn.execute(query.format(sql.Identifier(column), lie, row)).rowcount == 1
    (problem,) = problems(ledger, conn)
    assert f"row {row} " in problem


@pytest.mark.parametrize(
    "change",
    [
        "at = 'infinity'",
        "at = '-infinity'",
        "at = '20000-01-01'",
        "details = 'null'",
        "details = '[]'",
        "details = '1e300'",
        "event = ''",
        "version = E'\\n'",
    ],
)
def test_values_that_cannot_even_be_read_are_found(ledger: Ledger, conn: Conn, change: str) -> None:
    conn.execute(f"UPDATE wmigrate.audit_log SET {change} WHERE position = 4".encode())
    assert len(problems(ledger, conn)) == 1


@pytest.mark.parametrize("position", range(1, 8))
def test_any_deleted_row_is_found(ledger: Ledger, conn: Conn, position: int) -> None:
    conn.execute("DELETE FROM wmigrate.audit_log WHERE position = %s", [position])
    assert len(problems(ledger, conn)) == 1


@pytest.mark.parametrize("position", range(1, 8))
def test_a_deleted_row_is_found_when_the_later_ones_move_up(ledger: Ledger, conn: Conn, position: int) -> None:
    conn.execute("DELETE FROM wmigrate.audit_log WHERE position = %s", [position])
    conn.execute("UPDATE wmigrate.audit_log SET position = -position WHERE position > %s", [position])
    conn.execute("UPDATE wmigrate.audit_log SET position = -position - 1 WHERE position < 0")
    assert len(problems(ledger, conn)) == 1


@pytest.mark.parametrize("position", [-(2**63), -1, 0, 8, 9, 2**63 - 1])
def test_a_row_added_at_either_end_is_found(ledger: Ledger, conn: Conn, position: int) -> None:
    last = list(ledger.log.rows(conn))[-1]
    previous = GENESIS if position < 1 else last.hash
    insert(conn, rehashed(last, position=position, previous_hash=previous))
    assert len(problems(ledger, conn)) == 1


@pytest.mark.parametrize("position", range(1, 8))
def test_a_row_put_between_is_found_although_its_hash_is_right(ledger: Ledger, conn: Conn, position: int) -> None:
    rows = list(ledger.log.rows(conn))
    conn.execute("UPDATE wmigrate.audit_log SET position = -position WHERE position >= %s", [position])
    conn.execute("UPDATE wmigrate.audit_log SET position = -position + 1 WHERE position < 0")
    previous = rows[position - 2].hash if position > 1 else GENESIS
    insert(conn, rehashed(rows[position - 1], event="forged", previous_hash=previous))
    assert len(problems(ledger, conn)) == 1


@pytest.mark.parametrize("position", range(1, 8))
def test_a_changed_row_is_found_although_its_hash_is_right(ledger: Ledger, conn: Conn, position: int) -> None:
    row = rehashed(list(ledger.log.rows(conn))[position - 1], actor="bob")
    conn.execute("DELETE FROM wmigrate.audit_log WHERE position = %s", [position])
    insert(conn, row)
    assert len(problems(ledger, conn)) == 1


@pytest.mark.parametrize("left", range(7))
def test_a_tail_cut_off_together_with_the_head_needs_a_head_kept_elsewhere(
    ledger: Ledger, conn: Conn, left: int
) -> None:
    kept = head(conn)
    rows = list(ledger.log.rows(conn))
    conn.execute("DELETE FROM wmigrate.audit_log WHERE position > %s", [left])
    assert len(problems(ledger, conn)) == 1
    set_head(conn, f"{left}:{rows[left - 1].hash if left else GENESIS}")
    assert problems(ledger, conn) == []
    assert problems(ledger, conn, expected_head=kept) == [f"the chain never passed through {kept}"]


def test_a_chain_forged_from_the_middle_needs_a_head_kept_elsewhere(ledger: Ledger, conn: Conn) -> None:
    kept = head(conn)
    rows = list(ledger.log.rows(conn))
    conn.execute("DELETE FROM wmigrate.audit_log WHERE position > 3")
    previous = rows[2].hash
    for row in rows[3:]:
        forged = rehashed(row, actor="bob", previous_hash=previous)
        insert(conn, forged)
        previous = forged.hash
    set_head(conn, f"7:{previous}")
    assert problems(ledger, conn) == []
    assert len(problems(ledger, conn, expected_head=kept)) == 1


def test_every_earlier_head_is_still_passed_through(ledger: Ledger, conn: Conn) -> None:
    for row in list(ledger.log.rows(conn)):
        assert problems(ledger, conn, expected_head=f"{row.position}:{row.hash}") == []


@pytest.mark.parametrize("value", ["", "7", "7:", "seven:00", "8:" + GENESIS])
def test_a_changed_head_is_found(ledger: Ledger, conn: Conn, value: str) -> None:
    set_head(conn, value)
    (problem,) = problems(ledger, conn)
    assert problem == f"the chain ends at row 7, its head says {value}"


def test_pages_of_the_log_join(ledger: Ledger, conn: Conn) -> None:
    rows = list(ledger.log.rows(conn))
    assert [r.position for r in rows] == list(range(1, 8))
    pages = [list(ledger.log.rows(conn, after=after, limit=3)) for after in (0, 3, 6)]
    assert [row for page in pages for row in page] == rows


@pytest.mark.parametrize(
    "details",
    [
        {"large": 1e16, "larger": 1e300, "small": 1e-7, "half": 0.5, "whole": 2.0, "minus": -0.0, "big": 2**70},
        {10: "ten", 9: "nine", "a": None},
        {"text": 'é ü 日本 🙂 " \\ / \t \x7f \u2028', "": "", "deep": [[[{}]]]},
        {"bb": 1, "a": 2, "é": 3, "A": 4},
    ],
    ids=["numbers", "keys that are numbers", "text", "order of keys"],
)
def test_details_as_jsonb_keeps_them_are_what_is_hashed(ledger: Ledger, conn: Conn, details: dict[Any, Any]) -> None:
    with conn.transaction():
        ledger.log.append(conn, "planned", ANN, details=details)
    assert problems(ledger, conn) == []


# Ledgers that are not ours to use


def test_a_ledger_of_a_newer_program_is_refused(migrator: MakeMigrator, conn: Conn) -> None:
    runner = migrator(A)
    runner.record("planned")
    conn.execute("UPDATE wmigrate.application_metadata SET value = '99' WHERE key = 'ledger_version'")
    conn.execute("ALTER TABLE wmigrate.audit_log ADD COLUMN more int")
    message = (
        f"the ledger in schema wmigrate has version 99, this wmigrate knows up to {LEDGER_VERSION};"
        " upgrade airflow-provider-wmigrate"
    )
    for call in (runner.read, lambda: runner.apply("001"), lambda: runner.roll_back("001"), runner.record_success):
        with pytest.raises(LedgerTooNew) as refused:
            call()
        assert str(refused.value) == message


_RESTORE = "; restore the ledger, or choose another settings.ledger.schema"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            "DROP TABLE wmigrate.audit_log",
            "schema wmigrate holds application_metadata, schema_migrations but no audit_log",
        ),
        (
            "DROP TABLE wmigrate.audit_log, wmigrate.application_metadata",
            "schema wmigrate holds schema_migrations but no application_metadata, audit_log",
        ),
        (
            "DELETE FROM wmigrate.application_metadata WHERE key = 'ledger_version'",
            "wmigrate.application_metadata has no ledger_version",
        ),
        (
            "UPDATE wmigrate.application_metadata SET value = 'one' WHERE key = 'ledger_version'",
            "wmigrate.application_metadata has no ledger_version",
        ),
        (
            "ALTER TABLE wmigrate.application_metadata RENAME key TO name",
            "wmigrate.application_metadata has no ledger_version",
        ),
        (
            "ALTER TABLE wmigrate.schema_migrations DROP COLUMN actor",
            "wmigrate.schema_migrations has other columns than the ledger's table of that name",
        ),
        (
            "DELETE FROM wmigrate.application_metadata WHERE key = 'audit_head'",
            "wmigrate.application_metadata has no audit_head",
        ),
        (
            "UPDATE wmigrate.application_metadata SET value = 'lost' WHERE key = 'audit_head'",
            "wmigrate.application_metadata has no audit_head",
        ),
    ],
)
def test_a_damaged_ledger_is_refused(migrator: MakeMigrator, conn: Conn, damage: str, says: str) -> None:
    runner = migrator(A)
    runner.record("planned")
    conn.execute(damage.encode())
    with pytest.raises(LedgerDamaged) as refused:
        runner.apply("001")
    assert str(refused.value) == says + _RESTORE
    assert conn.execute("SELECT to_regclass('a')").fetchone() == (None,)


@pytest.mark.parametrize("columns", ["(version bigint PRIMARY KEY, dirty boolean NOT NULL)", "(filename text)"])
def test_another_tools_table_of_the_same_name(migrator: MakeMigrator, conn: Conn, columns: str) -> None:
    """In a schema of its own the ledger never meets it; put into that schema on purpose, it is refused."""
    conn.execute(f"CREATE TABLE schema_migrations {columns}".encode())
    with pytest.raises(LedgerDamaged) as refused:
        migrator({**A, "migration_config.yaml": "settings: {ledger: {schema: public}}\n"}).apply("001")
    missing = "schema public holds schema_migrations but no application_metadata, audit_log"
    assert str(refused.value) == missing + _RESTORE
    assert migrator(A).apply("001").outcome is Outcome.APPLIED


def test_a_schema_that_is_there_already_is_used(migrator: MakeMigrator, conn: Conn) -> None:
    conn.execute("CREATE SCHEMA wmigrate; CREATE TABLE wmigrate.notes ()")
    assert migrator(A).apply("001").outcome is Outcome.APPLIED


# Many at once


def _append_many(dsn: str, count: int, roll_back_every: int = 0) -> None:
    ledger = Ledger()
    with open_session(lambda: psycopg.connect(dsn), application_name="test") as session:
        for number in range(count):
            with session.transaction():
                ledger.log.append(session.conn, "planned", ANN, details={"number": number})
            if roll_back_every and number % roll_back_every == 0:
                session.conn.execute("BEGIN")
                ledger.log.append(session.conn, "planned", ANN)
                session.roll_back()


def _running(threads: list[threading.Thread]) -> Iterator[None]:
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        yield
    for thread in threads:
        thread.join()


def test_parallel_appends_keep_the_chain_whole_and_verify_tells_the_truth_meanwhile(
    ledger: Ledger, conn: Conn, database: str
) -> None:
    threads = [threading.Thread(target=_append_many, args=[database, 40, 3]) for _ in range(5)]
    checked = 0
    for _ in _running(threads):
        assert problems(ledger, conn) == []
        checked += 1
    assert checked > 3
    assert problems(ledger, conn) == []
    assert conn.execute("SELECT count(*), max(position) FROM wmigrate.audit_log").fetchone() == (207, 207)


def test_verify_inside_the_callers_transaction(ledger: Ledger, conn: Conn) -> None:
    with conn.transaction():
        ledger.log.append(conn, "planned", ANN)
        assert problems(ledger, conn) == []


def test_times_in_the_log_never_run_backwards(ledger: Ledger, conn: Conn) -> None:
    rows = list(ledger.log.rows(conn))
    steps = [later.at - earlier.at for earlier, later in pairwise(rows)]
    assert min(steps) >= timedelta(0)
