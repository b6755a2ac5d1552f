"""Prove every week, on a server that is there for nothing else, that the warehouse's migrations can be rolled back."""

from __future__ import annotations

from airflow.sdk import DAG, CronTriggerTimetable

from airflow_provider_wmigrate import VerifyMigrationsOperator

with DAG(
    "warehouse_verify",
    description=__doc__,
    schedule=CronTriggerTimetable("0 5 * * 0", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["wmigrate"],
):
    VerifyMigrationsOperator(
        task_id="verify", folder="../migrations", conn_id="scratch_db", environment="development", jobs=2
    )
