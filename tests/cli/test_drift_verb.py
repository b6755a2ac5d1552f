"""wmigrate drift, and drift in plan and up: words, exit codes, refusals."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

Wmigrate = Callable[..., Any]


def watched(shop: Path) -> None:
    (shop / "migration_config.yaml").write_text("settings: {drift: error}\n")


def without_time(text: str) -> str:
    return re.sub(r"\(2\d{3}-.*? UTC\)", "(TIME)", text)


def test_drift_is_told_refused_and_accepted(shop: Path, wmigrate: Wmigrate, conn: psycopg.Connection[Any]) -> None:
    watched(shop)
    wmigrate("up", "--to", "002", "--yes")
    same = wmigrate("drift")
    assert (same.code, without_time(same.out)) == (0, "No difference from what was known after 002 (TIME).\n")
    conn.execute("ALTER TABLE shop ALTER price TYPE bigint")
    told = wmigrate("drift")
    assert (told.code, without_time(told.out)) == (
        3,
        "column public.shop.price: integer -> bigint\n1 difference from what was known after 002 (TIME).\n"
        "Undo it, or take what is there now as known: `wmigrate drift --accept`.\n",
    )
    answer = wmigrate("drift", "--json").json
    assert (answer["known"]["version"], [d["sentence"] for d in answer["differences"]], answer["findings"]) == (
        "002",
        ["column public.shop.price: integer -> bigint"],
        [],
    )
    assert wmigrate("plan").code == 3
    refused = wmigrate("up", "--yes")
    assert refused.code == 3
    assert "the schema has 1 difference from what was known after 002" in refused.err
    assert wmigrate("drift", "--accept", "--yes").code == 2
    accepted = wmigrate("drift", "--accept", "--yes", "--reason", "asked for")
    assert accepted.code == 0
    assert accepted.out.endswith("is known now, with 1 difference accepted.\n")
    again = wmigrate("drift", "--accept", "--yes", "--reason", "asked for")
    assert (again.code, again.out) == (0, "Nothing to accept: no difference.\n")
    assert wmigrate("up", "--yes").code == 0


def test_without_a_known_schema_it_says_so(shop: Path, wmigrate: Wmigrate) -> None:
    none = wmigrate("drift")
    assert (none.code, none.err) == (
        1,
        "wmigrate: there is no ledger in schema wmigrate; run the migrations first\n",
    )
    wmigrate("up", "--yes")
    told = wmigrate("drift")
    assert (told.code, told.out) == (
        3,
        "The ledger keeps no known schema yet, so nobody can say what others have changed; the next migration that"
        " runs keeps one; to keep what is there now: `wmigrate drift --accept`.\n",
    )
    assert wmigrate("drift", "--json").json["known"] is None
    assert wmigrate("drift", "--reason", "r").code == 2


def test_a_forged_entry_is_told_too(shop: Path, wmigrate: Wmigrate, conn: psycopg.Connection[Any]) -> None:
    watched(shop)
    wmigrate("up", "--yes")
    conn.execute("UPDATE wmigrate.schema_migrations SET actor = 'eve' WHERE version = '002'")
    told = wmigrate("drift", "--json")
    assert told.code == 3
    assert [(f["code"], f["version"]) for f in told.json["findings"]] == [("entry_forged", "002")]
    assert told.json["differences"] == []
