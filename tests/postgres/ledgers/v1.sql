CREATE SCHEMA wmigrate;

CREATE FUNCTION wmigrate.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog'
    AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only: % refused', TG_OP
        USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;

COMMENT ON FUNCTION wmigrate.refuse_change() IS 'wmigrate: keeps audit_log append-only';

CREATE FUNCTION wmigrate.tell_listeners() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog'
    AS $$
BEGIN
    PERFORM pg_notify('wmigrate', TG_TABLE_SCHEMA);
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION wmigrate.tell_listeners() IS 'wmigrate: wakes whoever listens on channel wmigrate';

CREATE TABLE public.shop (
    id integer NOT NULL,
    name text,
    price integer
);

CREATE VIEW public.dear AS
 SELECT shop.id,
    shop.name,
    shop.price
   FROM public.shop
  WHERE (shop.price > 2);

CREATE TABLE wmigrate.application_metadata (
    key text NOT NULL,
    value text NOT NULL,
    description text NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

COMMENT ON TABLE wmigrate.application_metadata IS 'wmigrate: single values about this database and its ledger';

COMMENT ON COLUMN wmigrate.application_metadata.key IS 'Name of the value';

COMMENT ON COLUMN wmigrate.application_metadata.value IS 'The value, as text';

COMMENT ON COLUMN wmigrate.application_metadata.description IS 'What the value means';

COMMENT ON COLUMN wmigrate.application_metadata.created_at IS 'When the key was first written';

COMMENT ON COLUMN wmigrate.application_metadata.updated_at IS 'When the value was last written';

CREATE TABLE wmigrate.audit_log (
    "position" bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    event text NOT NULL,
    version text,
    actor text NOT NULL,
    dag_id text,
    run_id text,
    task_id text,
    try_number integer,
    duration_ms bigint,
    details jsonb NOT NULL,
    previous_hash text NOT NULL,
    hash text NOT NULL
);

COMMENT ON TABLE wmigrate.audit_log IS 'wmigrate: append-only history of every event; each row carries a hash over itself and its predecessor';

COMMENT ON COLUMN wmigrate.audit_log."position" IS 'Place in the chain, from 1, without gaps';

COMMENT ON COLUMN wmigrate.audit_log.at IS 'When, by the clock of the database server';

COMMENT ON COLUMN wmigrate.audit_log.event IS 'What happened: ledger_created, planned, started, applied, rolled_back, failed, rollback_failed, dry_run, refused ...';

COMMENT ON COLUMN wmigrate.audit_log.version IS 'Version of the migration; NULL when the event is about none';

COMMENT ON COLUMN wmigrate.audit_log.actor IS 'Who had it done';

COMMENT ON COLUMN wmigrate.audit_log.dag_id IS 'Airflow DAG';

COMMENT ON COLUMN wmigrate.audit_log.run_id IS 'Airflow DAG run';

COMMENT ON COLUMN wmigrate.audit_log.task_id IS 'Airflow task';

COMMENT ON COLUMN wmigrate.audit_log.try_number IS 'Try of that task';

COMMENT ON COLUMN wmigrate.audit_log.duration_ms IS 'How long it took, in milliseconds';

COMMENT ON COLUMN wmigrate.audit_log.details IS 'The rest: checksum, locks, rows, error; never SQL text, never a secret';

COMMENT ON COLUMN wmigrate.audit_log.previous_hash IS 'hash of the row before; of the first row: 64 zeros';

COMMENT ON COLUMN wmigrate.audit_log.hash IS 'SHA-256 over the canonical JSON of every other column; wmigrate audit verify recomputes it';

CREATE TABLE wmigrate.schema_migrations (
    version text NOT NULL,
    name text NOT NULL,
    status text NOT NULL,
    direction text NOT NULL,
    checksum text NOT NULL,
    checksum_algorithm text NOT NULL,
    dependencies text[] NOT NULL,
    rollback_sql text,
    rollback_checksum text,
    applied_at timestamp with time zone NOT NULL,
    duration_ms bigint NOT NULL,
    statements_done integer NOT NULL,
    statements_total integer NOT NULL,
    statement_hashes text[] NOT NULL,
    actor text NOT NULL,
    dag_id text,
    run_id text,
    task_id text,
    try_number integer,
    CONSTRAINT schema_migrations_check CHECK ((statements_total >= statements_done)),
    CONSTRAINT schema_migrations_check1 CHECK (((rollback_sql IS NULL) = (rollback_checksum IS NULL))),
    CONSTRAINT schema_migrations_direction_check CHECK ((direction = ANY (ARRAY['apply'::text, 'rollback'::text]))),
    CONSTRAINT schema_migrations_duration_ms_check CHECK ((duration_ms >= 0)),
    CONSTRAINT schema_migrations_statements_done_check CHECK ((statements_done >= 0)),
    CONSTRAINT schema_migrations_status_check CHECK ((status = ANY (ARRAY['applied'::text, 'incomplete'::text]))),
    CONSTRAINT schema_migrations_version_check CHECK ((version ~ '^([0-9]{3}|[1-9][0-9]{3,})$'::text))
);

COMMENT ON TABLE wmigrate.schema_migrations IS 'wmigrate: one row per migration that is applied, or was started outside a transaction and is not finished';

COMMENT ON COLUMN wmigrate.schema_migrations.version IS 'Version, zero-padded to at least three digits; ordered by its number';

COMMENT ON COLUMN wmigrate.schema_migrations.name IS 'Name from the file, without version and ending';

COMMENT ON COLUMN wmigrate.schema_migrations.status IS 'applied, or incomplete: started outside a transaction and not finished';

COMMENT ON COLUMN wmigrate.schema_migrations.direction IS 'What the row last did: apply, or of an incomplete one also rollback';

COMMENT ON COLUMN wmigrate.schema_migrations.checksum IS 'Checksum of the canonical text that was applied (UTF-8, no byte order mark, LF)';

COMMENT ON COLUMN wmigrate.schema_migrations.checksum_algorithm IS 'Algorithm of both checksums in this row';

COMMENT ON COLUMN wmigrate.schema_migrations.dependencies IS 'Versions it depended on when it was applied';

COMMENT ON COLUMN wmigrate.schema_migrations.rollback_sql IS 'Rollback script as it was when the migration was applied; NULL: there was none';

COMMENT ON COLUMN wmigrate.schema_migrations.rollback_checksum IS 'Checksum of rollback_sql';

COMMENT ON COLUMN wmigrate.schema_migrations.applied_at IS 'When it was applied, by the clock of the database server';

COMMENT ON COLUMN wmigrate.schema_migrations.duration_ms IS 'How long the script ran, in milliseconds';

COMMENT ON COLUMN wmigrate.schema_migrations.statements_done IS 'Statements of the script that have run';

COMMENT ON COLUMN wmigrate.schema_migrations.statements_total IS 'Statements of the script';

COMMENT ON COLUMN wmigrate.schema_migrations.statement_hashes IS 'Journal of a script run statement by statement: hashes of the statements begun, in order; one more than done means one was in flight';

COMMENT ON COLUMN wmigrate.schema_migrations.actor IS 'Who had it applied';

COMMENT ON COLUMN wmigrate.schema_migrations.dag_id IS 'Airflow DAG that applied it';

COMMENT ON COLUMN wmigrate.schema_migrations.run_id IS 'Airflow DAG run that applied it';

COMMENT ON COLUMN wmigrate.schema_migrations.task_id IS 'Airflow task that applied it';

COMMENT ON COLUMN wmigrate.schema_migrations.try_number IS 'Try of that task';

INSERT INTO wmigrate.application_metadata VALUES ('ledger_version', '1', 'Version of the ledger''s own tables', '2026-11-23 20:50:38.947773+00', '2026-11-23 20:50:38.947773+00');
INSERT INTO wmigrate.application_metadata VALUES ('schema_version', '004', 'Highest version that is applied', '2026-11-23 20:50:39.036967+00', '2026-11-23 20:50:39.200054+00');
INSERT INTO wmigrate.application_metadata VALUES ('audit_head', '15:31698ed3a76db364b4e2183d466834f0c12b558d6d2d23e25caad89822c991ec', 'Number of rows in audit_log and the hash of the last one', '2026-11-23 20:50:38.948041+00', '2026-11-23 20:50:39.250227+00');
INSERT INTO wmigrate.application_metadata VALUES ('last_successful_run', '2026-11-23T20:50:39.255653+00:00', 'When a run last ended with nothing failed', '2026-11-23 20:50:39.255911+00', '2026-11-23 20:50:39.255911+00');

INSERT INTO wmigrate.audit_log VALUES (1, '2026-11-23 20:50:38.948377+00', 'ledger_created', NULL, 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"ledger_version": 1}', '0000000000000000000000000000000000000000000000000000000000000000', 'ddd4c1a37ea37f6ebbf0915404307057e24ae7b4302859cafbb046ab250da7af');
INSERT INTO wmigrate.audit_log VALUES (2, '2026-11-23 20:50:38.950116+00', 'planned', NULL, 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"steps": ["001", "002", "003", "004"], "direction": "apply"}', 'ddd4c1a37ea37f6ebbf0915404307057e24ae7b4302859cafbb046ab250da7af', 'dfbb5e09f272b1d37580306b888a87e40ec50aa2e0cca8f2a94ccd2246c14413');
INSERT INTO wmigrate.audit_log VALUES (3, '2026-11-23 20:50:39.021801+00', 'started', '001', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"direction": "apply"}', 'dfbb5e09f272b1d37580306b888a87e40ec50aa2e0cca8f2a94ccd2246c14413', '68ce81732124a213dd6226204a1c7d2eb798cfa36787588e126d97b244fdb374');
INSERT INTO wmigrate.audit_log VALUES (4, '2026-11-23 20:50:39.037715+00', 'applied', '001', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 2, '{"name": "shop", "rows": 0, "locks": [{"mode": "AccessExclusiveLock", "held_ms": null, "relation": "public.shop"}], "attempts": 1, "checksum": "2ffca8dde71d30b287bac035420f971962ba6af20235305554297a12b8090a24", "blocked_by": [], "statements": 1}', '68ce81732124a213dd6226204a1c7d2eb798cfa36787588e126d97b244fdb374', 'fa2c9eddeec234fec61760d0d86fa0e353712614123875879eccb80b55195d63');
INSERT INTO wmigrate.audit_log VALUES (5, '2026-11-23 20:50:39.076435+00', 'started', '002', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"direction": "apply"}', 'fa2c9eddeec234fec61760d0d86fa0e353712614123875879eccb80b55195d63', '86eae6b960343f6abbe58274aa7ae05a542bb102634946634fb1cb4d038f6721');
INSERT INTO wmigrate.audit_log VALUES (6, '2026-11-23 20:50:39.09265+00', 'applied', '002', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 3, '{"name": "price", "rows": 0, "locks": [{"mode": "AccessExclusiveLock", "held_ms": null, "relation": "public.shop"}], "attempts": 1, "checksum": "7d051f93f637f05226bf9eae171b5550acb637080ba044abf7c38ca511217ced", "blocked_by": [], "statements": 1}', '86eae6b960343f6abbe58274aa7ae05a542bb102634946634fb1cb4d038f6721', 'd234f1f10c585d143517238cc76d3d70ea5ce42980b1315e37064a4f71e3eb3d');
INSERT INTO wmigrate.audit_log VALUES (7, '2026-11-23 20:50:39.109371+00', 'started', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"direction": "apply"}', 'd234f1f10c585d143517238cc76d3d70ea5ce42980b1315e37064a4f71e3eb3d', '9b38fac2cdbd12030bca5d84f6dd7a276fc2e20fc41aca6bf96154ed5d541f24');
INSERT INTO wmigrate.audit_log VALUES (8, '2026-11-23 20:50:39.123999+00', 'applied', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 6, '{"name": "view", "rows": 0, "locks": [{"mode": "AccessExclusiveLock", "held_ms": null, "relation": "public.dear"}], "attempts": 1, "checksum": "e4b7554015f18ca5fc4e98559cb19072e6a124b799ebe5c4f97e3b3f64f3fa90", "blocked_by": [], "statements": 1}', '9b38fac2cdbd12030bca5d84f6dd7a276fc2e20fc41aca6bf96154ed5d541f24', 'fccfc95d7735e065000935b663b3c285ed228aee7da7d63202f30aa5762fef69');
INSERT INTO wmigrate.audit_log VALUES (9, '2026-11-23 20:50:39.146617+00', 'dry_run', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 1, '{"name": "view", "rows": 0, "locks": [], "attempts": 1, "checksum": "e4b7554015f18ca5fc4e98559cb19072e6a124b799ebe5c4f97e3b3f64f3fa90", "direction": "rollback", "blocked_by": [], "statements": 1}', 'fccfc95d7735e065000935b663b3c285ed228aee7da7d63202f30aa5762fef69', 'b03a19843c79f8b3e23b090f0f8847de171c8bab1cc87218a2274557b8053fbe');
INSERT INTO wmigrate.audit_log VALUES (10, '2026-11-23 20:50:39.163663+00', 'started', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"direction": "rollback"}', 'b03a19843c79f8b3e23b090f0f8847de171c8bab1cc87218a2274557b8053fbe', 'c445ecb886c28858fc6053f795df6731ba07d20c3e38f5cc519f54acdd304a05');
INSERT INTO wmigrate.audit_log VALUES (11, '2026-11-23 20:50:39.169488+00', 'rolled_back', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 1, '{"name": "view", "rows": 0, "locks": [], "attempts": 1, "checksum": "e4b7554015f18ca5fc4e98559cb19072e6a124b799ebe5c4f97e3b3f64f3fa90", "blocked_by": [], "statements": 1}', 'c445ecb886c28858fc6053f795df6731ba07d20c3e38f5cc519f54acdd304a05', '51029c1e6bd03d8997696bf406329987f3f9b18401580f0f80bb0a7b7ea03416');
INSERT INTO wmigrate.audit_log VALUES (12, '2026-11-23 20:50:39.189474+00', 'started', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"direction": "apply"}', '51029c1e6bd03d8997696bf406329987f3f9b18401580f0f80bb0a7b7ea03416', 'e1e719b071329b192d7c5f58d1e6bf13243eedc97a679271657759f01e92c1f9');
INSERT INTO wmigrate.audit_log VALUES (13, '2026-11-23 20:50:39.201173+00', 'applied', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 3, '{"name": "view", "rows": 0, "locks": [{"mode": "AccessExclusiveLock", "held_ms": null, "relation": "public.dear"}], "attempts": 1, "checksum": "e4b7554015f18ca5fc4e98559cb19072e6a124b799ebe5c4f97e3b3f64f3fa90", "blocked_by": [], "statements": 1}', 'e1e719b071329b192d7c5f58d1e6bf13243eedc97a679271657759f01e92c1f9', '2b4c311435324907af83cbf48548bbad457841c1b14efbca3d22e45b776c893a');
INSERT INTO wmigrate.audit_log VALUES (14, '2026-11-23 20:50:39.225027+00', 'started', '003', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"direction": "apply", "statements_done": 0}', '2b4c311435324907af83cbf48548bbad457841c1b14efbca3d22e45b776c893a', '1da771fe51f720ca3ad4a18845670d77477a4a8d1f8a50aed2c93061818d8878');
INSERT INTO wmigrate.audit_log VALUES (15, '2026-11-23 20:50:39.249645+00', 'failed', '003', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"error": "003_index.sql:2: column \"nope\" does not exist (SQLSTATE 42703) in CREATE INDEX CONCURRENTLY shop_nope ON shop (nope); statements 1 to 1 were kept; the next run goes on at statement 2", "dry_run": false, "sqlstate": "42703", "direction": "apply"}', '1da771fe51f720ca3ad4a18845670d77477a4a8d1f8a50aed2c93061818d8878', '31698ed3a76db364b4e2183d466834f0c12b558d6d2d23e25caad89822c991ec');

INSERT INTO wmigrate.schema_migrations VALUES ('001', 'shop', 'applied', 'apply', '2ffca8dde71d30b287bac035420f971962ba6af20235305554297a12b8090a24', 'sha256', '{}', 'DROP TABLE shop;', 'f9a010e0266efc6aa3a458b566b4b626d2c9ad4ffbcc9b1809b5162c774743a3', '2026-11-23 20:50:39.027985+00', 2, 1, 1, '{}', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2);
INSERT INTO wmigrate.schema_migrations VALUES ('002', 'price', 'applied', 'apply', '7d051f93f637f05226bf9eae171b5550acb637080ba044abf7c38ca511217ced', 'sha256', '{001}', 'ALTER TABLE shop DROP price;', 'baa1c49291d9926794790aeaf2f65d04e2519598e566ac728a69b630b0be1ed9', '2026-11-23 20:50:39.084951+00', 3, 1, 1, '{}', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2);
INSERT INTO wmigrate.schema_migrations VALUES ('004', 'view', 'applied', 'apply', 'e4b7554015f18ca5fc4e98559cb19072e6a124b799ebe5c4f97e3b3f64f3fa90', 'sha256', '{002}', 'DROP VIEW dear;', 'bfb1265df5d1f4ea6d1231a8f89c76405b8997c1d96260609d340fce34876057', '2026-11-23 20:50:39.196872+00', 3, 1, 1, '{}', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2);
INSERT INTO wmigrate.schema_migrations VALUES ('003', 'index', 'incomplete', 'apply', '08bd56acf7047ef7aca3e09834a88b2131d7850296ea20bd7c114b2a32063678', 'sha256', '{002}', 'DROP INDEX CONCURRENTLY IF EXISTS shop_price;', '72aaab5f763e0051fee5f2cbb9ad55b7818efc410cd9f001f8204394b021e8c6', '2026-11-23 20:50:39.229817+00', 0, 1, 2, '{43784ab5df0624d6d3ead529450700b5cd30053361d12e8997c4e58ca1f69592}', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2);

ALTER TABLE ONLY public.shop
    ADD CONSTRAINT shop_pkey PRIMARY KEY (id);

ALTER TABLE ONLY wmigrate.application_metadata
    ADD CONSTRAINT application_metadata_pkey PRIMARY KEY (key);

ALTER TABLE ONLY wmigrate.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY wmigrate.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

CREATE INDEX shop_price ON public.shop USING btree (price);

CREATE INDEX audit_log_version_idx ON wmigrate.audit_log USING btree (version, "position");

CREATE TRIGGER audit_log_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON wmigrate.audit_log FOR EACH STATEMENT EXECUTE FUNCTION wmigrate.refuse_change();

CREATE TRIGGER schema_migrations_tell AFTER INSERT OR DELETE OR UPDATE ON wmigrate.schema_migrations FOR EACH STATEMENT EXECUTE FUNCTION wmigrate.tell_listeners();
