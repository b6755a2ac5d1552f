"""The whole history, for other programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

Wmigrate = Callable[..., Any]
Conn = psycopg.Connection[Any]


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_entries_and_audit_log_as_json_and_csv(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    assert wmigrate("up", "--yes").code == 0
    whole = wmigrate("export").json
    assert whole == wmigrate("export", "all", "--json").json
    assert list(whole) == ["target", "entries", "audit"]
    assert [(e["version"], e["name"], e["dependencies"]) for e in whole["entries"]] == [
        ("001", "shop", []), ("002", "price", ["001"]), ("003", "view", ["002"])
    ]  # fmt: skip
    rows = conn.execute("SELECT position, hash FROM wmigrate.audit_log ORDER BY 1").fetchall()
    assert [(a["position"], a["hash"]) for a in whole["audit"]] == rows
    entries, audit = (table(wmigrate("export", what, "--format", "csv").out) for what in ("entries", "audit"))
    for written, known in ((entries, whole["entries"]), (audit, whole["audit"])):
        assert len(written) == len(known) > 0
        for row, one in zip(written, known, strict=True):
            assert set(row) == set(one)
            for name, value in one.items():
                plain = value if isinstance(value, str) else "" if value is None else json.dumps(value)
                assert row[name] == plain or json.loads(row[name]) == value
    assert "rollback_sql" not in entries[0], "no SQL leaves the ledger"


def test_a_database_without_a_ledger_has_no_history(shop: Path, wmigrate: Wmigrate) -> None:
    assert {k: v for k, v in wmigrate("export").json.items() if k != "target"} == {"entries": [], "audit": []}
    assert wmigrate("export", "audit", "--format", "csv").out.startswith("position,at,event,version,")


@pytest.mark.parametrize("words", [["--format", "csv"], ["entries", "--format", "csv", "--json"]])
def test_a_csv_file_has_one_table(shop: Path, wmigrate: Wmigrate, words: list[str]) -> None:
    result = wmigrate("export", *words)
    assert result.code == 2
    assert "give `export entries --format csv` or `export audit --format csv`, without --json" in (
        result.err + result.out
    )
