"""A person says that the database has it already; nothing is run, and the audit log keeps who and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

Wmigrate = Callable[..., Any]
Conn = psycopg.Connection[Any]
WHY = ("--no-compare", "--reason", "made by hand\nin 2019", "--yes")


@pytest.fixture
def old_shop(shop: Path, conn: Conn) -> Path:
    """The database has what 001 and 002 make, and no ledger."""
    conn.execute("CREATE TABLE shop (id int, price int)")
    return shop


def statuses(wmigrate: Wmigrate) -> dict[str, str]:
    return {m["version"]: m["status"] for m in wmigrate("status", "--json").json["migrations"]}


def has_ledger(conn: Conn) -> bool:
    return conn.execute("SELECT to_regnamespace('wmigrate')").fetchone() != (None,)


def test_a_database_is_adopted(old_shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    result = wmigrate("baseline", "2", *WHY)
    place = f"database {conn.info.dbname} on 127.0.0.1:{conn.info.port} as postgres"
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "001_shop: declared applied",
        "002_price: declared applied",
        f"Declared 2 migrations applied, ran nothing, on {place}.",
    ]
    assert statuses(wmigrate) == {"001": "applied", "002": "applied", "003": "pending"}
    assert [s["version"] for s in wmigrate("plan", "--json").json["steps"]] == ["003"]
    assert wmigrate("up", "--yes").code == 0
    assert conn.execute("SELECT count(*) FROM shop").fetchone() == (0,)
    assert wmigrate("info", "--json").json["server"]["schema_version"] == "003"
    assert wmigrate("health").code == 0
    assert wmigrate("audit", "verify").code == 0


def test_history_tells_it(old_shop: Path, wmigrate: Wmigrate) -> None:
    wmigrate("baseline", "2", *WHY)
    lines = wmigrate("history").out.splitlines()
    assert [line.split()[2:4] for line in lines[1:3]] == [["baselined", "002"], ["baselined", "001"]]
    assert lines[1].endswith("made by hand in 2019")
    assert wmigrate("history", "--event", "baselined", "--json").json["total"] == 2


def test_the_document(old_shop: Path, wmigrate: Wmigrate) -> None:
    data = wmigrate("baseline", "2", *WHY, "--json").json
    assert set(data["baselined"]) == {"to", "versions", "reason", "identity", "audit_head"}
    assert (data["baselined"]["to"], data["baselined"]["versions"]) == ("002", ["001", "002"])
    assert data["baselined"]["reason"] == "made by hand in 2019"
    again = wmigrate("baseline", "2", "--json").json
    assert (again["baselined"], again["left_out"]) == (None, {})


def test_it_is_taken_back_by_its_script(old_shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    wmigrate("baseline", "2", *WHY)
    assert wmigrate("down", "001", "--yes").code == 0
    columns = conn.execute("SELECT attname FROM pg_attribute WHERE attrelid = 'shop'::regclass AND attnum > 0")
    assert [name for (name,) in columns if "dropped" not in name] == ["id"]
    assert statuses(wmigrate)["002"] == "pending"


def test_a_failure_that_was_done_by_hand_is_settled(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    (shop / "003_view.sql").unlink()
    (shop / "003_view.rollback.sql").unlink()
    wmigrate("up", "--to", "1", "--yes")
    (shop / "002_price.sql").write_text("ALTER TABLE shop ADD price int;\nSELECT nowhere;")
    (shop / "migration_config.yaml").write_text("settings:\n  execution: {retry_attempts: 0}\n")
    assert wmigrate("up", "--to", "2", "--yes").code == 1
    assert wmigrate("health").code == 3
    conn.execute("ALTER TABLE shop ADD price int")
    assert wmigrate("baseline", "2", *WHY).out.startswith("002_price: declared applied\nDeclared 1 migration applied")
    assert wmigrate("health").code == 0


def test_nothing_is_left_to_declare(shop: Path, wmigrate: Wmigrate) -> None:
    """So neither a reason nor a yes is asked for."""
    wmigrate("up", "--yes")
    result = wmigrate("baseline", "3")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("Nothing to declare up to 003, on database ")


def test_what_is_left_out_is_told(shop: Path, wmigrate: Wmigrate) -> None:
    block = "{version: '002', requires_extensions: [{name: nowhere_to_be_had, when_missing: skip}]}"
    (shop / "migration_config.yaml").write_text(f"migrations:\n  - {block}\n")
    out = wmigrate("baseline", "2", *WHY).out
    assert out.splitlines()[:2] == [
        "001_shop: declared applied",
        "002: left out (extension nowhere_to_be_had is not available on this server)",
    ]
    assert statuses(wmigrate)["002"] == "left_out"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["9", *WHY], 2, "no migration 9 in this folder; the newest one is 003"),
        (["0002x", *WHY], 2, "no migration 0002x in this folder; did you mean 002?"),
        ([*WHY], 2, "wmigrate: VERSION is missing; see `wmigrate baseline --help`"),
        (["2", "--no-compare", "--yes"], 2, "a baseline needs a reason, which the audit log keeps; give --reason"),
        (["2", "--no-compare", "--yes", "--reason", " "], 2, "--reason is empty; is a variable not set?"),
        (["2", "--no-compare", "--reason", "x"], 2, "without running them, on database"),
        (["2", "--no-compare", "--reason", "x", "--json"], 2, ""),
        (["2", "--raeson", "x"], 2, "wmigrate: baseline has no option --raeson; did you mean --reason?"),
    ],
)
def test_wrong_input_changes_nothing(
    shop: Path, wmigrate: Wmigrate, conn: Conn, words: list[str], code: int, sentence: str
) -> None:
    result = wmigrate("baseline", *words)
    assert result.code == code
    assert sentence in result.err
    assert not has_ledger(conn)


def test_a_changed_migration_is_refused(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    wmigrate("up", "--to", "1", "--yes")
    (shop / "001_shop.sql").write_text("CREATE TABLE shop (id bigint);")
    rows = conn.execute("SELECT count(*) FROM wmigrate.audit_log").fetchone()
    result = wmigrate("baseline", "2", "--json")
    document = result.out
    assert result.code == 3
    assert '"not_declarable"' in document
    assert "migration 001 is changed, so nothing is declared" in document
    assert conn.execute("SELECT count(*) FROM wmigrate.audit_log").fetchone() == rows


def test_a_role_without_rights_is_told_what_it_lacks(
    old_shop: Path, wmigrate: Wmigrate, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = f"reader_of_{conn.info.dbname}"
    conn.execute(f"CREATE ROLE {role} LOGIN".encode())
    monkeypatch.setenv("PGUSER", role)
    result = wmigrate("baseline", "2", *WHY)
    conn.execute(f"DROP ROLE {role}".encode())
    assert result.code == 1
    said = f"the ledger cannot be used: permission denied for database {conn.info.dbname}"
    assert f'{said}; ask a database administrator to run: CREATE SCHEMA "wmigrate" AUTHORIZATION "{role}"' in result.err
    assert not has_ledger(conn)


# Taken back


def test_a_wrong_baseline_is_taken_back(shop: Path, wmigrate: Wmigrate) -> None:
    assert wmigrate("baseline", "1", *WHY).code == 0
    assert wmigrate("baseline", "3", *WHY).code == 0
    data = wmigrate("baseline", "3", "--undo", "--reason", "it was 2", "--yes", "--json").json["undone"]
    assert (data["to"], data["versions"], data["reason"]) == ("003", ["002", "003"], "it was 2")
    assert statuses(wmigrate) == {"001": "applied", "002": "pending", "003": "pending"}
    events = wmigrate("history", "--limit", "2", "--json").json["events"]
    assert [(e["event"], e["version"], e["details"]["reason"]) for e in events] == [
        ("baseline_undone", "003", "it was 2"), ("baseline_undone", "002", "it was 2")
    ]  # fmt: skip
    assert wmigrate("audit", "verify").code == 0
    assert wmigrate("baseline", "2", *WHY).code == 0
    assert statuses(wmigrate) == {"001": "applied", "002": "applied", "003": "pending"}


def test_what_was_applied_since_stands_in_the_way_and_is_named(shop: Path, wmigrate: Wmigrate, conn: Any) -> None:
    conn.execute("CREATE TABLE shop (id int, price int)")
    assert wmigrate("baseline", "2", *WHY).code == 0
    assert wmigrate("up", "--yes").code == 0
    refused = wmigrate("baseline", "2", "--undo", *WHY, "--json").json["error"]["findings"]
    assert [(f["code"], f["message"], f["next_step"]) for f in refused] == [
        (
            "depended_on",
            "migration 002 cannot be rolled back: 003 depends on it",
            "roll back first: `wmigrate down --only 003`",
        )
    ]
    assert wmigrate("down", "--only", "3", "--yes").code == 0
    done = wmigrate("baseline", "2", "--undo", *WHY)
    assert (done.code, done.out.partition(",")[0]) == (0, "Took back the baseline to 002: 001")
    assert set(statuses(wmigrate).values()) == {"pending"}


def test_a_baseline_that_is_not_there(shop: Path, wmigrate: Wmigrate) -> None:
    result = wmigrate("baseline", "3", "--undo", *WHY)
    assert (result.code, result.err) == (
        2, "wmigrate: no migration 3 in the baselines that this ledger stands on; there is none\n"
    )  # fmt: skip
    wmigrate("baseline", "2", *WHY)
    result = wmigrate("baseline", "3", "--undo", *WHY)
    assert (result.code, result.err) == (
        2, "wmigrate: no migration 3 in the baselines that this ledger stands on; the newest one is 002\n"
    )  # fmt: skip


def test_late_without_a_config_a_baseline_declares_it(shop: Path, wmigrate: Wmigrate, conn: Any) -> None:
    hidden = {file: file.read_text() for file in shop.glob("002*")}
    for file in hidden:
        file.unlink()
    (shop / "003_view.sql").write_text("SELECT 1;")
    assert wmigrate("up", "--yes").code == 0
    for file, text in hidden.items():
        file.write_text(text)
    assert wmigrate("plan", "--json").json["findings"] == []
    assert wmigrate("baseline", "2", *WHY).code == 0
    assert statuses(wmigrate) == {"001": "applied", "002": "applied", "003": "applied"}
