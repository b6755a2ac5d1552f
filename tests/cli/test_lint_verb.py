"""lint tells what is likely to hurt: by the files alone, by how large a table is, and by squawk's own rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.cli.squawk import program

Wmigrate = Callable[..., Any]
Conn = psycopg.Connection[Any]

SQUAWK = program() is not None


@pytest.fixture(autouse=True)
def without_the_shop(shop: Path) -> None:
    for file in shop.iterdir():
        file.unlink()


def write(shop: Path, **files: str) -> None:
    for name, text in files.items():
        (shop / f"{name.replace('__', '.')}.sql").write_text(text)


def ours(answer: Any) -> list[tuple[str, str, int]]:
    return [(f["code"], f["file"], f["line"]) for f in answer.json["findings"] if not f["code"].startswith("squawk/")]


def large_table(conn: Conn) -> None:
    conn.execute("CREATE TABLE orders (id int PRIMARY KEY, note text, old text)")
    conn.execute("INSERT INTO orders SELECT i, repeat('x', 200), 'x' FROM generate_series(1, 60000) i")
    conn.execute("CREATE TABLE few (id int PRIMARY KEY)")
    conn.execute("CREATE TABLE parent (id int PRIMARY KEY)")
    conn.execute("VACUUM ANALYZE orders, few, parent")


LARGE = """-- what hurts
ALTER TABLE orders ALTER COLUMN id TYPE bigint;
ALTER TABLE orders ALTER COLUMN note SET NOT NULL;
CREATE INDEX orders_note ON orders (note);
ALTER TABLE orders
    DROP COLUMN old;
ALTER TABLE few ALTER COLUMN id TYPE bigint;
CREATE TABLE mine (id int);
CREATE INDEX mine_id ON mine (id);
TRUNCATE orders;
"""


def test_what_is_done_to_a_large_table(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    large_table(conn)
    write(shop, **{"001_large": LARGE, "001_large__rollback": "DROP TABLE mine;"})
    answer = wmigrate("lint", "--json")
    assert ours(answer) == [
        ("rewrites_rows", "001_large.sql", 2),
        ("scans_under_lock", "001_large.sql", 3),
        ("builds_under_lock", "001_large.sql", 4),
        ("loses_rows", "001_large.sql", 5),
        ("loses_rows", "001_large.sql", 10),
    ]
    told = wmigrate("lint").out
    assert "001_large.sql:2: warning: writes public.orders (" in told
    assert "anew while reads and writes of it wait; add a new column" in told
    assert wmigrate("lint").code == 0
    assert wmigrate("lint", "--strict").code == 3
    # Without the target nobody knows how large it is, and that is said.
    offline = wmigrate("lint", "--offline")
    assert (
        "not tried: rewrites_rows, scans_under_lock, builds_under_lock, loses_rows: no database was asked"
        in " ".join(offline.out.split())
    )
    assert ours(wmigrate("lint", "--offline", "--json")) == []


def test_only_what_is_pending_unless_all_is_asked_for(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    write(shop, **{"001_a": "CREATE TABLE a (id int);", "001_a__rollback": "SELECT 1;"})
    write(shop, **{"002_b": "CREATE TABLE b (id int);", "002_b__rollback": "DROP TABLE a;"})
    assert wmigrate("up", "--yes", "--to", "1").code == 0
    pending = wmigrate("lint", "--json")
    assert (pending.json["migrations"], ours(pending)) == (["002"], [("rollback_forgets", "002_b.sql", 1)])
    assert wmigrate("lint", "--all", "--json").json["migrations"] == ["001", "002"]


FORGETS = """CREATE SCHEMA stock;
CREATE TABLE stock.a (id serial);
CREATE VIEW v AS SELECT 1;
CREATE TYPE t AS ENUM ('a');
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE SEQUENCE s;
CREATE DOMAIN d AS int;
CREATE INDEX goes_with_its_table ON stock.a (id);
CREATE TABLE IF NOT EXISTS perhaps ();
CREATE OR REPLACE VIEW w AS SELECT 1;
CREATE TEMP TABLE mine ();
CREATE MATERIALIZED VIEW m AS SELECT 1;
CREATE TABLE copied AS SELECT 1;
CREATE EXTENSION pg_trgm;
"""


def test_what_the_rollback_forgets(shop: Path, wmigrate: Wmigrate) -> None:
    write(shop, **{"001_all": FORGETS, "001_all__rollback": "DROP VIEW v;"})
    lines = [line for code, _, line in ours(wmigrate("lint", "--offline", "--json")) if code == "rollback_forgets"]
    assert lines == [1, 2, 4, 5, 6, 7, 12, 13, 14]
    write(
        shop,
        **{
            "001_all__rollback": "DROP VIEW v; DROP SCHEMA stock; DROP TABLE stock.a; DROP TYPE t; DROP DOMAIN d;"
            " DROP FUNCTION f(); DROP SEQUENCE s; DROP MATERIALIZED VIEW m; DROP TABLE copied; DROP EXTENSION pg_trgm;"
        },
    )
    assert ours(wmigrate("lint", "--offline", "--json")) == []


def test_the_ledger_is_left_alone(shop: Path, wmigrate: Wmigrate) -> None:
    write(shop, **{"001_a": "SELECT 1;\nDELETE FROM wmigrate.audit_log;"})
    answer = wmigrate("lint", "--offline", "--json")
    assert (answer.code, ours(answer)) == (3, [("touches_ledger", "001_a.sql", 2)])


ALLOWED = """-- wmigrate: allow rollback_forgets: it is dropped by hand
CREATE TABLE a (id bigint);
CREATE TABLE b (id bigint); -- wmigrate: allow rollback_forgets: so is this
CREATE TABLE c (id bigint);
-- wmigrate: allow rollback_forgets
CREATE TABLE d (id bigint);
-- wmigrate: allow touches_ledger: it does not
CREATE TABLE e (id bigint);
SELECT '-- wmigrate: allow rollback_forgets: a string is no comment';
"""


def test_a_comment_with_a_reason_silences_one_finding(shop: Path, wmigrate: Wmigrate) -> None:
    write(shop, **{"001_a": ALLOWED, "001_a__rollback": "DROP VIEW x;"})
    answer = wmigrate("lint", "--offline", "--json")
    assert ours(answer) == [
        ("rollback_forgets", "001_a.sql", 4),
        ("allowance", "001_a.sql", 5),
        ("rollback_forgets", "001_a.sql", 6),
        ("allowance", "001_a.sql", 7),
        ("rollback_forgets", "001_a.sql", 8),
    ]
    messages = [(f["message"], f["next_step"]) for f in answer.json["findings"] if f["code"] == "allowance"]
    assert messages == [
        ("allows rollback_forgets without a reason", "write it: -- wmigrate: allow rollback_forgets: REASON"),
        ("allows touches_ledger, which is not found here", "take the comment out"),
    ]


def test_a_baseline_knows_statements_not_lines(shop: Path, wmigrate: Wmigrate) -> None:
    write(shop, **{"001_a": "CREATE TABLE a (id bigint);", "001_a__rollback": "DROP TABLE b;"})
    written = wmigrate("lint", "--offline", "--write-baseline", "known.json")
    assert (written.code, written.out) == (0, "1 finding in known.json: known from now on.\n")
    write(shop, **{"001_a": "\n\n-- moved\nCREATE TABLE a (id bigint);\nCREATE TABLE c (id bigint);"})
    answer = wmigrate("lint", "--offline", "--baseline", "known.json", "--json")
    assert (ours(answer), answer.json["known"]) == ([("rollback_forgets", "001_a.sql", 5)], 1)
    write(shop, **{"001_a": "CREATE TABLE a (id bigint, more text);"})
    assert len(ours(wmigrate("lint", "--offline", "--baseline", "known.json", "--json"))) == 1


@pytest.mark.skipif(not SQUAWK, reason="squawk is not installed")
def test_the_rules_of_squawk(shop: Path, wmigrate: Wmigrate) -> None:
    text = "-- first\nCREATE TABLE a (id bigint, name varchar(10));\nCREATE TABLE b (id bigint, name varchar(9));\n"
    write(shop, **{"001_a": text, "001_a__rollback": "DROP TABLE a, b;"})
    (first, second) = wmigrate("lint", "--offline", "--json").json["findings"]
    assert (first["code"], first["file"], first["line"], first["version"]) == (
        "squawk/prefer-text-field", "001_a.sql", 2, "001",
    )  # fmt: skip
    assert second["line"] == 3
    allowed = text.replace("-- first", "-- wmigrate: allow squawk/prefer-text-field: the norm says 10")
    write(shop, **{"001_a": allowed})
    assert [f["line"] for f in wmigrate("lint", "--offline", "--json").json["findings"]] == [3]


def test_where_squawk_is_not_installed(
    shop: Path, wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    write(shop, **{"001_a": "CREATE TABLE a (id int);", "001_a__rollback": "DROP TABLE a;"})
    answer = wmigrate("lint", "--offline", "--json")
    told = "the rules of squawk: it is not installed (pip install 'airflow-provider-wmigrate[lint]')"
    assert (answer.code, answer.json["not_tried"][1]) == (0, told)


def test_sarif_and_annotations(shop: Path, wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch) -> None:
    write(shop, **{"001_a": "\nCREATE TABLE a (id bigint);", "001_a__rollback": "DROP TABLE b;"})
    log = json.loads(wmigrate("lint", "--offline", "--format", "sarif").out)
    assert (log["version"], log["$schema"]) == ("2.1.0", "https://json.schemastore.org/sarif-2.1.0.json")
    (run,) = log["runs"]
    assert run["tool"]["driver"]["rules"][0]["id"] == "rollback_forgets"
    assert run["results"] == [
        {
            "ruleId": "rollback_forgets",
            "ruleIndex": 0,
            "level": "warning",
            "message": {
                "text": "makes table a, which the rollback script does not name; drop it in 001_a.rollback.sql"
            },
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": "migrations/001_a.sql"},
                        "region": {"startLine": 2},
                    }
                }
            ],
        }
    ]
    assert wmigrate("lint", "--offline", "--format", "github").out == (
        "::warning file=migrations/001_a.sql,line=2,title=rollback_forgets::makes table a, which the rollback script"
        " does not name; drop it in 001_a.rollback.sql\n"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--baseline", "gone"], "gone: No such file or directory; write one with `lint --write-baseline FILE`"),
        (["--baseline", "bad"], "bad is no baseline of lint; write one with `lint --write-baseline FILE`"),
        (["--json", "--format", "sarif"], "--json and --format contradict each other; leave one out"),
        (["--format", "xml"], "unknown format xml; known: text, sarif, github"),
    ],
)
def test_wrong_input(shop: Path, wmigrate: Wmigrate, words: list[str], told: str) -> None:
    write(shop, **{"001_a": "SELECT 1;"})
    Path("bad").write_text("[]")
    done = wmigrate("lint", "--offline", *words)
    assert done.code == 2
    assert told in (json.loads(done.out)["error"]["message"] if "--json" in words else done.err)


def test_a_script_that_cannot_be_read_is_told_once(shop: Path, wmigrate: Wmigrate) -> None:
    write(shop, **{"001_a": "CREATE TABLE a (id bigint);\n\\i other.sql", "001_a__rollback": "DROP TABLE a;"})
    assert [f[0] for f in ours(wmigrate("lint", "--offline", "--json"))] == ["script_refused"]
