-- Views for reports. They read with the privileges of their owner: a reporting role needs USAGE on this
-- schema and SELECT on its views, and nothing on the tables below.
-- No view has an ORDER BY: the reader's query would not be bound by it. What sorts is a column instead.

CREATE SCHEMA reporting;
COMMENT ON SCHEMA reporting IS 'Read-only views over the warehouse tables';


CREATE VIEW reporting.item_stock AS
SELECT
    item.id                            AS item_id,
    item.sku,
    item.name,
    item.category,
    item.unit_of_measure,
    count(stock.id)                    AS location_count,
    coalesce(sum(stock.quantity), 0)   AS quantity,
    coalesce(sum(stock.reserved), 0)   AS reserved,
    coalesce(sum(stock.available), 0)  AS available
FROM warehouse.inventory_items AS item
LEFT JOIN warehouse.inventory_locations AS stock ON stock.item_id = item.id
WHERE item.status = 'active'
GROUP BY item.id;

COMMENT ON VIEW reporting.item_stock IS
    'Stock of each active item over all locations; items without stock show 0';


CREATE VIEW reporting.low_stock AS
SELECT
    item.id                                AS item_id,
    item.sku,
    item.name,
    location.id                            AS location_id,
    location.code                          AS location_code,
    stock.available,
    stock.reorder_point,
    stock.reorder_point - stock.available  AS shortage,
    stock.max_quantity - stock.quantity    AS replenish_quantity
FROM warehouse.inventory_locations AS stock
JOIN warehouse.inventory_items AS item ON item.id = stock.item_id
JOIN warehouse.warehouse_locations AS location ON location.id = stock.location_id
WHERE stock.available < stock.reorder_point
    AND item.status = 'active';

COMMENT ON VIEW reporting.low_stock IS
    'Active items whose available stock at a location is below its reorder point; replenish_quantity is what'
    ' fits until max_quantity, NULL without one';


CREATE VIEW reporting.open_operations AS
SELECT
    row_number() OVER (
        ORDER BY operation.priority, operation.scheduled_at NULLS LAST, operation.created_at, operation.id
    )                                            AS queue_position,
    operation.id                                 AS operation_id,
    operation.reference,
    operation.operation_type,
    operation.status,
    operation.priority,
    operation.scheduled_at,
    coalesce(operation.scheduled_at < now() AND operation.status = 'planned', false) AS is_overdue,
    operation.assigned_to,
    source.code                                  AS source_location_code,
    target.code                                  AS target_location_code,
    coalesce(line.line_count, 0)                 AS line_count,
    coalesce(line.remaining_quantity, 0)         AS remaining_quantity
FROM warehouse.operations AS operation
LEFT JOIN warehouse.warehouse_locations AS source ON source.id = operation.source_location_id
LEFT JOIN warehouse.warehouse_locations AS target ON target.id = operation.target_location_id
LEFT JOIN LATERAL (
    SELECT
        count(*) AS line_count,
        sum(greatest(operation_item.requested_quantity - operation_item.completed_quantity, 0))
            AS remaining_quantity
    FROM warehouse.operation_items AS operation_item
    WHERE operation_item.operation_id = operation.id
) AS line ON true
WHERE operation.status IN ('planned', 'in_progress', 'on_hold');

COMMENT ON VIEW reporting.open_operations IS
    'Work that is not finished; queue_position 1 is the most urgent';


CREATE VIEW reporting.location_utilisation AS
WITH RECURSIVE tree AS (
    SELECT
        location.id,
        location.code AS path,
        1 AS depth,
        ARRAY[location.id] AS lineage
    FROM warehouse.warehouse_locations AS location
    WHERE location.parent_id IS NULL
    UNION ALL
    SELECT
        child.id,
        tree.path || '/' || child.code,
        tree.depth + 1,
        tree.lineage || child.id
    FROM tree
    JOIN warehouse.warehouse_locations AS child ON child.parent_id = tree.id
),
stored AS (
    -- A unit in a bin is also in its shelf, rack, aisle and zone.
    SELECT
        ancestor.id,
        sum(stock.quantity) AS units
    FROM warehouse.inventory_locations AS stock
    JOIN tree ON tree.id = stock.location_id
    CROSS JOIN LATERAL unnest(tree.lineage) AS ancestor (id)
    GROUP BY ancestor.id
)
SELECT
    location.id                AS location_id,
    location.code,
    location.location_type,
    tree.path,
    tree.depth,
    coalesce(stored.units, 0)  AS stored_units,
    capacity.max_units,
    round(100 * coalesce(stored.units, 0) / capacity.max_units, 1) AS utilisation_percent
FROM tree
JOIN warehouse.warehouse_locations AS location ON location.id = tree.id
CROSS JOIN LATERAL (SELECT (location.capacity ->> 'max_units')::numeric AS max_units) AS capacity
LEFT JOIN stored ON stored.id = location.id;

COMMENT ON VIEW reporting.location_utilisation IS
    'Units in each location and everything below it, against its max_units; percent is NULL without a limit';


CREATE VIEW reporting.open_safety_incidents AS
SELECT
    incident.id                                AS incident_id,
    incident.reference,
    incident.incident_type,
    incident.severity,
    CASE incident.severity
        WHEN 'critical' THEN 1
        WHEN 'high'     THEN 2
        WHEN 'medium'   THEN 3
        WHEN 'low'      THEN 4
    END                                        AS severity_rank,
    incident.status,
    location.code                              AS location_code,
    equipment.code                             AS equipment_code,
    operation.reference                        AS operation_reference,
    incident.description,
    incident.reported_by,
    incident.assigned_to,
    incident.occurred_at,
    now() - incident.occurred_at               AS age
FROM warehouse.safety_incidents AS incident
JOIN warehouse.warehouse_locations AS location ON location.id = incident.location_id
LEFT JOIN warehouse.equipment AS equipment ON equipment.id = incident.equipment_id
LEFT JOIN warehouse.operations AS operation ON operation.id = incident.operation_id
WHERE incident.status <> 'resolved';

COMMENT ON VIEW reporting.open_safety_incidents IS
    'Incidents that are not resolved; severity_rank 1 is the gravest';
