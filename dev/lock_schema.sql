-- A schema in which everything hangs on something else, for the commands of lock_commands.txt.

CREATE ROLE lock_reader;
CREATE SCHEMA app;
CREATE SCHEMA other;
SET search_path = app;
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

CREATE TABLE counted (id int, what text);
CREATE FUNCTION counting() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN LOCK TABLE lonely; RETURN NEW; END';
CREATE TRIGGER counted_counting AFTER UPDATE ON counted FOR EACH STATEMENT EXECUTE FUNCTION counting();
CREATE TABLE logged (id int);
CREATE RULE logged_too AS ON INSERT TO logged DO ALSO DELETE FROM counted;
CREATE FUNCTION emptied() RETURNS void LANGUAGE plpgsql AS 'BEGIN TRUNCATE lonely; END';
CREATE PROCEDURE empty_lonely() LANGUAGE plpgsql AS 'BEGIN TRUNCATE lonely; END';

CREATE FUNCTION telling() RETURNS int LANGUAGE plpgsql AS 'BEGIN LOCK TABLE towns; RETURN 1; END';
CREATE VIEW telling AS SELECT telling() AS told;
CREATE TABLE defaulted (id int, told int DEFAULT telling());

CREATE TABLE measures (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE measures_1 PARTITION OF measures FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TRIGGER of_rows AFTER INSERT ON measures FOR EACH ROW EXECUTE FUNCTION touched();
CREATE TRIGGER of_statements AFTER INSERT ON measures FOR EACH STATEMENT EXECUTE FUNCTION touched();

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

CREATE TABLE beasts (name text);
CREATE TABLE young_beasts () INHERITS (beasts);
CREATE VIEW beast_names AS SELECT name FROM beasts;

CREATE TABLE addresses OF address;
CREATE TABLE towns (street text, town text);
CREATE TABLE parcels (id int PRIMARY KEY, weight weight);
CREATE UNLOGGED TABLE scratch (id int);
CREATE TABLE tickets (id bigserial, number int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE lonely (id int, small varchar(10), number int, "mood" mood, price amount);
CREATE TABLE secrets (id int, what text);
CREATE FUNCTION tenant() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN LOCK TABLE app.towns; RETURN 1; END';
CREATE POLICY own_secrets ON secrets USING (id = tenant());
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
GRANT USAGE ON SCHEMA app TO lock_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON secrets, lonely TO lock_reader;
INSERT INTO secrets VALUES (1, 'a');
CREATE TABLE "Odd Name" (id int);
CREATE TABLE other.orders (id int);
CREATE SCHEMA "My Schema";
CREATE TABLE "My Schema"."My Table" (id int PRIMARY KEY, "The Col" text);
CREATE VIEW "My Schema"."My View" AS SELECT * FROM "My Schema"."My Table";

CREATE TABLE deep (id int) PARTITION BY LIST (id);
CREATE TABLE deep_1 PARTITION OF deep FOR VALUES IN (1) PARTITION BY LIST (id);
CREATE TABLE deep_1a PARTITION OF deep_1 DEFAULT;
CREATE TABLE deep_rest PARTITION OF deep DEFAULT PARTITION BY LIST (id);
CREATE TABLE deep_rest_1 PARTITION OF deep_rest DEFAULT;
CREATE TABLE gen (id int GENERATED BY DEFAULT AS IDENTITY, a int, b int GENERATED ALWAYS AS (a * 2) STORED);
CREATE VIEW triggered AS SELECT id FROM scratch;
CREATE TRIGGER instead INSTEAD OF INSERT OR UPDATE ON triggered FOR EACH ROW EXECUTE FUNCTION touched();
CREATE FUNCTION noticed() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';

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
