"""What the shipped migrations 006 to 008 promise: lots, orders and reservations, and who may do what."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg import errors
from warehouse_rows import Warehouse, insert

ROLES = ("warehouse_reader", "warehouse_operator", "warehouse_service")


def value(warehouse: Warehouse, query: str, *parameters: object) -> Any:
    row = warehouse.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


class Shop:
    """One item with ten units in one zone, and an order for it."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.item = insert(warehouse, "inventory_items", sku="MILK", name="Milk", tracking="lot")
        self.other = insert(warehouse, "inventory_items", sku="SALT", name="Salt")
        self.zone = insert(warehouse, "warehouse_locations", code="Z", name="Zone", location_type="zone")
        insert(warehouse, "inventory_locations", item_id=self.item, location_id=self.zone, quantity=10)
        partner = insert(warehouse, "partners", code="C1", name="Customer", partner_type="customer")
        self.order = insert(warehouse, "orders", order_number="O1", order_type="sales", partner_id=partner)
        self.line = self.order_line(warehouse, 1)

    def order_line(self, warehouse: Warehouse, number: int) -> UUID:
        return insert(warehouse, "order_lines", order_id=self.order, line_number=number, item_id=self.item, quantity=8)

    def reserve(self, warehouse: Warehouse, quantity: int, line: UUID | None = None, item: UUID | None = None) -> UUID:
        return insert(
            warehouse,
            "reservations",
            order_line_id=line or self.line,
            item_id=item or self.item,
            location_id=self.zone,
            quantity=quantity,
        )


@pytest.fixture
def shop(warehouse: Warehouse) -> Shop:
    return Shop(warehouse)


def reserved(warehouse: Warehouse) -> int:
    return int(value(warehouse, "SELECT sum(reserved) FROM warehouse.inventory_locations"))


def test_reserved_follows_the_reservations(warehouse: Warehouse, shop: Shop) -> None:
    reservation = shop.reserve(warehouse, 6)
    assert reserved(warehouse) == 6
    warehouse.execute("UPDATE warehouse.reservations SET quantity = 9 WHERE id = %s", [reservation])
    assert reserved(warehouse) == 9
    warehouse.execute("UPDATE warehouse.reservations SET expires_at = now() WHERE id = %s", [reservation])
    assert reserved(warehouse) == 9
    warehouse.execute("DELETE FROM warehouse.reservations WHERE id = %s", [reservation])
    assert reserved(warehouse) == 0


def test_the_same_unit_is_not_promised_twice(warehouse: Warehouse, shop: Shop) -> None:
    shop.reserve(warehouse, 6)
    second = shop.order_line(warehouse, 2)
    with pytest.raises(errors.CheckViolation) as refused:
        shop.reserve(warehouse, 5, second)
    assert refused.value.diag.constraint_name == "inventory_locations_reserved_check"
    shop.reserve(warehouse, 4, second)
    assert reserved(warehouse) == 10


def test_a_reservation_is_for_the_item_of_its_line_and_for_stock_that_exists(warehouse: Warehouse, shop: Shop) -> None:
    with pytest.raises(errors.ForeignKeyViolation) as refused:
        shop.reserve(warehouse, 1, item=shop.other)
    assert refused.value.diag.constraint_name in ("reservations_order_line_fkey", "reservations_stock_fkey")
    warehouse.execute("DELETE FROM warehouse.inventory_locations")
    with pytest.raises(errors.ForeignKeyViolation):
        shop.reserve(warehouse, 1)


def test_an_order_with_reservations_cannot_go(warehouse: Warehouse, shop: Shop) -> None:
    shop.reserve(warehouse, 1)
    with pytest.raises(errors.ForeignKeyViolation):
        warehouse.execute("DELETE FROM warehouse.orders")
    warehouse.execute("DELETE FROM warehouse.reservations")
    warehouse.execute("DELETE FROM warehouse.orders")
    assert value(warehouse, "SELECT count(*) FROM warehouse.order_lines") == 0


def test_a_lot_lies_where_its_item_has_stock_and_expires_in_the_report(warehouse: Warehouse, shop: Shop) -> None:
    today = value(warehouse, "SELECT current_date")
    lot = insert(warehouse, "lots", item_id=shop.item, lot_number="L1", expires_on=today)
    insert(warehouse, "lots", item_id=shop.item, lot_number="L2", expires_on="9999-12-31")
    insert(warehouse, "lot_locations", lot_id=lot, item_id=shop.item, location_id=shop.zone, quantity=4)
    aisle = insert(warehouse, "warehouse_locations", code="A", name="Aisle", location_type="aisle", parent_id=shop.zone)
    with pytest.raises(errors.ForeignKeyViolation) as refused:
        insert(warehouse, "lot_locations", lot_id=lot, item_id=shop.item, location_id=aisle, quantity=1)
    assert refused.value.diag.constraint_name == "lot_locations_stock_fkey"
    report = "SELECT sku, lot_number, days_left, quantity FROM reporting.expiring_lots"
    assert warehouse.execute(report.encode()).fetchall() == [("MILK", "L1", 0, 4)]


def test_a_pick_takes_from_several_bins_and_lots(warehouse: Warehouse, shop: Shop) -> None:
    lot = insert(warehouse, "lots", item_id=shop.item, lot_number="L1")
    wrong = insert(warehouse, "lots", item_id=shop.other, lot_number="L1")
    operation = insert(
        warehouse,
        "operations",
        reference="P1",
        operation_type="picking",
        source_location_id=shop.zone,
        order_id=shop.order,
    )
    line = {"operation_id": operation, "item_id": shop.item, "requested_quantity": 2, "location_id": shop.zone}
    for number in (1, 2):
        insert(warehouse, "operation_items", line_number=number, lot_id=lot, unit_cost="1.25", **line)
    with pytest.raises(errors.ForeignKeyViolation):
        insert(warehouse, "operation_items", line_number=3, lot_id=wrong, **line)
    with pytest.raises(errors.CheckViolation):
        insert(warehouse, "operation_items", line_number=3, status="short", completed_quantity=2, **line)


def test_a_serial_number_in_stock_is_somewhere_and_a_shipped_one_nowhere(warehouse: Warehouse, shop: Shop) -> None:
    number = {"item_id": shop.other, "serial_number": "S1"}
    with pytest.raises(errors.CheckViolation):
        insert(warehouse, "serial_numbers", **number)
    insert(warehouse, "serial_numbers", location_id=shop.zone, **number)
    with pytest.raises(errors.CheckViolation):
        warehouse.execute("UPDATE warehouse.serial_numbers SET status = 'shipped'")
    warehouse.execute("UPDATE warehouse.serial_numbers SET status = 'shipped', location_id = NULL")


MAY = {
    "SELECT FROM reporting.item_stock": ROLES,
    "SELECT FROM warehouse.orders": ROLES,
    "UPDATE warehouse.operations SET priority = 1": ROLES[1:],
    "DELETE FROM warehouse.reservations": ROLES[1:],
    "INSERT INTO warehouse.partners (code, name, partner_type) VALUES ('X', 'X', 'carrier')": ROLES[2:],
    "DELETE FROM warehouse.operations": (),
    "TRUNCATE warehouse.reservations": (),
    "SELECT FROM audit.row_changes": (),
    "SELECT audit.unwatch('warehouse.orders')": (),
    "SELECT audit.drop_months('1 day')": (),
    "CREATE TABLE warehouse.mine ()": (),
}


@pytest.mark.parametrize("statement", MAY)
@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_what_it_needs_and_no_more(warehouse: Warehouse, role: str, statement: str) -> None:
    with warehouse.transaction(force_rollback=True):
        warehouse.execute(f"SET LOCAL ROLE {role}")
        if role in MAY[statement]:
            warehouse.execute(statement.encode())
        else:
            with pytest.raises(errors.InsufficientPrivilege), warehouse.transaction():
                warehouse.execute(statement.encode())


def test_what_later_migrations_make_can_be_read(warehouse: Warehouse) -> None:
    warehouse.execute("CREATE TABLE warehouse.later ()")
    for role in ROLES:
        assert value(warehouse, "SELECT has_table_privilege(%s, 'warehouse.later', 'SELECT')", role)
        assert not value(warehouse, "SELECT has_table_privilege(%s, 'warehouse.later', 'INSERT')", role)


def test_a_role_that_may_not_create_roles_says_what_an_administrator_does(warehouse: Warehouse, shipped: Path) -> None:
    script = (shipped / "008_roles_and_grants.sql").read_text().replace("warehouse_reader", "nobody_made_this")
    with warehouse.transaction(force_rollback=True):
        warehouse.execute("CREATE ROLE plain NOLOGIN")
        warehouse.execute("SET LOCAL ROLE plain")
        with pytest.raises(errors.InsufficientPrivilege) as refused, warehouse.transaction():
            warehouse.execute(script.encode())
    assert (
        refused.value.diag.message_primary == "the role nobody_made_this does not exist, and plain may not create roles"
    )
    assert refused.value.diag.message_hint == "Let an administrator run: CREATE ROLE nobody_made_this NOLOGIN;"
