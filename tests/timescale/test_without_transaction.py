"""What TimescaleDB refuses inside a transaction block: found in the script, or run without one where it is declared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import StatementFailed
from airflow_provider_wmigrate.engine.events import Event, Stepped
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.record import Outcome
from airflow_provider_wmigrate.engine.sql.analysis import analyse

Conn = psycopg.Connection[Any]
Make = Callable[..., Migrator]

HYPER = """
CREATE TABLE readings (at timestamptz NOT NULL, source text NOT NULL, value float8, PRIMARY KEY (source, at));
SELECT create_hypertable('readings', by_range('at', INTERVAL '1 day'));
INSERT INTO readings SELECT t, 's', 1 FROM generate_series('2026-11-01Z'::timestamptz, '2026-11-04Z', '1 hour') t;
CREATE INDEX readings_value ON readings (value, at);
CREATE TABLE rewritten (chunk text);
"""
DECLARED = "migrations: [{version: 1, transactional: false}]"


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(HYPER.encode())
        yield conn
        conn.execute("DROP TABLE IF EXISTS readings CASCADE")
        conn.execute("DROP TABLE IF EXISTS rewritten")
        conn.execute("DROP SCHEMA IF EXISTS wmigrate CASCADE")


@pytest.fixture
def make(conn: Conn, migrator: Callable[..., Migrator]) -> Make:
    return lambda script, config="": migrator({"001_a.sql": script, "migration_config.yaml": config})


def notes(events: list[Event]) -> list[str]:
    return [e.note for e in events if isinstance(e, Stepped)]


CLUSTER = "CLUSTER readings USING readings_value;"
REORDER = "SELECT reorder_chunk(c, 'readings_value') FROM show_chunks('readings') AS c LIMIT 1;"
INTO_A_TABLE = f"INSERT INTO rewritten {REORDER}"
HIDDEN = "CREATE FUNCTION pg_temp.all_of_it() RETURNS void LANGUAGE sql AS $$ {} $$;\n{}".format(
    REORDER.replace("SELECT", "SELECT count(*) FROM (SELECT").replace(" LIMIT 1;", " LIMIT 1) AS c"),
    "INSERT INTO rewritten SELECT 'all' FROM pg_temp.all_of_it();",
)


def test_the_server_refuses_a_transaction_and_the_declaration_is_named(make: Make) -> None:
    with pytest.raises(StatementFailed) as failed:
        make("SELECT 1;\n" + CLUSTER).apply("001")
    assert str(failed.value) == (
        "001_a.sql:2: CLUSTER cannot run inside a transaction block (SQLSTATE 25001) in"
        " CLUSTER readings USING readings_value; rolled back, nothing of it was kept;"
        " declare transactional: false for this migration, so that no transaction is around it"
    )


@pytest.mark.parametrize("script", [CLUSTER, INTO_A_TABLE, REORDER], ids=["cluster", "insert", "select"])
def test_declared_it_gets_none(make: Make, events: list[Event], script: str) -> None:
    assert make("SELECT 1;\n" + script, DECLARED).apply("001").outcome is Outcome.APPLIED
    assert notes(events) == ["runs outside a transaction"] * 2


def test_a_transaction_that_only_the_server_can_refuse_is_taken_away(make: Make, events: list[Event]) -> None:
    """It shares one with its journal first, so that it is known whether it ran."""
    assert make(HIDDEN, DECLARED).apply("001").outcome is Outcome.APPLIED
    assert notes(events) == ["runs", "runs", "runs outside a transaction"]


@pytest.mark.parametrize("script", [REORDER, INTO_A_TABLE])
def test_it_is_found_without_a_declaration(make: Make, events: list[Event], script: str) -> None:
    assert make("SELECT 1;\n" + script).apply("001").outcome is Outcome.APPLIED
    assert notes(events) == ["runs", "runs outside a transaction"]


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT reorder_chunk('c')", "reorder_chunk"),
        ("SELECT move_chunk(chunk => c, destination_tablespace => 'x') FROM show_chunks('m') c", "move_chunk"),
        ("SELECT 'reorder_chunk'", None),
        ("CREATE VIEW v AS SELECT reorder_chunk('c')", None),
        ("CALL merge_chunks('a', 'b')", None),
        ("CALL merge_chunks('a', 'b', false)", None),
        ("CALL merge_chunks('a', 'b', concurrently => false)", None),
        ("CALL merge_chunks('a', 'b', true)", "this TimescaleDB procedure"),
        ("CALL merge_chunks('a', 'b', concurrently => true)", "this TimescaleDB procedure"),
        ("CALL merge_chunks_concurrently('{a,b}')", "this TimescaleDB procedure"),
        ("CALL split_chunk('a')", None),
        ("CALL convert_to_columnstore('a')", None),
        ("CALL recompress_chunk('a')", "this TimescaleDB procedure"),
        ("CALL cagg_migrate('a')", "this TimescaleDB procedure"),
        ("CALL _timescaledb_functions.policy_compression(1, '{}')", "this TimescaleDB procedure"),
        ("CALL _timescaledb_functions.policy_retention(1, '{}')", None),
    ],
)
def test_what_is_found(sql: str, found: str | None) -> None:
    (statement,) = analyse(Script.of("001_a.sql", sql)).statements
    assert statement.outside == found
