"""Apply the warehouse's migrations: every night, and by hand with a target version, as a dry run, per environment."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_wmigrate import MigrationTaskGroup

with DAG(
    "warehouse_migrations",
    description=__doc__,
    schedule="0 3 * * *",
    max_active_runs=1,
    tags=["wmigrate"],
    params={
        "to": Param("", type="string", title="Target version", description="The last one to apply; empty: all."),
        "mode": Param("apply", type="string", enum=["apply", "dry_run"], title="Apply, or only try"),
        "environment": Param("development", type="string", enum=["development", "staging", "production"]),
    },
):
    MigrationTaskGroup(
        "migrate",
        folder="../migrations",
        conn_id="warehouse_db",
        to="{{ params.to }}",
        mode="{{ params.mode }}",
        environment="{{ params.environment }}",
    )
