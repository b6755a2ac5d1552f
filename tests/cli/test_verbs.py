"""Every verb and every option does what it says, for people and for programs."""

from __future__ import annotations

import argparse
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.cli.arguments import COMMON, WMIGRATE
from airflow_provider_wmigrate.cli.parser import build_parser
from airflow_provider_wmigrate.cli.verbs import VERBS, options
from airflow_provider_wmigrate.engine.record import Bystanders

Conn = psycopg.Connection[Any]
Wmigrate = Callable[..., Any]

TARGET_KEYS = {"host", "port", "database", "user", "source"}


def versions(conn: Conn) -> list[str]:
    if conn.execute("SELECT to_regclass('wmigrate.schema_migrations')").fetchone() == (None,):
        return []
    return [v for (v,) in conn.execute("SELECT version FROM wmigrate.schema_migrations ORDER BY 1")]


# status


def test_status_of_a_database_without_a_ledger(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    result = wmigrate("status")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0].split() == ["Version", "Name", "Status", "Applied", "(UTC)", "By", "Took"]
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["001", "shop", "pending"], ["002", "price", "pending"], ["003", "view", "pending"]
    ]  # fmt: skip
    assert re.fullmatch(r"3 pending on database test_\d+ on 127.0.0.1:\d+ as postgres; it has no ledger yet.", lines[4])
    assert versions(conn) == []


def test_status_for_programs(shop: Path, wmigrate: Wmigrate) -> None:
    wmigrate("up", "--yes", "--to", "2")
    (shop / "001_shop.sql").write_text("CREATE TABLE shop (id bigint);")
    for file in shop.glob("002*"):
        file.unlink()
    data = wmigrate("status", "--json").json
    assert set(data["target"]) == TARGET_KEYS
    assert data["counts"] == {"pending": 1, "changed": 1, "missing": 1}
    assert data["folder"] == "migrations"
    assert data["ledger_version"] == 3
    first, second, third = data["migrations"]
    assert (first["version"], first["name"], first["status"], first["file"]) == (
        "001",
        "shop",
        "changed",
        "001_shop.sql",
    )
    assert (second["name"], second["status"], second["file"]) == ("price", "missing", None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", second["applied_at"])
    assert "@" in second["actor"]
    assert (third["status"], third["applied_at"]) == ("pending", None)


def test_a_failed_migration_is_told_with_when_who_and_why(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "002_price.sql").write_text("SELECT 1 / 0;")
    assert wmigrate("up", "--yes").code == 1
    data = wmigrate("status", "--json").json
    assert data["counts"] == {"applied": 1, "pending": 1, "failed": 1}
    assert [m["status"] for m in data["migrations"]] == ["applied", "failed", "pending"]
    failure = data["migrations"][1]["failure"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", failure.pop("at"))
    who = data["migrations"][0]["actor"]
    assert failure == {
        "direction": "apply", "actor": who, "dag_id": None, "run_id": None, "task_id": None, "try_number": None,
        "error": "002_price.sql:1: division by zero (SQLSTATE 22012) in SELECT 1 / 0; rolled back, nothing of it was"
        " kept",
        "sqlstate": "22012",
    }  # fmt: skip
    assert [m["failure"] for m in data["migrations"][::2]] == [None, None]
    lines = wmigrate("status").out.splitlines()
    assert lines[2].split() == ["002", "price", "failed"]
    assert re.fullmatch(
        rf"002: the last apply failed on \d{{4}}-\d\d-\d\d [\d:]{{8}} UTC, by {who}: {re.escape(failure['error'])}",
        lines[4],
    )
    assert lines[5].startswith("1 applied, 1 pending, 1 failed on database test_")
    assert wmigrate("plan", "--json").json["statuses"] == {"001": "applied", "002": "failed", "003": "pending"}
    (shop / "002_price.sql").write_text("ALTER TABLE shop ADD price int;")
    assert wmigrate("up", "--yes").code == 0
    assert wmigrate("status", "--json").json["counts"] == {"applied": 3}


def test_what_is_left_out_is_told_alike_everywhere(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "migration_config.yaml").write_text(
        "migrations:\n  - {version: '002', requires_extensions: [{name: no_such, when_missing: skip}],"
        " dependencies: ['001']}\n  - {version: '003', dependencies: ['002']}\n"
    )
    why = "extension no_such is not available on this server"
    reasons = {"002": why, "003": "needs 002, which is left out"}
    assert wmigrate("up", "--yes", "--json").json["left_out"] == reasons
    data = wmigrate("status", "--json").json
    assert data["counts"] == {"applied": 1, "left_out": 2}
    assert {m["version"]: m["left_out_because"] for m in data["migrations"]} == {"001": None, **reasons}
    planned = wmigrate("plan", "--json").json
    assert planned["statuses"] == {"001": "applied", "002": "left_out", "003": "left_out"}
    assert planned["left_out"] == reasons
    lines = wmigrate("status").out.splitlines()
    assert lines[2].split() == ["002", "price", "left", "out"]
    assert lines[4:6] == [f"002 is left out: {why}", "003 is left out: needs 002, which is left out"]
    assert lines[6].startswith("1 applied, 2 left out on database test_")
    assert wmigrate("plan").out.splitlines()[1:] == [
        f"  left out: 002 ({why})", "  left out: 003 (needs 002, which is left out)"
    ]  # fmt: skip
    health = wmigrate("health", "--json").json
    assert (health["status"], health["pending"]) == ("healthy", 0)
    (pending,) = [c for c in health["checks"] if c["name"] == "pending"]
    assert pending["reason"] == f"nothing is pending; left out: 002: {why}; 003: needs 002, which is left out"
    assert '"002" [label="002 price\\nleft out"' in wmigrate("graph", "--format", "dot", "--statuses").out


# plan, up, down


def test_plan(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    result = wmigrate("plan", "--to", "2")
    assert result.code == 0
    assert result.out.splitlines()[1:] == ["  001_shop", "  002_price", "  left out: 003 (beyond the target 002)"]
    data = wmigrate("plan", "--to", "2", "--json").json
    assert [(s["action"], s["version"]) for s in data["steps"]] == [("apply", "001"), ("apply", "002")]
    assert data["statuses"] == {"001": "pending", "002": "pending", "003": "left_out"}
    assert data["findings"] == []
    assert versions(conn) == []


def test_a_plan_says_who_would_wait(shop: Path, wmigrate: Wmigrate) -> None:
    wmigrate("up", "--yes")
    (shop / "004_code.sql").write_text("ALTER TABLE shop ADD COLUMN code text;\nCREATE TABLE code (id int);")
    (shop / "005_index.sql").write_text("CREATE INDEX ON shop (id);\nCREATE INDEX ON code (id);")
    moment = "blocks reads and writes of public.shop for a moment"
    build = "blocks writes of public.shop for as long as the statement of line 1 runs: it builds an index"
    assert wmigrate("plan").out.splitlines()[1:] == ["  004_code", f"      {moment}", "  005_index", f"      {build}"]
    lock = {"relation": "public.shop", "size_bytes": 0, "known_by": "script"}
    assert wmigrate("plan", "--json").json["forecast"] == [
        {
            "version": "004",
            "locks": [{**lock, "mode": "AccessExclusiveLock", "who_waits": moment, "work": None}],
            "unforeseen": [],
            "late": [],
            "differences": [],
            "gives_back": [],
            "losses": [],
            "blast": None,
        },
        {
            "version": "005",
            "locks": [{**lock, "mode": "ShareLock", "who_waits": build, "work": "build"}],
            "unforeseen": [],
            "late": [],
            "differences": [],
            "gives_back": [],
            "losses": [],
            "blast": None,
        },
    ]


def test_a_plan_says_which_file_should_be_split(shop: Path, wmigrate: Wmigrate) -> None:
    wmigrate("up", "--yes")
    script = "CREATE TABLE code (id int);\nSELECT pg_sleep(0);\nALTER TABLE shop ADD COLUMN code text;\n"
    (shop / "004_code.sql").write_text(script)
    message = "locks public.shop (ACCESS EXCLUSIVE) behind line 2, which may take long, so that what was locked before"
    message, following = f"{message} waits for it", "put it into a migration of its own"
    result = wmigrate("plan")
    assert (result.code, result.out.splitlines()[-1]) == (0, f"warning: 004_code.sql:3: {message}; {following}")
    assert wmigrate("plan", "--json").json["findings"] == [
        {
            "code": "late_lock",
            "message": message,
            "next_step": following,
            "severity": "warning",
            "version": "004",
            "file": "004_code.sql",
            "line": 3,
            "column": None,
        }
    ]


def test_a_plan_with_an_error_has_exit_code_3(shop: Path, wmigrate: Wmigrate) -> None:
    wmigrate("up", "--yes", "--to", "1")
    (shop / "001_shop.sql").write_text("CREATE TABLE shop (id bigint);")
    result = wmigrate("plan")
    assert result.code == 3
    assert "error: 001_shop.sql: was edited after it was applied" in result.out
    assert [f["code"] for f in wmigrate("plan", "--json").json["findings"]] == ["changed"]
    refused = wmigrate("up", "--yes")
    assert refused.code == 3
    assert refused.err.startswith("wmigrate: 001_shop.sql: was edited")
    assert wmigrate("up", "--yes", "--json").json["error"]["findings"][0]["code"] == "changed"


def test_up_and_down(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    result = wmigrate("up", "--yes")
    assert result.code == 0
    assert result.out.startswith("Applied 3 migrations in ")
    assert re.fullmatch(r"Nobody waited longer than \S+ m?s\.", result.out.splitlines()[-1])
    assert "002_price: applied in" in result.err
    assert "2 statements, 2 rows changed" in result.err
    assert versions(conn) == ["001", "002", "003"]
    assert wmigrate("up", "--yes").out.startswith("Nothing to apply on database test_")
    assert wmigrate("down", "001", "--yes").out.startswith("Rolled back 2 migrations in ")
    assert versions(conn) == ["001"]
    data = wmigrate("down", "000", "-y", "--json").json
    assert (data["direction"], data["dry_run"], [r["version"] for r in data["records"]]) == ("rollback", False, ["001"])
    assert versions(conn) == []


def test_who_waited_is_told_of_the_migration_and_in_the_end(shop: Path, wmigrate: Wmigrate, database: str) -> None:
    (shop / "004_slow.sql").write_text("LOCK TABLE shop;\nSELECT pg_sleep(1);")
    wmigrate("up", "--yes", "--to", "3")

    def shopping() -> None:
        with psycopg.connect(database, autocommit=True) as other:
            locked = "SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'shop'::regclass"
            while not other.execute(locked).rowcount:
                time.sleep(0.01)
            other.execute("SELECT * FROM shop")

    customer = threading.Thread(target=shopping)
    customer.start()
    result = wmigrate("up", "--yes")
    customer.join(20)
    said = result.out.splitlines()[-1]
    assert re.fullmatch(r"1 session waited \S+ m?s, for public\.shop\.", said)
    assert f"  {said.rstrip('.')}\n" in result.err


def test_up_for_programs(shop: Path, wmigrate: Wmigrate) -> None:
    data = wmigrate("up", "--yes", "--json").json
    assert [(r["version"], r["outcome"]) for r in data["records"]] == [
        ("001", "applied"), ("002", "applied"), ("003", "applied")
    ]  # fmt: skip
    assert re.fullmatch(r"\d+:[0-9a-f]{64}", data["records"][-1]["audit_head"])
    felt = [Bystanders.from_dict(record["bystanders"]) for record in data["records"]]
    assert [each.as_dict() for each in felt] == [record["bystanders"] for record in data["records"]]
    assert {each.sessions for each in felt} <= {None, 0}
    assert data["not_tried"] == data["findings"] == []
    events = [e["event"] for e in wmigrate("audit", "--json").json["events"]]
    assert events[::-1] == ["ledger_created", "planned", *["applied"] * 3]
    assert wmigrate("info", "--json").json["server"]["last_successful_run"]


def test_verbose_tells_locks_notices_and_the_source(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "004_notice.sql").write_text("DO $$ BEGIN RAISE NOTICE 'hello'; RAISE WARNING 'beware'; END $$;")
    quiet = wmigrate("up", "--to", "2", "--dry-run").err
    assert "locked" not in quiet
    loud = wmigrate("up", "--yes", "-v").err
    assert "  locked public.shop (AccessExclusiveLock)" in loud
    assert "  NOTICE: hello" in loud
    assert "  WARNING: beware" in loud
    assert loud.rstrip().endswith("(from PGHOST, PGDATABASE)")


def test_warnings_of_a_script_are_told_without_asking(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "004_notice.sql").write_text("DO $$ BEGIN RAISE NOTICE 'hello'; RAISE WARNING 'beware'; END $$;")
    told = wmigrate("up", "--yes").err
    assert "WARNING: beware" in told
    assert "hello" not in told


def test_a_dry_run_changes_nothing_and_does_not_ask(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    result = wmigrate("up", "--dry-run")
    assert result.code == 0
    assert "applying 001_shop (dry run)" in result.err
    assert "everything was rolled back." in result.out
    assert conn.execute("SELECT to_regclass('shop'), to_regnamespace('wmigrate')").fetchone() == (None, None)
    data = wmigrate("up", "--dry-run", "--json").json
    assert [(r["version"], r["outcome"]) for r in data["records"]] == [
        ("001", "dry_run"), ("002", "dry_run"), ("003", "dry_run")
    ]  # fmt: skip
    wmigrate("up", "--yes")
    assert wmigrate("down", "1", "--dry-run").code == 0
    assert versions(conn) == ["001", "002", "003"]


NO_TRANSACTION = "004_index.sql:1: CREATE INDEX CONCURRENTLY cannot be undone by a transaction"
AFTER_IT = "005_more.sql: it needs 004_index, which was not tried"


def test_what_cannot_be_tried_is_told_and_what_is_before_it_is_tried(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "004_index.sql").write_text("CREATE INDEX CONCURRENTLY shop_idx ON shop (id);")
    (shop / "005_more.sql").write_text("SELECT 1;")
    data = wmigrate("up", "--dry-run", "--json").json
    assert [(r["version"], r["outcome"], r["reason"]) for r in data["records"]] == [
        ("001", "dry_run", None), ("002", "dry_run", None), ("003", "dry_run", None),
        ("004", "not_tried", NO_TRANSACTION), ("005", "not_tried", AFTER_IT),
    ]  # fmt: skip
    assert data["not_tried"] == [NO_TRANSACTION, AFTER_IT]
    shown = wmigrate("up", "--dry-run")
    assert shown.code == 0
    untried, after, summed = shown.out.splitlines()[:3]
    assert (untried, after) == (f"not tried: {NO_TRANSACTION}", f"not tried: {AFTER_IT}")
    assert re.fullmatch(r"Dry run on database .*: 3 of 5 migrations were tried, and rolled back\.", summed)
    assert "not tried" not in shown.err, "said once"


def test_a_dry_run_in_which_nothing_was_tried_is_no_success(shop: Path, wmigrate: Wmigrate) -> None:
    wmigrate("up", "--yes")
    (shop / "004_fill.sql").write_text("DO $$ BEGIN UPDATE shop SET price = 1; COMMIT; END $$;")
    (shop / "migration_config.yaml").write_text("migrations: [{version: '004', transactional: false}]")
    result = wmigrate("up", "--dry-run")
    assert result.code == 3
    first, second, *foreseen = result.out.splitlines()
    assert foreseen == ["Who would wait:", "  004: line 1 may lock more than can be foreseen: a DO block runs"]
    assert first == "not tried: 004_fill.sql: it is declared transactional: false, and a dry run is one transaction"
    assert re.fullmatch(r"Dry run on database test_\d+ on .*: nothing was tried\.", second)
    listed = wmigrate("audit", "--event", "not_tried", "--json").json["events"]
    assert [(e["version"], e["details"]["reason"]) for e in listed] == [("004", first.removeprefix("not tried: "))]
    assert wmigrate("up", "--yes").code == 0


def test_an_enum_value_used_by_the_next_migration_is_not_triable_with_it(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "004_type.sql").write_text("CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE person (m mood);")
    assert wmigrate("up", "--yes").code == 0
    (shop / "005_value.sql").write_text("ALTER TYPE mood ADD VALUE 'happy';")
    (shop / "006_use.sql").write_text("ALTER TABLE person ALTER m SET DEFAULT 'happy';")
    result = wmigrate("up", "--dry-run", "--json")
    assert result.code == 0
    assert [(r["version"], r["outcome"]) for r in result.json["records"]] == [("005", "dry_run"), ("006", "not_tried")]
    assert wmigrate("history", "--event", "failed", "--json").json["events"] == []
    assert wmigrate("up", "--yes").code == 0


def test_a_failed_dry_run_is_told_as_one(shop: Path, wmigrate: Wmigrate) -> None:
    wmigrate("up", "--yes", "--to", "1")
    (shop / "002_price.sql").write_text("SELECT 1/0;")
    assert wmigrate("up", "--dry-run").code == 1
    row = next(line for line in wmigrate("history").out.splitlines() if " failed " in line)
    assert row.split()[2:6] == ["failed", "(dry", "run)", "002"]


def test_locks_of_a_dry_run_are_told_once_with_what_was_dropped(shop: Path, wmigrate: Wmigrate) -> None:
    wmigrate("up", "--yes")
    (shop / "004_drop.sql").write_text("DROP TABLE shop CASCADE;")
    (shop / "005_more.sql").write_text("SELECT 1;")
    out = wmigrate("up", "--dry-run").out
    table, forecast = out.partition("Version")[2].split("Who would wait:\n")
    assert [line.split() for line in table.splitlines()[1:]] == [
        ["004", "public.dear", "(dropped)", "AccessExclusiveLock"],
        ["004", "public.shop", "(dropped)", "AccessExclusiveLock"],
    ]
    assert forecast.splitlines() == [
        "  004: blocks reads and writes of public.dear for a moment",
        "  004: blocks reads and writes of public.shop for a moment",
    ]


def test_a_dry_run_tells_where_the_forecast_was_wrong(shop: Path, wmigrate: Wmigrate) -> None:
    wmigrate("up", "--yes")
    (shop / "004_hidden.sql").write_text("SELECT 1;\nDO $$ BEGIN LOCK TABLE shop IN SHARE MODE; END $$;")
    result = wmigrate("up", "--dry-run")
    assert result.out.splitlines()[-5:] == [
        "004      public.shop  ShareLock",
        "Who would wait:",
        "  004: line 2 may lock more than can be foreseen: a DO block runs",
        "Not as foreseen:",
        "  004: public.shop was locked (ShareLock), which was not foreseen",
    ]
    (record,) = wmigrate("up", "--dry-run", "--json").json["records"]
    assert record["forecast"] == {
        "version": "004",
        "locks": [],
        "unforeseen": ["line 2 may lock more than can be foreseen: a DO block runs"],
        "late": [],
        "differences": ["public.shop was locked (ShareLock), which was not foreseen"],
        "gives_back": [],
        "losses": [],
        "blast": None,
    }


def test_a_failure_says_where_and_what_was_kept(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    (shop / "003_view.sql").write_text("SELECT 1;\nSELECT * FROM nowhere;")
    result = wmigrate("up", "--yes")
    assert result.code == 1
    assert "applied before and kept: 001, 002" in result.err
    assert (
        '003_view.sql:2:15: relation "nowhere" does not exist (SQLSTATE 42P01) in SELECT * FROM nowhere; rolled back'
        in result.err
    )
    assert versions(conn) == ["001", "002"]
    data = wmigrate("up", "--yes", "--json").json
    assert data["error"] | {"message": ""} == {
        "code": "statement_failed", "message": "", "hint": None, "retryable": False, "exit_code": 1,
        "file": "003_view.sql", "line": 2, "version": "003", "sqlstate": "42P01", "column": 15,
        "server": dict.fromkeys(("detail", "hint", "context", "constraint", "function")),
    }  # fmt: skip
    assert data["partial"] == {"records": []}


def test_what_else_the_server_said_is_shown_on_request_and_to_programs(shop: Path, wmigrate: Wmigrate) -> None:
    wmigrate("up", "--yes")
    (shop / "004_key.sql").write_text("CREATE TABLE k (id int CONSTRAINT one UNIQUE);\nINSERT INTO k VALUES (7), (7);")
    detail = "Key (id)=(7) already exists."
    assert detail not in wmigrate("up", "--yes").err
    assert wmigrate("up", "--yes", "-v").err.splitlines()[-1] == f"DETAIL: {detail}"
    error = wmigrate("up", "--yes", "--json").json["error"]
    assert error["server"] == {
        "detail": detail, "hint": None, "context": None, "constraint": "one", "function": None
    }  # fmt: skip
    row = wmigrate("history", "--json", "--limit", "1").json["events"][0]
    assert (row["event"], row["details"]["detail"], row["details"]["constraint"]) == ("failed", detail, "one")


def test_what_may_heal_is_tried_again(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    (shop / "migration_config.yaml").write_text(
        "settings:\n  execution: {retry_attempts: 1, retry_delay_seconds: 0, lock_timeout_seconds: 0.1,\n"
        "              lock_attempts: 1}\n"
    )
    wmigrate("up", "--yes", "--to", "1")
    with conn.transaction():
        conn.execute("LOCK TABLE shop")
        result = wmigrate("up", "--yes")
    assert result.code == 1
    assert "again in 0 s, 1 tries left" in result.err
    assert wmigrate("up", "--yes").code == 0


@pytest.fixture
def merged_late(tmp_path: Path, shop: Path, wmigrate: Wmigrate) -> Path:
    """002 was merged after 003 had been applied, and stands on what 003 made. Nobody declared anything."""
    for file in shop.iterdir():
        file.unlink()
    (shop / "001_a.sql").write_text("CREATE TABLE a (id int);")
    (shop / "001_a.rollback.sql").write_text("DROP TABLE a;")
    (shop / "003_c.sql").write_text("CREATE TABLE c (id int);")
    (shop / "003_c.rollback.sql").write_text("DROP TABLE c;")
    assert wmigrate("up", "--yes").code == 0
    (shop / "002_b.sql").write_text("CREATE VIEW b AS SELECT id FROM c;")
    (shop / "002_b.rollback.sql").write_text("DROP VIEW b;")
    return shop


def test_the_last_applied_is_rolled_back_first(merged_late: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    assert wmigrate("up", "--yes").code == 0
    data = wmigrate("down", "001", "--yes", "--json").json
    assert [r["version"] for r in data["records"]] == ["002", "003"]
    assert versions(conn) == ["001"]


def test_one_is_rolled_back_alone(merged_late: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    assert wmigrate("up", "--yes").code == 0
    refused = wmigrate("down", "--only", "1", "--yes", "--json").json["error"]
    assert [(f["code"], f["version"], f["message"], f["next_step"]) for f in refused["findings"]] == [
        (
            "depended_on",
            "001",
            "migration 001 cannot be rolled back: 002, 003 depend on it",
            "roll back first: `wmigrate down --only 002`, `wmigrate down --only 003`",
        )
    ]
    assert wmigrate("down", "--only", "2", "--dry-run").code == 0
    assert wmigrate("down", "--only", "2", "--yes").out.startswith("Rolled back 1 migration in ")
    assert versions(conn) == ["001", "003"]
    assert wmigrate("down", "--only", "2", "--yes").out.startswith("Nothing to roll back on database test_")
    assert wmigrate("down", "--only", "3", "--yes").code == 0
    assert wmigrate("down", "--only", "1", "--yes").code == 0
    assert versions(conn) == []
    assert wmigrate("down", "--only", "9", "--yes").code == 2


# history, audit


def test_history_tells_who_claims_and_who_logged_in(
    shop: Path, wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`USER=ceo` is no identity."""
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(name, "ceo")
    wmigrate("up", "--yes", "--to", "1")
    head, line = wmigrate("history").out.splitlines()[:2]
    assert re.split(r"  +", head.strip()) == [
        "At (UTC)", "Event", "Version", "Claimed by", "Logged in as", "Took", "What"
    ]  # fmt: skip
    assert re.split(r"  +", line.strip())[3:5] == [line.split()[4], "postgres@127.0.0.1"]
    assert line.split()[4].startswith("ceo@")
    (event,) = wmigrate("history", "--json").json["events"]
    assert event["actor"].startswith("ceo@")
    assert (event["authenticated"]["user"], event["authenticated"]["address"]) == ("postgres", "127.0.0.1")
    assert event["authenticated"]["pid"] > 0


def test_history(shop: Path, wmigrate: Wmigrate) -> None:
    wmigrate("up", "--yes")
    wmigrate("down", "002", "--yes")
    lines = wmigrate("history").out.splitlines()
    assert [line.split()[2:4] for line in lines[1:5]] == [
        ["rolled_back", "003"], ["applied", "003"], ["applied", "002"], ["applied", "001"]
    ]  # fmt: skip
    assert lines[5].startswith("4 events on database")
    page = wmigrate("history", "--limit", "3", "--json").json
    assert (len(page["events"]), page["total"]) == (3, 4)
    rest = wmigrate("history", "--before", str(page["next"]), "--json").json
    assert ([e["version"] for e in rest["events"]], rest["next"]) == (["001"], None)
    assert f"Older ones: --before {page['next']}" in wmigrate("history", "--limit", "3").out


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["--migration", "3"], 2),
        (["--migration", "003", "--event", "applied"], 1),
        (["--event", "applied", "--event", "rolled_back"], 4),
        (["--event", "planned"], 2),
        (["--actor", "nobody"], 0),
        (["--since", "1h"], 4),
        (["--since", "2020-01-01", "--until", "2021-01-01T12:00Z"], 0),
        (["--until", "1d"], 0),
        (["--migration", "77"], 0),
    ],
)
def test_filters(shop: Path, wmigrate: Wmigrate, words: list[str], count: int) -> None:
    wmigrate("up", "--yes")
    wmigrate("down", "002", "--yes")
    assert wmigrate("history", "--json", *words).json["total"] == count


def test_history_per_day(shop: Path, wmigrate: Wmigrate) -> None:
    wmigrate("up", "--yes")
    (day,) = wmigrate("history", "--daily", "--json").json["days"]
    assert day | {"day": ""} == {
        "day": "", "applied": 3, "failed": 0, "rolled_back": 0, "rollback_failed": 0, "refused": 0, "dry_runs": 0
    }  # fmt: skip
    assert wmigrate("history", "--daily").out.splitlines()[0].split()[:2] == ["Day", "Applied"]


def test_history_of_a_database_without_a_ledger(shop: Path, wmigrate: Wmigrate) -> None:
    assert wmigrate("history", "--json").json | {"target": 0} == {"target": 0, "events": [], "total": 0, "next": None}
    assert wmigrate("history", "--daily", "--json").json["days"] == []


def test_audit_verify_where_there_is_no_ledger(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    told = wmigrate("audit", "verify")
    assert told.code == 3
    assert re.sub(r"^.* as postgres", "x", told.out).splitlines() == [
        "x has no ledger in schema wmigrate, so there is nothing to verify.",
        "Nothing was applied here, or the ledger is gone: give the last head you know with --head.",
    ]
    data = wmigrate("audit", "verify", "--json").json
    assert (data["intact"], data["audit_head"], data["findings"]) == (None, None, [])
    wmigrate("up", "--yes")
    kept = wmigrate("audit", "verify", "--json").json["audit_head"]
    conn.execute("DROP SCHEMA wmigrate CASCADE")
    gone = wmigrate("audit", "verify", "--head", kept)
    message = f"audit_log: the ledger is gone, which had {kept.partition(':')[0]} rows at head {kept}"
    next_step = "compare with a backup, and find out who has write access to the ledger"
    assert (gone.code, gone.out.splitlines()) == (3, [f"error: {message}; {next_step}"])
    assert wmigrate("audit", "verify", "--head", kept, "--json").json["intact"] is False


def test_audit(shop: Path, wmigrate: Wmigrate) -> None:
    wmigrate("up", "--yes", "--to", "1")
    lines = wmigrate("audit").out.splitlines()
    assert [line.split()[3] for line in lines[1:4]] == ["applied", "planned", "ledger_created"]
    shown = wmigrate("audit", "show", "--limit", "1", "--json").json
    assert set(shown["events"][0]) >= {
        "position",
        "at",
        "event",
        "version",
        "actor",
        "details",
        "previous_hash",
        "hash",
    }


def test_audit_verify(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    wmigrate("up", "--yes", "--to", "1")
    intact = wmigrate("audit", "verify", "--json").json
    assert (intact["intact"], intact["findings"], intact["expected_head"]) == (True, [], None)
    kept = intact["audit_head"]
    wmigrate("up", "--yes")
    assert wmigrate("audit", "verify", "--head", kept).code == 0
    assert wmigrate("audit", "verify", "--head", "1:" + "0" * 64).code == 3
    conn.execute("ALTER TABLE wmigrate.audit_log DISABLE TRIGGER USER")
    conn.execute("UPDATE wmigrate.audit_log SET actor = 'bob' WHERE position = 2")
    forged = wmigrate("audit", "verify")
    assert forged.code == 3
    assert [line.partition(";")[0] for line in forged.out.splitlines()] == [
        "error: audit_log: row 2 (planned) was changed",
        'error: audit_log can be changed: the trigger audit_log_append_only on "wmigrate"."audit_log" keeps it'
        " append-only, but it is disabled",
    ]


# health, info, check, graph


def test_health(shop: Path, wmigrate: Wmigrate) -> None:
    pending = wmigrate("health")
    assert pending.code == 3
    assert pending.out.splitlines()[-1].startswith("degraded: database test_")
    wmigrate("up", "--yes")
    healthy = wmigrate("health", "--json")
    assert (healthy.code, healthy.json["status"], healthy.json["reasons"]) == (0, "healthy", [])


def test_info(shop: Path, wmigrate: Wmigrate) -> None:
    data = wmigrate("info", "--json").json
    assert (data["migrations"], data["server"]["ledger_version"]) == (3, None)
    assert "plpgsql" in data["server"]["extensions"]
    wmigrate("up", "--yes")
    server = wmigrate("info", "--json").json["server"]
    assert (server["ledger_version"], server["schema_version"]) == (3, "003")
    assert "server schema version" in wmigrate("info").out


def test_info_without_a_target(shop: Path, wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGHOST")
    monkeypatch.delenv("PGDATABASE")
    data = wmigrate("info", "--json").json
    assert (data["target"], data["server"], data["folder"]) == (None, None, "migrations")


def test_check(shop: Path, wmigrate: Wmigrate) -> None:
    wmigrate("up", "--yes")
    result = wmigrate("check")
    assert result.code == 0
    assert re.fullmatch(r"Checked 3 migrations in migrations and database .*: 0 errors, 0 warnings.\n", result.out)
    (shop / "001_shop.sql").write_text("COMMIT;")
    codes = [f["code"] for f in wmigrate("check", "--json").json["findings"]]
    assert codes == ["script_refused", "changed"]
    assert wmigrate("check").code == 3
    offline = wmigrate("check", "--offline", "--json").json
    assert ([f["code"] for f in offline["findings"]], offline["target"]) == (["script_refused"], None)


def test_check_without_a_target(shop: Path, wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGHOST")
    monkeypatch.delenv("PGDATABASE")
    assert wmigrate("check").out == "Checked 3 migrations in migrations; no database was asked: 0 errors, 0 warnings.\n"


def test_strict_check_counts_warnings(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "migration_config.yaml").write_text("settings:\n  execution:\n    late_migrations: warn\n")
    wmigrate("up", "--yes")
    (shop / "000_x.sql").unlink(missing_ok=True)
    for file in shop.glob("002*"):
        file.rename(shop / file.name.replace("002", "005"))
    wmigrate("up", "--yes")  # 002 is missing now, an error
    assert wmigrate("check").code == 3


@pytest.mark.parametrize(
    ("file", "text", "code", "place"),
    [
        ("04_x.sql", "SELECT 1;", "folder_error", "04_x.sql"),
        ("migration_config.yaml", "settings:\n  excution: {}\n", "config_error", "migration_config.yaml:2"),
        ("migration_config.yaml", "migrations: [\n", "config_error", "migration_config.yaml:"),
    ],
)
def test_what_makes_a_folder_unreadable_is_a_finding(
    shop: Path, wmigrate: Wmigrate, file: str, text: str, code: str, place: str
) -> None:
    (shop / file).write_text(text)
    result = wmigrate("check", "--json")
    assert result.code == 3
    assert [f["code"] for f in result.json["findings"]] == [code]
    assert wmigrate("check").out.startswith(f"error: {place}")


@pytest.mark.parametrize("words", [[], ["--format", "mermaid"]])
def test_graph_for_mermaid(shop: Path, wmigrate: Wmigrate, words: list[str]) -> None:
    assert wmigrate("graph", *words).out == (
        "flowchart LR\n"
        '    m001["001 shop"]\n    m002["002 price"]\n    m003["003 view"]\n'
        "    m001 --> m002\n    m002 --> m003\n"
    )


def test_graph_for_graphviz_with_statuses(shop: Path, wmigrate: Wmigrate) -> None:
    wmigrate("up", "--yes", "--to", "1")
    text = wmigrate("graph", "--format", "dot", "--statuses").out
    assert text.startswith("digraph migrations {")
    assert '"001" [label="001 shop\\napplied", fillcolor="#cfead6"];' in text
    assert '"002" [label="002 price\\npending"' in text
    assert '    "001" -> "002";' in text
    data = wmigrate("graph", "--json", "--statuses").json
    assert data["edges"] == [{"from": "001", "to": "002"}, {"from": "002", "to": "003"}]
    assert data["nodes"][0] == {"version": "001", "name": "shop", "status": "applied"}


# The table


def test_options_stand_before_or_behind_the_verb(shop: Path, wmigrate: Wmigrate) -> None:
    before = wmigrate("--folder", "migrations", "--json", "graph").json
    assert before == wmigrate("graph", "--folder", "migrations", "--json").json


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_every_verb_has_help_for_every_option(wmigrate: Wmigrate, verb: str) -> None:
    result = wmigrate(verb, "--help")
    assert result.code == 0
    (found,) = (v for v in VERBS if v.name == verb)
    for argument in options(found, WMIGRATE):
        assert all(flag in result.out for flag in argument.flags)


def test_help_and_version(wmigrate: Wmigrate) -> None:
    result = wmigrate("--help")
    assert result.code == 0
    for verb in VERBS:
        assert f"    {verb.name}" in result.out
    assert re.fullmatch(r"wmigrate \d+\.\d+\.\d+\n", wmigrate("--version").out)


def test_the_table_is_sound() -> None:
    assert len({verb.name for verb in VERBS}) == len(VERBS)
    for verb in VERBS:
        flags = [flag for argument in options(verb, WMIGRATE) for flag in argument.flags]
        assert len(flags) == len(set(flags)), verb.name
        assert verb.help.endswith(".")
        assert all(argument.help.endswith(".") for argument in (*verb.arguments, *COMMON))
    assert isinstance(build_parser(), argparse.ArgumentParser)


def test_a_dry_run_takes_the_steps_in_the_order_of_the_plan(shop: Path, wmigrate: Wmigrate) -> None:
    """As `up` and `down` would: also where one stands on another without having said so."""
    (shop / "migration_config.yaml").write_text(
        "migrations: [{version: 1, dependencies: []}, {version: 2, dependencies: []}, {version: 3, dependencies: []}]"
    )
    for words in (("up",), ("down", "000")):
        result = wmigrate(*words, "--dry-run", "--json")
        assert [(r["version"], r["outcome"]) for r in result.json["records"]] == [
            (version, "dry_run") for version in (("001", "002", "003") if words == ("up",) else ("003", "002", "001"))
        ]
        assert wmigrate(*words, "--yes").code == 0


def test_a_dry_run_goes_round_what_was_begun(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "001_shop.sql").write_text("CREATE TABLE shop (id int);\nCREATE INDEX CONCURRENTLY i ON shop (no);")
    assert wmigrate("up", "--yes").code == 1
    (shop / "001_shop.sql").write_text("CREATE TABLE shop (id int);\nCREATE INDEX CONCURRENTLY i ON shop (id);")
    (shop / "004_alone.sql").write_text("CREATE TABLE alone (id int);")
    (shop / "migration_config.yaml").write_text("migrations: [{version: 4, dependencies: []}]")
    result = wmigrate("up", "--dry-run", "--json")
    assert [(r["version"], r["outcome"]) for r in result.json["records"]] == [
        ("001", "not_tried"), ("002", "not_tried"), ("003", "not_tried"), ("004", "dry_run")
    ]  # fmt: skip
