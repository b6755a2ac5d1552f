-- Removes the warehouse tables, those that refer to others first. Indexes and triggers go with their table.
-- What audit.row_changes recorded about these tables stays: a rollback is no reason to forget.

DROP TABLE warehouse.safety_incidents;
DROP TABLE warehouse.operation_items;
DROP TABLE warehouse.operations;
DROP TABLE warehouse.inventory_locations;
DROP TABLE warehouse.inventory_items;
DROP TABLE warehouse.equipment;
DROP TABLE warehouse.warehouse_locations;
