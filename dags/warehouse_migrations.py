"""Apply the warehouse's migrations: every night, and by hand with a target version, as a dry run, per environment."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param

from airflow_provider_wmigrate import MigrationTaskGroup

with DAG(
    "warehouse_migrations",
    description=__doc__,
    # Without run_immediately, to unpause it within 2.4 hours after three o'clock would apply everything at once.
    schedule=CronTriggerTimetable("0 3 * * *", timezone="UTC", run_immediately=timedelta(0)),
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
