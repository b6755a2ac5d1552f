"""Shipped migrations and templates on a real TimescaleDB: up, down and up again, with equal catalogs."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
from catalog import catalog

from airflow_provider_wmigrate.cli.main import main
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.record import Outcome

SHIPPED = Path(__file__).resolve().parents[2] / "migrations"


def looked_at(dsn: str) -> list[tuple[str, ...]]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        return catalog(conn)


@pytest.fixture
def migrator(database: str) -> Migrator:
    return Migrator(lambda: psycopg.connect(database), read_folder(SHIPPED), identity=Identity("tester"))


# This server's one backend cannot build an index CONCURRENTLY, as 005 does.
VERSIONS = ("001", "002", "003", "004", "006", "007", "008")


def test_the_shipped_folder_up_down_up(migrator: Migrator, database: str) -> None:
    plan = migrator.plan()
    assert {step.version for step in plan.steps} == {*VERSIONS, "005"}, "nothing is skipped here"
    before = looked_at(database)
    for version in VERSIONS:
        assert migrator.apply(version).outcome is Outcome.APPLIED
    full = looked_at(database)
    kinds = [row[0] for row in full]
    assert (kinds.count("hypertable"), kinds.count("aggregate")) == (5, 4)
    jobs = Counter(name for kind, name, _ in full if kind == "job")
    assert jobs == {
        "policy_refresh_continuous_aggregate": 4,
        "policy_compression": 5,
        "policy_retention": 4,
    }

    with psycopg.connect(database, autocommit=True) as conn:
        stored = fill(conn)
        assert migrator.roll_back("008").outcome is Outcome.ROLLED_BACK
        assert migrator.roll_back("003").outcome is Outcome.ROLLED_BACK
        assert not [row for row in looked_at(database) if row[0] in ("hypertable", "aggregate", "job")]
        assert rows_of(conn, "warehouse") == stored, "rows of the warehouse stay, and so do the movements"
        assert migrator.apply("003").outcome is Outcome.APPLIED
        assert migrator.apply("008").outcome is Outcome.APPLIED
        assert [row for row in looked_at(database) if row[0] != "chunks"] == full
        assert conn.execute("SELECT quantity, notes FROM telemetry.inventory_movements").fetchall() == [(5, "kept")]
        conn.execute("TRUNCATE telemetry.inventory_movements")

    assert [f for f in migrator.plan().findings if f.code == "timescaledb_lost"] == []
    for step in migrator.plan_rollback(to=None).steps:
        migrator.roll_back(step.version)
    assert looked_at(database) == before
    with psycopg.connect(database) as conn:
        assert migrator.ledger.verify(conn) == ()


def rows_of(conn: psycopg.Connection[Any], schema: str) -> dict[str, int]:
    tables = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]).fetchall()
    counts = {t: conn.execute(f"SELECT count(*) FROM {schema}.{t}".encode()).fetchone() for (t,) in tables}
    return {table: count[0] for table, count in counts.items() if count and count[0]}


def fill(conn: psycopg.Connection[Any]) -> dict[str, int]:
    """Look at what the time series promise, and leave a movement. The warehouse's rows, with what a rollback keeps."""
    conn.execute(
        "INSERT INTO warehouse.warehouse_locations (id, code, name, location_type) VALUES (%(z)s, 'Z', 'Z', 'zone');"
        "INSERT INTO warehouse.inventory_items (id, sku, name) VALUES (%(z)s, 'S', 'S');"
        "INSERT INTO warehouse.equipment (id, code, name, equipment_type) VALUES (%(z)s, 'E', 'E', 'sensor')".replace(
            "%(z)s", f"'{ONE}'"
        ).encode()
    )
    movement = "INSERT INTO telemetry.inventory_movements (item_id, movement_type, quantity, {}, notes) VALUES ({})"
    for kind, place in (
        ("shipment", "target_location_id"),
        ("receipt", "source_location_id"),
        ("pick", "source_location_id"),
    ):
        with pytest.raises(psycopg.errors.CheckViolation):
            conn.execute(movement.format(place, f"'{ONE}', '{kind}', 1, '{ONE}', ''").encode())
    conn.execute(movement.format("target_location_id", f"'{ONE}', 'receipt', 5, '{ONE}', 'kept'").encode())

    for table, columns, values in ONCE:
        statement = f"INSERT INTO telemetry.{table} ({columns}) VALUES ({values})".encode()
        conn.execute(statement)
        with pytest.raises(psycopg.errors.UniqueViolation):
            conn.execute(statement)

    # A reading of half a year ago comes late: it counts, before and after its chunk went into the columnstore.
    reading = (
        "INSERT INTO telemetry.telemetry_data (recorded_at, equipment_id, metric_name, value)"
        " VALUES (%s, %s, 'late', 2)"
    )
    daily = "SELECT sum(reading_count), sum(total_value) FROM telemetry.telemetry_data_daily WHERE metric_name = 'late'"
    day = datetime.now(timezone.utc).replace(hour=1, minute=0) - timedelta(days=180)
    for hours, answer in ((0, (1, 2.0)), (1, (2, 4.0))):
        conn.execute(reading.encode(), [day + timedelta(hours=hours), ONE])
        run_policy(conn, "policy_refresh_continuous_aggregate")
        conn.execute(
            "ALTER MATERIALIZED VIEW telemetry.telemetry_data_daily SET (timescaledb.materialized_only = true)"
        )
        assert conn.execute(daily.encode()).fetchone() == answer
        conn.execute(
            "ALTER MATERIALIZED VIEW telemetry.telemetry_data_daily SET (timescaledb.materialized_only = false)"
        )
        run_policy(conn, "policy_compression")
    compressed = "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed"
    assert conn.execute(compressed.encode()).fetchone() == (3,), "one of each table with old rows"
    return {**rows_of(conn, "warehouse"), "kept_inventory_movements": 1}


ONE = "00000000-0000-0000-0000-000000000001"
ONCE = (
    ("telemetry_data", "recorded_at, equipment_id, metric_name, value", f"date_trunc('day', now()), '{ONE}', 'm', 1"),
    ("equipment_events", "recorded_at, equipment_id, event_type", f"'2026-01-01 00:00Z', '{ONE}', 'started'"),
    ("performance_metrics", "recorded_at, metric_name, value, labels", "'2026-01-01 00:00Z', 'm', 1, '{\"line\": 4}'"),
)


def run_policy(conn: psycopg.Connection[Any], procedure: str) -> None:
    """As the scheduler would, which this server does not have."""
    jobs = "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = %s AND hypertable_name IS NOT NULL"
    for (job,) in conn.execute(jobs.encode(), [procedure]).fetchall():
        conn.execute(f"CALL run_job({job})".encode())


BASE = """
CREATE TABLE measurements (at timestamptz NOT NULL, source text, value float8);
SELECT create_hypertable('measurements', by_range('at'));
"""


@pytest.mark.parametrize("template", ["hypertable", "continuous-aggregate"])
def test_a_template_is_applied_rolled_back_and_applied_again(
    template: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "001_base.sql").write_text(BASE)
    (folder / "001_base.rollback.sql").write_text("DROP TABLE measurements;")
    words = ["--set", "table=measurements"] if template == "continuous-aggregate" else []
    assert main(["new", "pattern", "--template", template, *words]) == 0
    migrator = Migrator(lambda: psycopg.connect(database), read_folder(folder), identity=Identity("tester"))
    for _ in range(2):
        assert [migrator.apply(v).outcome for v in ("001", "002")] == [Outcome.APPLIED] * 2
        with psycopg.connect(database) as conn:
            assert conn.execute("SELECT to_regclass('pattern') IS NOT NULL").fetchone() == (True,)
        assert [migrator.roll_back(v).outcome for v in ("002", "001")] == [Outcome.ROLLED_BACK] * 2
        with psycopg.connect(database) as conn:
            assert conn.execute("SELECT to_regclass('pattern') IS NULL").fetchone() == (True,)
