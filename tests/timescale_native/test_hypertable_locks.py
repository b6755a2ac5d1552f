"""The locks that are foreseen for a command on a hypertable are those that pg_locks shows for it, chunks and all."""

from __future__ import annotations

from dev.lock_hypertables import COMMANDS, compared


def test_the_forecast_of_a_hypertable_is_what_the_server_takes(database: str, full_edition: None) -> None:
    found, refused = compared(database)
    assert {c.command: c.foreseen for c in found} == {c.command: c.seen for c in found}
    assert len(refused) < len(COMMANDS) / 4, "each version knows most of them"
