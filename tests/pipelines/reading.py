"""Pipelines that read: plain, templated, from files, through views."""

from __future__ import annotations

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import DAG

WAREHOUSE = "warehouse_db"
BY_CATEGORY = "SELECT category, count(*) FROM warehouse.inventory_items GROUP BY category ORDER BY category"

with DAG("stock_levels", schedule=None):
    SQLExecuteQueryOperator(
        task_id="by_item",
        conn_id=WAREHOUSE,
        sql="""
        SELECT i.sku, sum(l.quantity)
        FROM warehouse.inventory_items i
        JOIN warehouse.inventory_locations l ON l.item_id = i.id
        WHERE i.status = 'active'
        GROUP BY i.sku
        """,
    )
    SQLExecuteQueryOperator(task_id="by_category", conn_id="warehouse_db", sql=BY_CATEGORY)

with DAG("templated", schedule=None):
    SQLExecuteQueryOperator(
        task_id="of_the_day",
        conn_id="warehouse_db",
        sql="SELECT id, reference FROM warehouse.operations WHERE scheduled_at::date = '{{ ds }}' AND priority < 3",
    )
    SQLExecuteQueryOperator(
        task_id="schema_is_a_param",
        conn_id="warehouse_db",
        sql="SELECT code, serial_number FROM {{ params.schema }}.equipment",
        params={"schema": "warehouse"},
    )
    SQLExecuteQueryOperator(
        task_id="table_is_a_param",
        conn_id="warehouse_db",
        sql="SELECT lot_number FROM {{ params.table }}",
        params={"table": "warehouse.lots"},
    )
    SQLExecuteQueryOperator(
        task_id="with_a_branch",
        conn_id="warehouse_db",
        sql="SELECT severity FROM warehouse.safety_incidents {% if params.open %} WHERE status = 'open' {% endif %}",
        params={"open": True},
    )
    SQLExecuteQueryOperator(
        task_id="in_a_loop",
        conn_id="warehouse_db",
        sql="SELECT {% for c in ['code', 'name'] %}{{ c }}{% if not loop.last %}, {% endif %}{% endfor %}"
        " FROM warehouse.partners",
    )

with DAG("from_files", schedule=None, template_searchpath=["."]):
    SQLExecuteQueryOperator(task_id="fill", conn_id="warehouse_db", sql="sql/open_orders.sql")
    SQLExecuteQueryOperator(task_id="several", conn_id="warehouse_db", sql="sql/several.sql", split_statements=True)

with DAG("through_views", schedule=None):
    SQLExecuteQueryOperator(task_id="low", conn_id="warehouse_db", sql="SELECT sku, shortage FROM reporting.low_stock")
    SQLExecuteQueryOperator(task_id="late", conn_id="warehouse_db", sql="SELECT * FROM reporting.open_operations")
    SQLExecuteQueryOperator(task_id="old", conn_id="warehouse_db", sql="SELECT count(*) FROM reporting.expiring_lots")

with DAG("mapped", schedule=None):
    SQLExecuteQueryOperator.partial(task_id="each", conn_id="warehouse_db").expand(
        sql=["SELECT equipment_type FROM warehouse.equipment", "SELECT queue_position FROM reporting.open_operations"]
    )

with DAG("hard_to_read", schedule=None):
    SQLExecuteQueryOperator(
        task_id="with_query",
        conn_id="warehouse_db",
        sql="WITH mine AS (SELECT * FROM warehouse.orders) SELECT order_number, m.due_at FROM mine m",
    )
    SQLExecuteQueryOperator(
        task_id="correlated",
        conn_id="warehouse_db",
        sql="SELECT o.id FROM warehouse.orders o WHERE EXISTS"
        " (SELECT FROM warehouse.order_lines WHERE order_id = o.id AND fulfilled_quantity < quantity)",
    )
    SQLExecuteQueryOperator(
        task_id="using_and_natural",
        conn_id="warehouse_db",
        sql="SELECT lot_id FROM warehouse.lot_locations JOIN warehouse.serial_numbers USING (lot_id, item_id)",
    )
    SQLExecuteQueryOperator(
        task_id="whole_rows", conn_id="warehouse_db", sql="SELECT to_jsonb(e) ->> 'code' FROM warehouse.equipment e"
    )
    SQLExecuteQueryOperator(
        task_id="union",
        conn_id="warehouse_db",
        sql="SELECT * FROM warehouse.lots UNION ALL SELECT * FROM warehouse.kept_lots",
    )
    SQLExecuteQueryOperator(
        task_id="search_path",
        conn_id="warehouse_db",
        sql=["SET LOCAL search_path = warehouse", "SELECT barcode, base_quantity FROM item_units"],
    )
    SQLExecuteQueryOperator(
        task_id="windows",
        conn_id="warehouse_db",
        sql="SELECT sku, rank() OVER (PARTITION BY subcategory ORDER BY created_at) AS r"
        " FROM warehouse.inventory_items ORDER BY r",
    )
    SQLExecuteQueryOperator(
        task_id="lateral",
        conn_id="warehouse_db",
        sql="SELECT p.code, last.ordered_at FROM warehouse.partners p CROSS JOIN LATERAL"
        " (SELECT ordered_at FROM warehouse.orders WHERE partner_id = p.id ORDER BY ordered_at DESC LIMIT 1) last",
    )
