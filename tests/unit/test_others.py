"""What the watch recorded, as rows of the audit log and beside a difference."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.plan.others import OthersChange, audit_details, from_details

CHANGE = OthersChange(
    datetime(2026, 1, 31, 12, tzinfo=timezone.utc), "bob", None, "10.0.0.7", "psql", 7, "ALTER TABLE",
    ("table app.items",), 1,
)  # fmt: skip


def test_rows_of_the_audit_log_say_all_of_it_one_for_each_session() -> None:
    of_bob = [replace(CHANGE, at=CHANGE.at + timedelta(seconds=n)) for n in range(101)]
    of_eve = replace(CHANGE, login="eve", pid=8, role="admin", address=None)
    rows = list(audit_details([of_eve, *reversed(of_bob)]))
    assert [(login, len(details["changes"])) for login, details in rows] == [("bob", 100), ("bob", 1), ("eve", 1)]
    assert [change for _, details in rows for change in from_details(details)] == [*of_bob, of_eve]
    assert of_eve.sentence == "ALTER TABLE by eve as admin with psql, 2026-01-31 12:00 UTC"


@pytest.mark.parametrize(
    "details",
    [None, [], {}, {"by": {}, "changes": [1]}, {"by": {}, "changes": [{"at": "now", "objects": []}]}, {"changes": 3}],
)
def test_a_row_that_wmigrate_has_not_written_tells_nothing(details: Any) -> None:
    assert from_details(details) == []


@pytest.mark.parametrize(
    ("command", "objects", "kind", "identity", "is_about"),
    [
        ("ALTER TABLE", ("table app.items",), "column", "app.items.name", True),
        ("ALTER TABLE", ("table app.items",), "column", "app.items_old.name", False),
        ("ALTER TABLE", ("table app.items",), "constraint", "positive on app.items", True),
        ("ALTER TABLE", ("table column app.items.name",), "column", "app.items.name", True),
        ("CREATE INDEX", ("index app.sought",), "index", "app.sought", True),
        ("CREATE FUNCTION", ("function app.f(integer)",), "function", "app.f(integer)", True),
        ("CREATE FUNCTION", ("function app.f(integer)",), "function", "app.f(text)", False),
        ("DROP SCHEMA", ("schema app",), "table", "app.items", True),
        ("GRANT", ("table",), "grant on table", "app.items to bob", True),
        ("GRANT", ("table",), "grant on schema", "app to bob", False),
        ("GRANT", ("table",), "table", "app.items", False),
    ],
)
def test_of_which_difference_a_change_may_be_the_cause(
    command: str, objects: tuple[str, ...], kind: str, identity: str, is_about: bool
) -> None:
    assert replace(CHANGE, command=command, objects=objects).is_about(kind, identity) is is_about
