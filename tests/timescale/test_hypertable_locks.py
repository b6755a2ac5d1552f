"""The locks that are foreseen for a command on a hypertable are those that pg_locks shows for it, chunks and all."""

from __future__ import annotations

from dev.lock_table import compared

FEWER = {"ALTER TABLE m VALIDATE CONSTRAINT positive", "ALTER TABLE m SET LOGGED"}
"""TimescaleDB 2.23 does not go on to the chunks yet, and the forecast is that of 2.28: too much, never too little."""


def test_the_forecast_of_a_hypertable_is_what_one_backend_takes(database: str) -> None:
    found, refused = compared(database)
    assert {c.command for c in found if c.foreseen != c.seen} == FEWER
    assert [c.command for c in found if not c.seen.items() <= c.foreseen.items()] == []
    assert [command for command in refused if "TRIGGER" not in command] == ["ALTER TABLE m SET UNLOGGED"]
