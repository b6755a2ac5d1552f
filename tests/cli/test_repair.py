"""A person decides, the ledger follows, and the audit log keeps who and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.decisions.repair import DECISIONS, repaired
from airflow_provider_wmigrate.engine.model import Entry, Finding, Identity, Migration, Script

Wmigrate = Callable[..., Any]
Conn = psycopg.Connection[Any]


@pytest.fixture
def half_done(shop: Path, wmigrate: Wmigrate) -> Path:
    """003 has built an index outside a transaction, and failed at its second statement."""
    (shop / "003_view.sql").write_text("CREATE INDEX CONCURRENTLY one ON shop (id);\nSELECT nowhere;\n")
    (shop / "migration_config.yaml").write_text("settings:\n  execution: {retry_attempts: 0}\n")
    assert wmigrate("up", "--yes").code == 1
    assert wmigrate("status", "--json").json["counts"]["incomplete"] == 1
    return shop


def status_of(wmigrate: Wmigrate, version: str) -> str:
    return next(str(m["status"]) for m in wmigrate("status", "--json").json["migrations"] if m["version"] == version)


def last_audit_row(wmigrate: Wmigrate) -> Any:
    return wmigrate("audit", "--limit", "1", "--json").json["events"][0]


def test_an_edited_file_is_accepted(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    wmigrate("up", "--yes")
    (shop / "002_price.sql").write_text((shop / "002_price.sql").read_text() + "-- a comment\n")
    (shop / "002_price.rollback.sql").write_text("ALTER TABLE shop DROP COLUMN price;")
    assert status_of(wmigrate, "002") == "changed"
    data = wmigrate("repair", "2", "--accept", "--reason", "a comment\nonly", "--yes", "--json").json
    assert data["repaired"]["before"], data["repaired"]["after"] == ("changed", "applied")
    assert status_of(wmigrate, "002") == "applied"
    row = last_audit_row(wmigrate)
    assert (row["event"], row["version"], row["details"]["reason"]) == ("repaired", "002", "a comment only")
    assert row["details"]["decision"] == "accept"
    assert row["details"]["before"]["checksum"] != row["details"]["after"]["checksum"]
    kept = conn.execute("SELECT rollback_sql FROM wmigrate.schema_migrations WHERE version = '002'").fetchone()
    assert kept == ("ALTER TABLE shop DROP COLUMN price;",)
    assert wmigrate("audit", "verify").code == 0
    assert wmigrate("history", "--limit", "1").out.splitlines()[1].endswith("a comment only")


def test_an_incomplete_migration_is_done(half_done: Path, wmigrate: Wmigrate) -> None:
    result = wmigrate("repair", "003", "--done", "--reason", "finished by hand", "--yes")
    assert (result.code, result.out.startswith("003_view: incomplete -> applied on database")) == (0, True)
    assert status_of(wmigrate, "003") == "applied"
    assert wmigrate("info", "--json").json["server"]["schema_version"] == "003"


def test_an_incomplete_migration_is_undone(half_done: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    conn.execute("DROP INDEX one")
    assert wmigrate("repair", "3", "--undone", "--reason", "dropped by hand", "--yes").code == 0
    assert status_of(wmigrate, "003") == "pending"
    (half_done / "003_view.sql").write_text("CREATE INDEX CONCURRENTLY one ON shop (id);\n")
    assert wmigrate("up", "--yes").code == 0


@pytest.mark.parametrize(("decision", "done"), [("ran", 2), ("again", 1)])
def test_a_statement_in_flight_is_settled(
    half_done: Path, wmigrate: Wmigrate, conn: Conn, decision: str, done: int
) -> None:
    query = "UPDATE wmigrate.schema_migrations SET statement_hashes = statement_hashes || '{x}' WHERE version = '003'"
    conn.execute(query.encode())
    assert wmigrate("repair", "3", f"--{decision}", "--reason", "looked", "--yes").code == 0
    row = conn.execute(
        "SELECT status, statements_done, cardinality(statement_hashes) FROM wmigrate.schema_migrations"
        " WHERE version = '003'"
    ).fetchone()
    assert row == ("incomplete", done, done)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["1", "--accept"], 3, "migration 001 is applied; accept settles a file that was edited after it was applied"),
        (["1", "--done"], 3, "migration 001 is applied; done settles an incomplete migration"),
        (["3", "--accept"], 3, "migration 003 is incomplete; accept settles"),
        (["3", "--ran"], 3, "no statement of it was in flight"),
        (["9", "--done"], 2, "no migration 9 in this folder or the ledger"),
        (["4", "--undone"], 3, "migration 004 is pending; there is nothing of it in the ledger to repair"),
    ],
)
def test_a_decision_that_does_not_fit(
    half_done: Path, wmigrate: Wmigrate, words: list[str], code: int, sentence: str
) -> None:
    (half_done / "004_x.sql").write_text("SELECT 1;")
    before = last_audit_row(wmigrate)["position"]
    result = wmigrate("repair", *words, "--reason", "x", "--yes")
    assert result.code == code
    assert sentence in result.err
    assert last_audit_row(wmigrate)["position"] == before


def test_a_repair_needs_a_reason(half_done: Path, wmigrate: Wmigrate) -> None:
    for reason, said in ([], "needs a reason"), (["--reason", " "], "--reason is empty"):
        result = wmigrate("repair", "3", "--done", "--yes", *reason)
        assert (result.code, said in result.err) == (2, True)
    assert status_of(wmigrate, "003") == "incomplete"


def test_a_repair_waits_for_runners(half_done: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    from airflow_provider_wmigrate.engine.session.advisory import AdvisoryLock

    (half_done / "migration_config.yaml").write_text("settings:\n  execution: {lock_wait_seconds: 0.3}\n")
    conn.execute("SELECT pg_advisory_lock_shared(%s)", [AdvisoryLock("wmigrate:wmigrate").number])
    result = wmigrate("repair", "3", "--done", "--reason", "x", "--yes")
    assert result.code == 1
    assert f"held by pid {conn.info.backend_pid}" in result.err


def test_a_database_without_a_ledger(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    assert wmigrate("repair", "1", "--done", "--reason", "x", "--yes").code == 3
    assert conn.execute("SELECT to_regnamespace('wmigrate')").fetchone() == (None,)


# The decision alone

FILE = Migration("001", "a", Script.of("001_a.sql", "SELECT 1;"), rollback=Script.of("001_a.rollback.sql", "SELECT 2;"))


def entry(**more: Any) -> Entry:
    from datetime import datetime, timezone

    values: dict[str, Any] = {
        "version": "001", "name": "a", "status": "incomplete", "checksum": "old", "checksum_algorithm": "sha256",
        "dependencies": (), "rollback_checksum": "kept", "applied_at": datetime.now(timezone.utc), "duration_ms": 1,
        "statements_done": 1, "statements_total": 3, "statement_hashes": ("a", "b"), "identity": Identity("ann"),
    }  # fmt: skip
    return Entry(**{**values, **more})


def test_what_a_decision_makes_of_an_entry() -> None:
    done = repaired(FILE, entry(), "done")
    assert isinstance(done, Entry)
    assert (done.status, done.statements_done, done.checksum) == ("applied", 3, FILE.script.checksum)
    assert repaired(FILE, entry(), "undone") is None
    ran, again = repaired(FILE, entry(), "ran"), repaired(FILE, entry(), "again")
    assert isinstance(ran, Entry)
    assert isinstance(again, Entry)
    assert (ran.statements_done, again.statement_hashes) == (2, ("a",))
    alone = repaired(None, entry(), "done")
    assert isinstance(alone, Entry)
    assert alone.checksum == "old"


@pytest.mark.parametrize("decision", DECISIONS)
def test_nothing_can_be_repaired_that_was_never_begun(decision: Any) -> None:
    assert isinstance(repaired(FILE, None, decision), Finding)


def test_accepting_keeps_the_ledgers_rollback_where_the_folder_has_none() -> None:
    from msgspec.structs import replace

    accepted = repaired(replace(FILE, rollback=None), entry(status="applied"), "accept")
    assert isinstance(accepted, Entry)
    assert accepted.rollback_checksum == "kept"


# A file that is gone, a failure that is over


def audit_is_intact(wmigrate: Wmigrate) -> bool:
    return bool(wmigrate("audit", "verify").code == 0)


def test_a_file_that_was_deleted_on_purpose(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    wmigrate("up", "--yes")
    for file in shop.glob("003*"):
        file.unlink()
    refused = wmigrate("up", "--yes", "--json").json["error"]["findings"]
    assert [(f["code"], f["next_step"]) for f in refused] == [
        ("missing", "restore the file; or, if it was deleted on purpose: `wmigrate repair 003 --forget`")
    ]
    data = wmigrate("repair", "003", "--forget", "--reason", "nobody needs it", "--yes", "--json").json["repaired"]
    assert (data["before"], data["after"]) == ("missing", "forgotten")
    row = last_audit_row(wmigrate)
    assert (row["event"], row["version"], row["details"]["decision"]) == ("repaired", "003", "forget")
    assert status_of(wmigrate, "003") == "forgotten"
    assert wmigrate("status").out.splitlines()[-1].startswith("2 applied, 1 forgotten on database test_")
    assert wmigrate("health", "--json").json["status"] == "healthy"
    assert (wmigrate("plan").code, wmigrate("check").code) == (0, 0)
    (shop / "004_more.sql").write_text("SELECT 1;")
    assert wmigrate("up", "--yes").code == 0
    assert audit_is_intact(wmigrate)
    conn.execute("DROP VIEW dear")
    assert wmigrate("down", "--only", "3", "--yes").code == 1
    assert status_of(wmigrate, "003") == "forgotten", "a rollback that failed makes nobody remember it"
    conn.execute("CREATE VIEW dear AS SELECT 1")
    assert wmigrate("down", "--only", "3", "--yes").code == 0
    assert [m["version"] for m in wmigrate("status", "--json").json["migrations"]] == ["001", "002", "004"]
    assert audit_is_intact(wmigrate)


def test_a_forgotten_file_that_comes_back_counts_again(shop: Path, wmigrate: Wmigrate) -> None:
    wmigrate("up", "--yes")
    text = (shop / "003_view.sql").read_text()
    for file in shop.glob("003*"):
        file.unlink()
    assert wmigrate("repair", "3", "--forget", "--reason", "x", "--yes").code == 0
    (shop / "003_view.sql").write_text(text)
    assert status_of(wmigrate, "003") == "applied"
    (shop / "003_view.sql").write_text("SELECT 1;")
    assert status_of(wmigrate, "003") == "changed"


def test_a_failed_rollback_is_settled(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "003_view.rollback.sql").write_text("DROP VIEW nowhere;")
    wmigrate("up", "--yes")
    assert wmigrate("down", "002", "--yes").code == 1
    assert wmigrate("health", "--json").json["status"] == "unhealthy"
    data = wmigrate("repair", "3", "--settle", "--reason", "the view stays", "--yes", "--json").json["repaired"]
    assert (data["before"], data["after"], data["name"]) == ("applied", "applied", "view")
    assert wmigrate("health", "--json").json["status"] == "healthy"
    assert audit_is_intact(wmigrate)
    again = wmigrate("repair", "3", "--settle", "--reason", "x", "--yes")
    assert (again.code, again.err) == (
        3, "wmigrate: migration 003 is applied; no failure of it is open; look at `wmigrate status`\n"
    )  # fmt: skip


def test_a_complete_up_says_that_a_failed_rollback_is_over(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "003_view.rollback.sql").write_text("DROP VIEW nowhere;")
    wmigrate("up", "--yes")
    assert wmigrate("down", "002", "--yes").code == 1
    assert wmigrate("health").code == 3
    assert wmigrate("up", "--yes").out.startswith("Nothing to apply on database test_")
    assert wmigrate("health").code == 0


def test_a_failed_apply_is_settled(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "002_price.sql").write_text("SELECT 1 / 0;")
    assert wmigrate("up", "--yes").code == 1
    assert status_of(wmigrate, "002") == "failed"
    data = wmigrate("repair", "2", "--settle", "--reason", "next week", "--yes", "--json").json["repaired"]
    assert (data["before"], data["after"]) == ("failed", "pending")
    assert status_of(wmigrate, "002") == "pending"
    health = wmigrate("health", "--json").json
    assert [c["name"] for c in health["checks"] if c["status"] != "healthy"] == ["pending"]
    assert audit_is_intact(wmigrate)


@pytest.mark.parametrize(
    ("decision", "says"),
    [
        ("forget", "migration 001 is applied; forget settles a file that is gone; look at `wmigrate status`"),
        ("settle", "migration 001 is applied; no failure of it is open; look at `wmigrate status`"),
    ],
)
def test_what_is_in_order_is_neither_forgotten_nor_settled(
    shop: Path, wmigrate: Wmigrate, decision: str, says: str
) -> None:
    wmigrate("up", "--yes")
    result = wmigrate("repair", "1", f"--{decision}", "--reason", "x", "--yes")
    assert (result.code, result.err) == (3, f"wmigrate: {says}\n")


def test_what_is_half_done_is_not_settled(half_done: Path, wmigrate: Wmigrate) -> None:
    result = wmigrate("repair", "3", "--settle", "--reason", "x", "--yes")
    assert (result.code, result.err) == (
        3,
        "wmigrate: migration 003 is incomplete; settle is for what is whole; roll it back, go on with `wmigrate up`, or"
        " `wmigrate repair 003 --done` or `--undone`\n",
    )


def test_an_accepted_file_makes_no_circle(shop: Path, wmigrate: Wmigrate) -> None:
    wmigrate("up", "--yes")
    (shop / "001_shop.sql").write_text("CREATE TABLE shop (id int); -- edited")
    (shop / "migration_config.yaml").write_text(
        "migrations: [{version: '001', dependencies: ['002']}, {version: '002', dependencies: []}]"
    )
    assert wmigrate("repair", "1", "--accept", "--reason", "x", "--yes").code == 0
    assert wmigrate("down", "000", "--yes").code == 0
