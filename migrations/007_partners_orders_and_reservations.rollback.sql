-- Removes partners, orders and reservations; their rows are lost, what audit.row_changes recorded about them
-- stays. Stock that was reserved for an order is free again.

-- Nobody may reserve between the release and the drop.
LOCK TABLE warehouse.reservations IN ACCESS EXCLUSIVE MODE;
DELETE FROM warehouse.reservations;

DROP TABLE warehouse.reservations;
DROP FUNCTION warehouse.apply_reservation();
ALTER TABLE warehouse.operations DROP COLUMN order_id;
DROP TABLE warehouse.order_lines;
DROP TABLE warehouse.orders;
DROP TABLE warehouse.partners;
