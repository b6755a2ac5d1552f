-- What is open, for {{ ds }}.
SELECT o.order_number, l.quantity, partner.code
FROM warehouse.orders AS o
JOIN warehouse.order_lines AS l ON l.order_id = o.id
JOIN warehouse.partners AS partner ON partner.id = o.partner_id
WHERE o.ordered_at < '{{ ds }}'::date AND o.status IN ('open', 'confirmed');
