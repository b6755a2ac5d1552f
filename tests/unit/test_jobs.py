"""Which tables a script works on before it changes them: those whose background jobs must wait."""

from __future__ import annotations

import pytest

from airflow_provider_wmigrate.engine.catalog.jobs import used_then_changed
from airflow_provider_wmigrate.engine.model import Script
from airflow_provider_wmigrate.engine.sql.analysis import analyse

CHANGED = {
    "rows, then a column": ("UPDATE m SET v = 1; ALTER TABLE m ADD c int", [("", "m")]),
    "a function that is given its name": (
        "SELECT decompress_chunk(c) FROM show_chunks('s.m') c; ALTER TABLE s.m SET (timescaledb.compress = false)",
        [("s", "m")],
    ),
    "renamed, moved, emptied, dropped": (
        "DELETE FROM a; DELETE FROM s.b; DELETE FROM c; DELETE FROM d; ALTER TABLE a RENAME TO x;"
        " ALTER TABLE s.b SET SCHEMA y; TRUNCATE c; DROP TABLE d",
        [("", "a"), ("s", "b"), ("", "c"), ("", "d")],
    ),
    "a quoted name": ('UPDATE "M x" SET v = 1; ALTER TABLE "M x" ADD c int', [("", "M x")]),
    "changed twice": ("UPDATE m SET v = 1; ALTER TABLE m ADD c int; ALTER TABLE m ADD d int", [("", "m")]),
}
NOT_CHANGED = {
    "the first statement takes the lock by itself": "ALTER TABLE m ADD c int; UPDATE m SET c = 1",
    "named in a comment only": "-- m\nCREATE TABLE x (); /* m */ ALTER TABLE m ADD c int",
    "another table with a longer name": "UPDATE mm SET v = 1; UPDATE a_m SET v = 1; ALTER TABLE m ADD c int",
    "made by the script": "CREATE TABLE m (); INSERT INTO m VALUES (1); ALTER TABLE m ADD c int",
    "things that are no table": "UPDATE m SET v = 1; DROP FUNCTION f (int); DROP TYPE t; ALTER TYPE e RENAME TO f",
    "beyond the grammar": "UPDATE m SET v = 1; ALTER TABLE m NEWER SYNTAX",
}


@pytest.mark.parametrize(("text", "expected"), CHANGED.values(), ids=CHANGED.keys())
def test_used_then_changed(text: str, expected: list[tuple[str, str]]) -> None:
    assert list(used_then_changed(analyse(Script.of("001_a.sql", text)))) == expected


@pytest.mark.parametrize("text", NOT_CHANGED.values(), ids=NOT_CHANGED.keys())
def test_not_used_or_not_changed(text: str) -> None:
    found = used_then_changed(analyse(Script.of("001_a.sql", text)))
    assert "m" not in [relation for _, relation in found]
