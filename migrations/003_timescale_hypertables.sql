-- Time series: five hypertables, four daily continuous aggregates, refresh, columnstore and retention policies.
-- Needs TimescaleDB 2.18 or later, whose names for the columnstore are used, under the Timescale licence: the
-- Apache edition has no continuous aggregates, no columnstore and no policies.

-- IF NOT EXISTS here and nowhere else: the extension belongs to the database, not to this migration. Its
-- functions are called unqualified, because only the administrator knows in which schema it was installed.
CREATE EXTENSION IF NOT EXISTS timescaledb;

-- A schema of its own: this data is written by machines, expires, and is granted to other roles.
CREATE SCHEMA telemetry;
COMMENT ON SCHEMA telemetry IS
    'Time series: measurements, movements and events; raw measurements and events are kept for one year';


-- Tables ----------------------------------------------------------------------------------------------
-- Every unique key of a hypertable must contain its time column, hence the composite primary keys.
-- There are no audit and updated_at triggers: these rows are facts that are appended, never edited.
-- The keys are natural ones, and the time comes from the sender: what is sent twice is refused and cannot count
-- twice. A time or a number made by the server would make it two rows.

-- No foreign keys here and in performance_metrics: these two take the highest rates, and a lookup for each
-- row would be paid on every insert.
CREATE TABLE telemetry.telemetry_data (
    recorded_at  timestamptz      NOT NULL,
    equipment_id uuid             NOT NULL,
    metric_name  text             NOT NULL,
    value        double precision NOT NULL,
    unit         text,
    attributes   jsonb            NOT NULL DEFAULT '{}',
    CONSTRAINT telemetry_data_pkey PRIMARY KEY (equipment_id, metric_name, recorded_at)
);
COMMENT ON TABLE telemetry.telemetry_data IS
    'Readings of equipment and sensors; equipment_id as in warehouse.equipment';

CREATE TABLE telemetry.operation_metrics (
    recorded_at  timestamptz      NOT NULL,
    operation_id uuid             NOT NULL,
    metric_name  text             NOT NULL,
    value        double precision NOT NULL,
    unit         text,
    CONSTRAINT operation_metrics_pkey PRIMARY KEY (operation_id, metric_name, recorded_at),
    CONSTRAINT operation_metrics_operation_id_fkey
        FOREIGN KEY (operation_id) REFERENCES warehouse.operations (id)
);
COMMENT ON TABLE telemetry.operation_metrics IS
    'Measurements of one operation: duration, distance, lines per hour';

-- Movements are business records and not measurements: they do not expire. Two equal ones in one second may
-- both be true, so the key is a number; a sender that repeats itself sends number and time again.
CREATE TABLE telemetry.inventory_movements (
    id                 uuid           NOT NULL DEFAULT gen_random_uuid(),
    recorded_at        timestamptz    NOT NULL DEFAULT now(),
    item_id            uuid           NOT NULL,
    movement_type      text           NOT NULL,
    quantity           numeric(14, 3) NOT NULL,
    quantity_before    numeric(14, 3),
    quantity_after     numeric(14, 3),
    source_location_id uuid,
    target_location_id uuid,
    operation_id       uuid,
    reference_document text,
    notes              text,
    CONSTRAINT inventory_movements_pkey PRIMARY KEY (id, recorded_at),
    CONSTRAINT inventory_movements_item_id_fkey
        FOREIGN KEY (item_id) REFERENCES warehouse.inventory_items (id),
    CONSTRAINT inventory_movements_source_location_id_fkey
        FOREIGN KEY (source_location_id) REFERENCES warehouse.warehouse_locations (id),
    CONSTRAINT inventory_movements_target_location_id_fkey
        FOREIGN KEY (target_location_id) REFERENCES warehouse.warehouse_locations (id),
    CONSTRAINT inventory_movements_operation_id_fkey
        FOREIGN KEY (operation_id) REFERENCES warehouse.operations (id),
    CONSTRAINT inventory_movements_movement_type_check
        CHECK (movement_type IN ('receipt', 'putaway', 'pick', 'transfer', 'shipment', 'adjustment')),
    CONSTRAINT inventory_movements_quantity_check CHECK (quantity > 0),
    CONSTRAINT inventory_movements_stock_check CHECK (
        quantity_before >= 0 AND quantity_after >= 0 AND abs(quantity_after - quantity_before) = quantity
    ),
    CONSTRAINT inventory_movements_endpoints_check CHECK (
        CASE movement_type
            WHEN 'receipt'    THEN source_location_id IS NULL AND target_location_id IS NOT NULL
            WHEN 'shipment'   THEN source_location_id IS NOT NULL AND target_location_id IS NULL
            WHEN 'adjustment' THEN num_nonnulls(source_location_id, target_location_id) = 1
            ELSE source_location_id <> target_location_id AND num_nulls(source_location_id, target_location_id) = 0
        END
    )
);
COMMENT ON TABLE telemetry.inventory_movements IS
    'Units that went from source to target. A receipt has no source, a shipment no target; an adjustment has the'
    ' place where units were found (target) or are missing (source)';
COMMENT ON COLUMN telemetry.inventory_movements.quantity_before IS
    'Stock of the item before, at the source, or at the target of what came in';
COMMENT ON COLUMN telemetry.inventory_movements.reference_document IS
    'Delivery note, order or count sheet that it belongs to';

CREATE TABLE telemetry.equipment_events (
    recorded_at  timestamptz NOT NULL,
    equipment_id uuid        NOT NULL,
    event_type   text        NOT NULL,
    severity     text        NOT NULL DEFAULT 'info',
    message      text,
    details      jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT equipment_events_pkey PRIMARY KEY (equipment_id, event_type, recorded_at),
    CONSTRAINT equipment_events_equipment_id_fkey
        FOREIGN KEY (equipment_id) REFERENCES warehouse.equipment (id),
    CONSTRAINT equipment_events_event_type_check CHECK (
        event_type IN ('started', 'stopped', 'moved', 'faulted', 'recovered', 'serviced', 'battery_low', 'connection_lost')
    ),
    CONSTRAINT equipment_events_severity_check CHECK (severity IN ('info', 'warning', 'error', 'critical'))
);
COMMENT ON TABLE telemetry.equipment_events IS 'What equipment reported';

CREATE TABLE telemetry.performance_metrics (
    recorded_at timestamptz      NOT NULL,
    metric_name text             NOT NULL,
    value       double precision NOT NULL,
    unit        text,
    labels      jsonb            NOT NULL DEFAULT '{}',
    CONSTRAINT performance_metrics_pkey PRIMARY KEY (metric_name, recorded_at, labels),
    CONSTRAINT performance_metrics_labels_check CHECK (
        -- An index entry must fit into a third of a page.
        jsonb_typeof(labels) = 'object' AND octet_length(labels::text) <= 2000
    )
);
COMMENT ON TABLE telemetry.performance_metrics IS
    'Key figures of the warehouse and its systems, told apart by labels';


-- Hypertables -----------------------------------------------------------------------------------------
-- Chunks follow the rate, so that the newest ones fit in memory: a day for readings, a week for the rest.
-- The default index on the time column alone is left out: the indexes below serve the queries there are.

SELECT create_hypertable(
    'telemetry.telemetry_data',
    by_range('recorded_at', INTERVAL '1 day'),
    create_default_indexes => false
);
SELECT create_hypertable(
    'telemetry.operation_metrics',
    by_range('recorded_at', INTERVAL '7 days'),
    create_default_indexes => false
);
SELECT create_hypertable(
    'telemetry.inventory_movements',
    by_range('recorded_at', INTERVAL '7 days'),
    create_default_indexes => false
);
SELECT create_hypertable(
    'telemetry.equipment_events',
    by_range('recorded_at', INTERVAL '7 days'),
    create_default_indexes => false
);
SELECT create_hypertable(
    'telemetry.performance_metrics',
    by_range('recorded_at', INTERVAL '7 days'),
    create_default_indexes => false
);

-- The newest rows first, of one thing. Foreign keys are covered by these.
CREATE INDEX telemetry_data_metric_recorded_at_idx
    ON telemetry.telemetry_data (metric_name, recorded_at DESC);
CREATE INDEX operation_metrics_metric_recorded_at_idx
    ON telemetry.operation_metrics (metric_name, recorded_at DESC);
CREATE INDEX inventory_movements_item_recorded_at_idx
    ON telemetry.inventory_movements (item_id, recorded_at DESC);
CREATE INDEX inventory_movements_source_recorded_at_idx
    ON telemetry.inventory_movements (source_location_id, recorded_at DESC);
CREATE INDEX inventory_movements_target_recorded_at_idx
    ON telemetry.inventory_movements (target_location_id, recorded_at DESC);
CREATE INDEX inventory_movements_operation_recorded_at_idx
    ON telemetry.inventory_movements (operation_id, recorded_at DESC);
CREATE INDEX equipment_events_equipment_recorded_at_idx
    ON telemetry.equipment_events (equipment_id, recorded_at DESC);
CREATE INDEX equipment_events_severe_idx
    ON telemetry.equipment_events (recorded_at DESC) WHERE severity IN ('error', 'critical');
-- "All metrics of line 4"; the key serves the questions that begin with the metric.
CREATE INDEX performance_metrics_labels_idx
    ON telemetry.performance_metrics USING gin (labels jsonb_path_ops);


-- Columnstore -----------------------------------------------------------------------------------------
-- Chunks that are no longer written to are stored by column: a reading then takes a fraction of its room.
-- segmentby is what queries ask for by equality; every column of a unique key is in segmentby or orderby.

ALTER TABLE telemetry.telemetry_data SET (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = 'equipment_id, metric_name',
    timescaledb.orderby = 'recorded_at DESC'
);
ALTER TABLE telemetry.operation_metrics SET (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = 'metric_name',
    timescaledb.orderby = 'operation_id, recorded_at DESC'
);
ALTER TABLE telemetry.inventory_movements SET (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = 'item_id',
    timescaledb.orderby = 'recorded_at DESC, id'
);
ALTER TABLE telemetry.equipment_events SET (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = 'equipment_id',
    timescaledb.orderby = 'recorded_at DESC, event_type'
);
ALTER TABLE telemetry.performance_metrics SET (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = 'metric_name, labels',
    timescaledb.orderby = 'recorded_at DESC'
);


-- Continuous aggregates -------------------------------------------------------------------------------
-- WITH NO DATA, because filling an aggregate is not possible inside a transaction; the policies do it.
-- materialized_only = false: what is not materialized yet (the current day) is read from the raw rows.
-- Days are UTC days.

-- Each keeps count and sum: from these, and not from an average, a coarser aggregate can be made later.

CREATE MATERIALIZED VIEW telemetry.telemetry_data_daily
    WITH (timescaledb.continuous, timescaledb.materialized_only = false)
AS
SELECT
    time_bucket(INTERVAL '1 day', recorded_at) AS bucket,
    equipment_id,
    metric_name,
    count(*)   AS reading_count,
    sum(value) AS total_value,
    avg(value) AS average_value,
    min(value) AS minimum_value,
    max(value) AS maximum_value
FROM telemetry.telemetry_data
GROUP BY bucket, equipment_id, metric_name
WITH NO DATA;

CREATE MATERIALIZED VIEW telemetry.operation_metrics_daily
    WITH (timescaledb.continuous, timescaledb.materialized_only = false)
AS
SELECT
    time_bucket(INTERVAL '1 day', recorded_at) AS bucket,
    metric_name,
    unit,
    count(*)   AS measurement_count,
    sum(value) AS total_value,
    avg(value) AS average_value,
    min(value) AS minimum_value,
    max(value) AS maximum_value
FROM telemetry.operation_metrics
GROUP BY bucket, metric_name, unit
WITH NO DATA;

-- By location as well: what a place sends and receives is asked for more often than anything else.
CREATE MATERIALIZED VIEW telemetry.inventory_movements_daily
    WITH (timescaledb.continuous, timescaledb.materialized_only = false)
AS
SELECT
    time_bucket(INTERVAL '1 day', recorded_at) AS bucket,
    item_id,
    movement_type,
    source_location_id,
    target_location_id,
    count(*)      AS movement_count,
    sum(quantity) AS total_quantity
FROM telemetry.inventory_movements
GROUP BY bucket, item_id, movement_type, source_location_id, target_location_id
WITH NO DATA;

CREATE MATERIALIZED VIEW telemetry.equipment_events_daily
    WITH (timescaledb.continuous, timescaledb.materialized_only = false)
AS
SELECT
    time_bucket(INTERVAL '1 day', recorded_at) AS bucket,
    equipment_id,
    event_type,
    severity,
    count(*) AS event_count
FROM telemetry.equipment_events
GROUP BY bucket, equipment_id, event_type, severity
WITH NO DATA;


-- Policies --------------------------------------------------------------------------------------------

-- A refresh computes only the days in which rows were written, so a wide window costs nothing while nothing
-- changes, and late readings count. It must end before the retention begins, by a chunk and a bucket at least:
-- to refresh a day whose raw rows have expired would empty it.
SELECT add_continuous_aggregate_policy(
    'telemetry.telemetry_data_daily',
    start_offset => INTERVAL '11 months',
    end_offset => INTERVAL '1 hour',
    schedule_interval => INTERVAL '1 hour'
);
SELECT add_continuous_aggregate_policy(
    'telemetry.operation_metrics_daily',
    start_offset => INTERVAL '11 months',
    end_offset => INTERVAL '1 hour',
    schedule_interval => INTERVAL '1 hour'
);
-- NULL: no beginning. Movements do not expire, so every day may be computed again. Give it a beginning before
-- you ever add a retention policy to them.
SELECT add_continuous_aggregate_policy(
    'telemetry.inventory_movements_daily',
    start_offset => NULL,
    end_offset => INTERVAL '1 hour',
    schedule_interval => INTERVAL '1 hour'
);
SELECT add_continuous_aggregate_policy(
    'telemetry.equipment_events_daily',
    start_offset => INTERVAL '11 months',
    end_offset => INTERVAL '1 hour',
    schedule_interval => INTERVAL '1 hour'
);

CALL add_columnstore_policy('telemetry.telemetry_data', after => INTERVAL '7 days');
CALL add_columnstore_policy('telemetry.operation_metrics', after => INTERVAL '30 days');
CALL add_columnstore_policy('telemetry.inventory_movements', after => INTERVAL '90 days');
CALL add_columnstore_policy('telemetry.equipment_events', after => INTERVAL '30 days');
CALL add_columnstore_policy('telemetry.performance_metrics', after => INTERVAL '30 days');

-- Raw rows only: the daily aggregates keep their history. None for the movements.
SELECT add_retention_policy('telemetry.telemetry_data', drop_after => INTERVAL '1 year');
SELECT add_retention_policy('telemetry.operation_metrics', drop_after => INTERVAL '1 year');
SELECT add_retention_policy('telemetry.equipment_events', drop_after => INTERVAL '1 year');
SELECT add_retention_policy('telemetry.performance_metrics', drop_after => INTERVAL '1 year');


-- Kept movements --------------------------------------------------------------------------------------

-- The rollback keeps the movements in a plain table, if there are any. Here they come back.
DO $do$
BEGIN
    IF to_regclass('warehouse.kept_inventory_movements') IS NOT NULL THEN
        INSERT INTO telemetry.inventory_movements (
            id, recorded_at, item_id, movement_type, quantity, quantity_before, quantity_after,
            source_location_id, target_location_id, operation_id, reference_document, notes
        )
        SELECT
            id, recorded_at, item_id, movement_type, quantity, quantity_before, quantity_after,
            source_location_id, target_location_id, operation_id, reference_document, notes
        FROM warehouse.kept_inventory_movements;
        DROP TABLE warehouse.kept_inventory_movements;
    END IF;
END;
$do$;
