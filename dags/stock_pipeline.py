"""Two pipelines beside the migrations: one waits for a version, one runs whenever the schema has changed."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import DAG, task

from airflow_provider_wmigrate import MigrationSensor, schema_asset

with DAG("stock_pipeline", description="Waits until the reporting views are there", schedule=None, tags=["wmigrate"]):
    schema_ready = MigrationSensor(
        task_id="schema_ready",
        conn_id="warehouse_db",
        versions=["004"],
        deferrable=True,
        poke_interval=10,
        timeout=3600,
    )
    low_stock = SQLExecuteQueryOperator(
        task_id="low_stock", conn_id="warehouse_db", sql="SELECT count(*) FROM reporting.low_stock"
    )
    schema_ready >> low_stock

with DAG(
    "after_schema_change",
    description="Runs whenever a run of warehouse_migrations changed the schema",
    schedule=[schema_asset("warehouse_db")],
    tags=["wmigrate"],
):

    @task
    def tell(triggering_asset_events: Any = None) -> None:
        """What changed, as the report told it."""
        for event in triggering_asset_events[schema_asset("warehouse_db")]:
            print("schema changed:", event.extra)

    tell()
