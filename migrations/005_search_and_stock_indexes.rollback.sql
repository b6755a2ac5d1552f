-- CONCURRENTLY again, and so again one statement at a time, outside a transaction.

DROP INDEX CONCURRENTLY warehouse.operations_open_schedule_idx;
DROP INDEX CONCURRENTLY warehouse.inventory_locations_low_stock_idx;
DROP INDEX CONCURRENTLY warehouse.inventory_items_search_idx;
