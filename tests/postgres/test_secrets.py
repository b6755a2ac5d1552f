"""No secret of a script in what cannot be redacted later: error, events and audit rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.errors import StatementFailed
from airflow_provider_wmigrate.engine.events import Event

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

T = "CREATE TABLE t (a int, b text CHECK (length(b) < 5));\n"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("CREATE ROLE r LOGIN PASSWORD hunter2", 'syntax error at or near "***"'),
        ("CREATE ROLE r LOGIN PASSWORD 'it's hunter2'", '"***"'),
        ("SELECT 'postgresql://u:hunter2@h'::int", 'invalid input syntax for type integer: "***"'),
        ("SELECT '{\"password\": hunter2}'::json", "invalid input syntax for type json"),
        ("DO $$ BEGIN EXECUTE 'ALTER ROLE nobody PASSWORD ''hunter2'''; END $$", 'role "nobody" does not exist'),
        ("DO $$ BEGIN EXECUTE 'ALTER ROLE nobody PASSWORD hunter2'; END $$", 'syntax error at or near "***"'),
        (f"{T}COPY t FROM stdin;\nhunter2\tx\n\\.\n", 'invalid input syntax for type integer: "***"'),
        (f"{T}INSERT INTO t VALUES (1, 'hunter2')", "violates check constraint"),
        (f"{T}CREATE UNIQUE INDEX ON t (b); INSERT INTO t VALUES (1, 'h2'), (2, 'h2')", "duplicate key value"),
        (
            "SET app.jwt = hunter2;\nDO $$ BEGIN RAISE NOTICE 'is %', current_setting('app.jwt'); END $$;\nSELECT 1/0",
            "division by zero",
        ),
    ],
)  # fmt: skip
def test_no_secret_leaves_the_engine(
    migrator: MakeMigrator, conn: Conn, events: list[Event], script: str, message: str
) -> None:
    with pytest.raises(StatementFailed) as failed:
        migrator({"001_a.sql": script}).apply("001")
    assert message in str(failed.value)
    rows = conn.execute("SELECT a::text FROM wmigrate.audit_log a WHERE event = 'failed'").fetchall()
    said = [event for event in events if type(event).__name__ != "Started"]
    for told in (str(failed.value), repr(vars(failed.value)), repr(said), repr(rows)):
        assert "hunter2" not in told
        assert "h2" not in told
    assert len(rows) == 1
