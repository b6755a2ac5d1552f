"""What the rules know of TimescaleDB's functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.model import Finding
from airflow_provider_wmigrate.engine.plan.script_rules import script_findings

MakeFolder = Callable[..., Path]
KEYS = ("allow_ddl", "allow_dml", "allow_drop")


def findings(folder: Path) -> list[Finding]:
    read = read_folder(folder)
    found = script_findings(read.migrations, read.config)
    return [f for f in found if f.code != "extension_undeclared"]


def config(*forbidden: str) -> str:
    return "validation: {sql: {" + ", ".join(f"{key}: false" for key in forbidden) + "}}\n"


@pytest.mark.parametrize(
    ("sql", "name", "broken"),
    [
        ("SELECT drop_chunks('m', older_than => now())", "drop_chunks", {"allow_dml", "allow_drop"}),
        ("SELECT public.Drop_Chunks('m', now())", "drop_chunks", {"allow_dml", "allow_drop"}),
        ("SELECT count(*) FROM drop_chunks('m', now())", "drop_chunks", {"allow_dml", "allow_drop"}),
        ("INSERT INTO gone SELECT drop_chunks('m', now())", "drop_chunks", {"allow_dml", "allow_drop"}),
        ("DO $$ BEGIN PERFORM drop_chunks('m', now()); END $$", "drop_chunks", {"allow_dml", "allow_drop"}),
        ("SELECT add_retention_policy('m', INTERVAL '1 day')", "add_retention_policy", {"allow_dml", "allow_drop"}),
        ("CALL run_job(1000)", "run_job", {"allow_dml", "allow_drop"}),
        ("SELECT remove_retention_policy('m')", "remove_retention_policy", {"allow_drop"}),
        ("CALL remove_columnstore_policy('m')", "remove_columnstore_policy", {"allow_drop"}),
        ("SELECT delete_job(1000)", "delete_job", {"allow_drop"}),
        ("CALL detach_chunk('c')", "detach_chunk", {"allow_drop"}),
        ("SELECT create_hypertable('m', 'at')", "create_hypertable", {"allow_ddl"}),
        ("SELECT add_job('p', '1 day')", "add_job", {"allow_ddl"}),
        ("SELECT compress_chunk(c) FROM show_chunks('m') c", "compress_chunk", {"allow_ddl"}),
        ("SELECT show_chunks('m')", "", set()),
        ("SELECT 'drop_chunks(m)' -- drop_chunks()", "", set()),
        ("DO $$ BEGIN /* drop_chunks('m') */ NULL; END $$", "", set()),
    ],
)
def test_functions_are_held_against_the_rules(make_folder: MakeFolder, sql: str, name: str, broken: set[str]) -> None:
    for key in KEYS:
        folder = make_folder({"001_a.sql": "\n" + sql + ";", "migration_config.yaml": config(key)})
        told = [f for f in findings(folder) if f.code.endswith("_violated")]
        expected = Finding(
            f"{key}_violated",
            f"{name} is not allowed: validation.sql.{key} is false",
            "take it out or allow it",
            version="001",
            file="001_a.sql",
            line=2,
        )
        assert [f for f in told if f.message.startswith(name or "?")] == ([expected] if key in broken else [])


def test_a_function_of_ones_own_is_none_of_timescaledbs(make_folder: MakeFolder) -> None:
    own = "CREATE FUNCTION delete_job(int) RETURNS int LANGUAGE sql AS 'SELECT 1';\nSELECT delete_job(1);"
    assert findings(make_folder({"001_a.sql": own, "migration_config.yaml": config("allow_drop")})) == []


DAILY = (
    "CREATE MATERIALIZED VIEW daily WITH (timescaledb.continuous) AS"
    " SELECT time_bucket('1 day', at), count(*) FROM app.m GROUP BY 1 WITH NO DATA;\n"
)
RETENTION = "SELECT add_retention_policy('app.m', drop_after => INTERVAL '1 year');\n"
POLICY = (
    "SELECT add_continuous_aggregate_policy('daily', start_offset => {}, end_offset => INTERVAL '1 hour',"
    " schedule_interval => INTERVAL '1 hour');\n"
)
REFRESH = "CALL refresh_continuous_aggregate('daily', {}, NULL);\n"
DELETES = "refresh of daily without a lower bound deletes the buckets whose rows were dropped, and "
DROPPED = DELETES + "rows of m are dropped after a time"
REACHES = "the policy of daily reaches back to where rows of m are dropped: it empties those buckets"
LATE = "the policy of daily looks back {} days: rows of m that come later never count"


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        (DAILY + RETENTION + REFRESH.format("NULL"), [DROPPED]),
        (DAILY + RETENTION + REFRESH.format("NULL::timestamptz"), [DROPPED]),
        (DAILY + "SELECT drop_chunks('m', now());" + REFRESH.format("NULL"), [DROPPED]),
        (REFRESH.format("NULL"), [DELETES + "nothing here says that they stay"]),
        (DAILY + REFRESH.format("NULL"), []),
        (DAILY + RETENTION + REFRESH.format("now() - INTERVAL '11 months'"), []),
        (DAILY + RETENTION + POLICY.format("NULL"), [REACHES]),
        (DAILY + RETENTION + POLICY.format("INTERVAL '1 year'"), [REACHES]),
        (DAILY + RETENTION + POLICY.format("INTERVAL '11 months'"), []),
        (DAILY + RETENTION + POLICY.format("INTERVAL '7 days'"), [LATE.format(7)]),
        (DAILY + POLICY.format("INTERVAL '30 days'"), [LATE.format(30)]),
        (DAILY + POLICY.format("NULL"), []),
        (POLICY.format("INTERVAL '30 days'"), []),
    ],
)  # fmt: skip
def test_refreshes_that_lose_history(make_folder: MakeFolder, sql: str, told: list[str]) -> None:
    found = findings(make_folder({"001_a.sql": sql}))
    assert [f.message for f in found] == told
    assert {(f.severity, f.file, f.line) for f in found} <= {("warning", "001_a.sql", sql.rstrip().count("\n") + 1)}


def test_what_other_migrations_say_counts(make_folder: MakeFolder) -> None:
    files = {"001_a.sql": DAILY, "002_b.sql": RETENTION, "003_c.sql": REFRESH.format("NULL")}
    (found,) = findings(make_folder(files))
    assert (found.version, found.code) == ("003", "refresh_unbounded")
