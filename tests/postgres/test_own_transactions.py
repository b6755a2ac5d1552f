"""Scripts with several transactions of their own: each BEGIN ... COMMIT commits with its journal, and is resumed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import StatementFailed
from airflow_provider_wmigrate.engine.events import Event, Stepped
from airflow_provider_wmigrate.engine.record import Outcome

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

SCRIPT = """\
BEGIN;
CREATE TYPE mood AS ENUM ('sad');
CREATE TABLE t (id int, m mood);
COMMIT;
ALTER TYPE mood ADD VALUE 'ok';
CREATE INDEX CONCURRENTLY t_id ON t (id);
BEGIN;
SAVEPOINT a;
INSERT INTO t VALUES (1, 'ok');
INSERT INTO t VALUES (2, 'sad');
{more}COMMIT;
COMMENT ON TABLE t IS 'moods';
"""
BROKEN = "INSERT INTO t VALUES (3, 'mad');\n"


def notes(events: list[Event]) -> list[str]:
    return [f"{e.first}-{e.last} {e.note}" for e in events if isinstance(e, Stepped)]


def rows(conn: Conn) -> list[tuple[Any, ...]]:
    return conn.execute("SELECT id, m::text FROM t ORDER BY 1").fetchall()


@pytest.mark.parametrize("declared", ["auto", "false"])
def test_blocks_are_run_one_by_one(migrator: MakeMigrator, conn: Conn, events: list[Event], declared: str) -> None:
    files = {
        "001_a.sql": SCRIPT.format(more=""),
        "migration_config.yaml": f"migrations:\n  - version: 1\n    transactional: {declared}\n",
    }
    record = migrator(files).apply("001")
    assert (record.outcome, record.statements, record.rows) == (Outcome.APPLIED, 8, 2)
    alone = "runs outside a transaction"
    assert notes(events) == [
        "1-2 run in one transaction",
        f"3-3 {alone}",
        f"4-4 {alone}",
        "5-7 run in one transaction",
        "8-8 runs",
    ]
    assert rows(conn) == [(1, "ok"), (2, "sad")]


def test_a_block_that_fails_is_rolled_back_whole_and_resumed(
    migrator: MakeMigrator, conn: Conn, events: list[Event]
) -> None:
    with pytest.raises(StatementFailed) as failed:
        migrator({"001_a.sql": SCRIPT.format(more=BROKEN)}).apply("001")
    assert (failed.value.line, failed.value.column) == (11, 26)
    assert failed.value.outcome == "statements 1 to 4 were kept; the next run goes on at statement 5"
    assert rows(conn) == []
    events.clear()
    assert migrator({"001_a.sql": SCRIPT.format(more="")}).apply("001").outcome is Outcome.APPLIED
    assert notes(events) == ["5-7 run in one transaction", "8-8 runs"]
    assert rows(conn) == [(1, "ok"), (2, "sad")]


def test_they_are_not_tried(migrator: MakeMigrator, conn: Conn) -> None:
    record = migrator({"001_a.sql": "BEGIN;\nSELECT 1;\nCOMMIT;\nSELECT 2;"}).apply("001", dry_run=True)
    reason = "001_a.sql:1: it commits more than once, and a dry run is one transaction"
    assert (record.outcome, record.reason) == (Outcome.NOT_TRIED, reason)


def test_a_rollback_script_has_blocks_too(migrator: MakeMigrator, conn: Conn) -> None:
    undo = "BEGIN;\nDROP INDEX t_id;\nCOMMIT;\nBEGIN;\nDROP TABLE t;\nCOMMIT;\nDROP TYPE mood;"
    runner = migrator({"001_a.sql": SCRIPT.format(more=""), "001_a.rollback.sql": undo})
    assert runner.apply("001").outcome is Outcome.APPLIED
    assert runner.roll_back("001").outcome is Outcome.ROLLED_BACK
    assert conn.execute("SELECT to_regclass('t')").fetchone() == (None,)
