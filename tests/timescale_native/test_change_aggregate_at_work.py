"""The three migrations of the template change-aggregate while others write and read, and runners that are killed in
the middle of each. Needs the full edition from 2.18 on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from native import skip_before_218

from tests.aggregates import OLD, belongings, rows, set_up, up, write
from tests.struck import WAITS, killed_while

Conn = psycopg.Connection[Any]

IN_THE_WAY = {
    "001": "LOCK TABLE a.readings IN ACCESS EXCLUSIVE MODE",
    "002": "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
    "003": 'LOCK TABLE a."Daily" IN ACCESS SHARE MODE',
}
"""What somebody does so that the migration waits in its middle."""
TABLE_OF_NEXT = """
SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)
  FROM timescaledb_information.continuous_aggregates WHERE view_name = 'Daily_next'
"""
LIVE = "date_trunc('day', now()) - INTERVAL '20 days'"


@pytest.fixture
def conn(database: str, full_edition: None) -> Iterator[Conn]:
    with psycopg.connect(database, autocommit=True) as conn:
        skip_before_218(conn)
        set_up(conn)
        yield conn


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "migrations").mkdir()
    return tmp_path / "migrations"


class Writer(threading.Thread):
    """Writes a reading of now and a late one in each transaction, which it holds open for a moment."""

    def __init__(self, database: str) -> None:
        super().__init__()
        self.stop, self.written, self.errors = threading.Event(), 0, []
        self._database = database

    def run(self) -> None:
        late = f"INSERT INTO a.readings SELECT {LIVE} + %s * INTERVAL '1 minute' + INTERVAL '7 s', 'late', 1"
        fresh = "INSERT INTO a.readings SELECT clock_timestamp(), 'fresh', 1"
        try:
            with psycopg.connect(self._database) as conn:
                while not self.stop.wait(0.02):
                    conn.execute(late.encode(), [self.written])
                    conn.execute(fresh.encode())
                    self.stop.wait(0.02)
                    conn.commit()
                    self.written += 1
        except psycopg.Error as error:
            self.errors.append(error)


def test_somebody_writes_all_the_time(conn: Conn, database: str, folder: Path) -> None:
    closed = f'SELECT bucket, source, average, n FROM a."Daily" WHERE bucket < {LIVE} ORDER BY 1, 2'
    buckets, belonged = rows(conn, closed), belongings(conn)
    write(database, "same", 'a."Daily"')
    writer = Writer(database)
    writer.start()
    try:
        written = []
        for version in ("001", "002", "003"):
            up(database, folder, version)
            written.append(writer.written)
        while writer.is_alive() and writer.written < written[-1] + 3:
            writer.join(0.1)
    finally:
        writer.stop.set()
        writer.join(30)
    assert writer.errors == []
    assert 0 < written[0] < written[1] < written[2] < writer.written, "it wrote during each of them, and behind"
    assert rows(conn, closed) == buckets
    assert belongings(conn) == belonged
    raw = f"SELECT time_bucket('1 day', at), source, count(*) FROM a.readings WHERE at >= {LIVE} GROUP BY 1, 2"
    live = f'SELECT bucket, source, n FROM a."Daily" WHERE bucket >= {LIVE}'
    ((since,),) = rows(conn, f"SELECT ({LIVE})::text")
    conn.execute(f"CALL refresh_continuous_aggregate('a.\"Daily\"', '{since}', NULL)".encode())
    assert rows(conn, f"({live} EXCEPT {raw}) UNION ALL ({raw} EXCEPT {live})") == []
    assert rows(conn, f"SELECT sum(n) FROM ({live}) t WHERE source IN ('late', 'fresh')") == [(2 * writer.written,)]


@pytest.mark.parametrize("version", IN_THE_WAY)
def test_a_runner_that_is_killed_in_the_middle(conn: Conn, database: str, folder: Path, version: str) -> None:
    buckets, belonged = rows(conn, OLD.format('"Daily"')), belongings(conn)
    write(database, "same", 'a."Daily"')
    versions = ("001", "002", "003")
    up(database, folder, *versions[: versions.index(version)])
    table = rows(conn, TABLE_OF_NEXT)
    with psycopg.connect(database) as somebody:
        somebody.execute(IN_THE_WAY[version].format(*(name for (name,) in table)).encode())
        killed_while(database, folder, conn, WAITS, version)
    up(database, folder, *versions[versions.index(version) :])
    assert (rows(conn, OLD.format('"Daily"')), belongings(conn)) == (buckets, belonged)
