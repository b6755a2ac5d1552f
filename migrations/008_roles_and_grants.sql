-- Three roles for everybody but the owner: reader, operator, service. People and programs get their own login
-- role and become members of one: GRANT warehouse_reader TO ada;

-- Roles belong to the whole server: another database may have made them already, and a migration's role may not
-- be allowed to make them. They have no rights of their own until the grants below, and only in this database.
DO $do$
DECLARE
    needed text;
BEGIN
    FOREACH needed IN ARRAY ARRAY['warehouse_reader', 'warehouse_operator', 'warehouse_service'] LOOP
        IF to_regrole(needed) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', needed);
            EXCEPTION
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'the role % does not exist, and % may not create roles', needed, current_user
                        USING ERRCODE = 'insufficient_privilege',
                              HINT = format('Let an administrator run: CREATE ROLE %I NOLOGIN;', needed);
                WHEN duplicate_object OR unique_violation THEN
                    NULL; -- made by somebody else just now
            END;
        END IF;
    END LOOP;
END;
$do$;

GRANT USAGE ON SCHEMA warehouse, reporting TO warehouse_reader, warehouse_operator, warehouse_service;


-- Reads: all three. The audit trail is for the owner alone.
GRANT SELECT ON ALL TABLES IN SCHEMA warehouse, reporting
    TO warehouse_reader, warehouse_operator, warehouse_service;

-- Daily work. Nothing is deleted but a line, a reservation and a lot's empty place.
GRANT INSERT, UPDATE ON
    warehouse.operations,
    warehouse.operation_items,
    warehouse.inventory_locations,
    warehouse.lots,
    warehouse.lot_locations,
    warehouse.serial_numbers,
    warehouse.reservations,
    warehouse.safety_incidents
    TO warehouse_operator, warehouse_service;
GRANT DELETE ON warehouse.operation_items, warehouse.lot_locations, warehouse.reservations
    TO warehouse_operator, warehouse_service;

-- Master data and orders: what other systems send. TRUNCATE is granted to nobody, since the trail does not see it.
GRANT INSERT, UPDATE ON
    warehouse.warehouse_locations,
    warehouse.equipment,
    warehouse.inventory_items,
    warehouse.item_units,
    warehouse.partners,
    warehouse.orders,
    warehouse.order_lines
    TO warehouse_service;
GRANT DELETE ON warehouse.item_units, warehouse.order_lines TO warehouse_service;


-- Tables that later migrations make can be read at once; writing is granted by the migration that makes them.
ALTER DEFAULT PRIVILEGES IN SCHEMA warehouse
    GRANT SELECT ON TABLES TO warehouse_reader, warehouse_operator, warehouse_service;
ALTER DEFAULT PRIVILEGES IN SCHEMA reporting
    GRANT SELECT ON TABLES TO warehouse_reader, warehouse_operator, warehouse_service;


-- Time series, where 003 was applied. Rows are appended, never edited: a person records a movement, readings and
-- events come from programs. If a database gets TimescaleDB later: apply 003, roll back 008, apply 008 again.
DO $do$
BEGIN
    IF to_regnamespace('telemetry') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA telemetry TO warehouse_reader, warehouse_operator, warehouse_service;
        GRANT SELECT ON ALL TABLES IN SCHEMA telemetry
            TO warehouse_reader, warehouse_operator, warehouse_service;
        GRANT INSERT ON telemetry.inventory_movements TO warehouse_operator, warehouse_service;
        GRANT INSERT ON
            telemetry.telemetry_data,
            telemetry.operation_metrics,
            telemetry.equipment_events,
            telemetry.performance_metrics
            TO warehouse_service;
        ALTER DEFAULT PRIVILEGES IN SCHEMA telemetry
            GRANT SELECT ON TABLES TO warehouse_reader, warehouse_operator, warehouse_service;
    END IF;
END;
$do$;
