"""One DAG for each of some tables, as a factory makes them."""

from __future__ import annotations

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import DAG

READS = {
    "partners": "status, created_at",
    "orders": "order_type, status",
    "order_lines": "line_number, unit_price",
    "operations": "name, operation_type",
    "operation_items": "requested_quantity, unit_cost",
    "lots": "lot_number, status",
    "serial_numbers": "serial_number, updated_at",
    "equipment": "model, location_id",
    "safety_incidents": "description, reported_by",
    "reservations": "quantity",
    "item_units": "unit",
    "warehouse_locations": "code, parent_type",
}
for table, columns in READS.items():
    with DAG(f"export_{table}", schedule=None):
        SQLExecuteQueryOperator(
            task_id="export", conn_id="warehouse_db", sql=f"SELECT {columns} FROM warehouse.{table}"
        )
