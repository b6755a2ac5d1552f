"""The locks that are foreseen for a command on a hypertable are those that pg_locks shows for it, chunks and all."""

from __future__ import annotations

from airflow_provider_wmigrate.engine.lock_modes import LockMode
from dev.lock_table import OF_HYPERTABLES, compare, compared, hypertable_schema


def test_the_forecast_of_a_hypertable_is_what_the_server_takes(database: str, full_edition: None) -> None:
    found, refused = compared(database)
    assert {c.command: c.foreseen for c in found} == {c.command: c.seen for c in found}
    assert len(refused) < len(OF_HYPERTABLES) / 4, "each version knows most of them"


def test_the_new_chunk_of_a_row_is_said_to_be_unforeseen(database: str) -> None:
    """Only the row tells whether there is one, and what its making locks beside the hypertable."""
    with hypertable_schema(database) as conn:
        found = [
            compare(conn, f"INSERT INTO m (at, device, d) VALUES ('2026-01-{day} 03:00Z', 1, 1)") for day in (2, 9)
        ]
    told = [[each.why for each in one.forecast.unforeseen] for one in found]
    assert all("a row of app.m may need a new chunk" in each for each in told), told
    known, new = ({name: mode for name, mode in one.seen.items() if mode > LockMode.ROW_EXCLUSIVE} for one in found)
    assert known == {}
    assert new.items() >= {"devices": LockMode.SHARE_ROW_EXCLUSIVE, "sites": LockMode.SHARE_ROW_EXCLUSIVE}.items()
