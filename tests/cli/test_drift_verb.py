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


def test_the_watch_names_who_did_it(shop: Path, wmigrate: Wmigrate, conn: psycopg.Connection[Any]) -> None:
    watched(shop)
    wmigrate("up", "--yes")
    off = wmigrate("drift", "--watch", "status")
    assert (off.code, off.out) == (0, "The watch is off: who changes the schema without wmigrate is not recorded.\n")
    assert wmigrate("drift", "--watch", "on", "--accept").code == 2
    asked = wmigrate("drift", "--watch", "on")
    assert (asked.code, asked.err.splitlines()[-1]) == (
        2,
        "wmigrate: this would change the target (Record who changes the schema of database"
        f" {conn.info.dbname} on {conn.info.host}:{conn.info.port} as postgres without wmigrate, with an event trigger"
        " in its transaction), and there is nobody to ask; give --yes",
    )
    on = wmigrate("drift", "--watch", "on", "--yes")
    told = "The watch is on. Recorded and not in the audit log yet: {}; the next run moves them there.\n"
    assert (on.code, on.out) == (0, told.format(0))
    assert wmigrate("drift").code == 0, "what records is no drift"
    conn.execute("SET application_name = 'psql'")
    conn.execute("ALTER TABLE shop ADD note text")
    conn.execute("CREATE INDEX note_idx ON shop (note); GRANT SELECT ON shop TO PUBLIC")
    assert wmigrate("drift", "--watch", "status").out == told.format(3)
    lines = re.sub(r"2\d{3}-\d\d-\d\d \d\d:\d\d", "TIME", wmigrate("drift").out).splitlines()
    assert lines == [
        "column public.shop.note is new",
        "    ALTER TABLE by postgres from 127.0.0.1 with psql, TIME UTC",
        "grant on table public.shop to public is new",
        "    GRANT by postgres from 127.0.0.1 with psql, TIME UTC",
        "index public.note_idx is new",
        "    CREATE INDEX by postgres from 127.0.0.1 with psql, TIME UTC",
        "3 differences from what was known after 003 (TIME UTC).",
        "Undo it, or take what is there now as known: `wmigrate drift --accept`.",
    ]
    conn.execute("ALTER EVENT TRIGGER wmigrate_watch_end DISABLE")
    broken = wmigrate("drift", "--watch", "status")
    assert (broken.code, broken.out.startswith("The watch is broken: somebody has disabled or removed")) == (3, True)
    assert wmigrate("drift", "--json").json["watch"] == {"state": "broken", "waiting": 3}
    assert wmigrate("drift", "--watch", "off", "--yes").out == off.out
    (row,) = wmigrate("audit", "--event", "changed_by_others", "--json").json["events"]
    assert [change["command"] for change in row["details"]["changes"]] == ["ALTER TABLE", "CREATE INDEX", "GRANT"]
    assert wmigrate("audit", "verify").code == 0
