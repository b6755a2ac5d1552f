-- The ledger, version 1. Run once, in one transaction, under the exclusive ledger lock, in a schema that is there.
-- {schema} is replaced by the quoted name of the ledger's schema. Later versions get files of their own; this one never changes.

CREATE TABLE {schema}.application_metadata (
    key         text        PRIMARY KEY,
    value       text        NOT NULL,
    description text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE  {schema}.application_metadata IS 'wmigrate: single values about this database and its ledger';
COMMENT ON COLUMN {schema}.application_metadata.key IS 'Name of the value';
COMMENT ON COLUMN {schema}.application_metadata.value IS 'The value, as text';
COMMENT ON COLUMN {schema}.application_metadata.description IS 'What the value means';
COMMENT ON COLUMN {schema}.application_metadata.created_at IS 'When the key was first written';
COMMENT ON COLUMN {schema}.application_metadata.updated_at IS 'When the value was last written';

CREATE TABLE {schema}.schema_migrations (
    version            text        PRIMARY KEY CHECK (version ~ '^([0-9]{{3}}|[1-9][0-9]{{3,}})$'),
    name               text        NOT NULL,
    status             text        NOT NULL CHECK (status IN ('applied', 'incomplete')),
    direction          text        NOT NULL CHECK (direction IN ('apply', 'rollback')),
    checksum           text        NOT NULL,
    checksum_algorithm text        NOT NULL,
    dependencies       text[]      NOT NULL,
    rollback_sql       text,
    rollback_checksum  text,
    applied_at         timestamptz NOT NULL,
    duration_ms        bigint      NOT NULL CHECK (duration_ms >= 0),
    statements_done    integer     NOT NULL CHECK (statements_done >= 0),
    statements_total   integer     NOT NULL CHECK (statements_total >= statements_done),
    statement_hashes   text[]      NOT NULL,
    actor              text        NOT NULL,
    dag_id             text,
    run_id             text,
    task_id            text,
    try_number         integer,
    CHECK ((rollback_sql IS NULL) = (rollback_checksum IS NULL))
);
COMMENT ON TABLE  {schema}.schema_migrations IS 'wmigrate: one row per migration that is applied, or was started outside a transaction and is not finished';
COMMENT ON COLUMN {schema}.schema_migrations.version IS 'Version, zero-padded to at least three digits; ordered by its number';
COMMENT ON COLUMN {schema}.schema_migrations.name IS 'Name from the file, without version and ending';
COMMENT ON COLUMN {schema}.schema_migrations.status IS 'applied, or incomplete: started outside a transaction and not finished';
COMMENT ON COLUMN {schema}.schema_migrations.direction IS 'What the row last did: apply, or of an incomplete one also rollback';
COMMENT ON COLUMN {schema}.schema_migrations.checksum IS 'Checksum of the canonical text that was applied (UTF-8, no byte order mark, LF)';
COMMENT ON COLUMN {schema}.schema_migrations.checksum_algorithm IS 'Algorithm of both checksums in this row';
COMMENT ON COLUMN {schema}.schema_migrations.dependencies IS 'Versions it depended on when it was applied';
COMMENT ON COLUMN {schema}.schema_migrations.rollback_sql IS 'Rollback script as it was when the migration was applied; NULL: there was none';
COMMENT ON COLUMN {schema}.schema_migrations.rollback_checksum IS 'Checksum of rollback_sql';
COMMENT ON COLUMN {schema}.schema_migrations.applied_at IS 'When it was applied, by the clock of the database server';
COMMENT ON COLUMN {schema}.schema_migrations.duration_ms IS 'How long the script ran, in milliseconds';
COMMENT ON COLUMN {schema}.schema_migrations.statements_done IS 'Statements of the script that have run';
COMMENT ON COLUMN {schema}.schema_migrations.statements_total IS 'Statements of the script';
COMMENT ON COLUMN {schema}.schema_migrations.statement_hashes IS 'Journal of a script run statement by statement: hashes of the statements begun, in order; one more than done means one was in flight';
COMMENT ON COLUMN {schema}.schema_migrations.actor IS 'Who had it applied';
COMMENT ON COLUMN {schema}.schema_migrations.dag_id IS 'Airflow DAG that applied it';
COMMENT ON COLUMN {schema}.schema_migrations.run_id IS 'Airflow DAG run that applied it';
COMMENT ON COLUMN {schema}.schema_migrations.task_id IS 'Airflow task that applied it';
COMMENT ON COLUMN {schema}.schema_migrations.try_number IS 'Try of that task';

CREATE TABLE {schema}.audit_log (
    position      bigint      PRIMARY KEY,
    at            timestamptz NOT NULL,
    event         text        NOT NULL,
    version       text,
    actor         text        NOT NULL,
    dag_id        text,
    run_id        text,
    task_id       text,
    try_number    integer,
    duration_ms   bigint,
    details       jsonb       NOT NULL,
    previous_hash text        NOT NULL,
    hash          text        NOT NULL
);
CREATE INDEX audit_log_version_idx ON {schema}.audit_log (version, position);
COMMENT ON TABLE  {schema}.audit_log IS 'wmigrate: append-only history of every event; each row carries a hash over itself and its predecessor';
COMMENT ON COLUMN {schema}.audit_log.position IS 'Place in the chain, from 1, without gaps';
COMMENT ON COLUMN {schema}.audit_log.at IS 'When, by the clock of the database server';
COMMENT ON COLUMN {schema}.audit_log.event IS 'What happened: ledger_created, planned, started, applied, rolled_back, failed, rollback_failed, dry_run, refused ...';
COMMENT ON COLUMN {schema}.audit_log.version IS 'Version of the migration; NULL when the event is about none';
COMMENT ON COLUMN {schema}.audit_log.actor IS 'Who had it done';
COMMENT ON COLUMN {schema}.audit_log.dag_id IS 'Airflow DAG';
COMMENT ON COLUMN {schema}.audit_log.run_id IS 'Airflow DAG run';
COMMENT ON COLUMN {schema}.audit_log.task_id IS 'Airflow task';
COMMENT ON COLUMN {schema}.audit_log.try_number IS 'Try of that task';
COMMENT ON COLUMN {schema}.audit_log.duration_ms IS 'How long it took, in milliseconds';
COMMENT ON COLUMN {schema}.audit_log.details IS 'The rest: checksum, locks, rows, error; never SQL text, never a secret';
COMMENT ON COLUMN {schema}.audit_log.previous_hash IS 'hash of the row before; of the first row: 64 zeros';
COMMENT ON COLUMN {schema}.audit_log.hash IS 'SHA-256 over the canonical JSON of every other column; wmigrate audit verify recomputes it';

CREATE FUNCTION {schema}.refuse_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only: % refused', TG_OP
        USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;
COMMENT ON FUNCTION {schema}.refuse_change() IS 'wmigrate: keeps audit_log append-only';
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();

-- Whoever waits for a migration (the sensor) listens on one channel; the payload says whose ledger moved.
CREATE FUNCTION {schema}.tell_listeners() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM pg_notify('wmigrate', TG_TABLE_SCHEMA);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION {schema}.tell_listeners() IS 'wmigrate: wakes whoever listens on channel wmigrate';
CREATE TRIGGER schema_migrations_tell AFTER INSERT OR UPDATE OR DELETE ON {schema}.schema_migrations
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.tell_listeners();
