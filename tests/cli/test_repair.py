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
    for reason in ([], ["--reason", " "]):
        result = wmigrate("repair", "3", "--done", "--yes", *reason)
        assert (result.code, "needs a reason" in result.err) == (2, True)
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
    from dataclasses import replace

    accepted = repaired(replace(FILE, rollback=None), entry(status="applied"), "accept")
    assert isinstance(accepted, Entry)
    assert accepted.rollback_checksum == "kept"
