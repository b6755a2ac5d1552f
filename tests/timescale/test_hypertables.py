"""Hypertable migrations: each is applied, rolled back and applied again, the catalogs and the rows compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from catalog import catalog

from airflow_provider_wmigrate.engine.errors import StatementFailed
from airflow_provider_wmigrate.engine.events import Event, Stepped
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity, Script, Status
from airflow_provider_wmigrate.engine.record import Outcome
from airflow_provider_wmigrate.engine.sql.analysis import analyse

Conn = psycopg.Connection[Any]
Make = Callable[..., Migrator]
CONFIG = "migration_config.yaml"

PLAIN = """
CREATE TABLE m (at timestamptz NOT NULL, source text NOT NULL, value float8 NOT NULL, PRIMARY KEY (source, at));
INSERT INTO m SELECT timestamptz '2025-01-01 UTC' + n * interval '12 hours', 's' || n % 3, n
  FROM generate_series(0, 59) n;
"""
HYPER = PLAIN + (
    "SELECT create_hypertable('m', by_range('at', INTERVAL '7 days'),"
    " create_default_indexes => false, migrate_data => true);\n"
)
DAILY = (
    "CREATE MATERIALIZED VIEW d WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS"
    " SELECT time_bucket('1 day', at) AS day, sum(value) AS total FROM m GROUP BY 1"
)
DAYS = "SELECT count(*), sum(total) FROM d"
EMPTY, FULL = (0, None), (30, 1770.0)
COLUMNSTORE = (
    "ALTER TABLE m SET (timescaledb.compress, timescaledb.compress_segmentby = 'source',"
    " timescaledb.compress_orderby = 'at DESC');\n"
)
POLICY = "SELECT add_compression_policy('m', INTERVAL '100 years');\n"
COMPRESS = "SELECT compress_chunk(chunk) FROM show_chunks('m') AS chunk;\n"
DECOMPRESS = "SELECT decompress_chunk(chunk) FROM show_chunks('m') AS chunk;\n"
COMPRESSED = "SELECT count(*) FILTER (WHERE is_compressed), count(*) FROM timescaledb_information.chunks"
JOBS = "SELECT count(*), min(hypertable_name) FROM timescaledb_information.jobs WHERE job_id >= 1000"
IS_HYPER = "SELECT count(*), min(num_chunks) FROM timescaledb_information.hypertables WHERE hypertable_name = 'm'"
SUM = "SELECT count(*), sum(value) FROM m"


@dataclass(frozen=True)
class Case:
    """One migration: what is there before it, its two scripts, and what a query answers when it is applied."""

    name: str
    base: str
    up: str
    down: str
    query: str
    answer: tuple[Any, ...]
    stepwise: bool = False
    config: str = ""
    rows: tuple[int, float] = (60, 1770.0)


CASES = [
    Case(
        "a hypertable on a table with rows, and a table by copying back",
        PLAIN,
        "SELECT create_hypertable('m', by_range('at', INTERVAL '7 days'),\n"
        "    create_default_indexes => false, migrate_data => true);",
        "CREATE TABLE m_plain (LIKE m INCLUDING ALL);\nINSERT INTO m_plain SELECT * FROM m;\nDROP TABLE m;\n"
        "ALTER TABLE m_plain RENAME TO m;\nALTER INDEX m_plain_pkey RENAME TO m_pkey;",
        IS_HYPER,
        (1, 6),
    ),
    Case(
        "a hypertable in one statement",
        PLAIN,
        "CREATE TABLE h (at timestamptz NOT NULL, v int) WITH (tsdb.hypertable, tsdb.partition_column = 'at');\n"
        "INSERT INTO h SELECT at, 1 FROM m;",
        "DROP TABLE h;",
        "SELECT hypertable_name::text, count(*) FROM timescaledb_information.hypertables, h GROUP BY 1",
        ("h", 60),
    ),
    Case(
        "columnstore and its policy",
        HYPER,
        COLUMNSTORE + POLICY,
        "SELECT remove_compression_policy('m');\nALTER TABLE m SET (timescaledb.compress = false);",
        JOBS,
        (1, "m"),
    ),
    Case(
        "columnstore and its policy by their newer names",
        HYPER,
        "ALTER TABLE m SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'source');\n"
        "CALL add_columnstore_policy('m', after => INTERVAL '100 years');",
        "CALL remove_columnstore_policy('m');\nALTER TABLE m SET (timescaledb.enable_columnstore = false);",
        JOBS,
        (1, "m"),
    ),
    Case("compressing chunks", HYPER + COLUMNSTORE, COMPRESS, DECOMPRESS, COMPRESSED, (6, 6)),
    Case(
        "converting chunks",
        HYPER + COLUMNSTORE,
        "DO $$ DECLARE chunk regclass; BEGIN\n  FOR chunk IN SELECT show_chunks('m') LOOP\n"
        "    CALL convert_to_columnstore(chunk);\n  END LOOP;\nEND $$;",
        "DO $$ DECLARE chunk regclass; BEGIN\n  FOR chunk IN SELECT show_chunks('m') LOOP\n"
        "    CALL convert_to_rowstore(chunk);\n  END LOOP;\nEND $$;",
        COMPRESSED,
        (6, 6),
    ),
    Case(
        "a retention policy, asked for twice",
        HYPER,
        "SELECT add_retention_policy('m', drop_after => INTERVAL '100 years', if_not_exists => true);\n" * 2,
        "SELECT remove_retention_policy('m', if_exists => true);\n" * 2,
        JOBS,
        (1, "m"),
    ),
    Case(
        "a refresh policy, asked for twice",
        HYPER + DAILY + " WITH NO DATA;",
        "SELECT add_continuous_aggregate_policy('d', start_offset => INTERVAL '3 days',\n"
        "    end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '1 hour', if_not_exists => true);\n" * 2,
        "SELECT remove_continuous_aggregate_policy('d', if_exists => true);",
        "SELECT count(*) FROM timescaledb_information.jobs WHERE job_id >= 1000",
        (1,),
    ),
    Case(
        "a continuous aggregate without data",
        HYPER,
        DAILY + "\nWITH NO DATA;",
        "DROP MATERIALIZED VIEW d;",
        DAYS,
        EMPTY,
    ),
    Case(
        "a continuous aggregate with data",
        HYPER,
        DAILY + ";",
        "DROP MATERIALIZED VIEW d;",
        DAYS,
        FULL,
        stepwise=True,
    ),
    Case(
        "a continuous aggregate, filled in the same script",
        HYPER,
        DAILY + " WITH NO DATA;\nCALL refresh_continuous_aggregate('d', NULL, '2025-01-11 UTC');",
        "DROP MATERIALIZED VIEW d;",
        DAYS,
        (10, 190.0),
        stepwise=True,
    ),
    Case(
        "a job that commits inside, in a DO block",
        HYPER + COLUMNSTORE + "SELECT add_compression_policy('m', INTERVAL '1 day');",
        "DO $$ DECLARE job int; BEGIN\n"
        "  SELECT job_id INTO job FROM timescaledb_information.jobs WHERE hypertable_name = 'm';\n"
        "  CALL run_job(job);\nEND $$;",
        DECOMPRESS,
        COMPRESSED,
        (6, 6),
        stepwise=True,
        config="migrations: [{version: 2, transactional: {apply: false}}]",
    ),
    Case(
        "dropped chunks, kept aside",
        HYPER,
        "CREATE TABLE m_old AS SELECT * FROM m WHERE at < '2025-01-16 UTC';\n"
        "SELECT drop_chunks('m', older_than => TIMESTAMPTZ '2025-01-16 UTC');",
        "INSERT INTO m SELECT * FROM m_old;\nDROP TABLE m_old;",
        "SELECT count(*), min(value) FROM m",
        (30, 30.0),
        rows=(30, 1335.0),
    ),
    Case(
        "another type under the columnstore: off, change, on",
        HYPER + COLUMNSTORE + POLICY + COMPRESS,
        "SELECT remove_compression_policy('m');\n" + DECOMPRESS + "ALTER TABLE m SET (timescaledb.compress = false);\n"
        "ALTER TABLE m ALTER value TYPE numeric;\nALTER TABLE m ADD noticed timestamptz DEFAULT clock_timestamp();\n"
        + COLUMNSTORE + POLICY + COMPRESS,
        "SELECT remove_compression_policy('m');\n" + DECOMPRESS + "ALTER TABLE m SET (timescaledb.compress = false);\n"
        "ALTER TABLE m DROP noticed;\nALTER TABLE m ALTER value TYPE float8;\n" + COLUMNSTORE + POLICY + COMPRESS,
        "SELECT pg_typeof(value)::text, count(noticed) FROM m GROUP BY 1",
        ("numeric", 60),
    ),
    Case(
        "a constant default under the columnstore",
        HYPER + COLUMNSTORE + COMPRESS,
        "ALTER TABLE m ADD quality int DEFAULT 5;",
        "ALTER TABLE m DROP quality;",
        "SELECT count(*), sum(quality) FROM m",
        (60, 300),
    ),
]  # fmt: skip


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    """A look from outside; what a test leaves behind is removed, so that a failed one spoils no other."""
    with psycopg.connect(database, autocommit=True) as conn:
        empty = catalog(conn)
        yield conn
        for (view,) in conn.execute("SELECT view_name FROM timescaledb_information.continuous_aggregates").fetchall():
            conn.execute(f"DROP MATERIALIZED VIEW IF EXISTS {view} CASCADE")
        for table in ("m", "h", "m_plain", "m_old"):  # "cannot drop a hypertable along with other objects"
            conn.execute(f"DROP TABLE IF EXISTS {table} CASCADE")
        conn.execute("DROP SCHEMA IF EXISTS wmigrate CASCADE")
        assert catalog(conn) == empty


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def make(database: str, conn: Conn, tmp_path: Path, events: list[Event]) -> Make:
    def migrator(base: str, up: str, down: str = "SELECT 1;", config: str = "") -> Migrator:
        files = {"001_base.sql": base, "002_change.sql": up, "002_change.rollback.sql": down, CONFIG: config}
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        return Migrator(
            lambda: psycopg.connect(database),
            read_folder(tmp_path),
            identity=Identity("tester"),
            on_event=events.append,
        )

    return migrator


def one(conn: Conn, query: str) -> Any:
    return conn.execute(query.encode()).fetchone()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_up_down_up(case: Case, make: Make, conn: Conn) -> None:
    migrator = make(case.base, case.up, case.down, case.config)
    migrator.apply("001")
    before, rows = catalog(conn), one(conn, SUM)
    assert migrator.plan().errors == ()

    if case.stepwise and not case.config:
        assert migrator.apply("002", dry_run=True).outcome is Outcome.NOT_TRIED
    elif not case.stepwise:
        assert migrator.apply("002", dry_run=True).outcome is Outcome.DRY_RUN
    assert (catalog(conn), one(conn, SUM)) == (before, rows)

    assert migrator.apply("002").outcome is Outcome.APPLIED
    after = catalog(conn)
    assert after != before or "refresh" in case.up
    assert (one(conn, case.query), one(conn, SUM)) == (case.answer, case.rows)

    if not analyse(Script.of("", case.down)).outside:
        assert migrator.roll_back("002", dry_run=True).outcome is Outcome.DRY_RUN
        assert catalog(conn) == after
    assert migrator.roll_back("002").outcome is Outcome.ROLLED_BACK
    assert (catalog(conn), one(conn, SUM)) == (before, rows)

    assert migrator.apply("002").outcome is Outcome.APPLIED
    assert catalog(conn) == after
    assert one(conn, case.query) == case.answer
    assert migrator.ledger.verify(conn) == ()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_how_it_is_run_is_found_in_the_script(case: Case) -> None:
    assert bool(analyse(Script.of("", case.up)).outside) is (case.stepwise and not case.config)


REFUSED = {
    "ALTER TABLE m ADD x float8 DEFAULT random()": "cannot add column with non-constant default expression",
    "ALTER TABLE m ADD x int GENERATED ALWAYS AS IDENTITY": "cannot add column with constraints",
    "ALTER TABLE m ALTER value TYPE numeric": "operation not supported on hypertables that have columnstore enabled",
    "ALTER TABLE m DROP source": "cannot drop orderby or segmentby column",
    "ALTER TABLE m SET (timescaledb.compress = false)": "cannot disable columnstore on hypertable",
}
OFF_AND_ON = (
    "take the columnstore off before it, in the same script: remove its policy, decompress every chunk, switch it off,"
    " make the change, switch it on again"
)


@pytest.mark.parametrize(("statement", "says"), REFUSED.items())
def test_what_the_columnstore_refuses_is_said_with_the_way_out(
    make: Make, conn: Conn, statement: str, says: str
) -> None:
    migrator = make(HYPER + COLUMNSTORE + COMPRESS, f"ALTER TABLE m ADD kept int;\n{statement};")
    migrator.apply("001")
    before = catalog(conn)
    with pytest.raises(StatementFailed) as failed:
        migrator.apply("002")
    error = failed.value
    assert (error.line, error.sqlstate, error.retryable, error.hint) == (2, "0A000", False, OFF_AND_ON)
    assert says in error.server_message
    assert catalog(conn) == before


BROKEN = "SELECT * FROM nowhere;"


def test_a_failure_in_the_middle_leaves_nothing(make: Make, conn: Conn) -> None:
    script = (
        "SELECT create_hypertable('m', by_range('at'), migrate_data => true);\n"
        + COLUMNSTORE + POLICY + COMPRESS + DAILY + " WITH NO DATA;\n"
        "SELECT add_retention_policy('m', drop_after => INTERVAL '100 years');\nDROP TABLE m CASCADE;\n" + BROKEN
    )  # fmt: skip
    migrator = make(PLAIN, script)
    migrator.apply("001")
    before = catalog(conn)
    with pytest.raises(StatementFailed, match=r"002_change\.sql:8:15: .* rolled back, nothing of it was kept"):
        migrator.apply("002")
    assert (catalog(conn), one(conn, SUM)) == (before, (60, 1770.0))
    assert migrator.plan().statuses["002"] is Status.FAILED


def test_a_failure_outside_a_transaction_is_resumed(make: Make, conn: Conn, events: list[Event]) -> None:
    script = DAILY + " WITH NO DATA;\nCALL refresh_continuous_aggregate('d', NULL, '2025-01-11 UTC');\n"
    migrator = make(HYPER, script + BROKEN, "DROP MATERIALIZED VIEW IF EXISTS d;")
    migrator.apply("001")
    with pytest.raises(StatementFailed, match="statements 1 to 2 were kept; the next run goes on at statement 3"):
        migrator.apply("002")
    assert one(conn, DAYS) == (10, 190.0)
    assert migrator.plan().statuses["002"] is Status.INCOMPLETE

    events.clear()
    mended = make(HYPER, script + "CALL refresh_continuous_aggregate('d', NULL, NULL);", "DROP MATERIALIZED VIEW d;")
    assert mended.apply("002").outcome is Outcome.APPLIED
    assert [event.first for event in events if isinstance(event, Stepped)] == [3]
    assert one(conn, DAYS) == FULL


def test_an_unfinished_aggregate_can_be_rolled_back(make: Make, conn: Conn) -> None:
    migrator = make(HYPER, DAILY + ";\n" + BROKEN, "DROP MATERIALIZED VIEW IF EXISTS d;")
    migrator.apply("001")
    before = catalog(conn)
    with pytest.raises(StatementFailed):
        migrator.apply("002")
    assert migrator.roll_back("002").outcome is Outcome.ROLLED_BACK
    assert catalog(conn) == before


def test_a_policy_that_is_there_is_refused_without_if_not_exists(make: Make, conn: Conn) -> None:
    twice = "SELECT add_retention_policy('m', drop_after => INTERVAL '100 years');\n" * 2
    migrator = make(HYPER, twice)
    migrator.apply("001")
    with pytest.raises(StatementFailed, match=r"retention policy already exists.*42710"):
        migrator.apply("002")
    assert one(conn, JOBS) == (0, None)


def test_a_key_without_the_time_column(make: Make, conn: Conn) -> None:
    migrator = make(
        "CREATE TABLE m (id int PRIMARY KEY, at timestamptz NOT NULL);",
        "SELECT create_hypertable('m', by_range('at'));",
    )
    migrator.apply("001")
    with pytest.raises(StatementFailed, match=r'cannot create a unique index without the column "at".*TS103'):
        migrator.apply("002")


def test_an_update_is_not_the_first_statement_on_a_session_that_was_used(
    make: Make, conn: Conn, events: list[Event]
) -> None:
    """This server gives every connection the same session, as a pooler may. The update itself needs a native one."""
    migrator = make(PLAIN, "CREATE TABLE h ();\nALTER EXTENSION timescaledb UPDATE;", "DROP TABLE IF EXISTS h;")
    migrator.apply("001")
    with pytest.raises(StatementFailed) as failed:
        migrator.apply("002")
    error = failed.value
    assert (error.line, error.sqlstate) == (2, "0A000")
    assert error.hint.startswith("it must be the first statement of a session: let transactional be auto")
    assert error.outcome == "statement 1 was kept; the next run goes on at statement 2"
    assert migrator.roll_back("002").outcome is Outcome.ROLLED_BACK


NEEDS = "migrations: [{version: 2, requires_extensions: [{name: timescaledb, %s}]}]"


@pytest.mark.parametrize(
    ("needed", "codes"),
    [
        ('min_version: "2.13", license: timescale', []),
        ('min_version: "2.23"', []),
        ('min_version: "99"', ["extension_too_old"]),
    ],
)
def test_what_this_server_is_enough_for(make: Make, needed: str, codes: list[str]) -> None:
    migrator = make(PLAIN, "SELECT 1;", config=NEEDS % needed)
    assert [finding.code for finding in migrator.plan().findings] == codes
