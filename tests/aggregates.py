"""A continuous aggregate whose raw rows are partly gone, and how the tests of its change look at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

from airflow_provider_wmigrate.cli.main import main
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.record import Outcome

Conn = psycopg.Connection[Any]

BASE = """
CREATE SCHEMA a;
CREATE TABLE a.readings (at timestamptz NOT NULL, source text NOT NULL, used float8, PRIMARY KEY (source, at));
SELECT create_hypertable('a.readings', by_range('at', INTERVAL '1 day'));
CREATE MATERIALIZED VIEW a."Daily"
    WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket('1 day', at) AS bucket, source, avg(used) AS average, count(*) AS n
FROM a.readings GROUP BY 1, 2 WITH NO DATA;
CREATE MATERIALIZED VIEW a.weekly WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS
SELECT time_bucket('7 days', bucket) AS week, source, sum(n) AS n FROM a."Daily" GROUP BY 1, 2 WITH NO DATA;
CREATE INDEX daily_average_idx ON a."Daily" (average);
CREATE VIEW a.busy WITH (security_barrier = true) AS SELECT * FROM a."Daily" WHERE n > 1;
CREATE VIEW a.busy_days AS SELECT count(*) AS days FROM a.busy;
COMMENT ON VIEW a."Daily" IS 'it''s 100 % daily';
COMMENT ON COLUMN a."Daily".n IS 'how many';
GRANT SELECT ON a."Daily" TO pg_monitor;
SELECT add_continuous_aggregate_policy('a."Daily"', start_offset => INTERVAL '20 days',
    end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '2 hours');
ALTER MATERIALIZED VIEW a."Daily" SET (timescaledb.enable_columnstore = true);
CALL add_columnstore_policy('a."Daily"', after => INTERVAL '40 days');
SELECT add_retention_policy('a.readings', drop_after => INTERVAL '30 days');
"""
FILL = """
INSERT INTO a.readings
SELECT date_trunc('hour', now()) - n * INTERVAL '1 hour', 's' || s, n * s
  FROM generate_series(0, 24 * 90) n, generate_series(1, 3) s
"""
OLD = "SELECT bucket, source, average, n FROM a.{} ORDER BY bucket, source"


def set_up(conn: Conn) -> None:
    """90 days of readings, of which only 30 are left: the buckets of the others are closed."""
    for statement in BASE.split(";\n"):
        conn.execute(statement.encode())
    conn.execute(FILL.encode())
    conn.execute("CALL refresh_continuous_aggregate('a.\"Daily\"', NULL, now()::timestamptz - INTERVAL '1 hour')")
    conn.execute("CALL refresh_continuous_aggregate('a.weekly', NULL, now()::timestamptz - INTERVAL '1 hour')")
    conn.execute("SELECT drop_chunks('a.readings', older_than => INTERVAL '30 days')")


def write(database: str, name: str, aggregate: str) -> None:
    words = ["--template", "change-aggregate", "--set", f"aggregate={aggregate}"]
    assert main(["new", name, *words, "--dsn", database]) == 0
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("SET default_transaction_read_only = off")  # this server's sessions share their settings


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def migrator(database: str, folder: Path) -> Migrator:
    return Migrator(lambda: psycopg.connect(database), read_folder(folder), identity=Identity("tester"))


def up(database: str, folder: Path, *versions: str) -> None:
    for version in versions:
        assert migrator(database, folder).apply(version).outcome is Outcome.APPLIED


def rows(conn: Conn, query: str) -> list[Any]:
    return conn.execute(query.encode()).fetchall()


_BELONGINGS = (
    """SELECT obj_description(c.oid, 'pg_class'), col_description(c.oid, attnum), attname
         FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        WHERE attrelid = 'a."Daily"'::regclass AND attname = 'n'""",
    """SELECT has_table_privilege('pg_monitor', 'a."Daily"', 'SELECT')""",
    """SELECT proc_name, schedule_interval::text, config - 'mat_hypertable_id' - 'hypertable_id'
         FROM timescaledb_information.jobs WHERE hypertable_name = 'Daily' ORDER BY 1""",
    """SELECT compression_enabled, materialized_only
         FROM timescaledb_information.continuous_aggregates WHERE view_name = 'Daily'""",
    "SELECT reloptions FROM pg_class WHERE oid = 'a.busy'::regclass",
    """SELECT count(*) FROM timescaledb_information.continuous_aggregates, pg_index
        WHERE view_name = 'Daily' AND indrelid =
              format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)::regclass""",
)


def belongings(conn: Conn) -> list[Any]:
    return [rows(conn, query) for query in _BELONGINGS]
