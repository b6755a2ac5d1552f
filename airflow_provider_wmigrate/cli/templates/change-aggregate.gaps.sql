    -- Of the chunks, those count that follow one another without a gap up to the newest: what is
    -- before a gap may be late rows of a range that was dropped.
    SELECT time_bucket({width}, first_start + {width} - INTERVAL '1 microsecond') INTO cutoff
    FROM (
        SELECT
            coalesce(max(next_start) FILTER (WHERE next_start > range_end), min(range_start)) AS first_start
        FROM (
            SELECT range_start, range_end, lead(range_start) OVER (ORDER BY range_start) AS next_start
            FROM timescaledb_information.chunks
            WHERE (hypertable_schema, hypertable_name) = (
                SELECT hypertable_schema, hypertable_name
                FROM timescaledb_information.continuous_aggregates
                WHERE view_schema = {schema} AND view_name = {next}
            )
        ) AS chunk
    ) AS kept;
