"""The how-to guides do what they say: every command is run on a real PostgreSQL, every output compared."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from dev.walkthrough import NEEDS_TIMESCALEDB, WalkError

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {page: page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs" / "how-to").glob("*.md"))}
GUIDES = [page for page, text in TEXTS.items() if "```console" in text and NEEDS_TIMESCALEDB not in text]
"""Those for TimescaleDB are followed in tests/timescale_native."""
PATTERNS = (ROOT / "docs" / "how-to" / "zero-downtime.md").read_text(encoding="utf-8")
Follow = Callable[[str], int]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_guide(follow: Follow, guide: object) -> None:
    assert follow(guide.read_text(encoding="utf-8")) > 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "page",
    ["```console\n$ false\n```\n", "<!-- setup\nfalse\n-->\n", "```console\n$ exit 3\n$ true\n```\n"],
    ids=["a failure not shown", "a failed setup", "the end of the shell"],
)
def test_what_cannot_be_followed_is_refused(follow: Follow, page: str) -> None:
    with pytest.raises(WalkError):
        follow(page)


LOCKS = {
    "ADD COLUMN": "ALTER TABLE a ADD COLUMN note text DEFAULT 'x'",
    "CHECK (...) NOT VALID": "ALTER TABLE a ADD CONSTRAINT b CHECK (i > 0) NOT VALID",
    "FOREIGN KEY": "ALTER TABLE a ADD CONSTRAINT c FOREIGN KEY (i) REFERENCES other NOT VALID",
    "VALIDATE CONSTRAINT": "ALTER TABLE a VALIDATE CONSTRAINT there",
    "SET NOT NULL": "ALTER TABLE a ALTER COLUMN i SET NOT NULL",
    "`CREATE INDEX`": "CREATE INDEX ON a (i)",
    "TYPE": "ALTER TABLE a ALTER COLUMN i TYPE numeric",
}
"""By words of the page's first column. CONCURRENTLY runs in no transaction, so its lock cannot be read like this."""


@pytest.mark.parametrize(("words", "statement"), LOCKS.items(), ids=LOCKS)
def test_the_table_of_locks(conn: psycopg.Connection[object], words: str, statement: str) -> None:
    rows = re.findall(r"^\| (`(?:ALTER|CREATE).*?) \| `(\w+Lock)`", PATTERNS, re.MULTILINE)
    assert len(rows) == len(LOCKS) + 1
    (said,) = {lock for cell, lock in rows if words in cell}
    conn.execute("CREATE TABLE other (i int PRIMARY KEY)")
    conn.execute("CREATE TABLE a (i int)")
    conn.execute("ALTER TABLE a ADD CONSTRAINT there CHECK (i IS NOT NULL) NOT VALID")
    with conn.transaction():
        conn.execute(statement.encode())
        held = {
            mode
            for (mode,) in conn.execute(
                "SELECT mode FROM pg_locks WHERE relation = 'a'::regclass AND pid = pg_backend_pid()"
            ).fetchall()
        }
    assert said in held - {"AccessShareLock"}
    assert said == max(held, key=STRENGTH.index)


STRENGTH = [
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
]
