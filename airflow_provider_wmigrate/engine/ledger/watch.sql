-- What records the DDL of others. Run by a superuser, in one transaction, in a schema that is his.
-- {watch} is that schema, {schema} the ledger's; {name} is the ledger's name as text, {lock} the number of its lock;
-- {at_start}, {at_end} and {at_drop} are the names of the event triggers.

CREATE TABLE {watch}.changes (
    number           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at               timestamptz NOT NULL,
    login            text        NOT NULL,
    role             text,
    address          text,
    application_name text        NOT NULL,
    pid              integer     NOT NULL,
    command          text        NOT NULL,
    objects          text[]      NOT NULL,
    count            integer     NOT NULL
);
COMMENT ON TABLE  {watch}.changes IS 'wmigrate: DDL of others that the next run moves into the audit log';
COMMENT ON COLUMN {watch}.changes.number IS 'Counts up, with gaps';
COMMENT ON COLUMN {watch}.changes.at IS 'When, by the clock of the database server';
COMMENT ON COLUMN {watch}.changes.login IS 'Role that logged in';
COMMENT ON COLUMN {watch}.changes.role IS 'Role that it had taken with SET ROLE; NULL: none';
COMMENT ON COLUMN {watch}.changes.address IS 'Address of the client; NULL: it came over a socket of the same machine';
COMMENT ON COLUMN {watch}.changes.application_name IS 'What the client called itself';
COMMENT ON COLUMN {watch}.changes.pid IS 'Server process';
COMMENT ON COLUMN {watch}.changes.command IS 'Command tag, such as ALTER TABLE; never the text of the command';
COMMENT ON COLUMN {watch}.changes.objects IS 'Kind and name of the first 100 objects: table public.orders';
COMMENT ON COLUMN {watch}.changes.count IS 'How many objects there were';

-- Whoever may write the audit log may move rows into it.
DO $do$
DECLARE
    may record;
BEGIN
    FOR may IN
        SELECT CASE p.grantee WHEN 0 THEN 'PUBLIC' ELSE p.grantee::pg_catalog.regrole::text END AS who
          FROM pg_catalog.pg_class c, pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) p
         WHERE c.oid = '{schema}.audit_log'::pg_catalog.regclass AND p.privilege_type = 'INSERT'
    LOOP
        EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA {watch} TO %s', may.who);
        EXECUTE pg_catalog.format('GRANT SELECT, DELETE ON {watch}.changes TO %s', may.who);
    END LOOP;
END
$do$;

-- Runs inside the command of whoever changes something, who may not notice it: no right of theirs is needed, no error
-- of it reaches them, and no lock of it makes them wait. A runner is believed who holds the ledger's lock (and not who
-- only has its name) and whose role may write the audit log anyway.
CREATE FUNCTION {watch}.record_change() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    changed text[] := '{{script}}';
BEGIN
    IF tg_tag IN ('REFRESH MATERIALIZED VIEW', 'REINDEX') THEN
        RETURN;
    ELSIF tg_event = 'sql_drop' THEN
        changed := ARRAY(
            SELECT object_type || ' ' || object_identity FROM pg_event_trigger_dropped_objects()
             WHERE (original OR normal AND tg_tag <> 'DROP EXTENSION') AND NOT is_temporary
               AND coalesce(schema_name, '') !~ '^(pg_temp|_timescaledb_)'
               AND object_identity !~ '(^|[ .])(pg_temp\.|_timescaledb_)|^"_RETURN" on '
             ORDER BY original DESC, object_identity COLLATE "C");
    ELSIF tg_event = 'ddl_command_end' THEN
        changed := ARRAY(
            SELECT DISTINCT concat_ws(' ', lower(object_type), object_identity) COLLATE "C"
              FROM pg_event_trigger_ddl_commands()
             WHERE NOT in_extension
               AND coalesce(schema_name, '') !~ '^(pg_temp|_timescaledb_)'
               AND coalesce(object_identity, '') !~ '(^|[ .])(pg_temp\.|_timescaledb_)'
             ORDER BY 1);
    END IF;
    IF changed = '{{}}' OR EXISTS (
        SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND granted AND objsubid = 1
           AND (classid::bigint << 32) | objid::bigint = {lock}
    ) AND EXISTS (
        SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_roles r
         WHERE n.nspname = {name} AND c.relname = 'audit_log'
           AND pg_has_role(session_user, r.oid, 'MEMBER') AND has_table_privilege(r.oid, c.oid, 'INSERT')
    ) THEN
        RETURN;
    END IF;
    -- What the script of an extension drops is part of the extension: it stands behind a mark, and goes with it.
    DELETE FROM {watch}.changes WHERE tg_event = 'ddl_command_end' AND tg_tag IN ('CREATE EXTENSION', 'ALTER EXTENSION')
       AND pid = pg_backend_pid()
       AND number >= (SELECT max(number) FROM {watch}.changes WHERE pid = pg_backend_pid() AND objects = '{{script}}');
    INSERT INTO {watch}.changes (at, login, role, address, application_name, pid, command, objects, count)
    VALUES (clock_timestamp(), session_user, nullif(current_setting('role'), 'none'), host(inet_client_addr()),
            current_setting('application_name'), pg_backend_pid(), tg_tag, changed[1:100], cardinality(changed));
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'wmigrate could not record this change: %', SQLERRM;
END
$body$;
COMMENT ON FUNCTION {watch}.record_change() IS 'wmigrate: records the DDL of others; wmigrate drift --watch off removes it';

CREATE EVENT TRIGGER {at_start} ON ddl_command_start WHEN TAG IN ('CREATE EXTENSION', 'ALTER EXTENSION')
    EXECUTE FUNCTION {watch}.record_change();
CREATE EVENT TRIGGER {at_end} ON ddl_command_end EXECUTE FUNCTION {watch}.record_change();
CREATE EVENT TRIGGER {at_drop} ON sql_drop EXECUTE FUNCTION {watch}.record_change();
ALTER EVENT TRIGGER {at_start} ENABLE ALWAYS;
ALTER EVENT TRIGGER {at_end} ENABLE ALWAYS;
ALTER EVENT TRIGGER {at_drop} ENABLE ALWAYS;
