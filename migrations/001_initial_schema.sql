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

CREATE TABLE audit.row_changes (
    id             bigint      GENERATED ALWAYS AS IDENTITY,
    table_schema   text        NOT NULL,
    table_name     text        NOT NULL,
    record_id      text        NOT NULL,
    operation      text        NOT NULL,
    old_values     jsonb,
    new_values     jsonb,
    changed_by     text        NOT NULL,
    changed_at     timestamptz NOT NULL,
    client_address inet,
    CONSTRAINT row_changes_pkey PRIMARY KEY (id),
    CONSTRAINT row_changes_operation_check CHECK (operation IN ('INSERT', 'UPDATE', 'DELETE')),
    CONSTRAINT row_changes_values_check CHECK (
        (old_values IS NULL) = (operation = 'INSERT')
        AND (new_values IS NULL) = (operation = 'DELETE')
    )
);

-- "What happened to this row?", in order.
CREATE INDEX row_changes_record_idx ON audit.row_changes (table_schema, table_name, record_id, id);

-- "What happened that day?" Rows arrive in time order, so a block range index is enough and stays tiny.
CREATE INDEX row_changes_changed_at_idx ON audit.row_changes USING brin (changed_at);

COMMENT ON TABLE audit.row_changes IS
    'One row for each inserted, changed or deleted row of an audited table';
COMMENT ON COLUMN audit.row_changes.record_id IS
    'Primary key of the row as text; before the change, if it changed';
COMMENT ON COLUMN audit.row_changes.old_values IS 'The whole row before the change; NULL for INSERT';
COMMENT ON COLUMN audit.row_changes.new_values IS 'The whole row after the change; NULL for DELETE';
COMMENT ON COLUMN audit.row_changes.changed_by IS
    'Login role of the session; SET ROLE does not change it';
COMMENT ON COLUMN audit.row_changes.changed_at IS 'Time of the change itself, not of its transaction';
COMMENT ON COLUMN audit.row_changes.client_address IS 'Address of the client; NULL over a Unix socket';

-- SECURITY DEFINER: whoever writes an audited table needs no privilege on the trail, and so cannot edit it.
-- The fixed search_path keeps the caller's own objects out of a function that runs as its owner.
CREATE FUNCTION audit.record_row_change() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    key_column CONSTANT text := coalesce(TG_ARGV[0], 'id');
    old_row    jsonb;
    new_row    jsonb;
    row_key    text;
BEGIN
    -- Returning NULL from a BEFORE trigger would silently discard the write.
    IF TG_WHEN <> 'AFTER' OR TG_LEVEL <> 'ROW' THEN
        RAISE EXCEPTION 'trigger % on %.% must be AFTER ... FOR EACH ROW',
            TG_NAME, TG_TABLE_SCHEMA, TG_TABLE_NAME
            USING ERRCODE = 'trigger_protocol_violated';
    END IF;

    IF TG_OP <> 'INSERT' THEN
        old_row := to_jsonb(OLD);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        new_row := to_jsonb(NEW);
    END IF;

    -- updated_at moves with every UPDATE; alone it is no change.
    IF TG_OP = 'UPDATE' AND old_row - 'updated_at' = new_row - 'updated_at' THEN
        RETURN NULL;
    END IF;

    row_key := coalesce(old_row, new_row) ->> key_column;
    IF row_key IS NULL THEN
        RAISE EXCEPTION 'trigger % on %.%: key column "%" does not exist or is null',
            TG_NAME, TG_TABLE_SCHEMA, TG_TABLE_NAME, key_column
            USING ERRCODE = 'undefined_column',
                  HINT = 'Name the primary-key column as the argument of the trigger.';
    END IF;

    INSERT INTO audit.row_changes (
        table_schema, table_name, record_id, operation, old_values, new_values,
        changed_by, changed_at, client_address
    )
    VALUES (
        TG_TABLE_SCHEMA, TG_TABLE_NAME, row_key, TG_OP, old_row, new_row,
        session_user, clock_timestamp(), inet_client_addr()
    );
    RETURN NULL;
END;
$function$;

COMMENT ON FUNCTION audit.record_row_change() IS
    'AFTER row trigger; argument: primary-key column (default id). TRUNCATE is not seen: do not grant it';

-- EXECUTE is asked for when a trigger is created, not when it fires. Without this revoke any role could put
-- the trigger on a table of its own and forge entries.
REVOKE ALL ON FUNCTION audit.record_row_change() FROM PUBLIC;


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

CREATE TRIGGER record_row_change
    AFTER INSERT OR UPDATE OR DELETE ON warehouse.application_metadata
    FOR EACH ROW EXECUTE FUNCTION audit.record_row_change('key');
