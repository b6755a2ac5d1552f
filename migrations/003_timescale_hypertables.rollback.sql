-- Removes the aggregates, then their hypertables. Policies, chunks and indexes go with what they belong to.
--
-- The extension stays, even if the migration created it: DROP EXTENSION timescaledb CASCADE would delete the
-- rows of every other hypertable in the database. A schema comparison before and after must therefore leave
-- out the extension and its own schemas (_timescaledb_* and timescaledb_*).

DROP MATERIALIZED VIEW telemetry.equipment_events_daily;
DROP MATERIALIZED VIEW telemetry.inventory_movements_daily;
DROP MATERIALIZED VIEW telemetry.telemetry_data_daily;

DROP TABLE telemetry.performance_metrics;
DROP TABLE telemetry.equipment_events;
DROP TABLE telemetry.inventory_movements;
DROP TABLE telemetry.operation_metrics;
DROP TABLE telemetry.telemetry_data;

DROP SCHEMA telemetry;
