"""Take the warehouse's migrations through development and staging to production, where a person approves them."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_wmigrate import Approval, PromotionTaskGroup

with DAG("warehouse_promotion", description=__doc__, schedule=None, max_active_runs=1, tags=["wmigrate"]):
    PromotionTaskGroup(
        "promote",
        folder="../migrations",
        environments={
            "development": "warehouse_dev",
            "staging": "warehouse_staging",
            "production": {"conn_id": "warehouse_db", "approval": Approval()},
        },
    )
