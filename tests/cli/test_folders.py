"""Folders that are wrong, empty or of another tool, as every verb meets them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

Wmigrate = Callable[..., Any]
Conn = psycopg.Connection[Any]


def lay(folder: Path, **files: str) -> None:
    for name, text in files.items():
        file = folder / name.replace("__", ".")
        file.write_text(text)


GOLANG = {"001_users__up__sql": "CREATE TABLE users (id int);", "001_users__down__sql": "DROP TABLE users;"}


@pytest.fixture
def empty(shop: Path) -> Path:
    for file in shop.iterdir():
        file.unlink()
    return shop


def test_check_tells_the_right_names_of_another_tools_files(empty: Path, wmigrate: Wmigrate) -> None:
    lay(empty, **GOLANG)
    result = wmigrate("check")
    message = (
        "2 files are named in the way of golang-migrate: 001_users.down.sql (name it 001_users.rollback.sql),"
        " 001_users.up.sql (name it 001_users.sql)"
    )
    rule = "rename *.up.sql to *.sql and *.down.sql to *.rollback.sql, or `wmigrate convert --from golang-migrate`"
    assert (result.code, result.out) == (
        3,
        f"error: {message}; {rule}\nChecked 0 migrations in migrations; no database was asked: 1 error, 0 warnings.\n",
    )
    document = wmigrate("check", "--json").json
    assert (document["ok"], document["migrations"]) == (False, 0)
    assert document["findings"] == [
        {
            "code": "folder_error", "severity": "error", "message": message, "next_step": rule, "version": None,
            "file": None, "line": None, "column": None, "files": ["001_users.down.sql", "001_users.up.sql"],
        }
    ]  # fmt: skip
    up = wmigrate("up", "--yes", "--json")
    assert (up.code, up.json["error"]["findings"]) == (1, document["findings"])


CONFIG = """\
settings:
  logging:
    level: "${SHOP_LEVEL:LOUD}"
environments:
  production:
    logging:
      level: "WARNED"
"""
TOLD = [
    (3, "settings.logging.level: must be DEBUG, INFO, WARNING or ERROR, not the value of ${SHOP_LEVEL:LOUD}",
     "correct it"),
    (7, 'environments.production.logging.level: must be DEBUG, INFO, WARNING or ERROR, not "WARNED" in quotes',
     "did you mean WARNING?"),
]  # fmt: skip


def test_check_tells_every_mistake_of_the_config(shop: Path, wmigrate: Wmigrate) -> None:
    (shop / "migration_config.yaml").write_text(CONFIG)
    result = wmigrate("check")
    lines = [f"error: migration_config.yaml:{line}: {message}; {nxt}" for line, message, nxt in TOLD]
    assert (result.code, result.out.splitlines()[:-1]) == (3, lines)
    findings = wmigrate("check", "--json").json["findings"]
    assert [(f["line"], f["message"], f["next_step"]) for f in findings] == TOLD
    assert {f["code"] for f in findings} == {"config_error"}
    assert wmigrate("up", "--yes").err == (
        f"wmigrate: migration_config.yaml:3: {TOLD[0][1]} (and 1 more; `wmigrate check` shows all)\n"
    )


def test_the_config_means_what_the_environment_says(
    shop: Path, wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop / "migration_config.yaml").write_text(CONFIG.replace("WARNED", "WARN"))
    assert wmigrate("check", "--offline").code == 3
    monkeypatch.setenv("SHOP_LEVEL", "warn")
    assert wmigrate("check", "--offline").code == 0


LAYOUT = (
    "migrations: holds no migration, but 1 SQL file in another layout (1_a/up.sql), as diesel, Hasura and others have"
    " it: a folder for each migration, with up.sql and down.sql; here all files lie in one folder: 001_name.sql, and"
    " what undoes it 001_name.rollback.sql; `wmigrate convert --from diesel SOURCE DEST` writes such a folder"
)


def test_another_layout_is_no_finished_history(empty: Path, wmigrate: Wmigrate) -> None:
    (empty / "1_a").mkdir()
    (empty / "1_a" / "up.sql").write_text("SELECT 1;")
    assert wmigrate("check").out.splitlines()[0] == f"error: {LAYOUT}"
    assert wmigrate("check").code == 3
    for verb in (["up", "--yes"], ["plan"], ["down", "000", "--yes"], ["up", "--dry-run"]):
        result = wmigrate(*verb)
        assert (result.code, result.err) == (1, f"wmigrate: {LAYOUT}\n")
    status = wmigrate("status")
    assert (status.code, status.out.splitlines()[-1]) == (3, f"error: {LAYOUT}")


def test_a_bad_file_does_not_keep_a_target_from_being_looked_at(shop: Path, wmigrate: Wmigrate) -> None:
    assert wmigrate("up", "--yes", "--to", "2").code == 0
    (shop / "002_price.sql").write_bytes(b"SELECT '\xff'")
    (shop / "004_New.sql").write_text("SELECT 1;")
    said = [
        "004_New.sql: the name is not lower-case words joined by single underscores or hyphens; name it 004_new.sql",
        "002_price.sql:1: is not UTF-8; save it as UTF-8",
    ]
    status = wmigrate("status", "--json")
    assert status.code == 3
    rows = {row["version"]: row["status"] for row in status.json["migrations"]}
    assert rows == {"001": "applied", "002": "changed", "003": "pending"}
    assert [
        f"{f['file']}{':1' * bool(f['line'])}: {f['message']}; {f['next_step']}" for f in status.json["findings"]
    ] == said
    assert wmigrate("status").out.splitlines()[-2:] == [f"error: {line}" for line in said]
    info = wmigrate("info")
    assert (info.code, info.out.splitlines()[-2:]) == (3, [f"error: {line}" for line in said])
    assert wmigrate("info", "--json").json["migrations"] == 3
    health = wmigrate("health", "--json")
    checks = {check["name"]: check for check in health.json["checks"]}
    assert (health.code, checks["checksums"]["status"], checks["audit_chain"]["status"]) == (3, "unhealthy", "healthy")
    assert "002_price.sql: is not UTF-8" in checks["checksums"]["reason"]
    assert wmigrate("history").code == wmigrate("audit", "verify").code == 0


def test_a_bad_key_does_not_keep_a_target_from_being_looked_at(shop: Path, wmigrate: Wmigrate) -> None:
    assert wmigrate("up", "--yes", "--to", "2").code == 0
    (shop / "migration_config.yaml").write_text("settings: {execution: {timeout_seconds: soon}}\n")
    status = wmigrate("status")
    assert (status.code, status.out.splitlines()[-1]) == (
        3,
        "error: migration_config.yaml:1: settings.execution.timeout_seconds: must be a whole number of seconds greater"
        " than 0, not soon; correct it",
    )
    assert wmigrate("history").code == 0
    (shop / "migration_config.yaml").write_text("settings: {ledger: {schema: Other}}\n")
    assert wmigrate("status").code == wmigrate("history").code == 1


@pytest.mark.parametrize("transactional", ["auto", "true", "false"])
@pytest.mark.parametrize("script", ["", "-- nothing to do here", "BEGIN;\nCOMMIT;"])
def test_an_empty_script_is_applied_and_rolled_back_as_such(
    empty: Path, wmigrate: Wmigrate, conn: Conn, script: str, transactional: str
) -> None:
    lay(empty, **{"001_a__sql": "CREATE TABLE a ();", "001_a__rollback__sql": script, "002_b__sql": script})
    lay(empty, **{"002_b__rollback__sql": "SELECT 1;"})
    blocks = f"migrations:\n- {{version: 1}}\n- {{version: 2, transactional: {transactional}}}\n"
    lay(empty, migration_config__yaml=blocks.replace("1}", f"1, transactional: {transactional}}}"))
    up = wmigrate("up", "--yes")
    assert up.code == 0, up.err
    assert up.err.splitlines()[:2] == [
        "warning: 001_a.rollback.sql: has no statement: rolling it back does nothing; that is allowed",
        "warning: 002_b.sql: has no statement: applying it does nothing; that is allowed",
    ]
    assert wmigrate("status", "--json").json["counts"] == {"applied": 2}
    down = wmigrate("down", "000", "--yes")
    assert down.code == 0, down.err
    assert "warning: 001_a.rollback.sql: has no statement: rolling it back does nothing; that is allowed" in down.err
    assert wmigrate("status", "--json").json["counts"] == {"pending": 2}
    assert conn.execute("SELECT to_regclass('a')").fetchone() == ("a",)


def test_empty_scripts_can_be_forbidden(empty: Path, wmigrate: Wmigrate) -> None:
    lay(empty, **{"001_a__sql": "-- nothing", "migration_config__yaml": "validation: {files: {allow_empty: false}}"})
    result = wmigrate("up", "--yes")
    assert (result.code, result.err) == (
        3,
        "wmigrate: 001_a.sql: has no statement: applying it does nothing; write one, delete the file, or allow it"
        " (validation.files.allow_empty)\n",
    )


VERSIONS = ["0_init", "1_users", "9_x-y", "10_z", "20240131093000_a", "12345678901234567890123456789_b"]


def test_versions_are_numbers_of_any_length(empty: Path, wmigrate: Wmigrate) -> None:
    for number, stem in enumerate(VERSIONS):
        lay(
            empty, **{f"{stem}__sql": f"CREATE TABLE t{number} ();", f"{stem}__rollback__sql": f"DROP TABLE t{number};"}
        )
    assert wmigrate("up", "--yes", "--to", "20240131093000").code == 0
    rows = wmigrate("status", "--json").json["migrations"]
    assert [(row["version"], row["status"]) for row in rows] == [
        ("000", "applied"), ("001", "applied"), ("009", "applied"), ("010", "applied"), ("20240131093000", "applied"),
        ("12345678901234567890123456789", "pending"),
    ]  # fmt: skip
    assert wmigrate("up", "--yes").code == 0
    assert wmigrate("info", "--json").json["server"]["schema_version"] == "12345678901234567890123456789"
    assert wmigrate("health").code == 0
    graph = wmigrate("graph", "--format", "dot").out
    assert '"010" -> "20240131093000"' in graph
    down = wmigrate("down", "009", "--yes", "--json")
    assert [record["version"] for record in down.json["records"]] == [
        "12345678901234567890123456789", "20240131093000", "010",
    ]  # fmt: skip
    assert wmigrate("history", "--migration", "12345678901234567890123456789", "--json").json["events"] != []
    assert wmigrate("down", "000", "--yes").code == 0
    assert wmigrate("status", "--json").json["counts"] == {"applied": 1, "pending": 5}
    assert wmigrate("down", "nothing", "--yes").code == 0
    assert wmigrate("status", "--json").json["counts"] == {"pending": 6}
    for verb in (["down", "--yes"], ["up", "--to"], ["history", "--migration"]):
        assert wmigrate(*verb, "9" * 5000).code == (0 if verb[0] == "history" else 2)
