"""TimescaleDB used by a migration that does not say that it needs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_wmigrate.engine.folder.config.root import Config
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.model import Finding, Migration, Script
from airflow_provider_wmigrate.engine.plan.script_rules import script_findings
from airflow_provider_wmigrate.engine.plan.undeclared import KnownExtension, undeclared
from airflow_provider_wmigrate.engine.sql import analysis, psql
from airflow_provider_wmigrate.engine.sql.analysis import analyse

MakeFolder = Callable[..., Path]
CONFIG = "migration_config.yaml"


def findings(folder: Path, only: str | None = None) -> tuple[Finding, ...]:
    read = read_folder(folder)
    migrations = read.under(read.config.settings_for(None))
    about = [m for m in migrations if only in (None, m.version)]
    return script_findings(about, read.config, migrations)


def warning(what: str, *, version: str = "001", file: str = "001_a.sql", line: int = 3) -> Finding:
    return Finding(
        "extension_undeclared",
        f"{what} is TimescaleDB's, and neither this nor what it depends on declares that it is needed",
        "add requires_extensions: [timescaledb] to its block in the config",
        "warning",
        version,
        file,
        line,
    )


USES = {
    "SELECT create_hypertable('t', by_range('at'))": "create_hypertable",
    "SELECT Public.Create_Hypertable('t', 'at')": "create_hypertable",
    "SELECT add_retention_policy('t', INTERVAL '1 day')": "add_retention_policy",
    "SELECT remove_columnstore_policy('t')": "remove_columnstore_policy",
    "CALL refresh_continuous_aggregate('v', '2026-01-01', NULL)": "refresh_continuous_aggregate",
    "CALL convert_to_columnstore('c')": "convert_to_columnstore",
    "SELECT drop_chunks('t', older_than => now())": "drop_chunks",
    "CREATE VIEW v AS SELECT time_bucket('1 day', at) FROM t": "time_bucket",
    "INSERT INTO u SELECT * FROM (SELECT time_bucket_gapfill('1 day', at) FROM t) x": "time_bucket_gapfill",
    "CREATE TABLE t (at timestamptz) WITH (fillfactor = 70, tsdb.hypertable)": "the option tsdb.hypertable",
    "CREATE MATERIALIZED VIEW v WITH (timescaledb.continuous) AS SELECT 1 WITH NO DATA": (
        "the option timescaledb.continuous"
    ),
    "ALTER TABLE t SET (timescaledb.compress, timescaledb.compress_segmentby = 'a')": "the option timescaledb.compress",
    "CREATE INDEX i ON t (a) WITH (timescaledb.transaction_per_chunk)": (
        "the option timescaledb.transaction_per_chunk"
    ),
}


@pytest.mark.parametrize(("statement", "what"), USES.items())
def test_timescaledb_that_nobody_declared(make_folder: MakeFolder, statement: str, what: str) -> None:
    text = f"SELECT 1;\n\n{statement};\nSELECT show_chunks('t');"
    assert findings(make_folder({"001_a.sql": text})) == (warning(what),)
    declared = "migrations:\n  - {version: 1, requires_extensions: [timescaledb]}"
    assert findings(make_folder({"001_a.sql": text, CONFIG: declared})) == ()
    other = "migrations:\n  - {version: 1, requires_extensions: [postgis]}"
    assert findings(make_folder({"001_a.sql": text, CONFIG: other})) == (warning(what),)


FUNCTIONS = (
    "create_hypertable create_distributed_hypertable add_dimension set_chunk_time_interval set_integer_now_func"
    " set_partitioning_interval enable_chunk_skipping add_retention_policy add_compression_policy"
    " add_columnstore_policy add_continuous_aggregate_policy add_reorder_policy"
    " add_process_hypertable_invalidations_policy remove_retention_policy remove_compression_policy"
    " remove_columnstore_policy remove_continuous_aggregate_policy remove_reorder_policy refresh_continuous_aggregate"
    " drop_chunks show_chunks reorder_chunk move_chunk merge_chunks split_chunk compress_chunk decompress_chunk"
    " recompress_chunk convert_to_columnstore convert_to_rowstore hypertable_size hypertable_detailed_size"
    " hypertable_index_size hypertable_approximate_size chunks_detailed_size hypertable_compression_stats"
    " hypertable_columnstore_stats chunk_compression_stats chunk_columnstore_stats time_bucket time_bucket_gapfill"
    " cagg_migrate"
)


def test_every_function_that_only_timescaledb_has() -> None:
    for name in FUNCTIONS.split():
        alone = Migration("001", "a", Script.of("001_a.sql", f"SELECT 1;\n\nSELECT {name}(1)"))
        assert script_findings([alone], Config()) == (warning(name),)


def test_a_dependency_that_is_not_known_declares_nothing() -> None:
    second = Migration("002", "b", Script.of("002_b.sql", "CALL move_chunk(1)"), dependencies=("001",))
    assert script_findings([second], Config()) == (warning("move_chunk", version="002", file="002_b.sql", line=1),)


@pytest.mark.parametrize(
    "text",
    [
        "CREATE EXTENSION IF NOT EXISTS timescaledb;\nSELECT create_hypertable('t', 'at');",
        "SELECT myown.time_bucket('1 day', at) FROM t",
        "CREATE FUNCTION time_bucket(int, int) RETURNS int LANGUAGE sql RETURN 1; SELECT time_bucket(1, 2)",
        "CREATE OR REPLACE FUNCTION public.time_bucket(int) RETURNS int LANGUAGE sql RETURN 1; SELECT time_bucket(1)",
        "DO $$ BEGIN IF EXISTS (SELECT FROM pg_extension) THEN PERFORM create_hypertable('t', 'at'); END IF; END $$",
        "SELECT 'create_hypertable(1)', time_bucket FROM compress_chunk -- show_chunks(1)",
        "SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0",
        "SELECT first(a, b), add_job(1) FROM t",
    ],
)
def test_what_is_not_timescaledbs_or_may_look_first(make_folder: MakeFolder, text: str) -> None:
    assert findings(make_folder({"001_a.sql": text})) == ()


def test_what_the_grammar_was_not_given_to_read_is_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psql, "PIECE", 1)
    for module in (psql, analysis):
        monkeypatch.setattr(module, "LARGE", 20)
    read = analyse(Script.of("001_a.sql", "INSERT INTO t WIBBLE (time_bucket(1))"))
    assert list(undeclared(Migration("001", "a", read.script), read, KnownExtension({}))) == []


def test_what_a_migration_depends_on_declares_it_too(make_folder: MakeFolder) -> None:
    uses = "SELECT show_chunks('t')"
    files = {"001_a.sql": "SELECT 1", "002_b.sql": "SELECT 2", "003_c.sql": uses, "004_d.sql": uses}
    config = "migrations:\n  - {version: 1, requires_extensions: [timescaledb]}\n  - {version: 4, dependencies: []}"
    fourth = warning("show_chunks", version="004", file="004_d.sql", line=1)
    assert findings(make_folder({**files, CONFIG: config})) == (fourth,)
    assert findings(make_folder({**files, CONFIG: config}), only="003") == ()
    created = {**files, "001_a.sql": 'CREATE EXTENSION "timescaledb"'}
    assert findings(make_folder({**created, CONFIG: "migrations:\n  - {version: 4, dependencies: []}"})) == (fourth,)


def test_a_rollback_script_is_not_asked(make_folder: MakeFolder) -> None:
    files = {"001_a.sql": "SELECT 1", "001_a.rollback.sql": "SELECT remove_retention_policy('t')"}
    assert findings(make_folder(files)) == ()


def test_what_two_depend_on_is_asked_once_and_counts_for_both(make_folder: MakeFolder) -> None:
    config = (
        "migrations:\n- {version: 2, dependencies: [1]}\n- {version: 3, dependencies: [1]}\n"
        "- {version: 4, dependencies: [2, 3]}\n- {version: 5, dependencies: []}\n"
    )
    use = "SELECT create_hypertable('t', 'at')"
    files = {"001_a.sql": "CREATE EXTENSION timescaledb", "002_b.sql": "SELECT 1", "migration_config.yaml": config}
    folder = make_folder(files | {"003_c.sql": use, "004_d.sql": use, "005_e.sql": use})
    assert findings(folder) == (warning("create_hypertable", version="005", file="005_e.sql", line=1),)
