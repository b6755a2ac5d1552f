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
    script_session jsonb,
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

COMMENT ON COLUMN wmigrate.schema_migrations.script_session IS 'Journal of a script run statement by statement: the settings of its session as the last statement left them, and what of it cannot be had again';

INSERT INTO wmigrate.application_metadata VALUES ('ledger_version', '2', 'Version of the ledger''s own tables', '2026-11-26 21:22:27.625176+00', '2026-11-26 21:22:27.625177+00');
INSERT INTO wmigrate.application_metadata VALUES ('schema_version', '004', 'Highest version that is applied', '2026-11-26 21:22:27.929234+00', '2026-11-26 21:22:28.297971+00');
INSERT INTO wmigrate.application_metadata VALUES ('audit_head', '15:05badc9d7819fb2e605102e8fc4b5bf7c0f78b8a039ba3877c311c1f024fe31d', 'Number of rows in audit_log and the hash of the last one', '2026-11-26 21:22:27.625516+00', '2026-11-26 21:22:28.362695+00');
INSERT INTO wmigrate.application_metadata VALUES ('last_successful_run', '2026-11-26T21:22:28.379253+00:00', 'When a run last ended with nothing failed', '2026-11-26 21:22:28.379789+00', '2026-11-26 21:22:28.379789+00');

INSERT INTO wmigrate.audit_log VALUES (1, '2026-11-26 21:22:27.625878+00', 'ledger_created', NULL, 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"ledger_version": 2}', '0000000000000000000000000000000000000000000000000000000000000000', 'bf84c6518a93421c878ea175d6df2920b05bd6f7ebfc3c6a3c5206366507e02a');
INSERT INTO wmigrate.audit_log VALUES (2, '2026-11-26 21:22:27.637721+00', 'planned', NULL, 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"steps": ["001", "002", "003", "004"], "direction": "apply"}', 'bf84c6518a93421c878ea175d6df2920b05bd6f7ebfc3c6a3c5206366507e02a', '720a629482ce019cad360036b237f049617eca0077c509a4d42a81b7b86dda77');
INSERT INTO wmigrate.audit_log VALUES (3, '2026-11-26 21:22:27.901571+00', 'started', '001', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"direction": "apply"}', '720a629482ce019cad360036b237f049617eca0077c509a4d42a81b7b86dda77', '7f0b13038a9228c4c2b0eaeeea6ad07454971294a95085cf1c8356ffc930ff9c');
INSERT INTO wmigrate.audit_log VALUES (4, '2026-11-26 21:22:27.929596+00', 'applied', '001', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 11, '{"name": "shop", "rows": 0, "locks": [{"mode": "AccessExclusiveLock", "held_ms": null, "relation": "public.shop"}], "attempts": 1, "checksum": "2ffca8dde71d30b287bac035420f971962ba6af20235305554297a12b8090a24", "blocked_by": [], "statements": 1}', '7f0b13038a9228c4c2b0eaeeea6ad07454971294a95085cf1c8356ffc930ff9c', '4b4a72c35faced2c7310812c57b25b08adc4ab6ebb5ac7d780fc8ecf898c78e5');
INSERT INTO wmigrate.audit_log VALUES (5, '2026-11-26 21:22:27.967945+00', 'started', '002', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"direction": "apply"}', '4b4a72c35faced2c7310812c57b25b08adc4ab6ebb5ac7d780fc8ecf898c78e5', '4327513d75ae5f2f0487960e58b4f571d7d0f6d32e44434309631de68f8382bd');
INSERT INTO wmigrate.audit_log VALUES (6, '2026-11-26 21:22:27.994443+00', 'applied', '002', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 11, '{"name": "price", "rows": 0, "locks": [{"mode": "AccessExclusiveLock", "held_ms": null, "relation": "public.shop"}], "attempts": 1, "checksum": "7d051f93f637f05226bf9eae171b5550acb637080ba044abf7c38ca511217ced", "blocked_by": [], "statements": 1}', '4327513d75ae5f2f0487960e58b4f571d7d0f6d32e44434309631de68f8382bd', '8570c6bc24a94ee81d89dc742138696ae89bad435551c9d43190d7ee76de3325');
INSERT INTO wmigrate.audit_log VALUES (7, '2026-11-26 21:22:28.047615+00', 'started', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"direction": "apply"}', '8570c6bc24a94ee81d89dc742138696ae89bad435551c9d43190d7ee76de3325', 'd1473264196b84bf42df7b23ece1f742177748ed966242d4b8ce255593c88d94');
INSERT INTO wmigrate.audit_log VALUES (8, '2026-11-26 21:22:28.072334+00', 'applied', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 9, '{"name": "view", "rows": 0, "locks": [{"mode": "AccessExclusiveLock", "held_ms": null, "relation": "public.dear"}], "attempts": 1, "checksum": "e4b7554015f18ca5fc4e98559cb19072e6a124b799ebe5c4f97e3b3f64f3fa90", "blocked_by": [], "statements": 1}', 'd1473264196b84bf42df7b23ece1f742177748ed966242d4b8ce255593c88d94', '47b3deb95f46a2dd1c9f49d7f6d39604823cadf8af5f945258015d4a8327392c');
INSERT INTO wmigrate.audit_log VALUES (9, '2026-11-26 21:22:28.167585+00', 'dry_run', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 13, '{"name": "view", "rows": 0, "locks": [], "attempts": 1, "checksum": "e4b7554015f18ca5fc4e98559cb19072e6a124b799ebe5c4f97e3b3f64f3fa90", "direction": "rollback", "blocked_by": [], "statements": 1}', '47b3deb95f46a2dd1c9f49d7f6d39604823cadf8af5f945258015d4a8327392c', 'e8898e9945fbbb0f3cda91337eace0ec1a3e266a5632ae2a650ed25cd6ee8d81');
INSERT INTO wmigrate.audit_log VALUES (10, '2026-11-26 21:22:28.211533+00', 'started', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"direction": "rollback"}', 'e8898e9945fbbb0f3cda91337eace0ec1a3e266a5632ae2a650ed25cd6ee8d81', '4fc615190fa753142adb4e46482ddd73054eacc427503156aeb3f991abf13f6a');
INSERT INTO wmigrate.audit_log VALUES (11, '2026-11-26 21:22:28.229909+00', 'rolled_back', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 2, '{"name": "view", "rows": 0, "locks": [], "attempts": 1, "checksum": "e4b7554015f18ca5fc4e98559cb19072e6a124b799ebe5c4f97e3b3f64f3fa90", "blocked_by": [], "statements": 1}', '4fc615190fa753142adb4e46482ddd73054eacc427503156aeb3f991abf13f6a', '46be5031ce6af60f4eccc13ec7c5979f552ce8e151ef55d62d9d517d4fbe1c22');
INSERT INTO wmigrate.audit_log VALUES (12, '2026-11-26 21:22:28.259568+00', 'started', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"direction": "apply"}', '46be5031ce6af60f4eccc13ec7c5979f552ce8e151ef55d62d9d517d4fbe1c22', 'ef1b5bc98c884d8a58d9897c8e34eb9733b679fb8dfb78835a30fa807cc44a1f');
INSERT INTO wmigrate.audit_log VALUES (13, '2026-11-26 21:22:28.301051+00', 'applied', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 11, '{"name": "view", "rows": 0, "locks": [{"mode": "AccessExclusiveLock", "held_ms": null, "relation": "public.dear"}], "attempts": 1, "checksum": "e4b7554015f18ca5fc4e98559cb19072e6a124b799ebe5c4f97e3b3f64f3fa90", "blocked_by": [], "statements": 1}', 'ef1b5bc98c884d8a58d9897c8e34eb9733b679fb8dfb78835a30fa807cc44a1f', 'd27acd98fbddda9cbeec2d63351245ffde0b3a918d2d15b586fc8de2b5c4f5c9');
INSERT INTO wmigrate.audit_log VALUES (14, '2026-11-26 21:22:28.330829+00', 'started', '003', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"direction": "apply", "statements_done": 0}', 'd27acd98fbddda9cbeec2d63351245ffde0b3a918d2d15b586fc8de2b5c4f5c9', 'd535e2e6a6db358f087cb89001b767951bd5512a5913bc1391c016d95d4e1c54');
INSERT INTO wmigrate.audit_log VALUES (15, '2026-11-26 21:22:28.362111+00', 'failed', '003', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"error": "003_index.sql:2: column \"nope\" does not exist (SQLSTATE 42703) in CREATE INDEX CONCURRENTLY shop_nope ON shop (nope); statements 1 to 1 were kept; the next run goes on at statement 2", "dry_run": false, "sqlstate": "42703", "direction": "apply"}', 'd535e2e6a6db358f087cb89001b767951bd5512a5913bc1391c016d95d4e1c54', '05badc9d7819fb2e605102e8fc4b5bf7c0f78b8a039ba3877c311c1f024fe31d');

INSERT INTO wmigrate.schema_migrations VALUES ('001', 'shop', 'applied', 'apply', '2ffca8dde71d30b287bac035420f971962ba6af20235305554297a12b8090a24', 'sha256', '{}', 'DROP TABLE shop;', 'f9a010e0266efc6aa3a458b566b4b626d2c9ad4ffbcc9b1809b5162c774743a3', '2026-11-26 21:22:27.920372+00', 11, 1, 1, '{}', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL);
INSERT INTO wmigrate.schema_migrations VALUES ('002', 'price', 'applied', 'apply', '7d051f93f637f05226bf9eae171b5550acb637080ba044abf7c38ca511217ced', 'sha256', '{001}', 'ALTER TABLE shop DROP price;', 'baa1c49291d9926794790aeaf2f65d04e2519598e566ac728a69b630b0be1ed9', '2026-11-26 21:22:27.981069+00', 11, 1, 1, '{}', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL);
INSERT INTO wmigrate.schema_migrations VALUES ('004', 'view', 'applied', 'apply', 'e4b7554015f18ca5fc4e98559cb19072e6a124b799ebe5c4f97e3b3f64f3fa90', 'sha256', '{002}', 'DROP VIEW dear;', 'bfb1265df5d1f4ea6d1231a8f89c76405b8997c1d96260609d340fce34876057', '2026-11-26 21:22:28.274704+00', 11, 1, 1, '{}', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL);
INSERT INTO wmigrate.schema_migrations VALUES ('003', 'index', 'incomplete', 'apply', '08bd56acf7047ef7aca3e09834a88b2131d7850296ea20bd7c114b2a32063678', 'sha256', '{002}', 'DROP INDEX CONCURRENTLY IF EXISTS shop_price;', '72aaab5f763e0051fee5f2cbb9ad55b7818efc410cd9f001f8204394b021e8c6', '2026-11-26 21:22:28.332278+00', 0, 1, 2, '{43784ab5df0624d6d3ead529450700b5cd30053361d12e8997c4e58ca1f69592}', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL);

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
