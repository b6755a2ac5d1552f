"""Roll the warehouse's schema back to a version, or try whether that would work."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_wmigrate import RollbackTaskGroup

with DAG(
    "warehouse_rollback",
    description=__doc__,
    schedule=None,
    max_active_runs=1,
    tags=["wmigrate"],
    params={
        "to": Param(type="string", pattern="^[0-9]+$", title="Version that stays", description="0: nothing stays."),
        "mode": Param("dry_run", type="string", enum=["apply", "dry_run"], title="Roll back, or only try"),
        "environment": Param("development", type="string", enum=["development", "staging", "production"]),
    },
):
    RollbackTaskGroup(
        "rollback",
        folder="../migrations",
        conn_id="warehouse_db",
        to="{{ params.to }}",
        mode="{{ params.mode }}",
        environment="{{ params.environment }}",
    )
