"""Reading what happened: pages, filters, counts per day."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.ledger import history
from airflow_provider_wmigrate.engine.ledger.creation import make_current
from airflow_provider_wmigrate.engine.ledger.history import EventFilter
from airflow_provider_wmigrate.engine.ledger.ledger import Ledger
from airflow_provider_wmigrate.engine.model import Identity

Conn = psycopg.Connection[Any]

ANN, BOB = Identity("ann"), Identity("bob")
FAR = timedelta(days=365)
NOW = datetime.now(timezone.utc)


@pytest.fixture
def ledger(conn: Conn) -> Ledger:
    """Rows: 1 ledger_created, 2 started, 3 applied, 4 failed, 5 failed (dry), 6 dry_run, 7 rolled_back, 8 refused."""
    ledger = Ledger()
    with conn.transaction():
        make_current(ledger, conn, ANN)
        ledger.log.append(conn, "started", ANN, version="001")
        ledger.log.append(conn, "applied", ANN, version="001", duration_ms=12)
        ledger.log.append(conn, "failed", BOB, version="002", details={"dry_run": False})
        ledger.log.append(conn, "failed", BOB, version="002", details={"dry_run": True})
        ledger.log.append(conn, "dry_run", BOB, version="002", duration_ms=7)
        ledger.log.append(conn, "rolled_back", BOB, version="001", duration_ms=3)
        ledger.log.append(conn, "refused", BOB, version="003")
    return ledger


def test_a_database_without_a_ledger_has_no_history(conn: Conn) -> None:
    ledger = Ledger()
    assert history.events(conn, ledger) == history.EventPage()
    assert history.days(conn, ledger) == ()


@pytest.mark.parametrize(
    ("where", "positions"),
    [
        (EventFilter(), [8, 7, 6, 5, 4, 3, 2, 1]),
        (EventFilter(events=("applied", "rolled_back")), [7, 3]),
        (EventFilter(version="001"), [7, 3, 2]),
        (EventFilter(actor="ann"), [3, 2, 1]),
        (EventFilter(since=NOW - FAR, until=NOW + FAR), [8, 7, 6, 5, 4, 3, 2, 1]),
        (EventFilter(since=NOW + FAR), []),
        (EventFilter(until=NOW - FAR), []),
        (EventFilter(before=3), [2, 1]),
        (EventFilter(actor="bob", version="002", events=("failed",), before=5), [4]),
        (EventFilter(actor="'; DROP TABLE x; --"), []),
    ],
)
def test_which_rows_pass_a_filter(conn: Conn, ledger: Ledger, where: EventFilter, positions: list[int]) -> None:
    page = history.events(conn, ledger, where)
    assert [row.position for row in page.rows] == positions
    assert page.total == len(positions)


def test_pages(conn: Conn, ledger: Ledger) -> None:
    def positions(**how: Any) -> list[int]:
        page = history.events(conn, ledger, **how)
        assert page.total == 8
        return [row.position for row in page.rows]

    assert positions(limit=3) == [8, 7, 6]


def test_the_rows_are_those_the_chain_is_made_of(conn: Conn, ledger: Ledger) -> None:
    rows = history.events(conn, ledger).rows[::-1]
    assert rows == tuple(ledger.log.rows(conn))
    assert all(row.computed_hash() == row.hash for row in rows)


def test_counts_per_day(conn: Conn, ledger: Ledger) -> None:
    (day,) = history.days(conn, ledger)
    assert day == history.Day(day.day, applied=1, failed=1, rolled_back=1, refused=1, dry_runs=1)
    assert history.days(conn, ledger, EventFilter(events=("ledger_created",))) == ()
