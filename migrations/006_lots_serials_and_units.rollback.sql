-- Removes lots, serial numbers and units, with the columns that refer to them. Their rows are lost; what
-- audit.row_changes recorded about them stays.

DROP VIEW reporting.expiring_lots;

ALTER TABLE warehouse.operation_items DROP COLUMN lot_id;

DROP TABLE warehouse.serial_numbers;
DROP TABLE warehouse.lot_locations;
DROP TABLE warehouse.lots;
DROP TABLE warehouse.item_units;

ALTER TABLE warehouse.inventory_items
    DROP COLUMN shelf_life_days,
    DROP COLUMN tracking;
