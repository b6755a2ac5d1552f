"""Look at the warehouse as often as migration_config.yaml says: connection, ledger, migrations, locks, audit log."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_wmigrate import CheckHealthOperator, health_interval

with DAG(
    "warehouse_health",
    description=__doc__,
    schedule=health_interval("../migrations"),
    catchup=False,
    max_active_runs=1,
    tags=["wmigrate"],
    params={
        "environment": Param("development", type="string", enum=["development", "staging", "production"]),
        "forget_head": Param(False, type="boolean", description="After a restored backup."),
    },
):
    CheckHealthOperator(
        task_id="look",
        folder="../migrations",
        conn_id="warehouse_db",
        environment="{{ params.environment }}",
        forget_head="{{ params.forget_head }}",
    )
