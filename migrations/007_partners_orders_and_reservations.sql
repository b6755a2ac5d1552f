-- Partners, their orders, and reservations of stock for the lines of an order.

CREATE TABLE warehouse.partners (
    id           uuid        NOT NULL DEFAULT gen_random_uuid(),
    code         text        NOT NULL,
    name         text        NOT NULL,
    partner_type text        NOT NULL,
    status       text        NOT NULL DEFAULT 'active',
    contact      jsonb       NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT partners_pkey PRIMARY KEY (id),
    CONSTRAINT partners_code_key UNIQUE (code),
    CONSTRAINT partners_code_check CHECK (code = btrim(code) AND code <> ''),
    CONSTRAINT partners_partner_type_check CHECK (partner_type IN ('supplier', 'customer', 'carrier')),
    CONSTRAINT partners_status_check CHECK (status IN ('active', 'blocked')),
    CONSTRAINT partners_contact_check CHECK (jsonb_typeof(contact) = 'object')
);

COMMENT ON TABLE warehouse.partners IS 'Whom the warehouse receives from, ships to, or ships with';


CREATE TABLE warehouse.orders (
    id           uuid        NOT NULL DEFAULT gen_random_uuid(),
    order_number text        NOT NULL,
    order_type   text        NOT NULL,
    partner_id   uuid        NOT NULL,
    status       text        NOT NULL DEFAULT 'draft',
    currency     text        NOT NULL DEFAULT 'EUR',
    ordered_at   timestamptz NOT NULL DEFAULT now(),
    due_at       timestamptz,
    notes        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT orders_pkey PRIMARY KEY (id),
    CONSTRAINT orders_order_number_key UNIQUE (order_number),
    CONSTRAINT orders_partner_id_fkey FOREIGN KEY (partner_id) REFERENCES warehouse.partners (id),
    CONSTRAINT orders_order_type_check CHECK (order_type IN ('purchase', 'sales', 'return')),
    CONSTRAINT orders_status_check
        CHECK (status IN ('draft', 'confirmed', 'in_progress', 'completed', 'cancelled')),
    CONSTRAINT orders_currency_check CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT orders_due_at_check CHECK (due_at >= ordered_at)
);

CREATE INDEX orders_partner_id_idx ON warehouse.orders (partner_id, ordered_at);
CREATE INDEX orders_open_idx
    ON warehouse.orders (due_at, order_type) WHERE status IN ('confirmed', 'in_progress');

COMMENT ON TABLE warehouse.orders IS 'What partners deliver (purchase), get (sales) or send back (return)';
COMMENT ON COLUMN warehouse.orders.currency IS 'ISO 4217 code of the prices of its lines';


CREATE TABLE warehouse.order_lines (
    id                 uuid           NOT NULL DEFAULT gen_random_uuid(),
    order_id           uuid           NOT NULL,
    line_number        integer        NOT NULL,
    item_id            uuid           NOT NULL,
    quantity           numeric(14, 3) NOT NULL,
    fulfilled_quantity numeric(14, 3) NOT NULL DEFAULT 0,
    unit_price         numeric(14, 4),
    created_at         timestamptz    NOT NULL DEFAULT now(),
    updated_at         timestamptz    NOT NULL DEFAULT now(),
    CONSTRAINT order_lines_pkey PRIMARY KEY (id),
    CONSTRAINT order_lines_order_id_line_number_key UNIQUE (order_id, line_number),
    -- The target of the key that holds a reservation to the item of its line.
    CONSTRAINT order_lines_id_item_id_key UNIQUE (id, item_id),
    CONSTRAINT order_lines_order_id_fkey
        FOREIGN KEY (order_id) REFERENCES warehouse.orders (id) ON DELETE CASCADE,
    CONSTRAINT order_lines_item_id_fkey FOREIGN KEY (item_id) REFERENCES warehouse.inventory_items (id),
    CONSTRAINT order_lines_line_number_check CHECK (line_number > 0),
    CONSTRAINT order_lines_quantity_check CHECK (quantity > 0),
    CONSTRAINT order_lines_fulfilled_quantity_check CHECK (fulfilled_quantity >= 0),
    CONSTRAINT order_lines_unit_price_check CHECK (unit_price >= 0)
);

CREATE INDEX order_lines_item_id_idx ON warehouse.order_lines (item_id);

COMMENT ON TABLE warehouse.order_lines IS 'Lines of an order: which item, how many, at what price';


CREATE TABLE warehouse.reservations (
    id            uuid           NOT NULL DEFAULT gen_random_uuid(),
    order_line_id uuid           NOT NULL,
    item_id       uuid           NOT NULL,
    location_id   uuid           NOT NULL,
    quantity      numeric(14, 3) NOT NULL,
    expires_at    timestamptz,
    created_at    timestamptz    NOT NULL DEFAULT now(),
    updated_at    timestamptz    NOT NULL DEFAULT now(),
    CONSTRAINT reservations_pkey PRIMARY KEY (id),
    CONSTRAINT reservations_order_line_id_location_id_key UNIQUE (order_line_id, location_id),
    CONSTRAINT reservations_order_line_fkey
        FOREIGN KEY (order_line_id, item_id) REFERENCES warehouse.order_lines (id, item_id),
    CONSTRAINT reservations_stock_fkey
        FOREIGN KEY (item_id, location_id) REFERENCES warehouse.inventory_locations (item_id, location_id),
    CONSTRAINT reservations_quantity_check CHECK (quantity > 0)
);

CREATE INDEX reservations_item_id_location_id_idx ON warehouse.reservations (item_id, location_id);
CREATE INDEX reservations_expires_at_idx ON warehouse.reservations (expires_at) WHERE expires_at IS NOT NULL;

COMMENT ON TABLE warehouse.reservations IS
    'Stock that is promised to a line of an order; delete the row to release it';
COMMENT ON COLUMN warehouse.reservations.expires_at IS
    'After this it should be released; a job of the application does that. NULL: never';

-- inventory_locations.reserved follows the reservations. The row of the stock is locked by the UPDATE, and its
-- check (reserved <= quantity) refuses what is not there: two orders cannot get the same unit.
CREATE FUNCTION warehouse.apply_reservation() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        UPDATE warehouse.inventory_locations SET reserved = reserved - OLD.quantity
        WHERE item_id = OLD.item_id AND location_id = OLD.location_id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        UPDATE warehouse.inventory_locations SET reserved = reserved + NEW.quantity
        WHERE item_id = NEW.item_id AND location_id = NEW.location_id;
    END IF;
    RETURN NULL;
END;
$function$;

COMMENT ON FUNCTION warehouse.apply_reservation() IS
    'AFTER row trigger of warehouse.reservations: keeps inventory_locations.reserved';

CREATE TRIGGER apply_reservation
    AFTER INSERT OR DELETE OR UPDATE OF item_id, location_id, quantity ON warehouse.reservations
    FOR EACH ROW EXECUTE FUNCTION warehouse.apply_reservation();


-- The work that an order causes. The column is new and empty, so the key has nothing to check.
ALTER TABLE warehouse.operations
    ADD COLUMN order_id uuid,
    ADD CONSTRAINT operations_order_id_fkey FOREIGN KEY (order_id) REFERENCES warehouse.orders (id);

CREATE INDEX operations_order_id_idx ON warehouse.operations (order_id) WHERE order_id IS NOT NULL;

COMMENT ON COLUMN warehouse.operations.order_id IS 'Order that this work belongs to, if any';


CREATE TRIGGER set_updated_at
    BEFORE UPDATE ON warehouse.partners
    FOR EACH ROW EXECUTE FUNCTION warehouse.set_updated_at();
CREATE TRIGGER set_updated_at
    BEFORE UPDATE ON warehouse.orders
    FOR EACH ROW EXECUTE FUNCTION warehouse.set_updated_at();
CREATE TRIGGER set_updated_at
    BEFORE UPDATE ON warehouse.order_lines
    FOR EACH ROW EXECUTE FUNCTION warehouse.set_updated_at();
CREATE TRIGGER set_updated_at
    BEFORE UPDATE ON warehouse.reservations
    FOR EACH ROW EXECUTE FUNCTION warehouse.set_updated_at();

SELECT audit.watch('warehouse.partners');
SELECT audit.watch('warehouse.orders');
SELECT audit.watch('warehouse.order_lines');
SELECT audit.watch('warehouse.reservations');
