"""A head of the audit log that somebody keeps outside the database is compared at every plan, and every end has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import HistoryError, RollbackFailed, StatementFailed
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import Finding

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

FILES = {
    "001_a.sql": "CREATE TABLE a ();",
    "001_a.rollback.sql": "DROP TABLE a;",
    "002_b.sql": "CREATE TABLE a ();",
}
NEXT = "compare with a backup, and find out who has write access to the ledger"


def head(conn: Conn) -> str:
    (value,) = conn.execute("SELECT value FROM wmigrate.application_metadata WHERE key = 'audit_head'").fetchone() or ()
    return str(value)


def cut_off(conn: Conn, left: int) -> str:
    """As somebody does who knows the ledger: trigger, rows and head. Returns the head that is left."""
    conn.execute("ALTER TABLE wmigrate.audit_log DISABLE TRIGGER USER")
    conn.execute("DELETE FROM wmigrate.audit_log WHERE position > %s", [left])
    conn.execute(
        "UPDATE wmigrate.application_metadata SET value = (SELECT position || ':' || hash FROM wmigrate.audit_log"
        " WHERE position = %s) WHERE key = 'audit_head'",
        [left],
    )
    return head(conn)


def broken(message: str) -> Finding:
    return Finding("audit_chain_broken", f"audit_log: {message}", NEXT)


def test_a_log_that_went_on_is_no_finding(migrator: MakeMigrator, conn: Conn) -> None:
    runner = migrator(FILES)
    assert runner.head() is None
    kept = [runner.record("planned"), runner.apply("001").audit_head]
    assert runner.head() == kept[-1] == head(conn)
    for known in [None, "0:" + "0" * 64, *kept]:
        assert runner.plan(known_head=known).findings == ()
        assert runner.plan_rollback(to=None, known_head=known).findings == ()
    assert Ledger().continues(conn, kept[0]) is None


@pytest.mark.parametrize("how", ["plan", "plan_rollback"])
def test_a_log_that_was_cut_off_or_replaced_or_dropped_is_a_finding_of_every_plan(
    migrator: MakeMigrator, conn: Conn, how: str
) -> None:
    runner = migrator(FILES)
    known = runner.apply("001").audit_head

    def first_finding() -> Finding:
        plan = getattr(runner, how)(to=None, known_head=known)
        assert plan.errors
        return plan.findings[0]

    left = cut_off(conn, 1)
    assert first_finding() == broken(f"it was cut off: its head was {known} and is {left}")
    runner.record("planned")
    there = head(conn).partition(":")[2]
    another = f"it is another chain: row 2 has the hash {there}, and the known head is {known}"
    assert first_finding() == broken(another)
    conn.execute("DROP SCHEMA wmigrate CASCADE")
    assert first_finding() == broken(f"the ledger is gone, which had 2 rows at head {known}")


def test_what_is_no_head_is_a_finding_too(migrator: MakeMigrator) -> None:
    runner = migrator(FILES)
    for _ in range(2):  # without a ledger, and with one
        assert runner.plan(known_head="7").findings == (broken("'7' is no head, which is COUNT:HASH"),)
        runner.record("planned")


def test_a_failure_and_a_refusal_carry_the_head_of_the_row_that_tells_of_them(
    migrator: MakeMigrator, conn: Conn
) -> None:
    runner = migrator(FILES)
    runner.apply("001")
    with pytest.raises(StatementFailed) as failed:
        runner.apply("002")
    assert failed.value.audit_head == head(conn)
    edited = migrator({**FILES, "001_a.sql": "CREATE TABLE c ();"})
    with pytest.raises(HistoryError) as refused:
        edited.apply("001")
    assert refused.value.audit_head == head(conn)
    conn.execute("DROP TABLE a")
    with pytest.raises(RollbackFailed) as not_undone:
        runner.roll_back("001")
    assert not_undone.value.audit_head == head(conn)


def test_an_error_without_a_ledger_has_no_head(migrator: MakeMigrator, conn: Conn) -> None:
    with pytest.raises(StatementFailed) as failed:
        migrator({"001_a.sql": "CREATE TABLE a (;"}).apply("001", dry_run=True)
    assert failed.value.audit_head is None
