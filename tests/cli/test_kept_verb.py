"""wmigrate kept, and what `down` says of what it gives back: words, exit codes, refusals."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

Wmigrate = Callable[..., Any]


def test_what_is_kept_is_listed_given_back_and_let_go(
    shop: Path, wmigrate: Wmigrate, conn: psycopg.Connection[Any]
) -> None:
    (shop / "migration_config.yaml").write_text("migrations:\n  - {version: '009', dependencies: [], keep: true}\n")
    (shop / "009_less.sql").write_text("CREATE TABLE a (n int);")
    (shop / "009_less.rollback.sql").write_text("SELECT 1;")
    conn.execute("CREATE TABLE notes (n int); INSERT INTO notes VALUES (1), (2)")
    (shop / "009_less.sql").write_text("DELETE FROM notes;")
    assert wmigrate("up", "--yes").code == 0
    listed = wmigrate("kept")
    told = re.sub(r"  2\d{3}-\d\d-\d\d \d\d:\d\d  ", "  TIME  ", listed.out)
    assert (listed.code, told) == (
        0, "009  TIME  2 rows of public.notes  in wmigrate_kept_009_1\n1 thing kept, each for 30 days.\n"
    )  # fmt: skip
    assert [(each["version"], each["rows"], each["place"]) for each in wmigrate("kept", "--json").json["kept"]] == [
        ("009", 2, "wmigrate_kept_009_1")
    ]
    down = wmigrate("down", "--only", "009", "--yes")
    assert (down.code, "009 gives back 2 rows of public.notes\n" in down.err) == (0, True)
    assert conn.execute("SELECT count(*) FROM notes").fetchone() == (2,)
    assert wmigrate("kept").out == "0 things kept.\n"
    wmigrate("up", "--yes")
    alone = wmigrate("kept", "--older-than", "1")
    assert (alone.code, alone.err) == (2, "wmigrate: --older-than is for --empty; give both, or none\n")
    assert wmigrate("kept", "--empty", "--older-than", "1", "--yes").out == "0 things dropped.\n"
    gone = wmigrate("kept", "--empty", "--yes", "--json").json
    assert [each["place"] for each in gone["emptied"]] == ["wmigrate_kept_009_1"]
    refused = wmigrate("down", "--only", "009", "--yes")
    assert (refused.code, "what it kept was emptied: 2 rows of public.notes" in refused.err) == (3, True)


def test_without_a_ledger_nothing_is_kept(shop: Path, wmigrate: Wmigrate) -> None:
    assert (wmigrate("kept").code, wmigrate("kept").out) == (0, "0 things kept.\n")
