-- {title}
-- WITH NO DATA can run in a transaction; the policy fills it in the background, and computes again only what changed.
-- start_offset NULL reaches all rows, also those that arrive late. If rows of {table} are dropped after a time, write a
-- little less than that time: a refresh empties the buckets whose rows are gone.

CREATE MATERIALIZED VIEW {view}
WITH (timescaledb.continuous) AS
SELECT time_bucket(INTERVAL '{bucket}', {time}) AS bucket,
       {group},
       count(*)     AS count,
       avg({value}) AS average,
       min({value}) AS minimum,
       max({value}) AS maximum
FROM {table}
GROUP BY 1, 2
WITH NO DATA;

SELECT add_continuous_aggregate_policy('{view}',
    start_offset => NULL,
    end_offset => INTERVAL '{bucket}',
    schedule_interval => INTERVAL '{bucket}');
