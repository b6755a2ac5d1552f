"""`squash`: one file for the first migrations, proven to make the same; databases are known by what they had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.session.scratch import PREFIX

Wmigrate = Callable[..., Any]
Conn = psycopg.Connection[Any]
TOLD = "applying the migrations up to {0} to a scratch database\n"
AGAIN = "applying {0}_squashed.sql to another one, to compare\n"
CONFIG = """\
# Kept: what a person wrote.
settings:
  execution:
    lock_timeout_seconds: 1
migrations:
  - version: "001"
    description: The shop
  - version: "002"
    dependencies: ["001"]

  - version: "003"  # the last one
    description: What is dear
    dependencies: ["001", "002"]
"""


@pytest.fixture(autouse=True)
def no_scratch_database_stays(conn: Conn) -> Any:
    yield
    query = "SELECT datname FROM pg_database WHERE datname LIKE %s"
    assert conn.execute(query, [f"{PREFIX}%"]).fetchall() == []


@pytest.fixture
def folder(shop: Path) -> Path:
    """The shop without rows, and with a config."""
    (shop / "002_price.sql").write_text(
        "ALTER TABLE shop ADD price int;\nCREATE INDEX CONCURRENTLY shop_id ON shop (id);"
    )
    (shop / "migration_config.yaml").write_text(CONFIG)
    return shop


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def statuses(wmigrate: Wmigrate) -> dict[str, str]:
    return {m["version"]: m["status"] for m in wmigrate("status", "--json").json["migrations"]}


def emptied(conn: Conn) -> None:
    conn.execute("DROP SCHEMA public CASCADE; DROP SCHEMA wmigrate CASCADE; CREATE SCHEMA public")


def test_what_was_put_aside_is_no_part_of_it(folder: Path, wmigrate: Wmigrate) -> None:
    (folder / "003_view.sql").unlink()
    (folder / "003_view.rollback.sql").unlink()
    (folder / "002_price.sql").write_text("DROP TABLE shop;\nCREATE TABLE sold (id int);")
    (folder / "migration_config.yaml").write_text("migrations: [{version: '002', keep: true}]")
    assert wmigrate("squash", "2").code == 0
    script = (folder / "002_squashed.sql").read_text()
    assert [line for line in script.splitlines() if line.startswith("CREATE")] == ["CREATE TABLE public.sold ("]


def test_the_first_ones_become_one(folder: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    before = contents(folder)
    digests = {m.version: m.script.checksum for m in read_folder(folder).migrations}
    assert wmigrate("up", "--yes").code == 0, "it had them all before"
    result = wmigrate("squash", "2")
    archive = folder.resolve().with_name("migrations_before_002")
    assert (result.code, result.err) == (0, TOLD.format("002") + AGAIN.format("002"))
    assert result.out == (
        "002_squashed.sql makes the same as 2 migrations, 001 to 002: proven on a scratch database.\n"
        f"The old files are in {archive}. Databases that had all of them need nothing;\n"
        f"those with a part of them go on with `wmigrate up --folder {archive}` first.\n"
    )
    now = contents(folder)
    script, config = now.pop("002_squashed.sql"), now.pop("migration_config.yaml")
    assert now == {name: before[name] for name in ("003_view.sql", "003_view.rollback.sql")}
    assert not [word for word in ("Owner", "restrict", "lock_timeout") if word in script]
    assert "CREATE TABLE public.shop (\n    id integer,\n    price integer\n);" in script
    assert config == CONFIG.split("  - version")[0] + (
        '\n  - version: "003"  # the last one\n    description: What is dear\n    dependencies: ["001", "002"]\n'
        '\n  - version: "002"\n    description: Squashed, 001 to 002\n'
        f'    squashes:\n      "001": {digests["001"]}\n      "002": {digests["002"]}\n'
    )
    there = contents(archive)
    assert there.pop("migration_config.yaml") == CONFIG.partition('\n  - version: "003"')[0] + "\n"
    assert there == {name: before[name] for name in before if name[:3] in ("001", "002")}

    assert statuses(wmigrate) == {"001": "forgotten", "002": "applied", "003": "applied"}
    assert wmigrate("up", "--yes").code == 0
    assert wmigrate("down", "0", "--yes").code == 2, "several would go"
    assert wmigrate("down", "000", "--yes").code == 0, "by the scripts of the ledger"
    assert conn.execute("SELECT to_regclass('shop')").fetchone() == (None,)
    assert wmigrate("up", "--yes").code == 0
    assert statuses(wmigrate) == {"002": "applied", "003": "applied"}


def test_verdicts_on_later_rollbacks_still_hold(folder: Path, wmigrate: Wmigrate) -> None:
    required = "validation: {migrations: {require_rollback_validation: true}}\n"
    (folder / "migration_config.yaml").write_text(required + CONFIG)
    assert wmigrate("verify", "--write", "--accept", "2", "--scratch", "target").code == 0
    assert wmigrate("squash", "2", "--scratch", "target").code == 0
    verdicts = (folder / "migration_verdicts.txt").read_text().splitlines()[2:]
    assert [line.split(" ")[:2] for line in verdicts] == [["003", "exact"]]
    found = wmigrate("check", "--offline", "--json").json["findings"]
    assert [f for f in found if f["code"] == "rollback_unproven"] == []
    archived = (folder.with_name(f"{folder.name}_before_002") / "migration_verdicts.txt").read_text()
    assert [line.split(" ")[0] for line in archived.splitlines()[2:]] == ["001", "002", "003"]


def test_a_database_with_a_part_of_them(folder: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    assert wmigrate("up", "--to", "2", "--yes").code == 0
    config = folder / "migration_config.yaml"
    config.write_text("validation: {migrations: {require_rollback_validation: true}}\n" + CONFIG)
    assert wmigrate("verify", "--write", "--accept", "002").code == 0, "its rollback leaves an index"
    assert wmigrate("squash", "3", "--archive", "old").code == 0
    config.write_text(config.read_text().replace("validation: true", "validation: false"))
    refused = wmigrate("up", "--yes")
    assert (refused.code, refused.err) == (
        3,
        "wmigrate: 003_squashed.sql: migration 003 squashes 3 migrations, and here 003 is not applied; take the folder"
        " as it was before the squash, and apply them or settle their findings there (`wmigrate plan` names them);"
        " then go on with this folder\n",
    )
    assert wmigrate("up", "--folder", "old", "--yes").code == 0
    assert wmigrate("up", "--yes").code == 0
    assert statuses(wmigrate) == {"001": "forgotten", "002": "forgotten", "003": "applied"}


def test_an_edited_one_is_another(folder: Path, wmigrate: Wmigrate) -> None:
    assert wmigrate("up", "--yes").code == 0
    with (folder / "001_shop.sql").open("a") as file:
        file.write("\nCOMMENT ON TABLE shop IS 'edited';")
    config = folder / "migration_config.yaml"
    config.write_text("validation: {migrations: {require_rollback_validation: true}}\n" + CONFIG)
    assert wmigrate("verify", "--write", "--accept", "002").code == 0, "its rollback leaves an index"
    assert wmigrate("squash", "3", "--archive", "old").code == 0
    config.write_text(config.read_text().replace("validation: true", "validation: false"))
    refused = wmigrate("up", "--yes")
    assert (refused.code, "and here 001 is applied with another text" in refused.err) == (3, True)
    assert wmigrate("repair", "1", "--accept", "--folder", "old", "--reason", "the same", "--yes").code == 0
    assert wmigrate("up", "--yes").code == 0


def test_rows_are_refused_or_taken_along(shop: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    (shop / "001_shop.sql").write_text("CREATE TABLE shop (id serial, note text DEFAULT E'a\\nb');")
    rows = "INSERT INTO shop (price) VALUES (7); CREATE SEQUENCE free; SELECT nextval('free');"
    (shop / "003_view.sql").write_text(rows)
    before = contents(shop)
    refused = wmigrate("squash", "3")
    assert (refused.code, refused.out) == (3, "")
    assert refused.err == (
        f"{TOLD.format('003')}wmigrate: the migrations up to 003 leave rows or used sequences behind: public.free,"
        " public.shop, public.shop_id_seq; give --data to have them in the file\n"
    )
    assert contents(shop) == before
    dry = wmigrate("squash", "3", "--data", "--dry-run")
    assert (dry.code, dry.out.splitlines()[-1], contents(shop)) == (0, "Wrote nothing.", before)
    assert wmigrate("squash", "3", "--data").code == 0
    assert wmigrate("up", "--yes").code == 0
    assert conn.execute("SELECT id, price, note FROM shop WHERE price = 7").fetchall() == [(1, 7, "a\nb")]
    assert conn.execute("SELECT nextval('free'), nextval('shop_id_seq')").fetchone() == (2, 2)


def test_what_pg_dump_does_not_write_is_a_difference(folder: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    (folder / "003_view.sql").write_text(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 65', current_database()); END $$;"
    )
    before = contents(folder)
    refused = wmigrate("squash", "3", "--scratch", conn.info.dsn)
    assert (refused.code, refused.out, contents(folder)) == (3, "", before)
    assert "one file would not make what the migrations up to 003 make: " in refused.err


def test_what_one_file_cannot_stand_for(folder: Path, wmigrate: Wmigrate) -> None:
    def refused(*words: str) -> str:
        result = wmigrate("squash", *words)
        assert result.out == ""
        return f"{result.code} {result.err.removeprefix('wmigrate: ')}"

    assert refused("1") == "3 there is one migration up to 001 alone; give a higher version\n"
    (folder / "migration_config.yaml").write_text(
        'migrations:\n  - {version: "002", dependencies: ["003"]}\n  - {version: "003", dependencies: ["001"]}\n'
    )
    assert refused("2") == "3 migrations up to 002 need 003, which is above it; squash up to 003, or higher\n"
    taken = folder.resolve().with_name("migrations_before_003")
    taken.mkdir()
    (taken / "x").touch()
    assert refused("3") == f"2 {taken} is there already, and is not empty; name another one with --archive\n"
    inside = folder / "old"
    assert refused("3", "--archive", str(inside)) == (
        f"2 {inside} is inside the folder; name one outside of it with --archive\n"
    )
    (folder / "migration_config.yaml").write_text('migrations: [{version: "002"}, {version: "003", description: x}]')
    assert refused("2", "--archive", "old").endswith(
        "migration_config.yaml: nobody can say how its blocks are exchanged; write its `migrations` as a list with each"
        " block on lines of its own, and try again\n"
    )


def test_a_squash_is_not_squashed_before_all_are_settled(folder: Path, wmigrate: Wmigrate) -> None:
    assert wmigrate("up", "--yes").code == 0
    assert wmigrate("squash", "2").code == 0
    refused = wmigrate("squash", "3")
    assert (refused.code, refused.err) == (
        3,
        "wmigrate: 002_squashed.sql stands for older files itself; take `squashes` out of its block, and name 002"
        " where `dependencies` name the older ones; then, on each target that has the older files,"
        " `wmigrate repair 002 --accept`, and `--forget` for each of the others\n",
    )
    config = folder / "migration_config.yaml"
    config.write_text(config.read_text().partition("    squashes:")[0].replace('"001", "002"', '"002"'))
    why = ("--reason", "squashed again", "--yes")
    assert wmigrate("repair", "2", "--accept", *why).code == 0
    assert wmigrate("repair", "1", "--forget", *why).code == 0
    assert wmigrate("squash", "3").code == 0
    assert wmigrate("up", "--yes").code == 0
    assert statuses(wmigrate) == {"001": "forgotten", "002": "forgotten", "003": "applied"}


def test_without_pg_dump_it_is_named(folder: Path, wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    refused = wmigrate("squash", "3")
    assert (refused.code, refused.err) == (
        1,
        "wmigrate: pg_dump is not on the path; install PostgreSQL's client programs, of the"
        " server's major version or a newer one\n",
    )


def test_what_pg_dump_says(folder: Path, wmigrate: Wmigrate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump: error: aborting because of x' >&2\nexit 1\n")
    (programs / "pg_dump").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    refused = wmigrate("squash", "3")
    assert (refused.code, refused.err) == (
        1,
        f"{TOLD.format('003')}wmigrate: pg_dump failed: aborting because of x; try the program by hand, and look at"
        " the server's log\n",
    )
