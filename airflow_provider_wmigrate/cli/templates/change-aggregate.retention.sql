    -- Of the chunks, those count that the retention of {retention} keeps: a late row makes a
    -- chunk of a dropped range anew.
    SELECT time_bucket({width}, first_start + {width} - INTERVAL '1 microsecond') INTO cutoff
    FROM (
        SELECT min(range_start) AS first_start
        FROM timescaledb_information.chunks
        WHERE range_end > now() - INTERVAL {kept}
            AND (hypertable_schema, hypertable_name) = (
                SELECT hypertable_schema, hypertable_name
                FROM timescaledb_information.continuous_aggregates
                WHERE view_schema = {schema} AND view_name = {next}
            )
    ) AS kept;
