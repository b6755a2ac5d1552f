-- The image runs this once, as the superuser in the database "warehouse", when its volume is empty.
-- Migrations run as the owner of the database, not as superuser: TimescaleDB itself is installed already.
\getenv password WAREHOUSE_PASSWORD
CREATE ROLE warehouse LOGIN PASSWORD :'password';
ALTER DATABASE warehouse OWNER TO warehouse;
-- What the shipped migration 008 grants to. A role that may not create roles finds them here.
CREATE ROLE warehouse_reader NOLOGIN;
CREATE ROLE warehouse_operator NOLOGIN;
CREATE ROLE warehouse_service NOLOGIN;
