"""What the shipped warehouse schema promises: every migration but those of the time series."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from psycopg import errors
from psycopg.rows import dict_row, namedtuple_row
from warehouse_rows import Warehouse, insert

AUDITED_TABLES = [
    "application_metadata",
    "equipment",
    "inventory_items",
    "inventory_locations",
    "item_units",
    "lot_locations",
    "lots",
    "operation_items",
    "operations",
    "order_lines",
    "orders",
    "partners",
    "reservations",
    "safety_incidents",
    "serial_numbers",
    "warehouse_locations",
]


class Stocked(NamedTuple):
    """A small warehouse: one branch of the location tree, two items, some stock."""

    locations: dict[str, UUID]
    items: dict[str, UUID]


def one(warehouse: Warehouse, query: str, *parameters: object) -> Any:
    """Return the single row of a query as a named tuple."""
    (row,) = warehouse.cursor(row_factory=namedtuple_row).execute(query, parameters).fetchall()
    return row


def changes(warehouse: Warehouse, record_id: object) -> list[Any]:
    """Return the audit trail of one row, oldest first."""
    query = "SELECT * FROM audit.row_changes WHERE record_id = %s ORDER BY id"
    cursor = warehouse.cursor(row_factory=namedtuple_row)
    return cursor.execute(query, [str(record_id)]).fetchall()


def location(warehouse: Warehouse, code: str, kind: str, parent: UUID | None = None, **more: object) -> UUID:
    return insert(
        warehouse,
        "warehouse_locations",
        code=code,
        name=code,
        location_type=kind,
        parent_id=parent,
        **more,
    )


def stock(warehouse: Warehouse, item: UUID, place: UUID, **values: object) -> UUID:
    return insert(warehouse, "inventory_locations", item_id=item, location_id=place, **values)


@pytest.fixture
def stocked(warehouse: Warehouse) -> Stocked:
    locations: dict[str, UUID] = {}
    parent = None
    for code, kind, capacity in [
        ("Z1", "zone", '{"max_units": 1000}'),
        ("A1", "aisle", "{}"),
        ("R1", "rack", "{}"),
        ("S1", "shelf", '{"max_units": 50}'),
        ("B1", "bin", '{"max_units": 20}'),
    ]:
        parent = locations[code] = location(warehouse, code, kind, parent, capacity=capacity)
    locations["B2"] = location(warehouse, "B2", "bin", locations["S1"])
    items = {
        sku: insert(warehouse, "inventory_items", sku=sku, name=name)
        for sku, name in [("BOLT", "Hex bolt M8"), ("NUT", "Hex nut M8")]
    }
    return Stocked(locations, items)


# Audit trail


def test_each_change_leaves_one_audit_row_with_the_values_before_and_after(
    warehouse: Warehouse,
) -> None:
    item = insert(warehouse, "inventory_items", sku="BOLT", name="bolt")
    warehouse.execute("UPDATE warehouse.inventory_items SET name = 'Bolt' WHERE id = %s", [item])
    warehouse.execute("DELETE FROM warehouse.inventory_items WHERE id = %s", [item])

    inserted, updated, deleted = changes(warehouse, item)
    assert [row.operation for row in (inserted, updated, deleted)] == ["INSERT", "UPDATE", "DELETE"]
    assert inserted.old_values is None
    assert inserted.new_values["sku"] == "BOLT"
    assert (updated.old_values["name"], updated.new_values["name"]) == ("bolt", "Bolt")
    assert updated.old_values == inserted.new_values
    assert deleted.old_values == updated.new_values
    assert deleted.new_values is None


def test_an_audit_row_says_where_who_and_when(warehouse: Warehouse) -> None:
    item = insert(warehouse, "inventory_items", sku="BOLT", name="bolt")

    (row,) = changes(warehouse, item)
    session = one(
        warehouse,
        """
        SELECT session_user::text AS "user", inet_client_addr() AS address, clock_timestamp() AS now
        """,
    )
    assert (row.table_schema, row.table_name) == ("warehouse", "inventory_items")
    assert row.changed_by == session.user
    assert row.client_address == session.address
    assert row.changed_at <= session.now


@pytest.mark.parametrize("assignment", ["name = name", "updated_at = '2000-01-01'", "weight_kg = 1.50"])
def test_an_update_that_changes_nothing_is_not_audited(warehouse: Warehouse, assignment: str) -> None:
    item = insert(warehouse, "inventory_items", sku="BOLT", name="bolt", weight_kg=Decimal("1.5"))

    updated = warehouse.execute(f"UPDATE warehouse.inventory_items SET {assignment} WHERE id = %s", [item])

    assert updated.rowcount == 1
    assert [row.operation for row in changes(warehouse, item)] == ["INSERT"]


def test_the_record_id_is_the_key_column_named_by_the_trigger(warehouse: Warehouse) -> None:
    warehouse.execute("INSERT INTO warehouse.application_metadata (key, value) VALUES ('release', '1.2.0')")

    (row,) = changes(warehouse, "release")
    assert (row.table_name, row.operation) == ("application_metadata", "INSERT")


def test_a_deleted_operation_takes_its_lines_along_and_both_are_audited(warehouse: Warehouse, stocked: Stocked) -> None:
    operation = insert(
        warehouse,
        "operations",
        reference="OP-1",
        operation_type="picking",
        source_location_id=stocked.locations["B1"],
    )
    line = insert(
        warehouse,
        "operation_items",
        operation_id=operation,
        line_number=1,
        item_id=stocked.items["BOLT"],
        requested_quantity=3,
    )

    warehouse.execute("DELETE FROM warehouse.operations WHERE id = %s", [operation])

    assert [row.operation for row in changes(warehouse, operation)] == ["INSERT", "DELETE"]
    assert [row.operation for row in changes(warehouse, line)] == ["INSERT", "DELETE"]


@pytest.mark.parametrize("column", ["numbers", "nullable", "ctid"])
def test_a_table_without_such_a_key_cannot_be_watched(warehouse: Warehouse, column: str) -> None:
    with warehouse.transaction(force_rollback=True):
        warehouse.execute("CREATE TABLE public.guarded (number integer NOT NULL, nullable integer)")
        with pytest.raises(errors.UndefinedColumn, match=f'table public.guarded has no column "{column}" that is NOT'):
            warehouse.execute("SELECT audit.watch('public.guarded', %s)", [column])


def test_one_row_for_each_row_of_a_statement_and_a_changed_key_is_told_as_two(warehouse: Warehouse) -> None:
    metadata = "warehouse.application_metadata"
    written = f"INSERT INTO {metadata} (key, value) SELECT 'k' || n, 'x' FROM generate_series(1, 3) AS n"
    warehouse.execute(written)
    warehouse.execute(f"UPDATE {metadata} SET key = key || '!', value = 'y' WHERE key IN ('k1', 'k2')")
    warehouse.execute(f"UPDATE {metadata} SET value = 'y' WHERE key = 'k3'")
    warehouse.execute(
        f"INSERT INTO {metadata} (key, value) VALUES ('k3', 'z'), ('k4', 'z')"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    )

    rows = warehouse.execute(
        "SELECT operation, record_id, old_values ->> 'value', new_values ->> 'value' FROM audit.row_changes"
        " WHERE record_id LIKE 'k%' ORDER BY record_id COLLATE \"C\", id"
    ).fetchall()
    assert rows == [
        ("INSERT", "k1", None, "x"),
        ("DELETE", "k1", "x", None),
        ("INSERT", "k1!", None, "y"),
        ("INSERT", "k2", None, "x"),
        ("DELETE", "k2", "x", None),
        ("INSERT", "k2!", None, "y"),
        ("INSERT", "k3", None, "x"),
        ("UPDATE", "k3", "x", "y"),
        ("UPDATE", "k3", "y", "z"),
        ("INSERT", "k4", None, "z"),
    ]


def test_an_audit_row_keeps_transaction_application_user_and_user_agent(warehouse: Warehouse) -> None:
    with warehouse.transaction():
        warehouse.execute("SELECT set_config('warehouse.app_user', 'ada', true)")
        warehouse.execute("SELECT set_config('warehouse.user_agent', 'scanner/2.1', true)")
        said = insert(warehouse, "inventory_items", sku="BOLT", name="bolt")
        number = one(warehouse, "SELECT pg_current_xact_id() AS xid").xid
    silent = insert(warehouse, "inventory_items", sku="NUT", name="nut")

    (row,) = changes(warehouse, said)
    assert (row.transaction_id, row.application_user, row.user_agent) == (number, "ada", "scanner/2.1")
    (row,) = changes(warehouse, silent)
    assert (row.application_user, row.user_agent) == (None, None)
    assert int(row.transaction_id) > int(number)


def test_a_table_can_be_left_out_of_the_trail_and_taken_in_again(warehouse: Warehouse) -> None:
    warehouse.execute("SELECT audit.unwatch('warehouse.inventory_items')")
    item = insert(warehouse, "inventory_items", sku="BOLT", name="bolt")
    warehouse.execute("SELECT audit.watch('warehouse.inventory_items')")
    warehouse.execute("DELETE FROM warehouse.inventory_items WHERE id = %s", [item])
    assert [row.operation for row in changes(warehouse, item)] == ["DELETE"]


def _partitions(warehouse: Warehouse) -> dict[str, int]:
    query = "SELECT tableoid::regclass::text, count(*) FROM audit.row_changes WHERE record_id = 'k' GROUP BY 1"
    return dict(warehouse.execute(query).fetchall())


def test_months_of_the_trail_are_made_and_dropped(warehouse: Warehouse) -> None:
    """Rows that came before their month was made move into it; the borders are those of UTC."""
    warehouse.execute("SET timezone = '<+13>-13'")
    add = (
        "INSERT INTO audit.row_changes (table_schema, table_name, record_id, operation, new_values, changed_at)"
        " VALUES ('s', 't', 'k', 'INSERT', '{}', %s)"
    )
    for at in ("2019-12-31 23:59:59Z", "2020-01-01 00:00Z", "2020-01-31 23:59:59Z", "2020-02-01 00:00Z"):
        warehouse.execute(add, [at])
    assert _partitions(warehouse) == {"audit.row_changes_default": 4}

    made = one(warehouse, "SELECT audit.add_month('2020-01-20') AS one, audit.add_month('2020-01-01') AS two")
    assert tuple(made) == (True, False)
    assert _partitions(warehouse) == {"audit.row_changes_default": 2, "audit.row_changes_2020_01": 2}
    warehouse.execute(add, ["2020-01-15 12:00Z"])
    assert _partitions(warehouse)["audit.row_changes_2020_01"] == 3

    assert warehouse.execute("SELECT audit.drop_months('1 year')").fetchall() == [("row_changes_2020_01",)]
    assert _partitions(warehouse) == {}
    assert one(warehouse, "SELECT count(*) FROM audit.row_changes").count >= 3, "what is younger stays"
    for wrong in ("0 days", "-1 day"):
        with pytest.raises(errors.InvalidParameterValue):
            warehouse.execute("SELECT audit.drop_months(%s::interval)", [wrong])


def test_the_application_metadata_has_its_three_rows(warehouse: Warehouse) -> None:
    rows = warehouse.execute("SELECT key, value FROM warehouse.application_metadata ORDER BY key").fetchall()
    assert rows == [("app_version", "1.0.0"), ("migration_system", "wmigrate"), ("schema_version", "1.0.0")]


def test_a_writer_needs_no_privilege_on_the_trail_and_cannot_edit_it(warehouse: Warehouse) -> None:
    with warehouse.transaction(force_rollback=True):
        warehouse.execute("CREATE ROLE warehouse_clerk")
        warehouse.execute("GRANT USAGE ON SCHEMA warehouse TO warehouse_clerk")
        warehouse.execute("GRANT SELECT, INSERT ON warehouse.inventory_items TO warehouse_clerk")
        warehouse.execute("SET LOCAL ROLE warehouse_clerk")

        item = insert(warehouse, "inventory_items", sku="BOLT", name="bolt")
        with pytest.raises(errors.InsufficientPrivilege), warehouse.transaction():
            warehouse.execute("DELETE FROM audit.row_changes")

        warehouse.execute("RESET ROLE")
        (row,) = changes(warehouse, item)
        assert row.changed_by == one(warehouse, "SELECT session_user::text AS name").name


@pytest.mark.parametrize(
    "trigger", ["record_inserted_rows", "record_updated_rows", "record_deleted_rows", "set_updated_at"]
)
def test_every_warehouse_table_has_the_trigger(warehouse: Warehouse, trigger: str) -> None:
    tables = warehouse.execute(
        """
        SELECT relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        WHERE tgname = %s AND relnamespace = 'warehouse'::regnamespace ORDER BY relname
        """,
        [trigger],
    ).fetchall()
    assert [name for (name,) in tables] == AUDITED_TABLES


def test_updated_at_moves_with_a_write_and_created_at_stays(warehouse: Warehouse) -> None:
    query = "SELECT created_at, updated_at FROM warehouse.inventory_items WHERE id = %s"
    item = insert(warehouse, "inventory_items", sku="BOLT", name="bolt")
    before = one(warehouse, query, item)
    assert before.created_at == before.updated_at

    warehouse.execute(
        "UPDATE warehouse.inventory_items SET name = 'X', updated_at = '2000-01-01' WHERE id = %s",
        [item],
    )

    after = one(warehouse, query, item)
    assert after.created_at == before.created_at
    assert after.updated_at > before.updated_at


# Stock


def test_available_is_computed_and_cannot_be_written(warehouse: Warehouse, stocked: Stocked) -> None:
    row = stock(warehouse, stocked.items["BOLT"], stocked.locations["B1"], quantity=10, reserved=3)
    query = "SELECT available FROM warehouse.inventory_locations WHERE id = %s"
    assert one(warehouse, query, row).available == 7

    warehouse.execute("UPDATE warehouse.inventory_locations SET reserved = 10 WHERE id = %s", [row])
    assert one(warehouse, query, row).available == 0
    assert changes(warehouse, row)[-1].new_values["available"] == 0

    # PostgreSQL 13 calls it a syntax error.
    with pytest.raises((errors.GeneratedAlways, errors.SyntaxError), match='"available"'):
        warehouse.execute("UPDATE warehouse.inventory_locations SET available = 99 WHERE id = %s", [row])


def test_an_item_has_one_stock_row_for_each_location(warehouse: Warehouse, stocked: Stocked) -> None:
    bolt, place = stocked.items["BOLT"], stocked.locations["B1"]
    stock(warehouse, bolt, place, quantity=1)
    stock(warehouse, bolt, stocked.locations["B2"], quantity=1)

    with pytest.raises(errors.UniqueViolation) as refused:
        stock(warehouse, bolt, place, quantity=2)
    assert refused.value.diag.constraint_name == "inventory_locations_item_id_location_id_key"


# Checks

REFUSED: list[tuple[str, Callable[[Stocked], dict[str, object]], str]] = [
    ("operations", lambda s: {"priority": 0}, "operations_priority_check"),
    ("operations", lambda s: {"priority": 11}, "operations_priority_check"),
    ("operations", lambda s: {"operation_type": "dancing"}, "operations_operation_type_check"),
    ("operations", lambda s: {"status": "forgotten"}, "operations_status_check"),
    ("operations", lambda s: {"source_location_id": None}, "operations_endpoints_check"),
    (
        "operations",
        lambda s: {"target_location_id": s.locations["B1"]},
        "operations_endpoints_check",
    ),
    ("operations", lambda s: {"status": "completed"}, "operations_completed_at_check"),
    ("operations", lambda s: {"completed_at": "2026-01-01"}, "operations_completed_at_check"),
    ("inventory_locations", lambda s: {"quantity": -1}, "inventory_locations_quantity_check"),
    ("inventory_locations", lambda s: {"reserved": 11}, "inventory_locations_reserved_check"),
    (
        "inventory_locations",
        lambda s: {"reorder_point": -1},
        "inventory_locations_reorder_point_check",
    ),
    ("inventory_locations", lambda s: {"min_quantity": 1}, "inventory_locations_reorder_point_check"),
    (
        "inventory_locations",
        lambda s: {"reorder_point": 5, "max_quantity": 4},
        "inventory_locations_max_quantity_check",
    ),
    ("operations", lambda s: {"scheduled_end_at": "2026-01-01"}, "operations_schedule_check"),
    ("operations", lambda s: {"metadata": "[]"}, "operations_metadata_check"),
    ("inventory_items", lambda s: {"subcategory": "M8"}, "inventory_items_subcategory_check"),
    ("inventory_items", lambda s: {"status": "lost"}, "inventory_items_status_check"),
    ("inventory_items", lambda s: {"tracking": "rfid"}, "inventory_items_tracking_check"),
    ("equipment", lambda s: {"maintenance_every": "0 days"}, "equipment_maintenance_every_check"),
    ("warehouse_locations", lambda s: {"status": "broken"}, "warehouse_locations_status_check"),
    ("safety_incidents", lambda s: {"incident_type": "party"}, "safety_incidents_incident_type_check"),
    ("inventory_items", lambda s: {"sku": " X"}, "inventory_items_sku_check"),
    ("inventory_items", lambda s: {"weight_kg": 0}, "inventory_items_weight_kg_check"),
    ("inventory_items", lambda s: {"attributes": "[]"}, "inventory_items_attributes_check"),
    ("equipment", lambda s: {"equipment_type": "spaceship"}, "equipment_equipment_type_check"),
    (
        "equipment",
        lambda s: {"last_maintenance_at": "2026-02-01", "next_maintenance_at": "2026-01-01"},
        "equipment_maintenance_check",
    ),
    (
        "warehouse_locations",
        lambda s: {"location_type": "cellar"},
        "warehouse_locations_location_type_check",
    ),
    ("warehouse_locations", lambda s: {"capacity": "[]"}, "warehouse_locations_capacity_check"),
    (
        "warehouse_locations",
        lambda s: {"capacity": '{"max_units": "many"}'},
        "warehouse_locations_capacity_check",
    ),
    (
        "warehouse_locations",
        lambda s: {"capacity": '{"max_units": 0}'},
        "warehouse_locations_capacity_check",
    ),
    ("safety_incidents", lambda s: {"severity": "mild"}, "safety_incidents_severity_check"),
    ("safety_incidents", lambda s: {"status": "resolved"}, "safety_incidents_resolved_at_check"),
    (
        "safety_incidents",
        lambda s: {"status": "resolved", "resolved_at": "2025-12-31"},
        "safety_incidents_resolved_at_check",
    ),
]


def valid_row(table: str, stocked: Stocked) -> dict[str, object]:
    """Return values that the table accepts as they are."""
    rows: dict[str, dict[str, object]] = {
        "operations": {
            "reference": "OP-1",
            "operation_type": "picking",
            "source_location_id": stocked.locations["B1"],
        },
        "inventory_locations": {
            "item_id": stocked.items["NUT"],
            "location_id": stocked.locations["B2"],
            "quantity": 10,
        },
        "inventory_items": {"sku": "WASHER", "name": "Washer"},
        "equipment": {"code": "F1", "name": "Forklift", "equipment_type": "forklift"},
        "warehouse_locations": {"code": "Z9", "name": "Zone", "location_type": "zone"},
        "safety_incidents": {
            "reference": "SI-1",
            "incident_type": "near_miss",
            "severity": "low",
            "location_id": stocked.locations["A1"],
            "description": "Wet floor",
            "reported_by": "ada",
            "occurred_at": "2026-01-01",
        },
    }
    return rows[table]


@pytest.mark.parametrize(
    ("table", "wrong", "constraint"),
    REFUSED,
    ids=[f"{number}-{row[2]}" for number, row in enumerate(REFUSED)],
)
def test_wrong_values_are_refused_by_the_named_check(
    warehouse: Warehouse,
    stocked: Stocked,
    table: str,
    wrong: Callable[[Stocked], dict[str, object]],
    constraint: str,
) -> None:
    row = valid_row(table, stocked)
    with pytest.raises(errors.CheckViolation) as refused:
        insert(warehouse, table, **(row | wrong(stocked)))
    assert refused.value.diag.constraint_name == constraint

    insert(warehouse, table, **row)


@pytest.mark.parametrize("priority", [1, 10])
def test_the_bounds_of_priority_are_allowed(warehouse: Warehouse, stocked: Stocked, priority: int) -> None:
    insert(warehouse, "operations", **(valid_row("operations", stocked) | {"priority": priority}))


# Location tree


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        ("aisle", "A1"),
        ("rack", "Z1"),
        ("shelf", "A1"),
        ("bin", "R1"),
        ("bin", "B1"),
        ("aisle", "B1"),
    ],
)
def test_a_parent_must_be_exactly_one_level_above(
    warehouse: Warehouse, stocked: Stocked, kind: str, parent: str
) -> None:
    with pytest.raises(errors.ForeignKeyViolation) as refused:
        location(warehouse, "X", kind, stocked.locations[parent])
    assert refused.value.diag.constraint_name == "warehouse_locations_parent_fkey"


def test_a_parent_must_exist(warehouse: Warehouse) -> None:
    with pytest.raises(errors.ForeignKeyViolation):
        location(warehouse, "X", "aisle", UUID(int=0))


@pytest.mark.parametrize(("kind", "parent"), [("zone", "Z1"), ("aisle", None), ("bin", None)])
def test_zones_and_only_zones_are_roots(warehouse: Warehouse, stocked: Stocked, kind: str, parent: str | None) -> None:
    with pytest.raises(errors.CheckViolation) as refused:
        location(warehouse, "X", kind, stocked.locations[parent] if parent else None)
    assert refused.value.diag.constraint_name == "warehouse_locations_root_check"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM warehouse.warehouse_locations WHERE id = %s",
        "UPDATE warehouse.warehouse_locations SET location_type = 'shelf' WHERE id = %s",
    ],
    ids=["delete", "change_type"],
)
def test_a_location_with_children_can_neither_go_nor_change_its_level(
    warehouse: Warehouse, stocked: Stocked, statement: str
) -> None:
    with pytest.raises(errors.ForeignKeyViolation):
        warehouse.execute(statement, [stocked.locations["R1"]])


def test_a_location_code_is_unique(warehouse: Warehouse, stocked: Stocked) -> None:
    with pytest.raises(errors.UniqueViolation) as refused:
        location(warehouse, "Z1", "zone")
    assert refused.value.diag.constraint_name == "warehouse_locations_code_key"


# Views


def report(warehouse: Warehouse, query: str) -> list[dict[str, Any]]:
    return warehouse.cursor(row_factory=dict_row).execute(query).fetchall()


@pytest.fixture
def counted(warehouse: Warehouse, stocked: Stocked) -> Stocked:
    """The small warehouse with 12 bolts in two bins; nuts are out of stock everywhere."""
    bolt = stocked.items["BOLT"]
    stock(warehouse, bolt, stocked.locations["B1"], quantity=10, reserved=4, reorder_point=8, max_quantity=25)
    stock(warehouse, bolt, stocked.locations["B2"], quantity=2, reorder_point=2)
    return stocked


@pytest.mark.usefixtures("counted")
def test_item_stock_sums_over_locations_and_shows_items_without_stock(warehouse: Warehouse) -> None:
    query = """
        SELECT sku, location_count, quantity, reserved, available
        FROM reporting.item_stock ORDER BY sku
    """
    assert report(warehouse, query) == [
        {"sku": "BOLT", "location_count": 2, "quantity": 12, "reserved": 4, "available": 8},
        {"sku": "NUT", "location_count": 0, "quantity": 0, "reserved": 0, "available": 0},
    ]


def test_low_stock_is_below_the_reorder_point_and_not_at_it(warehouse: Warehouse, counted: Stocked) -> None:
    query = "SELECT sku, location_code, available, shortage, replenish_quantity FROM reporting.low_stock"
    assert report(warehouse, query) == [
        {"sku": "BOLT", "location_code": "B1", "available": 6, "shortage": 2, "replenish_quantity": 15},
    ]

    warehouse.execute(
        "UPDATE warehouse.inventory_items SET status = 'recalled' WHERE id = %s",
        [counted.items["BOLT"]],
    )
    assert report(warehouse, query) == []


@pytest.mark.usefixtures("counted")
def test_location_utilisation_counts_everything_below_a_location(warehouse: Warehouse) -> None:
    rows = report(
        warehouse,
        """
        SELECT path, depth, stored_units, utilisation_percent
        FROM reporting.location_utilisation ORDER BY path
        """,
    )
    assert [tuple(row.values()) for row in rows] == [
        ("Z1", 1, 12, Decimal("1.2")),
        ("Z1/A1", 2, 12, None),
        ("Z1/A1/R1", 3, 12, None),
        ("Z1/A1/R1/S1", 4, 12, Decimal("24.0")),
        ("Z1/A1/R1/S1/B1", 5, 10, Decimal("50.0")),
        ("Z1/A1/R1/S1/B2", 5, 2, None),
    ]


def test_open_operations_queue_by_priority_then_schedule(warehouse: Warehouse, stocked: Stocked) -> None:
    bin_one, bin_two = stocked.locations["B1"], stocked.locations["B2"]
    for reference, priority, status, scheduled_at in [
        ("unscheduled", 2, "planned", None),
        ("late", 2, "planned", "2020-01-01"),
        ("later", 2, "in_progress", "2020-01-02"),
        ("urgent", 1, "on_hold", None),
        ("cancelled", 1, "cancelled", None),
    ]:
        operation = insert(
            warehouse,
            "operations",
            reference=reference,
            operation_type="putaway",
            priority=priority,
            status=status,
            scheduled_at=scheduled_at,
            source_location_id=bin_one,
            target_location_id=bin_two,
        )
        if reference == "late":
            for number, (sku, done) in enumerate([("BOLT", 2), ("NUT", 9)], start=1):
                insert(
                    warehouse,
                    "operation_items",
                    operation_id=operation,
                    line_number=number,
                    item_id=stocked.items[sku],
                    requested_quantity=5,
                    completed_quantity=done,
                )

    rows = report(
        warehouse,
        """
        SELECT reference, is_overdue, source_location_code, target_location_code,
            line_count, remaining_quantity
        FROM reporting.open_operations ORDER BY queue_position
        """,
    )
    assert [tuple(row.values()) for row in rows] == [
        ("urgent", False, "B1", "B2", 0, 0),
        ("late", True, "B1", "B2", 2, 3),
        ("later", False, "B1", "B2", 0, 0),
        ("unscheduled", False, "B1", "B2", 0, 0),
    ]


def test_open_safety_incidents_leave_out_the_resolved(warehouse: Warehouse, stocked: Stocked) -> None:
    incident = valid_row("safety_incidents", stocked)
    forklift = insert(warehouse, "equipment", **valid_row("equipment", stocked))
    insert(warehouse, "safety_incidents", **incident)
    grave = {
        "reference": "SI-2",
        "severity": "critical",
        "status": "investigating",
        "equipment_id": forklift,
    }
    insert(warehouse, "safety_incidents", **(incident | grave))
    closed = {"reference": "SI-3", "status": "resolved", "resolved_at": "2026-01-02"}
    insert(warehouse, "safety_incidents", **(incident | closed))

    rows = report(
        warehouse,
        """
        SELECT reference, severity_rank, location_code, equipment_code
        FROM reporting.open_safety_incidents ORDER BY severity_rank
        """,
    )
    assert [tuple(row.values()) for row in rows] == [
        ("SI-2", 1, "A1", "F1"),
        ("SI-1", 4, "A1", None),
    ]


# Indexes of 005


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (
            "SELECT sku FROM warehouse.inventory_items"
            " WHERE to_tsvector('pg_catalog.simple',"
            " sku || ' ' || name || ' ' || coalesce(description, ''))"
            " @@ to_tsquery('pg_catalog.simple', 'hex & bolt')",
            "inventory_items_search_idx",
        ),
        ("SELECT item_id FROM reporting.low_stock", "inventory_locations_low_stock_idx"),
        (
            "SELECT id FROM warehouse.operations"
            " WHERE status IN ('planned', 'in_progress', 'on_hold') AND scheduled_at < now()",
            "operations_open_schedule_idx",
        ),
    ],
    ids=["search", "low_stock", "open_schedule"],
)
def test_an_index_can_serve_the_query_it_was_built_for(warehouse: Warehouse, query: str, index: str) -> None:
    with warehouse.transaction(force_rollback=True):
        # Small tables are scanned: forbid it, to see whether the index matches at all.
        warehouse.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(line for (line,) in warehouse.execute(f"EXPLAIN {query}"))
    assert index in plan
