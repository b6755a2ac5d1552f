-- Removes the foundation in reverse order. The audit trail goes with it: keep a copy if it must be retained.
-- Nothing is dropped by CASCADE, so an object that another migration or a person put here stops the rollback.

DROP TABLE warehouse.application_metadata;

DROP FUNCTION audit.drop_months(interval);
DROP FUNCTION audit.add_month(date);
DROP FUNCTION audit.unwatch(regclass);
DROP FUNCTION audit.watch(regclass, name);
DROP FUNCTION audit.record_row_changes();
DROP TABLE audit.row_changes;

DROP FUNCTION warehouse.set_updated_at();

DROP SCHEMA audit;
DROP SCHEMA warehouse;
