"""What applied scripts made of TimescaleDB's and did not take away again. Pure."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.sql.made import made

BASE = """CREATE TABLE s.m (at timestamptz);
SELECT create_hypertable('s.m', by_range('at'));
CREATE MATERIALIZED VIEW "Daily" WITH (timescaledb.continuous) AS SELECT 1 FROM s.m WITH NO DATA;
SELECT add_retention_policy('s.m'::regclass, drop_after => INTERVAL '1 year'), add_compression_policy('m', '1 day');
SELECT add_continuous_aggregate_policy('"Daily"', NULL, NULL, INTERVAL '1 hour');
SELECT add_job('s.tidy', '1 day');
"""
HYPERTABLE, AGGREGATE = "hypertable s.m", "continuous aggregate Daily"
POLICIES = ["retention_policy s.m", "columnstore_policy m", "continuous_aggregate_policy Daily"]
JOB = "job s.tidy"
ALL = [HYPERTABLE, AGGREGATE, *POLICIES, JOB]


def left(*scripts: str) -> list[str]:
    return [f"{one.what} {one}" for one in made(Script.of(f"00{n}_a.sql", text) for n, text in enumerate(scripts))]


def test_what_scripts_make_and_where() -> None:
    assert left(BASE) == ALL
    places = [(one.file, one.line) for one in made([Script.of("001_a.sql", BASE)])]
    assert places == [("001_a.sql", line) for line in (2, 3, 4, 4, 5, 6)]
    assert left("CREATE TABLE s.t (a int) WITH (tsdb.hypertable);") == ["hypertable s.t"]
    assert left("CREATE MATERIALIZED VIEW v WITH (fillfactor = 50) AS SELECT 1; CREATE TABLE t ();") == []


@pytest.mark.parametrize(
    ("later", "gone"),
    [
        ("ALTER TABLE s.m ADD COLUMN b int; ALTER TABLE s.m RENAME COLUMN b TO c; DROP TABLE other;", []),
        ("DROP TABLE s.m;", [HYPERTABLE, "retention_policy s.m", "columnstore_policy m"]),
        ("DROP TABLE s.m CASCADE;", ALL),
        ("DROP SCHEMA x;", ALL),
        ("DROP OWNED BY x;", ALL),
        ("DROP EXTENSION timescaledb;", ALL),
        ('DROP MATERIALIZED VIEW "Daily";', [AGGREGATE, "continuous_aggregate_policy Daily"]),
        ('ALTER MATERIALIZED VIEW "Daily" RENAME TO "Daily_old";', [AGGREGATE, "continuous_aggregate_policy Daily"]),
        ("ALTER TABLE s.m SET SCHEMA x;", [HYPERTABLE, "retention_policy s.m", "columnstore_policy m"]),
        ("SELECT remove_retention_policy('s.m');", ["retention_policy s.m"]),
        ("CALL remove_columnstore_policy('m', if_exists => true);", ["columnstore_policy m"]),
        ("SELECT remove_compression_policy(c) FROM f() c;", ["columnstore_policy m"]),
        ("SELECT remove_all_policies('m');", ["retention_policy s.m", "columnstore_policy m"]),
        ("SELECT delete_job(1000);", [*POLICIES, JOB]),
        ("DO $$ BEGIN EXECUTE 'ALTER TABLE s.m RENAME TO n'; END $$;", [HYPERTABLE, *POLICIES[:2]]),
        ("DO $$ BEGIN PERFORM delete_job(j) FROM jobs(); EXECUTE 'x'; END $$;", [*POLICIES, JOB]),
        ("DROP TABLE (not SQL", []),
    ],
)
def test_what_later_scripts_take_away(later: str, gone: list[str]) -> None:
    assert left(BASE, later) == [one for one in ALL if one not in gone]


def test_a_call_for_no_row_makes_nothing() -> None:
    assert (
        left("SELECT add_retention_policy('m', INTERVAL '1 day') WHERE false; SELECT add_job(p, '1 d') FROM p;") == []
    )
    assert left("DO $$ BEGIN PERFORM create_hypertable('m', 'at'); END $$;") == []
