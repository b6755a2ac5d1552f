-- Removes the foundation in reverse order. The audit trail goes with it: keep a copy if it must be retained.
-- Nothing is dropped by CASCADE, so an object that another migration or a person put here stops the rollback.

DROP TABLE warehouse.application_metadata;

DROP FUNCTION audit.record_row_change();
DROP TABLE audit.row_changes;

DROP FUNCTION warehouse.set_updated_at();

DROP SCHEMA audit;
DROP SCHEMA warehouse;
