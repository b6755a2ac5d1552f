"""What a script has changed: in the record and in the audit log; asked back by who misses something."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.changes import Change, Changes
from airflow_provider_wmigrate.engine.ledger.culprits import culprits
from airflow_provider_wmigrate.telling.lineage import columns_now

MakeMigrator = Callable[..., Any]
Conn = psycopg.Connection[Any]

FILES = {
    "001_made.sql": 'CREATE TABLE a (id int, note text);\nCREATE TABLE "Odd name" (x int);\nCREATE VIEW v AS SELECT 1;',
    "002_gone.sql": 'ALTER TABLE a DROP COLUMN note;\nDROP TABLE "Odd name";\nALTER VIEW v RENAME TO w;',
    "002_gone.rollback.sql": "DROP VIEW w;",
}


def test_what_a_script_changed_is_in_its_record_and_in_the_audit_log(migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator(FILES)
    made.apply("001")
    record = made.apply("002")
    assert record.changes == Changes(
        (
            Change("alter", "table", "public", "a"),
            Change("drop", "column", "public", "a", "note"),
            Change("drop", "table", "public", "Odd name"),
            Change("rename", "view", "public", "v", to="w"),
        )
    )
    row = conn.execute("SELECT details -> 'changes' FROM wmigrate.audit_log WHERE version = '002'").fetchone()
    assert row == (record.changes.as_dict(),)
    assert columns_now(conn, [("public", "a"), ("public", "Odd name"), ("public", "w")]) == {
        ("public", "a"): [("id", "integer")],
        ("public", "w"): [("?column?", "integer")],
    }


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT note FROM a", ["column public.a.note was dropped by migration 002_gone, WHEN by tester"]),
        ("SELECT x.note FROM a x", ["column public.a.note was dropped by migration 002_gone, WHEN by tester"]),
        ('TABLE "Odd name"', ['table public."Odd name" was dropped by migration 002_gone, WHEN by tester']),
        ("TABLE v", ["view public.v was renamed to w by migration 002_gone, WHEN by tester"]),
        ("TABLE w", ["view public.w was dropped by the rollback of migration 002_gone, WHEN by tester"]),
        ("SELECT other FROM a", []),
        ("TABLE nowhere", []),
    ],
)
def test_who_has_taken_away_what_is_missing(migrator: MakeMigrator, conn: Conn, query: str, told: list[str]) -> None:
    made = migrator(FILES)
    for version in ("001", "002"):
        made.apply(version)
    if query == "TABLE w":
        made.roll_back("002")
    kind = "column" if "SELECT" in query else "relation"
    with pytest.raises((psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)) as error:
        conn.execute(query.encode())
    found = [
        re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "WHEN", str(each)) for each in culprits(conn, kind, str(error.value))
    ]
    assert found == told


def test_what_went_through_cascade_is_found_too(migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator(
        {
            "001_made.sql": "CREATE TABLE a (id int); CREATE VIEW along AS SELECT id FROM a;",
            "002_gone.sql": "DROP TABLE a CASCADE;",
        }
    )
    for version in ("001", "002"):
        made.apply(version)
    (found,) = culprits(conn, "relation", 'relation "along" does not exist')
    assert str(found).partition(",")[0] == "relation public.along was dropped by migration 002_gone"
