"""Checks, sensors, transfers."""

from __future__ import annotations

from airflow.providers.common.sql.operators.generic_transfer import GenericTransfer
from airflow.providers.common.sql.operators.sql import (
    BranchSQLOperator,
    SQLCheckOperator,
    SQLColumnCheckOperator,
    SQLIntervalCheckOperator,
    SQLTableCheckOperator,
    SQLThresholdCheckOperator,
    SQLValueCheckOperator,
)
from airflow.providers.common.sql.sensors.sql import SqlSensor
from airflow.sdk import DAG

with DAG("checks", schedule=None):
    SQLCheckOperator(
        task_id="check",
        conn_id="warehouse_db",
        sql="SELECT count(*) > -1 FROM warehouse.orders WHERE currency <> 'EUR'",
    )
    SQLValueCheckOperator(
        task_id="value",
        conn_id="warehouse_db",
        sql="SELECT count(max_quantity) FROM warehouse.inventory_locations",
        pass_value=0,
    )
    SQLThresholdCheckOperator(
        task_id="threshold",
        conn_id="warehouse_db",
        sql="SELECT count(resolution) FROM warehouse.safety_incidents",
        min_threshold=0,
        max_threshold=1,
    )
    SQLIntervalCheckOperator(
        task_id="interval",
        conn_id="warehouse_db",
        table="warehouse.operations",
        metrics_thresholds={"count(started_at)": 2},
        date_filter_column="created_at",
    )

with DAG("column_checks", schedule=None):
    SQLColumnCheckOperator(
        task_id="columns",
        conn_id="warehouse_db",
        table="warehouse.equipment",
        column_mapping={"manufacturer": {"null_check": {"geq_to": 0}}},
    )
    SQLTableCheckOperator(
        task_id="table",
        conn_id="warehouse_db",
        table="warehouse.lots",
        checks={"order": {"check_statement": "manufactured_on <= expires_on"}},
    )

with DAG("branches", schedule=None):
    BranchSQLOperator(
        task_id="branch",
        conn_id="warehouse_db",
        sql="SELECT bool_or(shelf_life_days > 0) FROM warehouse.inventory_items",
        follow_task_ids_if_true=[],
        follow_task_ids_if_false=[],
    )

with DAG("waiting", schedule=None):
    SqlSensor(
        task_id="sensor",
        conn_id="warehouse_db",
        sql="SELECT 1 FROM warehouse.operations WHERE completed_at > '{{ ds }}'::timestamptz",
    )

with DAG("transfers", schedule=None):
    GenericTransfer(
        task_id="transfer",
        source_conn_id="warehouse_db",
        destination_conn_id="lake",
        destination_table="lake.items",
        sql="SELECT sku, dimensions FROM warehouse.inventory_items",
    )
