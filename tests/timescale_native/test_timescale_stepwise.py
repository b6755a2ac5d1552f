"""An index built chunk by chunk, each in a transaction of its own: journalled, failed, found invalid, built again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import StatementFailed
from airflow_provider_wmigrate.engine.events import Event, Stepped
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.plan.script_rules import script_findings
from airflow_provider_wmigrate.engine.record import Outcome
from tests.struck import killed_while

MakeMigrator = Callable[..., Any]
MakeFolder = Callable[..., Any]
Conn = psycopg.Connection[Any]

BUILD = "CREATE INDEX {0}m_part ON m ((100 / (device - 9))) WITH (timescaledb.transaction_per_chunk);\n"
INDEXES = "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indexrelid::regclass::text LIKE '%m_part'"

pytestmark = pytest.mark.usefixtures("hypertable")


def notes(events: list[Event]) -> list[str]:
    return [f"{e.first}-{e.last} {e.note}" for e in events if isinstance(e, Stepped)]


def journal(conn: Conn) -> tuple[Any, ...] | None:
    """status, done, begun"""
    return conn.execute(
        "SELECT status, statements_done, cardinality(statement_hashes) FROM wmigrate.schema_migrations"
    ).fetchone()


@pytest.mark.parametrize("hidden", ["", "IF NOT EXISTS "])
def test_an_index_that_failed_at_a_chunk_is_built_again(
    migrator: MakeMigrator, conn: Conn, events: list[Event], hidden: str
) -> None:
    conn.execute("UPDATE m SET device = 9 WHERE at = '2026-01-05 12:00Z'")
    files = {"001_a.sql": "CREATE TABLE before ();\n" + BUILD.format(hidden) + "CREATE TABLE after ();"}
    with pytest.raises(StatementFailed, match="division by zero") as failed:
        migrator(files).apply("001")
    assert failed.value.outcome == "statement 1 was kept; the next run goes on at statement 2"
    left = dict(conn.execute(INDEXES).fetchall())
    assert left["m_part"] is False, "IF NOT EXISTS would take it for done"
    assert 0 < sum(left.values()) < 6, "some chunks have theirs"
    assert journal(conn) == ("incomplete", 1, 1)

    conn.execute("UPDATE m SET device = 1 WHERE device = 9")
    events.clear()
    assert migrator(files).apply("001").outcome is Outcome.APPLIED
    assert notes(events) == [
        "2-2 dropped index public.m_part, which a failed build had left invalid",
        "2-2 runs outside a transaction",
        "3-3 runs",
    ]
    assert list(dict(conn.execute(INDEXES).fetchall()).values()) == [True] * 7


def test_a_runner_killed_between_two_chunks(
    database: str, migrator: MakeMigrator, make_folder: MakeFolder, conn: Conn, events: list[Event]
) -> None:
    folder = make_folder({"001_a.sql": BUILD.format("")})
    chunk = "(SELECT format('%I.%I', chunk_schema, chunk_name)::regclass FROM timescaledb_information.chunks LIMIT 1)"
    with psycopg.connect(database) as writer:
        ((table,),) = writer.execute(f"SELECT {chunk}::text".encode()).fetchall()
        writer.execute(f"INSERT INTO {table} SELECT * FROM {table} LIMIT 1".encode())  # not through m, which stays free
        waiting = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX m_part%' AND wait_event_type = 'Lock'"
        killed_while(database, folder, conn, waiting)
    assert journal(conn) == ("incomplete", 0, 1)
    assert dict(conn.execute(INDEXES).fetchall())["m_part"] is False
    assert migrator(folder).apply("001").outcome is Outcome.APPLIED
    assert "1-1 was in flight; it runs again" in notes(events)
    assert list(dict(conn.execute(INDEXES).fetchall()).values()) == [True] * 7


def test_one_that_was_built_is_not_built_again(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    broken = BUILD.format("") + "INSERT INTO nowhere VALUES (1);"
    with pytest.raises(StatementFailed):
        migrator({"001_a.sql": broken}).apply("001")
    conn.execute("UPDATE wmigrate.schema_migrations SET statements_done = 0")  # died before it could write that it ran
    events.clear()
    assert migrator({"001_a.sql": BUILD.format("")}).apply("001").outcome is Outcome.APPLIED
    assert notes(events) == ["1-1 was in flight; it has run"]


def test_one_without_a_name_is_refused(make_folder: MakeFolder) -> None:
    folder = read_folder(make_folder({"001_a.sql": BUILD.format("").replace("m_part ", "")}))
    found = {f.code: f.message.partition(":")[0] for f in script_findings(folder.migrations, folder.config)}
    assert found["unnamed_index"] == "CREATE INDEX with transaction_per_chunk without a name"
