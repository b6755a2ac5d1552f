-- Indexes for the busiest queries, built CONCURRENTLY so that nobody has to stop writing meanwhile. That is
-- not possible in a transaction: each statement stands alone and commits by itself. An interrupted build
-- leaves an INVALID index behind, which must be dropped before the statement is run again; IF NOT EXISTS
-- would take it for done.

-- Full-text search. 'simple' neither stems nor drops stop words, as names and SKUs need; a query is served
-- by the index only if it repeats this very expression.
CREATE INDEX CONCURRENTLY inventory_items_search_idx
    ON warehouse.inventory_items
    USING gin (to_tsvector('pg_catalog.simple', sku || ' ' || name || ' ' || coalesce(description, '')));

-- Few rows are low at any time, so this stays small; the predicate is the one of reporting.low_stock.
CREATE INDEX CONCURRENTLY inventory_locations_low_stock_idx
    ON warehouse.inventory_locations (item_id, location_id)
    WHERE available < reorder_point;

-- "What is due next?" without wading through the finished operations.
CREATE INDEX CONCURRENTLY operations_open_schedule_idx
    ON warehouse.operations (scheduled_at, priority)
    WHERE status IN ('planned', 'in_progress', 'on_hold');
