"""Tasks in Python that ask through hooks."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, BaseHook, dag, task

TABLE = "warehouse.orders"


def hook() -> Any:
    return BaseHook.get_hook("warehouse_db")


@dag(schedule=None)
def with_hooks() -> None:
    @task
    def literal() -> Any:
        """Reads attributes of warehouse.inventory_items, if it were read."""
        return hook().get_records("SELECT maintenance_every FROM warehouse.equipment")

    @task
    def in_an_f_string() -> Any:
        return hook().get_records(f"SELECT notes FROM {TABLE}")

    @task
    def concatenated() -> Any:
        query = "SELECT assigned_to, " + "metadata" + " FROM warehouse.operations"
        return hook().get_records(query)

    @task
    def with_parameters() -> Any:
        return hook().get_records("SELECT unit FROM warehouse.item_units WHERE barcode = %(barcode)s", {"barcode": "1"})

    @task
    def formatted(table: str = "warehouse.lots") -> Any:
        return hook().get_records("SELECT received_at FROM %s" % table)  # noqa: UP031

    @task
    def rows() -> Any:
        hook().insert_rows("warehouse.application_metadata", [("k", "v")], target_fields=["key", "value"])

    literal()
    in_an_f_string()
    concatenated()
    with_parameters()
    formatted()
    rows()


with_hooks()

for name, column in {"bins": "capacity", "docks": "coordinates"}.items():
    with DAG(f"made_{name}", schedule=None):

        @task(task_id="made")
        def made(column: str = column) -> Any:
            return hook().get_records(f"SELECT {column} FROM warehouse.warehouse_locations")

        made()
