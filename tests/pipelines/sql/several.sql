UPDATE warehouse.equipment SET status = 'maintenance' WHERE next_maintenance_at < now();
SELECT code FROM warehouse.warehouse_locations WHERE parent_id IS NULL;
