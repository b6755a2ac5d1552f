-- {title}

CREATE TABLE {table} (
    at     timestamptz      NOT NULL,
    source text             NOT NULL,
    value  double precision NOT NULL
);

SELECT create_hypertable('{table}', by_range('at', INTERVAL '{chunk}'));

CREATE INDEX ON {table} (source, at DESC);
