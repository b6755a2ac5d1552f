-- {title}
-- Before the first bucket that raw rows cover wholly, the column stays NULL: not known, and not 0.

ALTER MATERIALIZED VIEW {aggregate}
    ADD COLUMN {column} {type} GENERATED ALWAYS AS ({expression}) STORED;

-- Never without the lower bound: that would empty the buckets whose raw rows are dropped.
CALL refresh_continuous_aggregate('{aggregate}', '{since}', NULL, force => true);
