"""Pipelines that write."""

from __future__ import annotations

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator, SQLInsertRowsOperator
from airflow.sdk import DAG

with DAG("new_partners", schedule=None):
    SQLExecuteQueryOperator(
        task_id="insert",
        conn_id="warehouse_db",
        sql="INSERT INTO warehouse.partners (code, name, partner_type) VALUES ('{{ run_id }}', 'n', 'customer')",
    )
    SQLExecuteQueryOperator(
        task_id="upsert",
        conn_id="warehouse_db",
        sql="INSERT INTO warehouse.partners AS p (code, name, partner_type) VALUES ('x', 'n', 'supplier')"
        " ON CONFLICT (code) DO UPDATE SET name = excluded.name, status = 'active' RETURNING contact",
    )
    SQLInsertRowsOperator(
        task_id="rows",
        conn_id="warehouse_db",
        table_name="warehouse.partners",
        columns=["code", "name", "partner_type"],
        rows=[["y", "n", "customer"]],
    )

with DAG("corrections", schedule=None):
    SQLExecuteQueryOperator(
        task_id="update",
        conn_id="warehouse_db",
        sql="UPDATE warehouse.inventory_locations l SET reorder_point = 1 FROM warehouse.inventory_items i"
        " WHERE i.id = l.item_id AND i.tracking = 'none'",
    )
    SQLExecuteQueryOperator(
        task_id="delete",
        conn_id="warehouse_db",
        sql="DELETE FROM warehouse.reservations USING warehouse.order_lines n"
        " WHERE n.id = order_line_id AND expires_at < now()",
    )
    SQLExecuteQueryOperator(
        task_id="by_position",
        conn_id="warehouse_db",
        sql="INSERT INTO warehouse.kept_lots SELECT * FROM warehouse.lots",
    )
    SQLExecuteQueryOperator(
        task_id="without_names",
        conn_id="warehouse_db",
        sql="INSERT INTO warehouse.application_metadata VALUES ('{{ run_id }}', 'v', 'd', now(), now())",
    )

with DAG("keeping", schedule=None):
    SQLExecuteQueryOperator(
        task_id="copy_of_the_day",
        conn_id="warehouse_db",
        sql="CREATE TABLE warehouse.copy_{{ ds_nodash }} AS SELECT id, weight_kg FROM warehouse.item_units",
    )
    SQLExecuteQueryOperator(
        task_id="index", conn_id="warehouse_db", sql="CREATE INDEX ON warehouse.serial_numbers (lower(serial_number))"
    )
    SQLExecuteQueryOperator(task_id="months", conn_id="warehouse_db", sql="SELECT audit.drop_months('10 years')")
    SQLExecuteQueryOperator(task_id="empty", conn_id="warehouse_db", sql="TRUNCATE warehouse.reservations")

with DAG("audit_trail", schedule=None):
    SQLExecuteQueryOperator(
        task_id="of_a_row",
        conn_id="warehouse_db",
        sql="SELECT changed_at, new_values - (old_values ->> 'id') FROM audit.row_changes WHERE record_id = 'x'",
    )
    SQLExecuteQueryOperator(
        task_id="without_a_month",
        conn_id="warehouse_db",
        sql="SELECT operation, user_agent FROM audit.row_changes_default",
    )
