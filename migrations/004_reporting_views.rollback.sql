-- Views hold no data: dropping them loses nothing.

DROP VIEW reporting.open_safety_incidents;
DROP VIEW reporting.location_utilisation;
DROP VIEW reporting.open_operations;
DROP VIEW reporting.low_stock;
DROP VIEW reporting.item_stock;

DROP SCHEMA reporting;
