"""A runner, a budget or a person ends the filling of a continuous aggregate. Needs the full edition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import StatementFailed, TimedOut
from airflow_provider_wmigrate.engine.events import Event, Stepped
from airflow_provider_wmigrate.engine.record import Outcome
from tests.struck import WORKING, in_background, killed_while
from tests.waiting import eventually

MakeMigrator = Callable[..., Any]
MakeFolder = Callable[..., Any]
Conn = psycopg.Connection[Any]

pytestmark = pytest.mark.usefixtures("full_edition", "hypertable")

SLOW = (
    "CREATE FUNCTION slow(float8) RETURNS float8 IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN"
    " PERFORM pg_sleep(coalesce(nullif(current_setting('test.pause', true), ''), '0.01')::float8); RETURN $1; END $$"
)
DAILY = (
    "CREATE MATERIALIZED VIEW {0}daily WITH (timescaledb.continuous) AS\n"
    "SELECT time_bucket('1 day', at) AS bucket, device, sum(slow(value)) AS total FROM m GROUP BY 1, 2;\n"
)
FILLING = "SELECT 1 FROM timescaledb_information.continuous_aggregates"
BUCKETS = "SELECT count(*) FROM daily"


@pytest.fixture(autouse=True)
def slowly(conn: Conn) -> None:
    conn.execute(SLOW)


def fast(conn: Conn) -> None:
    conn.execute(f"ALTER DATABASE {conn.info.dbname} SET test.pause = 0".encode())


def notes(events: list[Event]) -> list[str]:
    return [e.note for e in events if isinstance(e, Stepped)]


@pytest.mark.parametrize("hidden", ["", "IF NOT EXISTS "])
def test_a_runner_that_is_killed_while_it_fills(
    database: str, migrator: MakeMigrator, make_folder: MakeFolder, conn: Conn, events: list[Event], hidden: str
) -> None:
    folder = make_folder({"001_a.sql": DAILY.format(hidden)})
    killed_while(database, folder, conn, FILLING)
    fast(conn)
    assert migrator(folder).apply("001").outcome is Outcome.APPLIED
    assert notes(events) == [
        "dropped aggregate public.daily, which was left empty",
        "was in flight; it runs again",
        "runs outside a transaction",
    ]
    assert conn.execute(BUCKETS).fetchone() == (30,)


def test_the_budget_is_told_whatever_the_server_answers(
    migrator: MakeMigrator, conn: Conn, events: list[Event]
) -> None:
    files = {
        "001_a.sql": DAILY.format("IF NOT EXISTS "),
        "migration_config.yaml": "migrations: [{version: 1, timeout_seconds: 2}]",
    }
    with pytest.raises(TimedOut) as failed:
        migrator(files).apply("001")
    assert failed.value.server_message == "the total budget (timeout_seconds) was used up, the statement was cancelled"
    assert failed.value.outcome == "nothing ran before it, and nothing of it was kept"
    assert conn.execute(FILLING).fetchall() == []
    fast(conn)
    assert migrator(files).apply("001").outcome is Outcome.APPLIED
    assert conn.execute(BUCKETS).fetchone() == (30,)


def test_a_person_cancels_the_filling(migrator: MakeMigrator, conn: Conn, events: list[Event]) -> None:
    """TimescaleDB answers as if the procedure had ended a transaction where it must not."""
    files = {"001_a.sql": DAILY.format("IF NOT EXISTS ")}
    with in_background(lambda: migrator(files).apply("001")) as result:
        eventually(conn, FILLING)
        conn.execute(f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE {WORKING}".encode())
    with pytest.raises(StatementFailed) as failed:
        result()
    assert failed.value.outcome == "nothing ran before it, and nothing of it was kept"
    if failed.value.sqlstate == "2D000":  # from some version on
        assert failed.value.hint == (
            "TimescaleDB answers so when the filling of an aggregate is cancelled, by pg_cancel_backend or a limit that"
            " is not wmigrate's: run it again"
        )
    else:
        assert failed.value.sqlstate == "57014"
    assert conn.execute(FILLING).fetchall() == []
    fast(conn)
    assert migrator(files).apply("001").outcome is Outcome.APPLIED
    assert conn.execute(BUCKETS).fetchone() == (30,)


def test_an_error_while_it_fills_is_told_as_it_is(migrator: MakeMigrator, conn: Conn) -> None:
    fast(conn)
    conn.execute("UPDATE m SET value = NULL, device = 9 WHERE at = '2026-01-03 12:00Z'")
    script = DAILY.format("IF NOT EXISTS ").replace("sum(slow(value))", "sum(1 / (device - 9))")
    with pytest.raises(StatementFailed) as failed:
        migrator({"001_a.sql": script}).apply("001")
    assert (failed.value.sqlstate, failed.value.server_message) == ("22012", "division by zero")
    assert conn.execute(FILLING).fetchall() == []
