"""The template change-aggregate on a real TimescaleDB: closed buckets stay, bit for bit, and what belongs to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.cli.main import main
from airflow_provider_wmigrate.engine.errors import StatementFailed
from airflow_provider_wmigrate.engine.record import Outcome
from tests.aggregates import OLD, belongings, migrator, replace, rows, set_up, up, write
from tests.struck import killed_at_event

Conn = psycopg.Connection[Any]


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with psycopg.connect(database, autocommit=True) as conn:
        set_up(conn)
        yield conn
        conn.execute("SET default_transaction_read_only = off")  # this server's sessions share their settings
        conn.execute("DROP SCHEMA a CASCADE")
        conn.execute("DROP SCHEMA IF EXISTS wmigrate CASCADE")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "migrations").mkdir()
    return tmp_path / "migrations"


def test_every_closed_bucket_is_kept(conn: Conn, database: str, folder: Path) -> None:
    buckets, weeks, days = (
        rows(conn, OLD.format('"Daily"')),
        rows(conn, "SELECT * FROM a.weekly ORDER BY 1, 2"),
        rows(conn, "TABLE a.busy_days"),
    )
    belonged = belongings(conn)
    assert len(buckets) > 3 * 89

    write(database, "daily_peak", 'a."Daily"')
    names = ["001_daily_peak_next", "002_daily_peak_fill", "003_daily_peak_swap"]
    assert sorted(path.stem for path in folder.glob("*.sql") if "rollback" not in path.name) == names
    assert main(["check", "--strict"]) == 0
    replace(folder / f"{names[0]}.sql", "count(*) AS n", "count(*) AS n, max(used) AS peak")
    up(database, folder, "001", "002")
    # A late row of a closed bucket: its range has a chunk again, with one row of what were 24.
    conn.execute("INSERT INTO a.readings VALUES (date_trunc('day', now()) - INTERVAL '60 days', 's1', 1)")
    up(database, folder, "003")

    assert rows(conn, OLD.format('"Daily"')) == buckets
    unknown, known = rows(conn, 'SELECT count(*) FILTER (WHERE peak IS NULL), count(peak) FROM a."Daily"')[0]
    assert 3 * 58 <= unknown <= 3 * 61
    assert 3 * 29 <= known <= 3 * 32
    assert belongings(conn) == belonged
    assert rows(conn, "TABLE a.busy_days") == days
    assert "Daily_old" not in rows(conn, "SELECT pg_get_viewdef('a.busy'::regclass)")[0][0]

    # The aggregate on top, by the same template: its buckets come from the copied ones.
    write(database, "weekly_again", "a.weekly")
    assert 'FROM a."Daily"\n' in (folder / "004_weekly_again_next.sql").read_text()
    up(database, folder, "004", "005", "006")
    assert rows(conn, "SELECT * FROM a.weekly ORDER BY 1, 2") == weeks
    # Nobody reads the old ones any more, so the server lets them go.
    conn.execute("DROP MATERIALIZED VIEW a.weekly_old")
    conn.execute('DROP MATERIALIZED VIEW a."Daily_old"')


def test_the_swap_can_be_rolled_back_and_done_again(conn: Conn, database: str, folder: Path) -> None:
    buckets, belonged = rows(conn, OLD.format('"Daily"')), belongings(conn)
    write(database, "same", 'a."Daily"')
    up(database, folder, "001", "002", "003")
    assert migrator(database, folder).roll_back("003").outcome is Outcome.ROLLED_BACK
    assert (rows(conn, OLD.format('"Daily"')), belongings(conn)) == (buckets, belonged)
    up(database, folder, "003")
    assert (rows(conn, OLD.format('"Daily"')), belongings(conn)) == (buckets, belonged)
    for version in ("003", "002", "001"):
        assert migrator(database, folder).roll_back(version).outcome is Outcome.ROLLED_BACK
    assert (rows(conn, OLD.format('"Daily"')), belongings(conn)) == (buckets, belonged)
    assert rows(conn, "SELECT count(*) FROM timescaledb_information.continuous_aggregates") == [(2,)]


def test_a_swap_that_fails_at_its_end_has_changed_nothing(conn: Conn, database: str, folder: Path) -> None:
    buckets, belonged = rows(conn, OLD.format('"Daily"')), belongings(conn)
    write(database, "same", 'a."Daily"')
    swap = folder / "003_same_swap.sql"
    whole = swap.read_text()
    swap.write_text(whole + "SELECT * FROM nowhere;\n")
    up(database, folder, "001", "002")
    with pytest.raises(StatementFailed, match="rolled back, nothing of it was kept"):
        migrator(database, folder).apply("003")
    assert (rows(conn, OLD.format('"Daily"')), belongings(conn)) == (buckets, belonged)
    swap.write_text(whole)
    up(database, folder, "003")
    assert rows(conn, OLD.format('"Daily"')) == buckets


def test_a_runner_that_is_killed_at_each_event(conn: Conn, database: str, folder: Path) -> None:
    """Each run dies one event later, until one comes to its end."""
    buckets, belonged = rows(conn, OLD.format('"Daily"')), belongings(conn)
    write(database, "same", 'a."Daily"')
    kills = 0
    for version in ("001", "002", "003"):
        event = 0
        while killed_at_event(database, folder, version, event):
            conn.execute("SET default_transaction_read_only = off")  # this server's sessions share their settings
            event += 1
        kills += event
        assert migrator(database, folder).apply(version).outcome is Outcome.ALREADY_APPLIED
    assert kills >= 6
    assert (rows(conn, OLD.format('"Daily"')), belongings(conn)) == (buckets, belonged)


def test_a_bucket_that_would_be_missing_stops_the_swap(conn: Conn, database: str, folder: Path) -> None:
    write(database, "less", 'a."Daily"')
    replace(folder / "001_less_next.sql", "FROM a.readings", "FROM a.readings WHERE source <> 's2'")
    up(database, folder, "001", "002")
    with pytest.raises(StatementFailed, match=r'[0-9]+ buckets of a."Daily" would be missing'):
        migrator(database, folder).apply("003")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["aggregate=a.readings"], "there is no continuous aggregate a.readings; write schema.name"),
        ([], "template change-aggregate needs aggregate; give --set aggregate=..."),
    ],
)
def test_what_it_cannot_read_is_refused(
    words: list[str], says: str, conn: Conn, database: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [text for word in words for text in ("--set", word)]
    assert main(["new", "x", "--template", "change-aggregate", *given, "--dsn", database]) != 0
    assert capsys.readouterr().err.strip() == f"wmigrate: {says}"
    assert list(folder.iterdir()) == []


def test_a_column_is_added_where_timescaledb_can(
    database: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From 2.28 on; this server is older, so the plan refuses it."""
    words = {"aggregate": "a.daily", "column": "peak", "expression": "max(used)", "since": "2026-01-01 UTC"}
    given = [text for word, value in words.items() for text in ("--set", f"{word}={value}")]
    assert main(["new", "peak", "--template", "aggregate-column", *given]) == 0
    script = (folder / "001_peak.sql").read_text()
    assert "ADD COLUMN peak double precision GENERATED ALWAYS AS (max(used)) STORED;" in script
    assert "CALL refresh_continuous_aggregate('a.daily', '2026-01-01 UTC', NULL, force => true);" in script
    assert not (folder / "001_peak.rollback.sql").exists()
    findings = migrator(database, folder).plan().findings
    assert [finding.code for finding in findings] == ["extension_too_old"]
