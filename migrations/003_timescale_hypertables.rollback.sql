-- Removes the aggregates, then their hypertables. Policies, chunks and indexes go with what they belong to.
--
-- Measurements and events are lost. Stock movements are business records: if there are any, they are kept in
-- warehouse.kept_inventory_movements, and the next apply takes them back. To go on and roll back 001, somebody
-- has to drop that table first.
--
-- The extension stays, even if the migration created it: DROP EXTENSION timescaledb CASCADE would delete the
-- rows of every other hypertable in the database. A schema comparison before and after must therefore leave
-- out the extension and its own schemas (_timescaledb_* and timescaledb_*).

-- Nobody may add one between the look and the drop.
LOCK TABLE telemetry.inventory_movements IN ACCESS EXCLUSIVE MODE;

DO $do$
BEGIN
    IF EXISTS (SELECT FROM telemetry.inventory_movements) THEN
        CREATE TABLE warehouse.kept_inventory_movements AS SELECT * FROM telemetry.inventory_movements;
        COMMENT ON TABLE warehouse.kept_inventory_movements IS
            'Movements kept by the rollback of 003, until it is applied again';
    END IF;
END;
$do$;

DROP MATERIALIZED VIEW telemetry.equipment_events_daily;
DROP MATERIALIZED VIEW telemetry.inventory_movements_daily;
DROP MATERIALIZED VIEW telemetry.operation_metrics_daily;
DROP MATERIALIZED VIEW telemetry.telemetry_data_daily;

DROP TABLE telemetry.performance_metrics;
DROP TABLE telemetry.equipment_events;
DROP TABLE telemetry.inventory_movements;
DROP TABLE telemetry.operation_metrics;
DROP TABLE telemetry.telemetry_data;

DROP SCHEMA telemetry;
