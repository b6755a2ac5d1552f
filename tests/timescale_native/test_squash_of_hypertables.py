"""`squash` where TimescaleDB is: pg_dump does not write its objects as statements, so it is refused in plain words."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_wmigrate.cli.main import main

FILES = {
    "001_extension.sql": "CREATE EXTENSION IF NOT EXISTS timescaledb;",
    "002_table.sql": "CREATE TABLE m (at timestamptz NOT NULL, v float);",
    "003_hyper.sql": (
        "SELECT create_hypertable('m', 'at');\n"
        "CREATE MATERIALIZED VIEW d WITH (timescaledb.continuous) AS"
        " SELECT time_bucket('1 day', at) t, avg(v) FROM m GROUP BY 1 WITH NO DATA;\n"
        "SELECT add_retention_policy('m', interval '1 year');"
    ),
}


def test_what_pg_dump_does_not_write_is_refused_and_what_is_before_it_is_squashed(
    full_edition: None, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    assert main(["squash", "3", "--folder", str(folder), "--dsn", database]) == 3
    assert capsys.readouterr().err.splitlines()[-1] == (
        "wmigrate: one file would not make what the migrations up to 003 make: TimescaleDB policy policy_retention on"
        " public.m is gone; squash up to a version before it came: pg_dump does not write it as statements (and 4 more)"
    )
    assert {file.name for file in folder.iterdir()} == {*FILES}
    assert main(["squash", "2", "--folder", str(folder), "--dsn", database]) == 0
    assert {file.name for file in folder.iterdir()} == {"002_squashed.sql", "003_hyper.sql", "migration_config.yaml"}
