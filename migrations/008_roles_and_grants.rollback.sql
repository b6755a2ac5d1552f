-- Takes back every grant in this database. The roles stay: other databases of the server may use them, and people
-- are members of them.

DO $do$
BEGIN
    IF to_regnamespace('telemetry') IS NOT NULL THEN
        ALTER DEFAULT PRIVILEGES IN SCHEMA telemetry
            REVOKE ALL ON TABLES FROM warehouse_reader, warehouse_operator, warehouse_service;
        REVOKE ALL ON ALL TABLES IN SCHEMA telemetry FROM warehouse_reader, warehouse_operator, warehouse_service;
        REVOKE ALL ON SCHEMA telemetry FROM warehouse_reader, warehouse_operator, warehouse_service;
    END IF;
END;
$do$;

ALTER DEFAULT PRIVILEGES IN SCHEMA reporting
    REVOKE ALL ON TABLES FROM warehouse_reader, warehouse_operator, warehouse_service;
ALTER DEFAULT PRIVILEGES IN SCHEMA warehouse
    REVOKE ALL ON TABLES FROM warehouse_reader, warehouse_operator, warehouse_service;

REVOKE ALL ON ALL TABLES IN SCHEMA warehouse, reporting
    FROM warehouse_reader, warehouse_operator, warehouse_service;
REVOKE ALL ON SCHEMA warehouse, reporting FROM warehouse_reader, warehouse_operator, warehouse_service;
