"""wmigrate snapshot and wmigrate diff: files, targets, exit codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

Wmigrate = Callable[..., Any]


def test_a_file_and_the_target_are_compared(
    shop: Path, wmigrate: Wmigrate, conn: psycopg.Connection[Any], database: str
) -> None:
    conn.execute("CREATE TABLE t (a int)")
    wmigrate("snapshot", "--output", "a.json")

    assert wmigrate("diff", "a.json").out == "No difference.\n"
    conn.execute("ALTER TABLE t ALTER a TYPE bigint")
    told = wmigrate("diff", "a.json", database)
    assert told.code == 3

    assert told.out == "column public.t.a: integer -> bigint\n1 difference.\n"
    (difference,) = wmigrate("diff", "a.json", "--json").json["differences"]
    assert difference == {
        "kind": "column",
        "identity": "public.t.a",
        "change": "changed",
        "attribute": "type",
        "before": "integer",
        "after": "bigint",
        "parts": {},
        "sentence": "column public.t.a: integer -> bigint",
    }


def test_what_is_no_snapshot_is_refused(shop: Path, wmigrate: Wmigrate) -> None:
    Path("text.json").write_text("no JSON")
    Path("other.json").write_text("{}")

    for words in (["gone.json"], ["text.json"], ["other.json"]):
        answer = wmigrate("diff", *words)
        assert answer.code == (2 if words == ["gone.json"] else 1)
        assert "snapshot" in answer.err
        assert "Traceback" not in answer.err
