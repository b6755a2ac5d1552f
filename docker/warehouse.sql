-- The image runs this once, as the superuser in the database "warehouse", when its volume is empty.
-- Migrations run as the owner of the database, not as superuser: TimescaleDB itself is installed already.
\getenv password WAREHOUSE_PASSWORD
CREATE ROLE warehouse LOGIN PASSWORD :'password';
ALTER DATABASE warehouse OWNER TO warehouse;
