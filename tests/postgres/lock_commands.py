"""A schema in which everything hangs on something else, and the commands of PostgreSQL that lock relations in it.

Every command runs on the schema as it stands here, alone, and is rolled back.
"""

from __future__ import annotations

SCHEMA = """
CREATE SCHEMA app;
CREATE SCHEMA other;
SET search_path = app;
CREATE ROLE reader;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TYPE address AS (street text, town text);
CREATE DOMAIN amount AS numeric CHECK (VALUE >= 0);
CREATE DOMAIN weight AS int;
CREATE SEQUENCE loose_numbers;

CREATE TABLE customers (id int PRIMARY KEY, name text, mail text, home address, mood mood DEFAULT 'good');
CREATE UNIQUE INDEX customers_mail ON customers (mail);
CREATE TABLE orders (
    id serial PRIMARY KEY, customer int REFERENCES customers, total amount, note text NOT NULL DEFAULT '', code int,
    placed timestamptz, twice int GENERATED ALWAYS AS (code * 2) STORED, number int GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT orders_code CHECK (code > 0)
);
CREATE INDEX orders_code_index ON orders (code);
CREATE INDEX orders_placed ON orders (placed);
CREATE INDEX orders_doubled ON orders ((code * 2));
CREATE UNIQUE INDEX orders_number ON orders (number);
CREATE STATISTICS order_statistics ON code, placed FROM orders;
ALTER TABLE orders ADD CONSTRAINT orders_total CHECK (total < 1000000) NOT VALID;
CREATE TABLE order_lines (
    id int PRIMARY KEY, order_id int, line text,
    CONSTRAINT order_lines_order FOREIGN KEY (order_id) REFERENCES orders ON DELETE CASCADE
);
CREATE TABLE returns (
    id int PRIMARY KEY, line_id int CONSTRAINT returns_line REFERENCES order_lines DEFERRABLE, order_id int
);
ALTER TABLE returns ADD CONSTRAINT returns_order FOREIGN KEY (order_id) REFERENCES orders NOT VALID;

CREATE VIEW order_names AS SELECT o.id, o.note, c.name FROM orders o JOIN customers c ON c.id = o.customer;
CREATE VIEW short_names AS SELECT id, name FROM order_names;
CREATE VIEW plain_orders AS SELECT id, note FROM orders;
CREATE MATERIALIZED VIEW totals AS SELECT customer, sum(total) AS total FROM orders GROUP BY customer;
CREATE UNIQUE INDEX totals_customer ON totals (customer);
CREATE VIEW large_totals AS SELECT * FROM totals WHERE total > 100;

CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION doubled(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE TABLE watched (id int PRIMARY KEY, what text, kept text);
CREATE TRIGGER watched_touched BEFORE UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION touched();
CREATE RULE watched_quietly AS ON DELETE TO watched DO INSTEAD NOTHING;
CREATE POLICY watched_all ON watched USING (true);

CREATE TABLE events (id int NOT NULL, day date NOT NULL, what text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE TABLE events_3 (id int NOT NULL, day date NOT NULL, what text);
CREATE TABLE things_c (kind text, id int, customer int);
CREATE INDEX events_what ON events (what);
CREATE INDEX events_day ON ONLY events (day);
CREATE INDEX events_1_day ON events_1 (day);
CREATE TABLE event_notes (
    id int, event int, day date,
    CONSTRAINT event_notes_event FOREIGN KEY (event, day) REFERENCES events
);
CREATE TABLE things (kind text, id int, customer int REFERENCES customers) PARTITION BY LIST (kind);
CREATE TABLE things_a PARTITION OF things FOR VALUES IN ('a');
CREATE TABLE things_b PARTITION OF things FOR VALUES IN ('b') PARTITION BY LIST (id);
CREATE TABLE things_b_1 PARTITION OF things_b FOR VALUES IN (1);

CREATE TABLE animals (id int CONSTRAINT animals_id CHECK (id > 0), name text);
CREATE TABLE dogs (bark text) INHERITS (animals);
CREATE TABLE puppies (age int) INHERITS (dogs);
CREATE TABLE cats (id int CONSTRAINT animals_id CHECK (id > 0), name text);

CREATE TABLE addresses OF address;
CREATE TABLE towns (street text, town text);
CREATE TABLE parcels (id int PRIMARY KEY, weight weight);
CREATE UNLOGGED TABLE scratch (id int);
CREATE TABLE tickets (id bigserial, number int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE lonely (id int, small varchar(10), number int, "mood" mood, price amount);
CREATE TABLE "Odd Name" (id int);
CREATE TABLE other.orders (id int);

CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER far FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE distant (id int, what text) SERVER far;

CREATE PUBLICATION news FOR TABLE watched;
CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;
INSERT INTO customers (id) VALUES (1), (2), (3);
INSERT INTO orders (customer, code) VALUES (1, 1), (1, 2);
INSERT INTO order_lines VALUES (1, 1, 'a');
INSERT INTO events VALUES (1, '2024-01-01', 'a'), (2, '2024-02-01', 'b');
INSERT INTO animals VALUES (1, 'a');
INSERT INTO lonely VALUES (1);
INSERT INTO watched VALUES (1, 'a');
"""

COMMANDS = """
# ALTER TABLE, columns
ALTER TABLE orders ADD COLUMN extra int
ALTER TABLE orders ADD COLUMN extra int DEFAULT 5
ALTER TABLE orders ADD COLUMN extra float DEFAULT random()
ALTER TABLE orders ADD COLUMN IF NOT EXISTS code int
ALTER TABLE orders ADD COLUMN extra serial
ALTER TABLE orders ADD COLUMN extra int GENERATED ALWAYS AS IDENTITY
ALTER TABLE orders ADD COLUMN extra int GENERATED ALWAYS AS (code + 1) STORED
ALTER TABLE orders ADD COLUMN extra int REFERENCES customers
ALTER TABLE orders ADD COLUMN extra int UNIQUE
ALTER TABLE orders ADD COLUMN extra int CHECK (extra > 0)
ALTER TABLE animals ADD COLUMN extra int
ALTER TABLE events ADD COLUMN extra int
ALTER TABLE orders DROP COLUMN placed
ALTER TABLE orders DROP COLUMN note CASCADE
ALTER TABLE orders DROP COLUMN customer CASCADE
ALTER TABLE orders DROP COLUMN id CASCADE
ALTER TABLE orders DROP COLUMN IF EXISTS nothing
ALTER TABLE animals DROP COLUMN name
ALTER TABLE ONLY animals DROP COLUMN name
ALTER TABLE orders ALTER COLUMN placed TYPE text USING placed::text
ALTER TABLE lonely ALTER COLUMN small TYPE varchar(20)
ALTER TABLE lonely ALTER COLUMN small TYPE text
ALTER TABLE lonely ALTER COLUMN number TYPE bigint
ALTER TABLE customers ALTER COLUMN mail TYPE varchar(200)
ALTER TABLE order_lines ALTER COLUMN order_id TYPE bigint
ALTER TABLE order_lines ALTER COLUMN id TYPE bigint
ALTER TABLE events ALTER COLUMN what TYPE varchar(50)
ALTER TABLE animals ALTER COLUMN name TYPE varchar(50)
ALTER TABLE orders ALTER COLUMN code SET DEFAULT 1
ALTER TABLE orders ALTER COLUMN note DROP DEFAULT
ALTER TABLE orders ALTER COLUMN code SET NOT NULL
ALTER TABLE orders ALTER COLUMN note DROP NOT NULL
ALTER TABLE events ALTER COLUMN what SET NOT NULL
ALTER TABLE animals ALTER COLUMN id SET NOT NULL
ALTER TABLE things ADD PRIMARY KEY (kind, id)
ALTER TABLE parcels ALTER COLUMN id TYPE bigint
ALTER TABLE orders ALTER COLUMN twice DROP EXPRESSION
ALTER TABLE parcels ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY
ALTER TABLE orders ALTER COLUMN number SET GENERATED BY DEFAULT
ALTER TABLE orders ALTER COLUMN number SET INCREMENT BY 2 RESTART WITH 100
ALTER TABLE orders ALTER COLUMN number DROP IDENTITY
ALTER TABLE orders ALTER COLUMN code SET STATISTICS 200
ALTER TABLE animals ALTER COLUMN name SET STATISTICS 200
ALTER TABLE orders ALTER COLUMN code SET (n_distinct = 5)
ALTER TABLE orders ALTER COLUMN code RESET (n_distinct)
ALTER TABLE orders ALTER COLUMN note SET STORAGE EXTERNAL
ALTER TABLE orders ALTER COLUMN note SET COMPRESSION pglz
ALTER TABLE animals ALTER COLUMN name SET DEFAULT 'x'
# ALTER TABLE, constraints
ALTER TABLE orders ADD CONSTRAINT extra CHECK (code < 100)
ALTER TABLE orders ADD CONSTRAINT extra CHECK (code < 100) NOT VALID
ALTER TABLE animals ADD CONSTRAINT extra CHECK (id < 100)
ALTER TABLE orders ADD CONSTRAINT extra UNIQUE (code)
ALTER TABLE lonely ADD PRIMARY KEY (id)
ALTER TABLE events ADD CONSTRAINT extra UNIQUE (what, day)
ALTER TABLE orders ADD CONSTRAINT extra UNIQUE USING INDEX orders_number
ALTER TABLE lonely ADD CONSTRAINT extra EXCLUDE USING btree (id WITH =)
ALTER TABLE orders ADD CONSTRAINT extra FOREIGN KEY (code) REFERENCES customers NOT VALID
ALTER TABLE lonely ADD CONSTRAINT extra FOREIGN KEY (id) REFERENCES customers
ALTER TABLE event_notes ADD CONSTRAINT extra FOREIGN KEY (event, day) REFERENCES events
ALTER TABLE things ADD CONSTRAINT extra FOREIGN KEY (id) REFERENCES customers
ALTER TABLE orders ADD CONSTRAINT extra FOREIGN KEY (code) REFERENCES orders
ALTER TABLE order_lines ALTER CONSTRAINT order_lines_order DEFERRABLE INITIALLY DEFERRED
ALTER TABLE event_notes ALTER CONSTRAINT event_notes_event DEFERRABLE
ALTER TABLE things ALTER CONSTRAINT things_customer_fkey DEFERRABLE
ALTER TABLE orders VALIDATE CONSTRAINT orders_total
ALTER TABLE returns VALIDATE CONSTRAINT returns_order
ALTER TABLE orders DROP CONSTRAINT orders_code
ALTER TABLE order_lines DROP CONSTRAINT order_lines_order
ALTER TABLE event_notes DROP CONSTRAINT event_notes_event
ALTER TABLE things DROP CONSTRAINT things_customer_fkey
ALTER TABLE orders DROP CONSTRAINT orders_pkey CASCADE
ALTER TABLE events DROP CONSTRAINT events_pkey CASCADE
ALTER TABLE animals DROP CONSTRAINT animals_id
ALTER TABLE orders DROP CONSTRAINT IF EXISTS nothing
# ALTER TABLE, triggers, rules, row security
ALTER TABLE watched DISABLE TRIGGER watched_touched
ALTER TABLE watched ENABLE TRIGGER watched_touched
ALTER TABLE watched ENABLE REPLICA TRIGGER watched_touched
ALTER TABLE watched ENABLE ALWAYS TRIGGER watched_touched
ALTER TABLE watched DISABLE TRIGGER ALL
ALTER TABLE watched ENABLE TRIGGER ALL
ALTER TABLE watched DISABLE TRIGGER USER
ALTER TABLE watched ENABLE TRIGGER USER
ALTER TABLE events DISABLE TRIGGER ALL
ALTER TABLE watched DISABLE RULE watched_quietly
ALTER TABLE watched ENABLE RULE watched_quietly
ALTER TABLE watched ENABLE REPLICA RULE watched_quietly
ALTER TABLE watched ENABLE ALWAYS RULE watched_quietly
ALTER TABLE watched ENABLE ROW LEVEL SECURITY
ALTER TABLE watched DISABLE ROW LEVEL SECURITY
ALTER TABLE watched FORCE ROW LEVEL SECURITY
ALTER TABLE watched NO FORCE ROW LEVEL SECURITY
# ALTER TABLE, storage and kinship
ALTER TABLE orders CLUSTER ON orders_code_index
ALTER TABLE orders SET WITHOUT CLUSTER
ALTER TABLE orders SET WITHOUT OIDS
ALTER TABLE lonely SET LOGGED
ALTER TABLE towns SET UNLOGGED
ALTER TABLE scratch SET LOGGED
ALTER TABLE tickets SET UNLOGGED
ALTER TABLE tickets SET SCHEMA other
ALTER TABLE lonely SET ACCESS METHOD heap2
ALTER TABLE lonely SET TABLESPACE pg_default
ALTER TABLE orders SET (fillfactor = 70)
ALTER TABLE orders SET (autovacuum_enabled = false)
ALTER TABLE orders SET (parallel_workers = 2)
ALTER TABLE orders SET (user_catalog_table = true)
ALTER TABLE orders RESET (fillfactor)
ALTER TABLE orders RESET (user_catalog_table)
ALTER TABLE cats INHERIT animals
ALTER TABLE dogs NO INHERIT animals
ALTER TABLE towns OF address
ALTER TABLE addresses NOT OF
ALTER TABLE orders REPLICA IDENTITY FULL
ALTER TABLE orders REPLICA IDENTITY USING INDEX orders_pkey
ALTER TABLE lonely OWNER TO reader
ALTER TABLE orders OWNER TO reader
ALTER TABLE events OWNER TO reader
ALTER TABLE orders RENAME TO purchases
ALTER TABLE orders RENAME COLUMN note TO remark
ALTER TABLE animals RENAME COLUMN name TO called
ALTER TABLE orders RENAME CONSTRAINT orders_code TO code_orders
ALTER TABLE animals RENAME CONSTRAINT animals_id TO id_animals
ALTER TABLE lonely SET SCHEMA other
ALTER TABLE customers SET SCHEMA other
ALTER TABLE events SET SCHEMA other
ALTER TABLE IF EXISTS nothing ADD COLUMN extra int
ALTER TABLE orders ALTER COLUMN code SET STATISTICS 200, VALIDATE CONSTRAINT orders_total
ALTER TABLE orders ALTER COLUMN code SET STATISTICS 200, ALTER COLUMN code SET DEFAULT 5
ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE pg_default
# ALTER TABLE, partitions
ALTER TABLE events ATTACH PARTITION events_3 FOR VALUES FROM ('2024-03-01') TO ('2024-04-01')
ALTER TABLE things ATTACH PARTITION things_c FOR VALUES IN ('c')
ALTER TABLE events DETACH PARTITION events_1
ALTER TABLE events DETACH PARTITION events_rest
ALTER TABLE things DETACH PARTITION things_b
ALTER TABLE events_1 ALTER COLUMN what SET DEFAULT 'x'
ALTER TABLE events_1 ADD CONSTRAINT extra CHECK (id > 0)
# Tables
CREATE TABLE fresh (id int)
CREATE TABLE fresh (id int REFERENCES customers)
CREATE TABLE fresh (event int, day date, FOREIGN KEY (event, day) REFERENCES events)
CREATE TABLE fresh (id int) INHERITS (animals)
CREATE TABLE fresh (LIKE orders INCLUDING ALL)
CREATE TABLE fresh OF address
CREATE TABLE fresh PARTITION OF events FOR VALUES FROM ('2024-03-01') TO ('2024-04-01')
CREATE TABLE fresh PARTITION OF things FOR VALUES IN ('c')
CREATE TABLE fresh AS SELECT * FROM orders
SELECT * INTO fresh FROM orders
CREATE TEMPORARY TABLE fresh (LIKE orders)
CREATE TABLE IF NOT EXISTS orders (id int)
DROP TABLE lonely
DROP TABLE order_lines CASCADE
DROP TABLE orders CASCADE
DROP TABLE customers CASCADE
DROP TABLE events_1 CASCADE
DROP TABLE events_rest CASCADE
DROP TABLE things_a
DROP TABLE events CASCADE
DROP TABLE things
DROP TABLE animals CASCADE
DROP TABLE puppies
DROP TABLE watched, lonely
DROP TABLE IF EXISTS nothing
TRUNCATE lonely
TRUNCATE returns RESTART IDENTITY
TRUNCATE orders RESTART IDENTITY CASCADE
TRUNCATE events CASCADE
TRUNCATE ONLY animals
TRUNCATE animals
# Indexes
CREATE INDEX ON orders (note)
CREATE UNIQUE INDEX ON lonely (id)
CREATE INDEX ON events (id)
CREATE INDEX ON ONLY events (id)
CREATE INDEX ON totals (total)
CREATE INDEX ON animals (id)
CREATE INDEX IF NOT EXISTS orders_placed ON orders (placed)
CREATE INDEX ON orders (doubled(code))
DROP INDEX orders_placed
DROP INDEX events_what
DROP INDEX totals_customer
DROP INDEX IF EXISTS nothing
ALTER INDEX orders_placed RENAME TO placed_orders
ALTER INDEX orders_placed SET (fillfactor = 70)
ALTER INDEX orders_placed RESET (fillfactor)
ALTER INDEX orders_placed SET TABLESPACE pg_default
ALTER INDEX events_day ATTACH PARTITION events_1_day
ALTER INDEX orders_doubled ALTER COLUMN 1 SET STATISTICS 10
ALTER INDEX orders_placed DEPENDS ON EXTENSION plpgsql
ALTER TABLE orders_placed RENAME TO placed_orders
REINDEX INDEX orders_placed
REINDEX TABLE orders
CLUSTER orders USING orders_code_index
CLUSTER totals USING totals_customer
# Views and materialized views
CREATE VIEW fresh AS SELECT * FROM orders
CREATE VIEW fresh AS SELECT * FROM short_names
CREATE OR REPLACE VIEW plain_orders AS SELECT id, note FROM orders WHERE id > 0
CREATE OR REPLACE VIEW plain_orders AS SELECT id, note, code FROM orders
CREATE OR REPLACE VIEW order_names AS SELECT id, note, ''::text AS name FROM orders
CREATE TEMPORARY VIEW fresh AS SELECT * FROM orders
CREATE RECURSIVE VIEW fresh (n) AS SELECT id FROM orders
DROP VIEW plain_orders
DROP VIEW order_names CASCADE
ALTER VIEW plain_orders ALTER COLUMN note SET DEFAULT 'x'
ALTER VIEW plain_orders ALTER COLUMN note DROP DEFAULT
ALTER VIEW plain_orders SET (security_barrier = true)
ALTER VIEW plain_orders RESET (security_barrier)
ALTER VIEW plain_orders OWNER TO reader
ALTER VIEW plain_orders RENAME TO orders_plain
ALTER VIEW plain_orders RENAME COLUMN note TO remark
ALTER VIEW plain_orders SET SCHEMA other
ALTER TABLE plain_orders RENAME TO orders_plain
CREATE MATERIALIZED VIEW fresh AS SELECT * FROM orders
CREATE MATERIALIZED VIEW fresh AS SELECT * FROM orders WITH NO DATA
REFRESH MATERIALIZED VIEW totals
REFRESH MATERIALIZED VIEW CONCURRENTLY totals
REFRESH MATERIALIZED VIEW totals WITH NO DATA
DROP MATERIALIZED VIEW totals CASCADE
ALTER MATERIALIZED VIEW totals SET (autovacuum_enabled = false)
ALTER MATERIALIZED VIEW totals ALTER COLUMN total SET STATISTICS 10
ALTER MATERIALIZED VIEW totals CLUSTER ON totals_customer
ALTER MATERIALIZED VIEW totals SET ACCESS METHOD heap2
ALTER MATERIALIZED VIEW totals OWNER TO reader
ALTER MATERIALIZED VIEW totals RENAME TO sums
ALTER MATERIALIZED VIEW totals RENAME COLUMN total TO amount
ALTER MATERIALIZED VIEW totals SET SCHEMA other
# Sequences
CREATE SEQUENCE fresh
CREATE SEQUENCE fresh OWNED BY orders.code
ALTER SEQUENCE loose_numbers INCREMENT BY 2
ALTER SEQUENCE loose_numbers RESTART WITH 100
ALTER SEQUENCE loose_numbers OWNED BY orders.code
ALTER SEQUENCE loose_numbers AS bigint
ALTER SEQUENCE orders_id_seq OWNED BY NONE
ALTER SEQUENCE loose_numbers OWNER TO reader
ALTER SEQUENCE loose_numbers RENAME TO numbers
ALTER SEQUENCE loose_numbers SET SCHEMA other
ALTER SEQUENCE loose_numbers SET UNLOGGED
DROP SEQUENCE loose_numbers
DROP SEQUENCE orders_id_seq CASCADE
SELECT nextval('loose_numbers')
SELECT setval('loose_numbers', 5)
# Triggers, rules, policies
CREATE TRIGGER fresh BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION touched()
CREATE OR REPLACE TRIGGER watched_touched AFTER UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION touched()
CREATE TRIGGER fresh AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION touched()
CREATE CONSTRAINT TRIGGER fresh AFTER INSERT ON orders FROM customers FOR EACH ROW EXECUTE FUNCTION touched()
CREATE TRIGGER fresh INSTEAD OF UPDATE ON plain_orders FOR EACH ROW EXECUTE FUNCTION touched()
DROP TRIGGER watched_touched ON watched
ALTER TRIGGER watched_touched ON watched RENAME TO touched_watched
ALTER TRIGGER watched_touched ON watched DEPENDS ON EXTENSION plpgsql
CREATE RULE fresh AS ON UPDATE TO orders DO ALSO INSERT INTO watched VALUES (1)
CREATE OR REPLACE RULE watched_quietly AS ON DELETE TO watched DO INSTEAD NOTHING
DROP RULE watched_quietly ON watched
ALTER RULE watched_quietly ON watched RENAME TO quietly_watched
CREATE POLICY fresh ON orders USING (EXISTS (SELECT FROM customers))
ALTER POLICY watched_all ON watched USING (id > 0)
ALTER POLICY watched_all ON watched RENAME TO all_watched
DROP POLICY watched_all ON watched
# Types, domains and functions
ALTER TYPE address ADD ATTRIBUTE country text CASCADE
ALTER TYPE address DROP ATTRIBUTE town CASCADE
ALTER TYPE address RENAME ATTRIBUTE town TO city CASCADE
ALTER TYPE address RENAME TO place
ALTER TYPE mood ADD VALUE 'fair'
ALTER TYPE mood RENAME VALUE 'bad' TO 'worse'
ALTER TYPE mood RENAME TO feeling
DROP TYPE mood CASCADE
DROP TYPE address CASCADE
ALTER DOMAIN amount ADD CONSTRAINT extra CHECK (VALUE < 10000000)
ALTER DOMAIN amount ADD CONSTRAINT extra CHECK (VALUE < 10000000) NOT VALID
ALTER DOMAIN weight SET NOT NULL
ALTER DOMAIN amount SET DEFAULT 1
ALTER DOMAIN amount DROP CONSTRAINT amount_check
ALTER DOMAIN amount VALIDATE CONSTRAINT amount_check
DROP DOMAIN amount CASCADE
CREATE OR REPLACE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'
DROP FUNCTION touched CASCADE
CREATE FUNCTION fresh(orders) RETURNS int LANGUAGE sql AS 'SELECT 1'
CREATE TYPE fresh AS (part orders)
# Statistics, publications, foreign tables, the rest
CREATE STATISTICS fresh ON id, code FROM orders
ALTER STATISTICS order_statistics SET STATISTICS 10
ALTER STATISTICS order_statistics RENAME TO statistics_of_orders
ALTER STATISTICS order_statistics OWNER TO reader
ALTER STATISTICS order_statistics SET SCHEMA other
DROP STATISTICS order_statistics
CREATE PUBLICATION fresh FOR TABLE orders, events
CREATE PUBLICATION fresh FOR ALL TABLES
CREATE PUBLICATION fresh FOR TABLES IN SCHEMA app
ALTER PUBLICATION news ADD TABLE orders
ALTER PUBLICATION news SET TABLE orders
ALTER PUBLICATION news DROP TABLE watched
ALTER PUBLICATION news ADD TABLE animals
ALTER PUBLICATION news SET (publish = 'insert')
DROP PUBLICATION news
CREATE FOREIGN TABLE fresh (id int) SERVER far
ALTER FOREIGN TABLE distant ADD COLUMN extra int
ALTER FOREIGN TABLE distant OPTIONS (ADD here 'x')
ALTER FOREIGN TABLE distant ALTER COLUMN id OPTIONS (ADD here 'x')
ALTER FOREIGN TABLE distant RENAME TO remote
ALTER FOREIGN TABLE distant RENAME COLUMN what TO which
DROP FOREIGN TABLE distant
DROP SERVER far CASCADE
COMMENT ON TABLE orders IS 'x'
COMMENT ON COLUMN orders.note IS 'x'
COMMENT ON CONSTRAINT orders_code ON orders IS 'x'
COMMENT ON INDEX orders_placed IS 'x'
COMMENT ON VIEW plain_orders IS 'x'
COMMENT ON MATERIALIZED VIEW totals IS 'x'
COMMENT ON SEQUENCE loose_numbers IS 'x'
COMMENT ON TRIGGER watched_touched ON watched IS 'x'
COMMENT ON RULE watched_quietly ON watched IS 'x'
COMMENT ON POLICY watched_all ON watched IS 'x'
COMMENT ON TYPE address IS 'x'
COMMENT ON STATISTICS order_statistics IS 'x'
GRANT SELECT ON orders TO reader
GRANT SELECT (note) ON orders TO reader
GRANT SELECT ON ALL TABLES IN SCHEMA app TO reader
GRANT USAGE ON SEQUENCE loose_numbers TO reader
REVOKE ALL ON orders FROM PUBLIC
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO reader
DROP OWNED BY reader
DROP SCHEMA other CASCADE
DROP SCHEMA app CASCADE
ALTER SCHEMA other RENAME TO another
ALTER EXTENSION plpgsql ADD TABLE lonely
# Rows
INSERT INTO lonely VALUES (2)
INSERT INTO order_lines VALUES (2, 1, 'b')
INSERT INTO order_lines (id) VALUES (2)
INSERT INTO event_notes VALUES (1, 1, '2024-01-01')
INSERT INTO orders (customer, code) VALUES (1, 5)
INSERT INTO lonely SELECT id FROM orders
INSERT INTO customers (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = 'x'
INSERT INTO plain_orders VALUES (10, 'x')
INSERT INTO animals VALUES (2, 'b')
UPDATE orders SET note = 'x'
UPDATE orders SET code = 7
UPDATE orders SET customer = 2 WHERE id = 1
UPDATE customers SET name = 'x' WHERE id IN (SELECT customer FROM orders)
UPDATE plain_orders SET note = 'x'
UPDATE animals SET name = 'x'
UPDATE events SET what = 'x'
UPDATE lonely SET id = o.id FROM orders o
UPDATE customers SET id = id + 10 WHERE id = 3
DELETE FROM lonely
DELETE FROM lonely USING customers
DELETE FROM orders
DELETE FROM customers WHERE id = 3
DELETE FROM ONLY animals
DELETE FROM watched
MERGE INTO lonely USING orders ON lonely.id = orders.id WHEN MATCHED THEN DELETE
WITH gone AS (DELETE FROM lonely RETURNING id) INSERT INTO customers SELECT id + 10 FROM gone
WITH gone AS (DELETE FROM lonely RETURNING id) SELECT * FROM gone
SELECT * FROM orders
SELECT * FROM orders FOR UPDATE
SELECT * FROM orders o JOIN customers c ON true FOR SHARE OF c
SELECT * FROM plain_orders FOR UPDATE
SELECT * FROM animals FOR UPDATE
SELECT doubled(code) FROM orders
COPY lonely FROM '/dev/null'
COPY orders TO '/dev/null'
COPY (SELECT * FROM orders FOR UPDATE) TO '/dev/null'
LOCK TABLE orders
LOCK TABLE ONLY animals IN SHARE MODE
LOCK TABLE animals IN SHARE MODE
LOCK TABLE short_names IN EXCLUSIVE MODE
LOCK TABLE lonely IN ROW EXCLUSIVE MODE
ANALYZE orders
ANALYZE animals
ANALYZE events
EXPLAIN SELECT * FROM orders FOR UPDATE
EXPLAIN ANALYZE DELETE FROM lonely
DECLARE mine CURSOR FOR SELECT * FROM orders FOR UPDATE
PREPARE later AS DELETE FROM lonely
SELECT count(*) FROM orders WHERE EXISTS (SELECT FROM "Odd Name")
"""
