-- Warehouse core: locations, equipment, stock, operations and safety incidents.
-- Closed sets of values are text with a CHECK and not enum types: a CHECK can lose a value again, and can be
-- changed inside a transaction.
-- Foreign keys keep the default NO ACTION: history must not vanish because a master row was deleted.


-- Locations -------------------------------------------------------------------------------------------

-- The tree is held by keys alone, without a trigger that concurrent writers could slip past: parent_type is
-- the one type a parent may have, and the foreign key looks for exactly that pair. A level is never skipped,
-- a cycle cannot be written, and a location with children cannot change its type.
CREATE TABLE warehouse.warehouse_locations (
    id            uuid        NOT NULL DEFAULT gen_random_uuid(),
    code          text        NOT NULL,
    name          text        NOT NULL,
    location_type text        NOT NULL,
    parent_id     uuid,
    parent_type   text        GENERATED ALWAYS AS (
        CASE location_type
            WHEN 'aisle' THEN 'zone'
            WHEN 'rack'  THEN 'aisle'
            WHEN 'shelf' THEN 'rack'
            WHEN 'bin'   THEN 'shelf'
        END
    ) STORED,
    coordinates   jsonb       NOT NULL DEFAULT '{}',
    dimensions    jsonb       NOT NULL DEFAULT '{}',
    capacity      jsonb       NOT NULL DEFAULT '{}',
    status        text        NOT NULL DEFAULT 'active',
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT warehouse_locations_pkey PRIMARY KEY (id),
    CONSTRAINT warehouse_locations_code_key UNIQUE (code),
    -- Redundant beside the primary key, but the target the parent's foreign key needs.
    CONSTRAINT warehouse_locations_id_location_type_key UNIQUE (id, location_type),
    CONSTRAINT warehouse_locations_parent_fkey
        FOREIGN KEY (parent_id, parent_type) REFERENCES warehouse.warehouse_locations (id, location_type),
    CONSTRAINT warehouse_locations_location_type_check
        CHECK (location_type IN ('zone', 'aisle', 'rack', 'shelf', 'bin')),
    CONSTRAINT warehouse_locations_status_check CHECK (status IN ('active', 'maintenance', 'closed')),
    CONSTRAINT warehouse_locations_root_check CHECK ((location_type = 'zone') = (parent_id IS NULL)),
    CONSTRAINT warehouse_locations_code_check CHECK (code = btrim(code) AND code <> ''),
    CONSTRAINT warehouse_locations_coordinates_check CHECK (jsonb_typeof(coordinates) = 'object'),
    CONSTRAINT warehouse_locations_dimensions_check CHECK (jsonb_typeof(dimensions) = 'object'),
    -- max_units is optional, but reports divide by it.
    CONSTRAINT warehouse_locations_capacity_check CHECK (
        jsonb_typeof(capacity) = 'object'
        AND CASE jsonb_typeof(capacity -> 'max_units')
            WHEN 'number' THEN (capacity ->> 'max_units')::numeric > 0
            ELSE capacity -> 'max_units' IS NULL
        END
    )
);

CREATE INDEX warehouse_locations_parent_id_idx ON warehouse.warehouse_locations (parent_id);
CREATE INDEX warehouse_locations_active_type_idx
    ON warehouse.warehouse_locations (location_type, code) WHERE status = 'active';

COMMENT ON TABLE warehouse.warehouse_locations IS 'Tree of places: zone, aisle, rack, shelf, bin';
COMMENT ON COLUMN warehouse.warehouse_locations.parent_type IS
    'Type the parent must have; NULL for a zone';
COMMENT ON COLUMN warehouse.warehouse_locations.coordinates IS
    'Position in metres: {"x": 0, "y": 0, "z": 0}';
COMMENT ON COLUMN warehouse.warehouse_locations.dimensions IS
    'Inner size in metres: {"length": 0, "width": 0, "height": 0}';
COMMENT ON COLUMN warehouse.warehouse_locations.capacity IS
    'Limits: {"max_units": 0, "max_weight_kg": 0}';


-- Equipment -------------------------------------------------------------------------------------------

CREATE TABLE warehouse.equipment (
    id                  uuid        NOT NULL DEFAULT gen_random_uuid(),
    code                text        NOT NULL,
    name                text        NOT NULL,
    equipment_type      text        NOT NULL,
    status              text        NOT NULL DEFAULT 'available',
    location_id         uuid,
    manufacturer        text,
    model               text,
    serial_number       text,
    specifications      jsonb       NOT NULL DEFAULT '{}',
    maintenance_every   interval,
    last_maintenance_at timestamptz,
    next_maintenance_at timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT equipment_pkey PRIMARY KEY (id),
    CONSTRAINT equipment_code_key UNIQUE (code),
    -- Two makers may use the same number. Where the maker is not known, nothing can be compared.
    CONSTRAINT equipment_serial_number_key UNIQUE (manufacturer, serial_number),
    CONSTRAINT equipment_location_id_fkey
        FOREIGN KEY (location_id) REFERENCES warehouse.warehouse_locations (id),
    CONSTRAINT equipment_equipment_type_check CHECK (
        equipment_type IN ('forklift', 'pallet_jack', 'conveyor', 'robot', 'scanner', 'sensor')
    ),
    CONSTRAINT equipment_status_check CHECK (status IN ('available', 'in_use', 'maintenance', 'retired')),
    CONSTRAINT equipment_code_check CHECK (code = btrim(code) AND code <> ''),
    CONSTRAINT equipment_specifications_check CHECK (jsonb_typeof(specifications) = 'object'),
    CONSTRAINT equipment_maintenance_every_check CHECK (maintenance_every > INTERVAL '0'),
    CONSTRAINT equipment_maintenance_check CHECK (next_maintenance_at > last_maintenance_at)
);

CREATE INDEX equipment_location_id_idx ON warehouse.equipment (location_id);
CREATE INDEX equipment_status_type_idx ON warehouse.equipment (status, equipment_type);
CREATE INDEX equipment_next_maintenance_idx
    ON warehouse.equipment (next_maintenance_at) WHERE status <> 'retired';

COMMENT ON TABLE warehouse.equipment IS
    'Vehicles, machines and devices, with their place and maintenance dates';
COMMENT ON COLUMN warehouse.equipment.maintenance_every IS
    'Schedule: the time from one maintenance to the next; NULL when it is not maintained';
COMMENT ON COLUMN warehouse.equipment.next_maintenance_at IS
    'When it is due; the planner sets it, as a rule last_maintenance_at + maintenance_every';


-- Stock -----------------------------------------------------------------------------------------------

CREATE TABLE warehouse.inventory_items (
    id              uuid          NOT NULL DEFAULT gen_random_uuid(),
    sku             text          NOT NULL,
    name            text          NOT NULL,
    description     text,
    category        text,
    subcategory     text,
    barcode         text,
    unit_of_measure text          NOT NULL DEFAULT 'piece',
    weight_kg       numeric(12, 3),
    dimensions      jsonb         NOT NULL DEFAULT '{}',
    attributes      jsonb         NOT NULL DEFAULT '{}',
    status          text          NOT NULL DEFAULT 'active',
    created_at      timestamptz   NOT NULL DEFAULT now(),
    updated_at      timestamptz   NOT NULL DEFAULT now(),
    CONSTRAINT inventory_items_pkey PRIMARY KEY (id),
    CONSTRAINT inventory_items_sku_key UNIQUE (sku),
    CONSTRAINT inventory_items_barcode_key UNIQUE (barcode),
    CONSTRAINT inventory_items_sku_check CHECK (sku = btrim(sku) AND sku <> ''),
    CONSTRAINT inventory_items_weight_kg_check CHECK (weight_kg > 0),
    CONSTRAINT inventory_items_subcategory_check CHECK (subcategory IS NULL OR category IS NOT NULL),
    CONSTRAINT inventory_items_status_check CHECK (status IN ('active', 'discontinued', 'recalled')),
    CONSTRAINT inventory_items_dimensions_check CHECK (jsonb_typeof(dimensions) = 'object'),
    CONSTRAINT inventory_items_attributes_check CHECK (jsonb_typeof(attributes) = 'object')
);

CREATE INDEX inventory_items_category_idx ON warehouse.inventory_items (category, subcategory);
CREATE INDEX inventory_items_name_idx ON warehouse.inventory_items (name);
CREATE INDEX inventory_items_attributes_idx
    ON warehouse.inventory_items USING gin (attributes jsonb_path_ops);

-- A recall asks for all of them at once; they are few.
CREATE INDEX inventory_items_recalled_idx ON warehouse.inventory_items (sku) WHERE status = 'recalled';

COMMENT ON TABLE warehouse.inventory_items IS 'Articles that can be stored';
COMMENT ON COLUMN warehouse.inventory_items.unit_of_measure IS 'Unit of every quantity of this item';
COMMENT ON COLUMN warehouse.inventory_items.dimensions IS
    'Size of one unit in metres: {"length": 0, "width": 0, "height": 0}';
COMMENT ON COLUMN warehouse.inventory_items.status IS
    'active; discontinued: sell what is left; recalled: must not leave the warehouse';

CREATE TABLE warehouse.inventory_locations (
    id              uuid           NOT NULL DEFAULT gen_random_uuid(),
    item_id         uuid           NOT NULL,
    location_id     uuid           NOT NULL,
    quantity        numeric(14, 3) NOT NULL DEFAULT 0,
    reserved        numeric(14, 3) NOT NULL DEFAULT 0,
    available       numeric(14, 3) GENERATED ALWAYS AS (quantity - reserved) STORED,
    min_quantity    numeric(14, 3) NOT NULL DEFAULT 0,
    reorder_point   numeric(14, 3) NOT NULL DEFAULT 0,
    max_quantity    numeric(14, 3),
    last_counted_at timestamptz,
    created_at      timestamptz    NOT NULL DEFAULT now(),
    updated_at      timestamptz    NOT NULL DEFAULT now(),
    CONSTRAINT inventory_locations_pkey PRIMARY KEY (id),
    -- Also the index for the foreign key on item_id.
    CONSTRAINT inventory_locations_item_id_location_id_key UNIQUE (item_id, location_id),
    CONSTRAINT inventory_locations_item_id_fkey
        FOREIGN KEY (item_id) REFERENCES warehouse.inventory_items (id),
    CONSTRAINT inventory_locations_location_id_fkey
        FOREIGN KEY (location_id) REFERENCES warehouse.warehouse_locations (id),
    CONSTRAINT inventory_locations_quantity_check CHECK (quantity >= 0),
    CONSTRAINT inventory_locations_reserved_check CHECK (reserved >= 0 AND reserved <= quantity),
    CONSTRAINT inventory_locations_min_quantity_check CHECK (min_quantity >= 0),
    CONSTRAINT inventory_locations_reorder_point_check CHECK (reorder_point >= min_quantity),
    -- Not a bound of quantity: a place may be overfull for an hour.
    CONSTRAINT inventory_locations_max_quantity_check CHECK (max_quantity > 0 AND max_quantity >= reorder_point)
);

CREATE INDEX inventory_locations_location_id_idx ON warehouse.inventory_locations (location_id);

COMMENT ON TABLE warehouse.inventory_locations IS 'Stock of one item at one location';
COMMENT ON COLUMN warehouse.inventory_locations.quantity IS
    'Units physically there, reserved ones included';
COMMENT ON COLUMN warehouse.inventory_locations.available IS
    'Units free to promise: quantity - reserved';
COMMENT ON COLUMN warehouse.inventory_locations.reorder_point IS
    'Stock is low when available is below this: order or replenish';
COMMENT ON COLUMN warehouse.inventory_locations.min_quantity IS
    'What must always be there; never above the reorder point';
COMMENT ON COLUMN warehouse.inventory_locations.max_quantity IS
    'Replenish up to this; NULL: as much as fits';


-- Operations ------------------------------------------------------------------------------------------

CREATE TABLE warehouse.operations (
    id                 uuid        NOT NULL DEFAULT gen_random_uuid(),
    reference          text        NOT NULL,
    name               text,
    operation_type     text        NOT NULL,
    status             text        NOT NULL DEFAULT 'planned',
    priority           smallint    NOT NULL DEFAULT 5,
    source_location_id uuid,
    target_location_id uuid,
    equipment_id       uuid,
    assigned_to        text,
    scheduled_at       timestamptz,
    scheduled_end_at   timestamptz,
    started_at         timestamptz,
    completed_at       timestamptz,
    metadata           jsonb       NOT NULL DEFAULT '{}',
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT operations_pkey PRIMARY KEY (id),
    CONSTRAINT operations_reference_key UNIQUE (reference),
    CONSTRAINT operations_source_location_id_fkey
        FOREIGN KEY (source_location_id) REFERENCES warehouse.warehouse_locations (id),
    CONSTRAINT operations_target_location_id_fkey
        FOREIGN KEY (target_location_id) REFERENCES warehouse.warehouse_locations (id),
    CONSTRAINT operations_equipment_id_fkey
        FOREIGN KEY (equipment_id) REFERENCES warehouse.equipment (id),
    CONSTRAINT operations_operation_type_check
        CHECK (operation_type IN ('receiving', 'putaway', 'picking', 'shipping', 'cycle_count')),
    CONSTRAINT operations_status_check
        CHECK (status IN ('planned', 'in_progress', 'on_hold', 'completed', 'cancelled')),
    CONSTRAINT operations_priority_check CHECK (priority BETWEEN 1 AND 10),
    CONSTRAINT operations_endpoints_check CHECK (
        coalesce(source_location_id, target_location_id) IS NOT NULL
        AND source_location_id IS DISTINCT FROM target_location_id
    ),
    CONSTRAINT operations_schedule_check CHECK (
        scheduled_end_at IS NULL OR (scheduled_at IS NOT NULL AND scheduled_at < scheduled_end_at)
    ),
    CONSTRAINT operations_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT operations_completed_at_check CHECK (
        (status = 'completed') = (completed_at IS NOT NULL)
        AND (completed_at IS NULL OR started_at <= completed_at)
    )
);

CREATE INDEX operations_source_location_id_idx ON warehouse.operations (source_location_id);
CREATE INDEX operations_target_location_id_idx ON warehouse.operations (target_location_id);
CREATE INDEX operations_equipment_id_idx ON warehouse.operations (equipment_id);
CREATE INDEX operations_status_priority_idx ON warehouse.operations (status, priority);
CREATE INDEX operations_type_created_at_idx ON warehouse.operations (operation_type, created_at);
CREATE INDEX operations_assigned_to_idx ON warehouse.operations (assigned_to) WHERE assigned_to IS NOT NULL;

COMMENT ON TABLE warehouse.operations IS
    'Work to be done: receiving, putaway, picking, shipping, cycle count';
COMMENT ON COLUMN warehouse.operations.priority IS '1 (most urgent) to 10';
COMMENT ON COLUMN warehouse.operations.source_location_id IS
    'Where goods leave or are counted; NULL from outside';
COMMENT ON COLUMN warehouse.operations.target_location_id IS
    'Where goods go; NULL when they leave the warehouse';

CREATE TABLE warehouse.operation_items (
    id                 uuid           NOT NULL DEFAULT gen_random_uuid(),
    operation_id       uuid           NOT NULL,
    line_number        integer        NOT NULL,
    item_id            uuid           NOT NULL,
    location_id        uuid,
    status             text           NOT NULL DEFAULT 'open',
    requested_quantity numeric(14, 3) NOT NULL,
    completed_quantity numeric(14, 3) NOT NULL DEFAULT 0,
    unit_cost          numeric(14, 4),
    created_at         timestamptz    NOT NULL DEFAULT now(),
    updated_at         timestamptz    NOT NULL DEFAULT now(),
    CONSTRAINT operation_items_pkey PRIMARY KEY (id),
    -- Also the index for the foreign key on operation_id.
    CONSTRAINT operation_items_operation_id_line_number_key UNIQUE (operation_id, line_number),
    -- The one CASCADE: a line is a part of its operation and means nothing without it.
    CONSTRAINT operation_items_operation_id_fkey
        FOREIGN KEY (operation_id) REFERENCES warehouse.operations (id) ON DELETE CASCADE,
    CONSTRAINT operation_items_item_id_fkey
        FOREIGN KEY (item_id) REFERENCES warehouse.inventory_items (id),
    CONSTRAINT operation_items_location_id_fkey
        FOREIGN KEY (location_id) REFERENCES warehouse.warehouse_locations (id),
    CONSTRAINT operation_items_status_check CHECK (status IN ('open', 'done', 'short', 'cancelled')),
    CONSTRAINT operation_items_unit_cost_check CHECK (unit_cost >= 0),
    CONSTRAINT operation_items_line_number_check CHECK (line_number > 0),
    CONSTRAINT operation_items_requested_quantity_check CHECK (requested_quantity > 0),
    -- No upper bound: a delivery may hold more than was ordered.
    CONSTRAINT operation_items_completed_quantity_check CHECK (completed_quantity >= 0),
    CONSTRAINT operation_items_short_check CHECK (status <> 'short' OR completed_quantity < requested_quantity)
);

CREATE INDEX operation_items_item_id_idx ON warehouse.operation_items (item_id);
CREATE INDEX operation_items_location_id_idx ON warehouse.operation_items (location_id);

COMMENT ON TABLE warehouse.operation_items IS
    'Lines of an operation: which item, how many, from or to which place; one line for each place';
COMMENT ON COLUMN warehouse.operation_items.location_id IS
    'Bin of this line, so that one pick can take from several; NULL: the place of the operation';
COMMENT ON COLUMN warehouse.operation_items.status IS
    'open; done; short: finished with less than was asked for; cancelled';
COMMENT ON COLUMN warehouse.operation_items.unit_cost IS
    'Cost of one unit at the time, in the currency of the company';


-- Safety ----------------------------------------------------------------------------------------------

CREATE TABLE warehouse.safety_incidents (
    id            uuid        NOT NULL DEFAULT gen_random_uuid(),
    reference     text        NOT NULL,
    incident_type text        NOT NULL,
    severity      text        NOT NULL,
    status        text        NOT NULL DEFAULT 'open',
    location_id   uuid        NOT NULL,
    equipment_id  uuid,
    operation_id  uuid,
    description   text        NOT NULL,
    reported_by   text        NOT NULL,
    assigned_to   text,
    occurred_at   timestamptz NOT NULL,
    reported_at   timestamptz NOT NULL DEFAULT now(),
    resolved_at   timestamptz,
    resolution    text,
    metadata      jsonb       NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT safety_incidents_pkey PRIMARY KEY (id),
    CONSTRAINT safety_incidents_reference_key UNIQUE (reference),
    CONSTRAINT safety_incidents_location_id_fkey
        FOREIGN KEY (location_id) REFERENCES warehouse.warehouse_locations (id),
    CONSTRAINT safety_incidents_equipment_id_fkey
        FOREIGN KEY (equipment_id) REFERENCES warehouse.equipment (id),
    CONSTRAINT safety_incidents_operation_id_fkey
        FOREIGN KEY (operation_id) REFERENCES warehouse.operations (id),
    CONSTRAINT safety_incidents_incident_type_check CHECK (
        incident_type IN (
            'injury', 'near_miss', 'collision', 'spill', 'fire', 'equipment_failure', 'property_damage', 'other'
        )
    ),
    CONSTRAINT safety_incidents_severity_check CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    CONSTRAINT safety_incidents_status_check CHECK (status IN ('open', 'investigating', 'resolved')),
    CONSTRAINT safety_incidents_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT safety_incidents_resolved_at_check CHECK (
        (status = 'resolved') = (resolved_at IS NOT NULL)
        AND (resolved_at IS NULL OR resolved_at >= occurred_at)
    )
);

CREATE INDEX safety_incidents_location_id_idx ON warehouse.safety_incidents (location_id);
CREATE INDEX safety_incidents_equipment_id_idx ON warehouse.safety_incidents (equipment_id);
CREATE INDEX safety_incidents_operation_id_idx ON warehouse.safety_incidents (operation_id);
CREATE INDEX safety_incidents_occurred_at_idx ON warehouse.safety_incidents (occurred_at);
CREATE INDEX safety_incidents_unresolved_idx
    ON warehouse.safety_incidents (severity, occurred_at) WHERE status <> 'resolved';
CREATE INDEX safety_incidents_assigned_to_idx
    ON warehouse.safety_incidents (assigned_to) WHERE status <> 'resolved';

COMMENT ON TABLE warehouse.safety_incidents IS 'Accidents and near misses, until they are resolved';


-- Triggers --------------------------------------------------------------------------------------------

CREATE TRIGGER set_updated_at
    BEFORE UPDATE ON warehouse.warehouse_locations
    FOR EACH ROW EXECUTE FUNCTION warehouse.set_updated_at();
CREATE TRIGGER set_updated_at
    BEFORE UPDATE ON warehouse.equipment
    FOR EACH ROW EXECUTE FUNCTION warehouse.set_updated_at();
CREATE TRIGGER set_updated_at
    BEFORE UPDATE ON warehouse.inventory_items
    FOR EACH ROW EXECUTE FUNCTION warehouse.set_updated_at();
CREATE TRIGGER set_updated_at
    BEFORE UPDATE ON warehouse.inventory_locations
    FOR EACH ROW EXECUTE FUNCTION warehouse.set_updated_at();
CREATE TRIGGER set_updated_at
    BEFORE UPDATE ON warehouse.operations
    FOR EACH ROW EXECUTE FUNCTION warehouse.set_updated_at();
CREATE TRIGGER set_updated_at
    BEFORE UPDATE ON warehouse.operation_items
    FOR EACH ROW EXECUTE FUNCTION warehouse.set_updated_at();
CREATE TRIGGER set_updated_at
    BEFORE UPDATE ON warehouse.safety_incidents
    FOR EACH ROW EXECUTE FUNCTION warehouse.set_updated_at();

SELECT audit.watch('warehouse.warehouse_locations');
SELECT audit.watch('warehouse.equipment');
SELECT audit.watch('warehouse.inventory_items');
SELECT audit.watch('warehouse.inventory_locations');
SELECT audit.watch('warehouse.operations');
SELECT audit.watch('warehouse.operation_items');
SELECT audit.watch('warehouse.safety_incidents');
