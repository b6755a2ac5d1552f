-- Foundation: schemas, the updated_at trigger, application metadata and the row-level audit trail.
-- Objects are created without IF NOT EXISTS on purpose: a name that is already taken is somebody else's
-- object, and the migration must stop rather than build on it.

CREATE SCHEMA warehouse;
COMMENT ON SCHEMA warehouse IS 'Warehouse master data and operations';

CREATE SCHEMA audit;
COMMENT ON SCHEMA audit IS 'Row-level audit trail; written by triggers only';


-- updated_at ------------------------------------------------------------------------------------------

-- now() and not clock_timestamp(): all rows of one transaction carry the same time.
CREATE FUNCTION warehouse.set_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END;
$function$;

COMMENT ON FUNCTION warehouse.set_updated_at() IS
    'BEFORE UPDATE row trigger: updated_at is the time of the last write, whatever the client sends';


-- Audit trail -----------------------------------------------------------------------------------------

-- By month, so that an old month goes by DROP TABLE and not by DELETE. The default partition takes what has
-- no month of its own: a write never fails because nobody made the next partition.
CREATE TABLE audit.row_changes (
    id               bigint      GENERATED ALWAYS AS IDENTITY,
    table_schema     text        NOT NULL,
    table_name       text        NOT NULL,
    record_id        text        NOT NULL,
    operation        text        NOT NULL,
    old_values       jsonb,
    new_values       jsonb,
    changed_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    transaction_id   xid8        NOT NULL DEFAULT pg_current_xact_id(),
    changed_by       text        NOT NULL DEFAULT session_user,
    application_user text        DEFAULT nullif(current_setting('warehouse.app_user', true), ''),
    user_agent       text        DEFAULT nullif(current_setting('warehouse.user_agent', true), ''),
    client_address   inet        DEFAULT inet_client_addr(),
    -- The key of a partitioned table must hold the column it is partitioned by. With the time first, it also
    -- answers "what happened that day?".
    CONSTRAINT row_changes_pkey PRIMARY KEY (changed_at, id),
    CONSTRAINT row_changes_operation_check CHECK (operation IN ('INSERT', 'UPDATE', 'DELETE')),
    CONSTRAINT row_changes_values_check CHECK (
        (old_values IS NULL) = (operation = 'INSERT')
        AND (new_values IS NULL) = (operation = 'DELETE')
    )
) PARTITION BY RANGE (changed_at);

CREATE TABLE audit.row_changes_default PARTITION OF audit.row_changes DEFAULT;

-- "What happened to this row?", in order.
CREATE INDEX row_changes_record_idx ON audit.row_changes (table_schema, table_name, record_id, id);

COMMENT ON TABLE audit.row_changes IS
    'One row for each inserted, changed or deleted row of a watched table';
COMMENT ON COLUMN audit.row_changes.record_id IS 'Primary key of the row as text';
COMMENT ON COLUMN audit.row_changes.old_values IS 'The whole row before the change; NULL for INSERT';
COMMENT ON COLUMN audit.row_changes.new_values IS 'The whole row after the change; NULL for DELETE';
COMMENT ON COLUMN audit.row_changes.changed_at IS 'Time of the change itself, not of its transaction';
COMMENT ON COLUMN audit.row_changes.transaction_id IS 'Changes with the same number were committed together';
COMMENT ON COLUMN audit.row_changes.changed_by IS
    'Login role of the session; SET ROLE does not change it';
COMMENT ON COLUMN audit.row_changes.application_user IS
    'From SET LOCAL warehouse.app_user = ...: what the application says, not what the server has checked';
COMMENT ON COLUMN audit.row_changes.user_agent IS
    'From SET LOCAL warehouse.user_agent = ...: likewise';
COMMENT ON COLUMN audit.row_changes.client_address IS 'Address of the client; NULL over a Unix socket';

-- One INSERT for each statement, however many rows it wrote. A trigger for each row costs about twice as much
-- where a statement writes many rows.
-- SECURITY DEFINER: whoever writes a watched table needs no privilege on the trail, and so cannot edit it.
-- The fixed search_path keeps the caller's own objects out of a function that runs as its owner.
CREATE FUNCTION audit.record_row_changes() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    key_column CONSTANT text := TG_ARGV[0];
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO audit.row_changes (table_schema, table_name, record_id, operation, new_values)
        SELECT TG_TABLE_SCHEMA, TG_TABLE_NAME, written.content ->> key_column, TG_OP, written.content
        FROM (SELECT to_jsonb(new_row) AS content FROM new_rows AS new_row OFFSET 0) AS written;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO audit.row_changes (table_schema, table_name, record_id, operation, old_values)
        SELECT TG_TABLE_SCHEMA, TG_TABLE_NAME, removed.content ->> key_column, TG_OP, removed.content
        FROM (SELECT to_jsonb(old_row) AS content FROM old_rows AS old_row OFFSET 0) AS removed;
    ELSE
        -- Joined by key. A row whose key was changed has no partner: it is recorded as the DELETE of the old
        -- key and the INSERT of the new one.
        INSERT INTO audit.row_changes (
            table_schema, table_name, record_id, operation, old_values, new_values
        )
        SELECT
            TG_TABLE_SCHEMA,
            TG_TABLE_NAME,
            record_id,
            CASE
                WHEN removed.content IS NULL THEN 'INSERT'
                WHEN written.content IS NULL THEN 'DELETE'
                ELSE 'UPDATE'
            END,
            removed.content,
            written.content
        FROM (
            SELECT content ->> key_column AS record_id, content
            FROM (SELECT to_jsonb(old_row) AS content FROM old_rows AS old_row OFFSET 0) AS old_content
        ) AS removed
        FULL JOIN (
            SELECT content ->> key_column AS record_id, content
            FROM (SELECT to_jsonb(new_row) AS content FROM new_rows AS new_row OFFSET 0) AS new_content
        ) AS written USING (record_id)
        -- updated_at moves with every UPDATE; alone it is no change.
        WHERE removed.content - 'updated_at' IS DISTINCT FROM written.content - 'updated_at';
    END IF;
    RETURN NULL;
END;
$function$;

COMMENT ON FUNCTION audit.record_row_changes() IS
    'AFTER statement trigger with transition tables; argument: key column. See audit.watch';

-- EXECUTE is asked for when a trigger is created, not when it fires. Without this revoke any role could put
-- the trigger on a table of its own and forge entries.
REVOKE ALL ON FUNCTION audit.record_row_changes() FROM PUBLIC;

-- A trigger with transition tables serves one kind of statement, so a table needs three of them.
CREATE FUNCTION audit.watch(watched regclass, key_column name DEFAULT 'id') RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    -- Without a key the trail could not say which row it was.
    PERFORM FROM pg_attribute
    WHERE attrelid = watched AND attname = key_column AND attnum > 0 AND attnotnull AND NOT attisdropped;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % has no column "%" that is NOT NULL', watched, key_column
            USING ERRCODE = 'undefined_column', HINT = 'Name the column of the primary key.';
    END IF;

    EXECUTE format(
        'CREATE TRIGGER record_inserted_rows AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows'
        ' FOR EACH STATEMENT EXECUTE FUNCTION audit.record_row_changes(%L)', watched, key_column);
    EXECUTE format(
        'CREATE TRIGGER record_updated_rows AFTER UPDATE ON %s REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows'
        ' FOR EACH STATEMENT EXECUTE FUNCTION audit.record_row_changes(%L)', watched, key_column);
    EXECUTE format(
        'CREATE TRIGGER record_deleted_rows AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows'
        ' FOR EACH STATEMENT EXECUTE FUNCTION audit.record_row_changes(%L)', watched, key_column);
END;
$function$;

COMMENT ON FUNCTION audit.watch(regclass, name) IS
    'Begin to record the changes of a table''s rows. TRUNCATE is not seen: do not grant it';

CREATE FUNCTION audit.unwatch(watched regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    EXECUTE format('DROP TRIGGER record_inserted_rows ON %s', watched);
    EXECUTE format('DROP TRIGGER record_updated_rows ON %s', watched);
    EXECUTE format('DROP TRIGGER record_deleted_rows ON %s', watched);
END;
$function$;

COMMENT ON FUNCTION audit.unwatch(regclass) IS
    'Stop to record, where it costs too much; what was recorded stays. Only the owner of the table may';

-- Months are months of UTC, whatever the session's time zone. GMT is the name that a server without a list of zones knows too.
CREATE FUNCTION audit.add_month(month_start date) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET timezone = 'GMT'
AS $function$
DECLARE
    first_day CONSTANT date := date_trunc('month', month_start::timestamp)::date;
    next_month CONSTANT date := (first_day + INTERVAL '1 month')::date;
    partition_name CONSTANT text := to_char(first_day, '"row_changes_"YYYY_MM');
BEGIN
    IF to_regclass('audit.' || partition_name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE audit.%I (LIKE audit.row_changes INCLUDING ALL EXCLUDING IDENTITY)', partition_name);
    -- Rows that came before their month was made have to move; nobody may add more of them meanwhile.
    LOCK TABLE audit.row_changes_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format(
        'WITH moved AS (DELETE FROM audit.row_changes_default WHERE changed_at >= %1$L AND changed_at < %2$L RETURNING *)'
        ' INSERT INTO audit.%3$I SELECT * FROM moved', first_day, next_month, partition_name);
    EXECUTE format(
        'ALTER TABLE audit.row_changes ATTACH PARTITION audit.%I FOR VALUES FROM (%L) TO (%L)',
        partition_name, first_day, next_month);
    RETURN true;
END;
$function$;

COMMENT ON FUNCTION audit.add_month(date) IS
    'Make the partition of a month; false if it was there. Call it each month for the next one';

CREATE FUNCTION audit.drop_months(older_than interval) RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET timezone = 'GMT'
AS $function$
DECLARE
    keep_from CONSTANT timestamptz := date_trunc('month', now() - older_than);
    partition_name text;
BEGIN
    IF older_than IS NULL OR older_than <= INTERVAL '0' THEN
        RAISE EXCEPTION 'older_than must be a positive interval'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR partition_name IN
        SELECT child.relname
        FROM pg_inherits
        JOIN pg_class AS child ON child.oid = inhrelid
        WHERE inhparent = 'audit.row_changes'::regclass
            AND child.relname ~ '^row_changes_\d{4}_\d{2}$'
            AND child.relname < to_char(keep_from, '"row_changes_"YYYY_MM')
        ORDER BY child.relname
    LOOP
        EXECUTE format('DROP TABLE audit.%I', partition_name);
        RETURN NEXT partition_name;
    END LOOP;
    DELETE FROM audit.row_changes_default WHERE changed_at < keep_from;
END;
$function$;

COMMENT ON FUNCTION audit.drop_months(interval) IS
    'Retention: drop the months that ended before now() - older_than; returns their names';

-- These four are for the owner alone.
REVOKE ALL ON FUNCTION audit.watch(regclass, name) FROM PUBLIC;
REVOKE ALL ON FUNCTION audit.unwatch(regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION audit.add_month(date) FROM PUBLIC;
REVOKE ALL ON FUNCTION audit.drop_months(interval) FROM PUBLIC;


-- Application metadata --------------------------------------------------------------------------------

CREATE TABLE warehouse.application_metadata (
    key         text        NOT NULL,
    value       text        NOT NULL,
    description text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT application_metadata_pkey PRIMARY KEY (key),
    CONSTRAINT application_metadata_key_check CHECK (key = btrim(key) AND key <> '')
);

COMMENT ON TABLE warehouse.application_metadata IS
    'Facts about this application; which migrations were applied is recorded elsewhere, in the ledger';

CREATE TRIGGER set_updated_at
    BEFORE UPDATE ON warehouse.application_metadata
    FOR EACH ROW EXECUTE FUNCTION warehouse.set_updated_at();

SELECT audit.watch('warehouse.application_metadata', 'key');

INSERT INTO warehouse.application_metadata (key, value, description)
VALUES
    ('app_version', '1.0.0', 'Version of the application that this schema serves; the deployment writes it'),
    ('schema_version', '1.0.0', 'Version of the data model as readers know it; not the number of a migration'),
    ('migration_system', 'wmigrate', 'What changes this schema; its ledger says which migrations were applied');
