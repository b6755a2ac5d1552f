-- Time series: five hypertables, three daily continuous aggregates, refresh and retention policies.
-- Needs TimescaleDB 2.13 or later under the Timescale licence: the Apache edition has no continuous
-- aggregates and no policies.

-- IF NOT EXISTS here and nowhere else: the extension belongs to the database, not to this migration. Its
-- functions are called unqualified, because only the administrator knows in which schema it was installed.
CREATE EXTENSION IF NOT EXISTS timescaledb;

-- A schema of its own: this data is written by machines, expires, and is granted to other roles.
CREATE SCHEMA telemetry;
COMMENT ON SCHEMA telemetry IS
    'Time series: measurements, movements and events; raw rows are kept for one year';


-- Tables ----------------------------------------------------------------------------------------------
-- Every unique key of a hypertable must contain its time column, hence the composite primary keys.
-- There are no audit and updated_at triggers: these rows are facts that are appended, never edited.

-- No foreign keys here and in performance_metrics: these two take the highest rates, and a lookup for each
-- row would be paid on every insert. The key is the natural one, so that a reading sent twice is refused.
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
    id           uuid             NOT NULL DEFAULT gen_random_uuid(),
    recorded_at  timestamptz      NOT NULL DEFAULT now(),
    operation_id uuid             NOT NULL,
    metric_name  text             NOT NULL,
    value        double precision NOT NULL,
    unit         text,
    CONSTRAINT operation_metrics_pkey PRIMARY KEY (id, recorded_at),
    CONSTRAINT operation_metrics_operation_id_fkey
        FOREIGN KEY (operation_id) REFERENCES warehouse.operations (id)
);
COMMENT ON TABLE telemetry.operation_metrics IS
    'Measurements of one operation: duration, distance, lines per hour';

CREATE TABLE telemetry.inventory_movements (
    id                 uuid           NOT NULL DEFAULT gen_random_uuid(),
    recorded_at        timestamptz    NOT NULL DEFAULT now(),
    item_id            uuid           NOT NULL,
    movement_type      text           NOT NULL,
    quantity           numeric(14, 3) NOT NULL,
    source_location_id uuid,
    target_location_id uuid,
    operation_id       uuid,
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
        CHECK (movement_type IN ('receipt', 'putaway', 'pick', 'shipment', 'adjustment')),
    CONSTRAINT inventory_movements_quantity_check CHECK (quantity > 0),
    CONSTRAINT inventory_movements_endpoints_check CHECK (
        coalesce(source_location_id, target_location_id) IS NOT NULL
        AND source_location_id IS DISTINCT FROM target_location_id
    )
);
COMMENT ON TABLE telemetry.inventory_movements IS
    'Units that went from source to target; no source: they came in, no target: they left';

CREATE TABLE telemetry.equipment_events (
    id           uuid        NOT NULL DEFAULT gen_random_uuid(),
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    equipment_id uuid        NOT NULL,
    event_type   text        NOT NULL,
    severity     text        NOT NULL DEFAULT 'info',
    message      text,
    details      jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT equipment_events_pkey PRIMARY KEY (id, recorded_at),
    CONSTRAINT equipment_events_equipment_id_fkey
        FOREIGN KEY (equipment_id) REFERENCES warehouse.equipment (id),
    CONSTRAINT equipment_events_severity_check CHECK (severity IN ('info', 'warning', 'error', 'critical'))
);
COMMENT ON TABLE telemetry.equipment_events IS
    'What equipment reported: started, stopped, faulted, serviced';

CREATE TABLE telemetry.performance_metrics (
    id          uuid             NOT NULL DEFAULT gen_random_uuid(),
    recorded_at timestamptz      NOT NULL DEFAULT now(),
    metric_name text             NOT NULL,
    value       double precision NOT NULL,
    unit        text,
    labels      jsonb            NOT NULL DEFAULT '{}',
    CONSTRAINT performance_metrics_pkey PRIMARY KEY (id, recorded_at)
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
CREATE INDEX operation_metrics_operation_recorded_at_idx
    ON telemetry.operation_metrics (operation_id, recorded_at DESC);
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
CREATE INDEX performance_metrics_metric_recorded_at_idx
    ON telemetry.performance_metrics (metric_name, recorded_at DESC);


-- Continuous aggregates -------------------------------------------------------------------------------
-- WITH NO DATA, because filling an aggregate is not possible inside a transaction; the policies do it.
-- materialized_only = false: what is not materialized yet (the current day) is read from the raw rows.
-- Days are UTC days.

CREATE MATERIALIZED VIEW telemetry.telemetry_data_daily
    WITH (timescaledb.continuous, timescaledb.materialized_only = false)
AS
SELECT
    time_bucket(INTERVAL '1 day', recorded_at) AS bucket,
    equipment_id,
    metric_name,
    count(*)   AS reading_count,
    avg(value) AS average_value,
    min(value) AS minimum_value,
    max(value) AS maximum_value
FROM telemetry.telemetry_data
GROUP BY bucket, equipment_id, metric_name
WITH NO DATA;

CREATE MATERIALIZED VIEW telemetry.inventory_movements_daily
    WITH (timescaledb.continuous, timescaledb.materialized_only = false)
AS
SELECT
    time_bucket(INTERVAL '1 day', recorded_at) AS bucket,
    item_id,
    movement_type,
    count(*)      AS movement_count,
    sum(quantity) AS total_quantity
FROM telemetry.inventory_movements
GROUP BY bucket, item_id, movement_type
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

-- The window must hold two whole buckets at least. Seven days also catch late readings; far less than the
-- year of retention, so that a refresh never empties a day whose raw rows have expired.
SELECT add_continuous_aggregate_policy(
    'telemetry.telemetry_data_daily',
    start_offset => INTERVAL '7 days',
    end_offset => INTERVAL '1 hour',
    schedule_interval => INTERVAL '1 hour'
);
SELECT add_continuous_aggregate_policy(
    'telemetry.inventory_movements_daily',
    start_offset => INTERVAL '7 days',
    end_offset => INTERVAL '1 hour',
    schedule_interval => INTERVAL '1 hour'
);
SELECT add_continuous_aggregate_policy(
    'telemetry.equipment_events_daily',
    start_offset => INTERVAL '7 days',
    end_offset => INTERVAL '1 hour',
    schedule_interval => INTERVAL '1 hour'
);

-- Raw rows only: the daily aggregates keep their history.
SELECT add_retention_policy('telemetry.telemetry_data', drop_after => INTERVAL '1 year');
SELECT add_retention_policy('telemetry.operation_metrics', drop_after => INTERVAL '1 year');
SELECT add_retention_policy('telemetry.inventory_movements', drop_after => INTERVAL '1 year');
SELECT add_retention_policy('telemetry.equipment_events', drop_after => INTERVAL '1 year');
SELECT add_retention_policy('telemetry.performance_metrics', drop_after => INTERVAL '1 year');
