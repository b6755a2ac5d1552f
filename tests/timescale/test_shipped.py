"""Shipped migrations and templates on a real TimescaleDB: up, down and up again, with equal catalogs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

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


def test_the_shipped_folder_up_down_up(migrator: Migrator, database: str) -> None:
    plan = migrator.plan(to="004")  # this server's one backend cannot build an index CONCURRENTLY
    assert [step.version for step in plan.steps] == ["001", "002", "003", "004"], "nothing is skipped here"
    before = looked_at(database)
    for step in plan.steps:
        assert migrator.apply(step.version).outcome is Outcome.APPLIED
    full = looked_at(database)
    kinds = [row[0] for row in full]
    assert (kinds.count("hypertable"), kinds.count("aggregate")) == (5, 3)
    jobs = Counter(name for kind, name, _ in full if kind == "job")
    assert jobs == {"policy_refresh_continuous_aggregate": 3, "policy_retention": 5}

    assert migrator.roll_back("003").outcome is Outcome.ROLLED_BACK
    assert not [row for row in looked_at(database) if row[0] in ("hypertable", "aggregate", "job")]
    assert migrator.apply("003").outcome is Outcome.APPLIED
    assert looked_at(database) == full

    for step in migrator.plan_rollback(to=None).steps:
        migrator.roll_back(step.version)
    assert looked_at(database) == before
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
