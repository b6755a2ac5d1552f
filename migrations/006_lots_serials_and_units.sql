-- Lots with expiry, serial numbers, and units with their pack sizes.

-- What must be known of a single unit of the item: nothing, its lot, or its own number.
ALTER TABLE warehouse.inventory_items
    ADD COLUMN tracking text NOT NULL DEFAULT 'none',
    ADD COLUMN shelf_life_days integer,
    ADD CONSTRAINT inventory_items_tracking_check CHECK (tracking IN ('none', 'lot', 'serial')),
    ADD CONSTRAINT inventory_items_shelf_life_days_check CHECK (shelf_life_days > 0);

COMMENT ON COLUMN warehouse.inventory_items.tracking IS
    'none; lot: goods come and go by lot; serial: each unit has its own number';


-- Units -----------------------------------------------------------------------------------------------

CREATE TABLE warehouse.item_units (
    id            uuid           NOT NULL DEFAULT gen_random_uuid(),
    item_id       uuid           NOT NULL,
    unit          text           NOT NULL,
    base_quantity numeric(14, 3) NOT NULL,
    barcode       text,
    weight_kg     numeric(12, 3),
    dimensions    jsonb          NOT NULL DEFAULT '{}',
    created_at    timestamptz    NOT NULL DEFAULT now(),
    updated_at    timestamptz    NOT NULL DEFAULT now(),
    CONSTRAINT item_units_pkey PRIMARY KEY (id),
    CONSTRAINT item_units_item_id_unit_key UNIQUE (item_id, unit),
    CONSTRAINT item_units_barcode_key UNIQUE (barcode),
    CONSTRAINT item_units_item_id_fkey FOREIGN KEY (item_id) REFERENCES warehouse.inventory_items (id),
    CONSTRAINT item_units_unit_check CHECK (unit = btrim(unit) AND unit <> ''),
    CONSTRAINT item_units_base_quantity_check CHECK (base_quantity > 0),
    CONSTRAINT item_units_weight_kg_check CHECK (weight_kg > 0),
    CONSTRAINT item_units_dimensions_check CHECK (jsonb_typeof(dimensions) = 'object')
);

COMMENT ON TABLE warehouse.item_units IS 'Packs of an item: a box of 12, a pallet of 480';
COMMENT ON COLUMN warehouse.item_units.base_quantity IS
    'How much of inventory_items.unit_of_measure is in one; every stored quantity is in that unit';


-- Lots ------------------------------------------------------------------------------------------------

CREATE TABLE warehouse.lots (
    id              uuid        NOT NULL DEFAULT gen_random_uuid(),
    item_id         uuid        NOT NULL,
    lot_number      text        NOT NULL,
    status          text        NOT NULL DEFAULT 'available',
    manufactured_on date,
    expires_on      date,
    received_at     timestamptz NOT NULL DEFAULT now(),
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT lots_pkey PRIMARY KEY (id),
    CONSTRAINT lots_item_id_lot_number_key UNIQUE (item_id, lot_number),
    -- The target of foreign keys that must name lot and item together.
    CONSTRAINT lots_id_item_id_key UNIQUE (id, item_id),
    CONSTRAINT lots_item_id_fkey FOREIGN KEY (item_id) REFERENCES warehouse.inventory_items (id),
    CONSTRAINT lots_lot_number_check CHECK (lot_number = btrim(lot_number) AND lot_number <> ''),
    CONSTRAINT lots_status_check CHECK (status IN ('available', 'quarantine', 'recalled')),
    CONSTRAINT lots_expires_on_check CHECK (expires_on >= manufactured_on)
);

-- First expired, first out.
CREATE INDEX lots_item_id_expires_on_idx ON warehouse.lots (item_id, expires_on);
CREATE INDEX lots_expires_on_idx ON warehouse.lots (expires_on) WHERE expires_on IS NOT NULL;

COMMENT ON TABLE warehouse.lots IS 'Goods of one item that were made together and expire together';
COMMENT ON COLUMN warehouse.lots.status IS
    'available; quarantine: not yet released; recalled: must not leave. Expired is what expires_on says';

CREATE TABLE warehouse.lot_locations (
    id          uuid           NOT NULL DEFAULT gen_random_uuid(),
    lot_id      uuid           NOT NULL,
    item_id     uuid           NOT NULL,
    location_id uuid           NOT NULL,
    quantity    numeric(14, 3) NOT NULL,
    created_at  timestamptz    NOT NULL DEFAULT now(),
    updated_at  timestamptz    NOT NULL DEFAULT now(),
    CONSTRAINT lot_locations_pkey PRIMARY KEY (id),
    CONSTRAINT lot_locations_lot_id_location_id_key UNIQUE (lot_id, location_id),
    CONSTRAINT lot_locations_lot_fkey FOREIGN KEY (lot_id, item_id) REFERENCES warehouse.lots (id, item_id),
    -- A lot lies only where its item has stock.
    CONSTRAINT lot_locations_stock_fkey
        FOREIGN KEY (item_id, location_id) REFERENCES warehouse.inventory_locations (item_id, location_id),
    CONSTRAINT lot_locations_quantity_check CHECK (quantity > 0)
);

CREATE INDEX lot_locations_item_id_location_id_idx ON warehouse.lot_locations (item_id, location_id);

COMMENT ON TABLE warehouse.lot_locations IS
    'How much of the stock of an item at a location belongs to which lot; an empty place has no row';


-- Serial numbers --------------------------------------------------------------------------------------

CREATE TABLE warehouse.serial_numbers (
    id            uuid        NOT NULL DEFAULT gen_random_uuid(),
    item_id       uuid        NOT NULL,
    serial_number text        NOT NULL,
    lot_id        uuid,
    location_id   uuid,
    status        text        NOT NULL DEFAULT 'in_stock',
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT serial_numbers_pkey PRIMARY KEY (id),
    CONSTRAINT serial_numbers_item_id_serial_number_key UNIQUE (item_id, serial_number),
    CONSTRAINT serial_numbers_item_id_fkey FOREIGN KEY (item_id) REFERENCES warehouse.inventory_items (id),
    CONSTRAINT serial_numbers_lot_fkey FOREIGN KEY (lot_id, item_id) REFERENCES warehouse.lots (id, item_id),
    CONSTRAINT serial_numbers_location_id_fkey
        FOREIGN KEY (location_id) REFERENCES warehouse.warehouse_locations (id),
    CONSTRAINT serial_numbers_serial_number_check
        CHECK (serial_number = btrim(serial_number) AND serial_number <> ''),
    CONSTRAINT serial_numbers_status_check CHECK (status IN ('in_stock', 'shipped', 'scrapped')),
    -- What is in stock is somewhere; what has left is nowhere.
    CONSTRAINT serial_numbers_location_check CHECK ((status = 'in_stock') = (location_id IS NOT NULL))
);

CREATE INDEX serial_numbers_lot_id_idx ON warehouse.serial_numbers (lot_id);
CREATE INDEX serial_numbers_location_id_idx ON warehouse.serial_numbers (location_id);

COMMENT ON TABLE warehouse.serial_numbers IS 'Single units, with the place where they are';


-- Which lot a line of an operation takes. The column is new and empty, so the key has nothing to check.
ALTER TABLE warehouse.operation_items
    ADD COLUMN lot_id uuid,
    ADD CONSTRAINT operation_items_lot_fkey
        FOREIGN KEY (lot_id, item_id) REFERENCES warehouse.lots (id, item_id);

CREATE INDEX operation_items_lot_id_idx ON warehouse.operation_items (lot_id) WHERE lot_id IS NOT NULL;


CREATE VIEW reporting.expiring_lots AS
SELECT
    lot.id                          AS lot_id,
    item.sku,
    item.name,
    lot.lot_number,
    lot.status,
    lot.expires_on,
    lot.expires_on - current_date   AS days_left,
    coalesce(sum(placed.quantity), 0) AS quantity
FROM warehouse.lots AS lot
JOIN warehouse.inventory_items AS item ON item.id = lot.item_id
LEFT JOIN warehouse.lot_locations AS placed ON placed.lot_id = lot.id
WHERE lot.expires_on < current_date + 90
GROUP BY lot.id, item.id;

COMMENT ON VIEW reporting.expiring_lots IS
    'Lots that expire within 90 days or have expired (days_left is negative), with what is left of them';


CREATE TRIGGER set_updated_at
    BEFORE UPDATE ON warehouse.item_units
    FOR EACH ROW EXECUTE FUNCTION warehouse.set_updated_at();
CREATE TRIGGER set_updated_at
    BEFORE UPDATE ON warehouse.lots
    FOR EACH ROW EXECUTE FUNCTION warehouse.set_updated_at();
CREATE TRIGGER set_updated_at
    BEFORE UPDATE ON warehouse.lot_locations
    FOR EACH ROW EXECUTE FUNCTION warehouse.set_updated_at();
CREATE TRIGGER set_updated_at
    BEFORE UPDATE ON warehouse.serial_numbers
    FOR EACH ROW EXECUTE FUNCTION warehouse.set_updated_at();

SELECT audit.watch('warehouse.item_units');
SELECT audit.watch('warehouse.lots');
SELECT audit.watch('warehouse.lot_locations');
SELECT audit.watch('warehouse.serial_numbers');
