-- {title}, 1 of 3: the aggregate as it is to be, beside the one that is there.
-- Change the SELECT. Keep {keys}: old and new buckets are compared by these. If you cannot keep
-- them, change `keys` in the third migration. A count and a sum allow a coarser aggregate later, an average does not.

CREATE MATERIALIZED VIEW {name}
WITH (timescaledb.continuous, timescaledb.materialized_only = {materialized}) AS
{definition}
WITH NO DATA;
