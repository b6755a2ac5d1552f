"""Shipped migrations and templates on a real TimescaleDB: up, down and up again, with equal catalogs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.cli.main import main
from airflow_provider_wmigrate.engine.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity, Outcome

SHIPPED = Path(__file__).resolve().parents[2] / "migrations"

CATALOG = """
    SELECT 'relation', n.nspname || '.' || c.relname, c.relkind::text FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname IN ('warehouse', 'audit', 'telemetry', 'reporting') AND c.relkind <> 'S'
    UNION ALL SELECT 'constraint', conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
     WHERE connamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('warehouse', 'audit', 'telemetry'))
    UNION ALL SELECT 'hypertable', hypertable_name, num_dimensions::text FROM timescaledb_information.hypertables
     WHERE hypertable_schema = 'telemetry'
    UNION ALL SELECT 'aggregate', view_name, materialized_only::text FROM timescaledb_information.continuous_aggregates
    UNION ALL SELECT 'job', proc_name, count(*)::text FROM timescaledb_information.jobs
     WHERE hypertable_schema IS NOT NULL GROUP BY 2
    ORDER BY 1, 2, 3
"""


def catalog(dsn: str) -> list[Any]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        return conn.execute(CATALOG.encode()).fetchall()


@pytest.fixture
def migrator(database: str) -> Migrator:
    return Migrator(lambda: psycopg.connect(database), read_folder(SHIPPED), identity=Identity("tester"))


def test_the_shipped_folder_up_down_up(migrator: Migrator, database: str) -> None:
    plan = migrator.plan(to="004")  # this server's one backend cannot build an index CONCURRENTLY
    assert [step.version for step in plan.steps] == ["001", "002", "003", "004"], "nothing is skipped here"
    before = catalog(database)
    for step in plan.steps:
        assert migrator.apply(step.version).outcome is Outcome.APPLIED
    full = catalog(database)
    kinds = [row[0] for row in full]
    assert (kinds.count("hypertable"), kinds.count("aggregate")) == (5, 3)
    jobs = {name: int(count) for kind, name, count in full if kind == "job"}
    assert jobs == {"policy_refresh_continuous_aggregate": 3, "policy_retention": 5}

    assert migrator.roll_back("003").outcome is Outcome.ROLLED_BACK
    assert not [row for row in catalog(database) if row[0] in ("hypertable", "aggregate", "job")]
    assert migrator.apply("003").outcome is Outcome.APPLIED
    assert catalog(database) == full

    for step in migrator.plan_rollback(to=None).steps:
        migrator.roll_back(step.version)
    assert catalog(database) == before
    with psycopg.connect(database) as conn:
        assert migrator.ledger.verify(conn) == ()


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
