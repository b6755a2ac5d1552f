"""The asset that stands for a target's schema: updated by every run that changed it, and by no other."""

from __future__ import annotations

from airflow.sdk import Asset


def schema_asset(conn_id: str) -> Asset:
    """The asset on which other DAGs can be scheduled: `DAG(schedule=[schema_asset("warehouse_db")])`.

    :param conn_id: the Airflow connection the migrations are applied through.
    """
    return Asset(name=f"wmigrate/{conn_id}", uri=f"x-wmigrate://{conn_id}/schema")
