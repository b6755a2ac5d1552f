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

CREATE TABLE wmigrate.schema_facts (
    from_snapshot bigint NOT NULL,
    to_snapshot bigint,
    kind text NOT NULL,
    identity text NOT NULL,
    schema_name text NOT NULL,
    part_of text NOT NULL,
    attributes text NOT NULL,
    shown text NOT NULL,
    hash text NOT NULL
);

COMMENT ON TABLE wmigrate.schema_facts IS 'wmigrate: what the known schema has and had; a snapshot is the facts that begin with it or before it and end after it';

COMMENT ON COLUMN wmigrate.schema_facts.from_snapshot IS 'First snapshot that has it';

COMMENT ON COLUMN wmigrate.schema_facts.to_snapshot IS 'First snapshot that has it no more; NULL: the newest one has it';

COMMENT ON COLUMN wmigrate.schema_facts.kind IS 'Kind of fact: table, column, index ...';

COMMENT ON COLUMN wmigrate.schema_facts.identity IS 'Its name, unique within its kind';

COMMENT ON COLUMN wmigrate.schema_facts.schema_name IS 'Schema that it is in; empty: none';

COMMENT ON COLUMN wmigrate.schema_facts.part_of IS 'Table, view or type that it is a part of; empty: it stands for itself';

COMMENT ON COLUMN wmigrate.schema_facts.attributes IS 'Its attributes, as canonical JSON';

COMMENT ON COLUMN wmigrate.schema_facts.shown IS 'What is shown and is no difference, as canonical JSON; empty: nothing';

COMMENT ON COLUMN wmigrate.schema_facts.hash IS 'SHA-256 of kind, identity and attributes';

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

COMMENT ON COLUMN wmigrate.schema_migrations.script_session IS 'Journal of a script run statement by statement: the settings of its session as the last statement left them, and what of it is not available';

CREATE TABLE wmigrate.schema_snapshots (
    number bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    version text NOT NULL,
    audit_position bigint NOT NULL,
    fingerprint text NOT NULL,
    format integer NOT NULL,
    server_version integer NOT NULL,
    unseen jsonb NOT NULL,
    not_compared jsonb NOT NULL
);

COMMENT ON TABLE wmigrate.schema_snapshots IS 'wmigrate: one row for each time that the schema was kept as known, to find drift';

COMMENT ON COLUMN wmigrate.schema_snapshots.number IS 'Counts from 1';

COMMENT ON COLUMN wmigrate.schema_snapshots.at IS 'When, by the clock of the database server';

COMMENT ON COLUMN wmigrate.schema_snapshots.version IS 'Highest version that was applied then; empty: none';

COMMENT ON COLUMN wmigrate.schema_snapshots.audit_position IS 'Last row of audit_log before the schema was read';

COMMENT ON COLUMN wmigrate.schema_snapshots.fingerprint IS 'SHA-256 over all facts of it';

COMMENT ON COLUMN wmigrate.schema_snapshots.format IS 'Format of the facts; only the same format can be compared';

COMMENT ON COLUMN wmigrate.schema_snapshots.server_version IS 'Version of the server, as it counts: 150004';

COMMENT ON COLUMN wmigrate.schema_snapshots.unseen IS 'By kind of fact, why the role could not see it';

COMMENT ON COLUMN wmigrate.schema_snapshots.not_compared IS 'By kind of object, how many are there that no fact tells of';

INSERT INTO wmigrate.application_metadata VALUES ('ledger_version', '3', 'Version of the ledger''s own tables', '2026-11-27 12:07:22.471541+00', '2026-11-27 12:07:22.471542+00');
INSERT INTO wmigrate.application_metadata VALUES ('schema_version', '004', 'Highest version that is applied', '2026-11-27 12:07:22.689523+00', '2026-11-27 12:07:23.748333+00');
INSERT INTO wmigrate.application_metadata VALUES ('audit_head', '10:e838ff3d2e7922fb780ecc4f584b280302f1dd1dd8701e2e1ba1c35c924d1418', 'Number of rows in audit_log and the hash of the last one', '2026-11-27 12:07:22.471627+00', '2026-11-27 12:07:24.232089+00');
INSERT INTO wmigrate.application_metadata VALUES ('last_successful_run', '2026-11-27T12:07:24.410730+00:00', 'When a run last ended with nothing failed', '2026-11-27 12:07:24.412072+00', '2026-11-27 12:07:24.412072+00');

INSERT INTO wmigrate.audit_log VALUES (1, '2026-11-27 12:07:22.476277+00', 'ledger_created', NULL, 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"session": {"pid": 9614, "user": "postgres", "address": "127.0.0.1"}, "ledger_version": 3}', '0000000000000000000000000000000000000000000000000000000000000000', '9ee9d51613cc7103c268b093c9795887a87c3f69c81ee3f0f140dfc5184bb91f');
INSERT INTO wmigrate.audit_log VALUES (2, '2026-11-27 12:07:22.478315+00', 'planned', NULL, 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"steps": ["001", "002", "003", "004"], "session": {"pid": 9614, "user": "postgres", "address": "127.0.0.1"}, "direction": "apply"}', '9ee9d51613cc7103c268b093c9795887a87c3f69c81ee3f0f140dfc5184bb91f', 'bd624c99d034a76f15f2fa8be8340be7bea8c0572f77f0e6f616201276d66e6e');
INSERT INTO wmigrate.audit_log VALUES (3, '2026-11-27 12:07:22.687476+00', 'applied', '001', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 2, '{"name": "shop", "rows": 0, "entry": {"name": "shop", "actor": "ann", "dag_id": "warehouse", "run_id": "manual__1", "status": "applied", "task_id": "migrate.002_price", "checksum": "2ffca8dde71d30b287bac035420f971962ba6af20235305554297a12b8090a24", "direction": "apply", "applied_at": "2026-11-27T12:07:22.687476", "try_number": 2, "duration_ms": 2, "dependencies": [], "rollback_checksum": "f9a010e0266efc6aa3a458b566b4b626d2c9ad4ffbcc9b1809b5162c774743a3", "checksum_algorithm": "sha256"}, "locks": [{"mode": "AccessExclusiveLock", "dropped": false, "held_ms": null, "relation": "public.shop"}], "session": {"pid": 9619, "user": "postgres", "address": "127.0.0.1"}, "attempts": 1, "checksum": "2ffca8dde71d30b287bac035420f971962ba6af20235305554297a12b8090a24", "blocked_by": [], "bystanders": {"looks": 0, "sessions": null, "deadlocks": null, "relations": [], "unseen_ms": 2, "not_measured": "it was over before the first look", "longest_wait_ms": null}, "statements": 1}', 'bd624c99d034a76f15f2fa8be8340be7bea8c0572f77f0e6f616201276d66e6e', '7fa26689f194eca8f9af8ce4adeb0736e6f219d1adfd876ca4e8b8966d55f880');
INSERT INTO wmigrate.audit_log VALUES (4, '2026-11-27 12:07:22.872517+00', 'applied', '002', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 2, '{"name": "price", "rows": 0, "entry": {"name": "price", "actor": "ann", "dag_id": "warehouse", "run_id": "manual__1", "status": "applied", "task_id": "migrate.002_price", "checksum": "7d051f93f637f05226bf9eae171b5550acb637080ba044abf7c38ca511217ced", "direction": "apply", "applied_at": "2026-11-27T12:07:22.872517", "try_number": 2, "duration_ms": 2, "dependencies": ["001"], "rollback_checksum": "baa1c49291d9926794790aeaf2f65d04e2519598e566ac728a69b630b0be1ed9", "checksum_algorithm": "sha256"}, "locks": [{"mode": "AccessExclusiveLock", "dropped": false, "held_ms": null, "relation": "public.shop"}], "session": {"pid": 9635, "user": "postgres", "address": "127.0.0.1"}, "attempts": 1, "checksum": "7d051f93f637f05226bf9eae171b5550acb637080ba044abf7c38ca511217ced", "blocked_by": [], "bystanders": {"looks": 0, "sessions": null, "deadlocks": null, "relations": [], "unseen_ms": 2, "not_measured": "it was over before the first look", "longest_wait_ms": null}, "statements": 1}', '7fa26689f194eca8f9af8ce4adeb0736e6f219d1adfd876ca4e8b8966d55f880', 'acd149715bcaccac65a64aed757fd3e14b85fec5e231c3c3d542bff1190e045e');
INSERT INTO wmigrate.audit_log VALUES (5, '2026-11-27 12:07:23.059751+00', 'applied', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 1, '{"name": "view", "rows": 0, "entry": {"name": "view", "actor": "ann", "dag_id": "warehouse", "run_id": "manual__1", "status": "applied", "task_id": "migrate.002_price", "checksum": "e4b7554015f18ca5fc4e98559cb19072e6a124b799ebe5c4f97e3b3f64f3fa90", "direction": "apply", "applied_at": "2026-11-27T12:07:23.059751", "try_number": 2, "duration_ms": 1, "dependencies": ["002"], "rollback_checksum": "bfb1265df5d1f4ea6d1231a8f89c76405b8997c1d96260609d340fce34876057", "checksum_algorithm": "sha256"}, "locks": [{"mode": "AccessExclusiveLock", "dropped": false, "held_ms": null, "relation": "public.dear"}], "session": {"pid": 9644, "user": "postgres", "address": "127.0.0.1"}, "attempts": 1, "checksum": "e4b7554015f18ca5fc4e98559cb19072e6a124b799ebe5c4f97e3b3f64f3fa90", "blocked_by": [], "bystanders": {"looks": 0, "sessions": null, "deadlocks": null, "relations": [], "unseen_ms": 1, "not_measured": "it was over before the first look", "longest_wait_ms": null}, "statements": 1}', 'acd149715bcaccac65a64aed757fd3e14b85fec5e231c3c3d542bff1190e045e', '0dc52bf25930cbbbf871a54a00be0812995795079c6d6ed3856aa92782f3a240');
INSERT INTO wmigrate.audit_log VALUES (6, '2026-11-27 12:07:23.314613+00', 'dry_run', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 39, '{"name": "view", "rows": 0, "chain": {"004": 39}, "locks": [{"mode": "AccessExclusiveLock", "dropped": true, "held_ms": null, "relation": "public.dear"}], "locked": {"004": {"locks": [{"mode": "AccessExclusiveLock", "relation": "public.dear"}], "unseen": [], "checksum": "bfb1265df5d1f4ea6d1231a8f89c76405b8997c1d96260609d340fce34876057"}}, "dry_run": true, "session": {"pid": 9654, "user": "postgres", "address": "127.0.0.1"}, "attempts": 1, "checksum": "e4b7554015f18ca5fc4e98559cb19072e6a124b799ebe5c4f97e3b3f64f3fa90", "direction": "rollback", "blocked_by": [], "bystanders": {"looks": 0, "sessions": null, "deadlocks": null, "relations": [], "unseen_ms": 60, "not_measured": "it was over before the first look", "longest_wait_ms": null}, "statements": 1}', '0dc52bf25930cbbbf871a54a00be0812995795079c6d6ed3856aa92782f3a240', '1332ae4dff768de7992e0f83ac45c3d69fcb2921131e8d8fd0b9c90aeb04c98c');
INSERT INTO wmigrate.audit_log VALUES (7, '2026-11-27 12:07:23.416357+00', 'rolled_back', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 5, '{"name": "view", "rows": 0, "entry": null, "locks": [{"mode": "AccessExclusiveLock", "dropped": true, "held_ms": null, "relation": "public.dear"}], "session": {"pid": 9660, "user": "postgres", "address": "127.0.0.1"}, "attempts": 1, "checksum": "e4b7554015f18ca5fc4e98559cb19072e6a124b799ebe5c4f97e3b3f64f3fa90", "blocked_by": [], "bystanders": {"looks": 0, "sessions": null, "deadlocks": null, "relations": [], "unseen_ms": 5, "not_measured": "it was over before the first look", "longest_wait_ms": null}, "statements": 1}', '1332ae4dff768de7992e0f83ac45c3d69fcb2921131e8d8fd0b9c90aeb04c98c', '2ad9142298a20cb28e72ffa12ed4cb1849f515fe84e93857e0c8c581248c2652');
INSERT INTO wmigrate.audit_log VALUES (8, '2026-11-27 12:07:23.740391+00', 'applied', '004', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, 8, '{"name": "view", "rows": 0, "entry": {"name": "view", "actor": "ann", "dag_id": "warehouse", "run_id": "manual__1", "status": "applied", "task_id": "migrate.002_price", "checksum": "e4b7554015f18ca5fc4e98559cb19072e6a124b799ebe5c4f97e3b3f64f3fa90", "direction": "apply", "applied_at": "2026-11-27T12:07:23.740391", "try_number": 2, "duration_ms": 8, "dependencies": ["002"], "rollback_checksum": "bfb1265df5d1f4ea6d1231a8f89c76405b8997c1d96260609d340fce34876057", "checksum_algorithm": "sha256"}, "locks": [{"mode": "AccessExclusiveLock", "dropped": false, "held_ms": null, "relation": "public.dear"}], "session": {"pid": 9671, "user": "postgres", "address": "127.0.0.1"}, "attempts": 1, "checksum": "e4b7554015f18ca5fc4e98559cb19072e6a124b799ebe5c4f97e3b3f64f3fa90", "blocked_by": [], "bystanders": {"looks": 0, "sessions": null, "deadlocks": null, "relations": [], "unseen_ms": 9, "not_measured": "it was over before the first look", "longest_wait_ms": null}, "statements": 1}', '2ad9142298a20cb28e72ffa12ed4cb1849f515fe84e93857e0c8c581248c2652', '5caa6debedd988b242f7b0253e60dab8889e44ab35696b6729d2610b650b0cbb');
INSERT INTO wmigrate.audit_log VALUES (9, '2026-11-27 12:07:24.120658+00', 'started', '003', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"entry": {"name": "index", "actor": "ann", "dag_id": "warehouse", "run_id": "manual__1", "status": "incomplete", "task_id": "migrate.002_price", "checksum": "08bd56acf7047ef7aca3e09834a88b2131d7850296ea20bd7c114b2a32063678", "direction": "apply", "applied_at": "2026-11-27T12:07:24.115949", "try_number": 2, "duration_ms": 0, "dependencies": ["002"], "rollback_checksum": "72aaab5f763e0051fee5f2cbb9ad55b7818efc410cd9f001f8204394b021e8c6", "checksum_algorithm": "sha256"}, "session": {"pid": 9682, "user": "postgres", "address": "127.0.0.1"}, "direction": "apply", "statements_done": 0}', '5caa6debedd988b242f7b0253e60dab8889e44ab35696b6729d2610b650b0cbb', 'dd6f4cd3e89f321dfa483e9a66db6123b540af7132aa1e3263d098c8a89426b2');
INSERT INTO wmigrate.audit_log VALUES (10, '2026-11-27 12:07:24.228139+00', 'failed', '003', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL, '{"error": "003_index.sql:2: column \"nope\" does not exist (SQLSTATE 42703) in CREATE INDEX CONCURRENTLY shop_nope ON shop (nope); statement 1 was kept; the next run goes on at statement 2", "dry_run": false, "session": {"pid": 9682, "user": "postgres", "address": "127.0.0.1"}, "sqlstate": "42703", "direction": "apply", "bystanders": {"looks": 0, "sessions": null, "deadlocks": null, "relations": [], "unseen_ms": 111, "not_measured": "it was over before the first look", "longest_wait_ms": null}}', 'dd6f4cd3e89f321dfa483e9a66db6123b540af7132aa1e3263d098c8a89426b2', 'e838ff3d2e7922fb780ecc4f584b280302f1dd1dd8701e2e1ba1c35c924d1418');

INSERT INTO wmigrate.schema_facts VALUES (1, NULL, 'column', 'public.shop.id', 'public', 'public.shop', '{"type": "integer", "not_null": true}', '{"position": 1}', 'b2d7a971e91609e68810d30def83dc325b49bed1b14bc30e642479b077dec7ec');
INSERT INTO wmigrate.schema_facts VALUES (1, NULL, 'column', 'public.shop.name', 'public', 'public.shop', '{"type": "text"}', '{"position": 2}', '70522cdd43afe594c827e5756f36ef61a255f96e6481c3aa3f5f9ae705298a1a');
INSERT INTO wmigrate.schema_facts VALUES (1, NULL, 'comment', 'on database', '', '', '{"text": "default administrative connection database"}', '', '114d865194e82bb6f6002332f2d0c7632e3d2870b2351b21dce900957094d4c5');
INSERT INTO wmigrate.schema_facts VALUES (1, NULL, 'constraint', 'shop_pkey on public.shop', 'public', 'public.shop', '{"definition": "PRIMARY KEY (id)"}', '', '1f31a9aa60b13ffa428f8460074215ca436e037c7e13142cf0290244a0374101');
INSERT INTO wmigrate.schema_facts VALUES (1, NULL, 'extension', 'plpgsql', '', '', '{"schema": "pg_catalog"}', '{"version": "1.0"}', '96af27b3f828289f70520da8e504a4f3b149dd8a934b76489e48df6805243d26');
INSERT INTO wmigrate.schema_facts VALUES (1, NULL, 'grant on schema', 'public to public', 'public', '', '{"granted": ["USAGE"]}', '', '1ab803e6e4ab10254691c99f7b391ae351f0563a0db46ec72a842ad7461e01f6');
INSERT INTO wmigrate.schema_facts VALUES (1, NULL, 'index', 'public.shop_pkey', 'public', 'public.shop', '{"definition": "CREATE UNIQUE INDEX shop_pkey ON public.shop USING btree (id)"}', '', 'b9cb9f2caf3cda65c52c56cd45b6733f3932d5bd6f2326d53f244451d8235ec4');
INSERT INTO wmigrate.schema_facts VALUES (1, NULL, 'schema', 'public', 'public', '', '{}', '', '9acf85b503859ba98eed2f271d1e3f04d1921f8fc9d69d5134fb50f2c70f9e05');
INSERT INTO wmigrate.schema_facts VALUES (1, NULL, 'table', 'public.shop', 'public', '', '{"owner": "postgres"}', '', 'e29568724500956dafcac96a9ee0ea4fa34b9fafdc41d58d331d9d43d9a0d18e');
INSERT INTO wmigrate.schema_facts VALUES (2, NULL, 'column', 'public.shop.price', 'public', 'public.shop', '{"type": "integer"}', '{"position": 3}', '16727c404fd5f0c6c5bb879cd875c0a5d0d9bc976dc05b82938237dec17031f9');
INSERT INTO wmigrate.schema_facts VALUES (3, 4, 'column', 'public.dear.id', 'public', 'public.dear', '{"type": "integer"}', '{"position": 1}', '7a88e3e7256bfcd6254cd49e9b47b355e7c3422f41bd7e5dc7f592c59dfbe6c1');
INSERT INTO wmigrate.schema_facts VALUES (3, 4, 'column', 'public.dear.name', 'public', 'public.dear', '{"type": "text"}', '{"position": 2}', '96e454e8150df77237e393e2eb71bace1501ec8c091e9eae64bdf6f308a212ac');
INSERT INTO wmigrate.schema_facts VALUES (3, 4, 'column', 'public.dear.price', 'public', 'public.dear', '{"type": "integer"}', '{"position": 3}', 'd0e7b0ad9bd22edac15caebc9010c3b8a62b1a16281f4e6da9aa922b16ded7cf');
INSERT INTO wmigrate.schema_facts VALUES (3, 4, 'view', 'public.dear', 'public', '', '{"owner": "postgres", "definition": " SELECT id,\n    name,\n    price\n   FROM public.shop\n  WHERE (price > 2);"}', '', '10771e06a030cd5bfb927e117e2cfacdd5fdb626d09876dd30d31dc487536bfc');
INSERT INTO wmigrate.schema_facts VALUES (5, NULL, 'column', 'public.dear.id', 'public', 'public.dear', '{"type": "integer"}', '{"position": 1}', '7a88e3e7256bfcd6254cd49e9b47b355e7c3422f41bd7e5dc7f592c59dfbe6c1');
INSERT INTO wmigrate.schema_facts VALUES (5, NULL, 'column', 'public.dear.name', 'public', 'public.dear', '{"type": "text"}', '{"position": 2}', '96e454e8150df77237e393e2eb71bace1501ec8c091e9eae64bdf6f308a212ac');
INSERT INTO wmigrate.schema_facts VALUES (5, NULL, 'column', 'public.dear.price', 'public', 'public.dear', '{"type": "integer"}', '{"position": 3}', 'd0e7b0ad9bd22edac15caebc9010c3b8a62b1a16281f4e6da9aa922b16ded7cf');
INSERT INTO wmigrate.schema_facts VALUES (5, NULL, 'view', 'public.dear', 'public', '', '{"owner": "postgres", "definition": " SELECT id,\n    name,\n    price\n   FROM public.shop\n  WHERE (price > 2);"}', '', '10771e06a030cd5bfb927e117e2cfacdd5fdb626d09876dd30d31dc487536bfc');
INSERT INTO wmigrate.schema_facts VALUES (6, NULL, 'index', 'public.shop_price', 'public', 'public.shop', '{"definition": "CREATE INDEX shop_price ON public.shop USING btree (price)"}', '', 'e597676b902246f1a17656a972bb125b701563bf5425a7b76569ef274af38d45');

INSERT INTO wmigrate.schema_migrations VALUES ('001', 'shop', 'applied', 'apply', '2ffca8dde71d30b287bac035420f971962ba6af20235305554297a12b8090a24', 'sha256', '{}', 'DROP TABLE shop;', 'f9a010e0266efc6aa3a458b566b4b626d2c9ad4ffbcc9b1809b5162c774743a3', '2026-11-27 12:07:22.687476+00', 2, 1, 1, '{}', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL);
INSERT INTO wmigrate.schema_migrations VALUES ('002', 'price', 'applied', 'apply', '7d051f93f637f05226bf9eae171b5550acb637080ba044abf7c38ca511217ced', 'sha256', '{001}', 'ALTER TABLE shop DROP price;', 'baa1c49291d9926794790aeaf2f65d04e2519598e566ac728a69b630b0be1ed9', '2026-11-27 12:07:22.872517+00', 2, 1, 1, '{}', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL);
INSERT INTO wmigrate.schema_migrations VALUES ('004', 'view', 'applied', 'apply', 'e4b7554015f18ca5fc4e98559cb19072e6a124b799ebe5c4f97e3b3f64f3fa90', 'sha256', '{002}', 'DROP VIEW dear;', 'bfb1265df5d1f4ea6d1231a8f89c76405b8997c1d96260609d340fce34876057', '2026-11-27 12:07:23.740391+00', 8, 1, 1, '{}', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL);
INSERT INTO wmigrate.schema_migrations VALUES ('003', 'index', 'incomplete', 'apply', '08bd56acf7047ef7aca3e09834a88b2131d7850296ea20bd7c114b2a32063678', 'sha256', '{002}', 'DROP INDEX CONCURRENTLY IF EXISTS shop_price;', '72aaab5f763e0051fee5f2cbb9ad55b7818efc410cd9f001f8204394b021e8c6', '2026-11-27 12:07:24.115949+00', 0, 1, 2, '{43784ab5df0624d6d3ead529450700b5cd30053361d12e8997c4e58ca1f69592}', 'ann', 'warehouse', 'manual__1', 'migrate.002_price', 2, NULL);

INSERT INTO wmigrate.schema_snapshots VALUES (1, '2026-11-27 12:07:22.767266+00', '001', 3, '268212a914f632db4926faebda954257b04955b8837e3dd0e7d701fc386b373f', 1, 150020, '{}', '{}');
INSERT INTO wmigrate.schema_snapshots VALUES (2, '2026-11-27 12:07:22.986524+00', '002', 4, '2ab06ff561c6367cb8aa06e4f6573b7ad11337ed031d22df87e007200aca8ba4', 1, 150020, '{}', '{}');
INSERT INTO wmigrate.schema_snapshots VALUES (3, '2026-11-27 12:07:23.150526+00', '004', 5, 'b9c17d2693b091324aaa857d1ad29bf61d301b235e53719108a61346cc5ccc4b', 1, 150020, '{}', '{}');
INSERT INTO wmigrate.schema_snapshots VALUES (4, '2026-11-27 12:07:23.544916+00', '002', 7, '2ab06ff561c6367cb8aa06e4f6573b7ad11337ed031d22df87e007200aca8ba4', 1, 150020, '{}', '{}');
INSERT INTO wmigrate.schema_snapshots VALUES (5, '2026-11-27 12:07:23.879881+00', '004', 8, 'b9c17d2693b091324aaa857d1ad29bf61d301b235e53719108a61346cc5ccc4b', 1, 150020, '{}', '{}');
INSERT INTO wmigrate.schema_snapshots VALUES (6, '2026-11-27 12:07:24.381864+00', '004', 10, '17f71f7ee94acc15dd68f3242d3c53719714e1426b5aa362940bf1926ba807a2', 1, 150020, '{}', '{}');

ALTER TABLE ONLY public.shop
    ADD CONSTRAINT shop_pkey PRIMARY KEY (id);

ALTER TABLE ONLY wmigrate.application_metadata
    ADD CONSTRAINT application_metadata_pkey PRIMARY KEY (key);

ALTER TABLE ONLY wmigrate.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY wmigrate.schema_facts
    ADD CONSTRAINT schema_facts_pkey PRIMARY KEY (hash, from_snapshot);

ALTER TABLE ONLY wmigrate.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY wmigrate.schema_snapshots
    ADD CONSTRAINT schema_snapshots_pkey PRIMARY KEY (number);

CREATE INDEX shop_price ON public.shop USING btree (price);

CREATE INDEX audit_log_version_idx ON wmigrate.audit_log USING btree (version, "position");

CREATE TRIGGER audit_log_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON wmigrate.audit_log FOR EACH STATEMENT EXECUTE FUNCTION wmigrate.refuse_change();

CREATE TRIGGER schema_migrations_tell AFTER INSERT OR DELETE OR UPDATE ON wmigrate.schema_migrations FOR EACH STATEMENT EXECUTE FUNCTION wmigrate.tell_listeners();
