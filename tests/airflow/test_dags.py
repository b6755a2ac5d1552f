"""Every DAG in dags/ parses and runs on the shipped migrations. Without TimescaleDB, 003 is skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow_runner import Run, Runner, applied

ROOT = Path(__file__).resolve().parents[2]
DAGS = ROOT / "dags"
SHIPPED = [file.stem for file in sorted((ROOT / "migrations").glob("*.sql")) if not file.stem.endswith(".rollback")]
VERSIONS = [stem[:3] for stem in SHIPPED]

Conn = psycopg.Connection[Any]

APPLY = {"to": "", "mode": "apply", "environment": "development"}


def shipped_dag(dag_id: str) -> Any:
    """Parsed anew: the Param values of a run are kept in the DAG object."""
    bag = DagBag(dag_folder=DAGS, bundle_path=DAGS)
    assert bag.import_errors == {}
    return bag.dags[dag_id]


def run(runner: Runner, dag_id: str, **conf: str) -> Run:
    return runner.run(shipped_dag(dag_id), **conf)


def steps(run: Run, state: str) -> list[str]:
    return [stem[:3] for stem in SHIPPED if run.states[stem] == state]


def schemas(conn: Conn) -> set[str]:
    query = "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg_%' AND nspname NOT LIKE '%timescaledb%'"
    return {name for (name,) in conn.execute(query)} - {"public", "information_schema"}


def test_all_dags_parse() -> None:
    bag = DagBag(dag_folder=DAGS, bundle_path=DAGS)
    assert bag.import_errors == {}
    assert set(bag.dags) >= {"warehouse_migrations", "warehouse_rollback", "stock_pipeline", "after_schema_change"}


def test_the_migrations_dag_follows_the_shipped_dependencies() -> None:
    dag = shipped_dag("warehouse_migrations")
    after_002 = dag.task_dict["migrate.002_warehouse_tables"].downstream_task_ids
    assert {"migrate.003_timescale_hypertables", "migrate.004_reporting_views"} <= after_002
    assert dag.max_active_runs == 1


def test_apply_then_apply_again(runner: Runner, conn: Conn) -> None:
    first = run(runner, "warehouse_migrations", **APPLY)
    assert first.state == "success"
    done, skipped = steps(first, "success"), steps(first, "skipped")
    assert sorted(done + skipped) == VERSIONS
    assert set(skipped) <= {"003"}
    assert all("extension timescaledb" in first.returned("report")["skipped"][version] for version in skipped)
    assert applied(conn) == done

    second = run(runner, "warehouse_migrations", **APPLY)
    assert second.order == ["plan", "report"]
    assert second.state == "success"


def test_a_dry_run(runner: Runner, conn: Conn) -> None:
    dry = run(runner, "warehouse_migrations", **{**APPLY, "mode": "dry_run"})
    assert dry.state == "success"
    assert dry.returned("report")["dry_run"] == steps(dry, "success")
    assert schemas(conn) == set()


def test_a_target_version(runner: Runner, conn: Conn) -> None:
    partly = run(runner, "warehouse_migrations", **{**APPLY, "to": "001"})
    assert partly.state == "success"
    assert applied(conn) == ["001"]
    assert steps(partly, "skipped") == VERSIONS[1:]


def test_production_refuses_a_server_without_timescaledb(runner: Runner, conn: Conn) -> None:
    query = "SELECT FROM pg_settings WHERE name = 'timescaledb.max_background_workers'"
    if conn.execute(query).fetchone() is not None:
        pytest.skip("this server has TimescaleDB")
    refused = run(runner, "warehouse_migrations", **{**APPLY, "environment": "production"})
    assert refused.state == "failed"
    assert "needs extension timescaledb" in str(refused.errors["plan"])
    assert schemas(conn) == set()


def test_values_the_form_does_not_offer_are_refused(runner: Runner) -> None:
    with pytest.raises(ValueError, match="mode"):
        run(runner, "warehouse_migrations", **{**APPLY, "mode": "maybe"})
    with pytest.raises(ValueError, match="to"):
        run(runner, "warehouse_rollback", **{**APPLY, "to": "latest"})
    with pytest.raises(ValueError, match="to"):
        run(runner, "warehouse_rollback", mode="apply", environment="development")


def test_rollback(runner: Runner, conn: Conn) -> None:
    everything = steps(run(runner, "warehouse_migrations", **APPLY), "success")
    above_002 = [version for version in everything if version > "002"]

    dry = run(runner, "warehouse_rollback", **{**APPLY, "to": "002", "mode": "dry_run"})
    assert dry.state == "success"
    # What runs outside a transaction cannot be tried.
    assert {*dry.returned("report")["dry_run"], *steps(dry, "skipped")} == set(VERSIONS)
    assert "004" in dry.returned("report")["dry_run"]
    assert applied(conn) == everything

    partly = run(runner, "warehouse_rollback", **{**APPLY, "to": "002"})
    assert partly.state == "success"
    assert partly.order[0] == "plan"
    assert partly.order[-1] == "report"
    assert partly.returned("report")["rolled_back"] == above_002[::-1]
    assert applied(conn) == ["001", "002"]

    nothing_left = run(runner, "warehouse_rollback", **{**APPLY, "to": "0"})
    assert nothing_left.state == "success"
    assert applied(conn) == []
    assert schemas(conn) == {"wmigrate"}


def test_a_rollback_is_a_dry_run_unless_asked(runner: Runner, conn: Conn) -> None:
    run(runner, "warehouse_migrations", **APPLY)
    careful = run(runner, "warehouse_rollback", to="0", environment="development")
    assert careful.returned("report")["rolled_back"] == []
    assert "004" in careful.returned("report")["dry_run"]


def test_the_pipeline_waits_for_the_views(runner: Runner, conn: Conn) -> None:
    assert run(runner, "warehouse_migrations", **APPLY).state == "success"
    pipeline = run(runner, "stock_pipeline")
    assert pipeline.state == "success"
    assert pipeline.order == ["schema_ready", "low_stock"]


def test_the_consumer_is_told_what_changed(runner: Runner, conn: Conn, capsys: pytest.CaptureFixture[str]) -> None:
    changed = run(runner, "warehouse_migrations", **APPLY)
    capsys.readouterr()
    consumer = runner.run(shipped_dag("after_schema_change"), caused_by=changed)
    assert consumer.state == "success"
    assert f"schema changed: {{'applied': {applied(conn)!r}" in capsys.readouterr().out
