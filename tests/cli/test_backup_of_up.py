"""A backup before what is taken away: made, looked at, recorded; and where it fails, nothing is touched."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from dev.cluster import Cluster
from dev.server_binaries import client_program
from tests.cli.conftest import COMMAND, Wmigrate
from tests.conftest import MakeFolder
from tests.waiting import wait_until

Conn = psycopg.Connection[Any]
Made = Callable[..., Path]

CONFIG = "settings:\n  backup: {{enabled: true, backup_location: {place}{more}}}\n"
FILES = {
    "001_orders.sql": "CREATE TABLE orders (id int PRIMARY KEY, note text);"
    " INSERT INTO orders SELECT n, 'note ' || n FROM generate_series(1, 50) n;",
    "001_orders.rollback.sql": "DROP TABLE orders;",
    "002_people.sql": "CREATE TABLE people (id int, name text); INSERT INTO people VALUES (1, 'Ann');",
    "003_drop.sql": "DROP TABLE orders;",
}
NAME = r"wmigrate-test_\d+-\d{8}T\d{6}Z-[0-9a-f]{6}"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def path(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the PATH for programs of the test's own, before the server's."""
    own = tmp_path / "programs"
    own.mkdir()
    where = client_program("pg_dump", cluster.bindir).parent
    monkeypatch.setenv("PATH", os.pathsep.join([str(own), str(where), os.environ["PATH"]]))
    return own


@pytest.fixture
def made(
    make_folder: MakeFolder,
    wmigrate: Wmigrate,
    kept: Path,
    path: Path,
    pg_environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Made:
    """A folder of which two migrations are applied; the third one drops a table with rows."""
    for name, value in pg_environment.items():
        monkeypatch.setenv(name, value)

    def make(more: str = "", blocks: str = "", **files: str) -> Path:
        config = CONFIG.format(place=kept, more=more) + blocks
        folder = make_folder({**FILES, **files, "migration_config.yaml": config})
        assert wmigrate("up", "--to", "2", "--yes").code == 0
        return folder

    return make


def program(path: Path, name: str, script: str) -> None:
    """Write one for the test's PATH."""
    (path / name).write_text(f"#!/bin/sh\n{script}\n")
    (path / name).chmod(0o755)


def dumped(cluster: Cluster, dsn: str) -> list[str]:
    answer = cluster.run("pg_dump", "--exclude-schema=wmigrate", dsn)
    assert answer.returncode == 0, answer.stderr
    return [line for line in answer.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def restore(*arguments: str) -> str:
    """By the `pg_restore` of the PATH; what it prints."""
    answer = subprocess.run(["pg_restore", *arguments], text=True, capture_output=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout


def audited(conn: Conn, *events: str) -> list[tuple[str, str | None, dict[str, Any]]]:
    query = "SELECT event, version, details - 'session' FROM wmigrate.audit_log WHERE event = ANY(%s) ORDER BY position"
    return conn.execute(query, [list(events)]).fetchall()


def there(conn: Conn, table: str) -> bool:
    return conn.execute("SELECT to_regclass(%s) IS NOT NULL", [table]).fetchone() == (True,)


# What is made


def test_backup_destroy_restore_gives_an_equal_dump(
    made: Made, wmigrate: Wmigrate, cluster: Cluster, conn: Conn, database: str, kept: Path
) -> None:
    made()
    before = dumped(cluster, database)
    assert list(kept.glob("*")) == [], "what takes nothing away needs none"
    planned = wmigrate("plan", "--json").json["backup_needed"]
    assert planned == {"003": "it takes away table public.orders with 50 rows (counted)"}
    up = wmigrate("up", "--yes", "--json").json
    (file,) = kept.glob("*")
    assert re.fullmatch(f"{NAME}.dump", file.name)
    assert file.stat().st_mode & 0o077 == 0, "others may not read it"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    backup = up["backup"]
    assert backup == {
        "name": file.name,
        "method": "pg_dump",
        "place": str(file),
        "scope": "database",
        "versions": {"003": up["records"][0]["checksum"]},
        "relations": [],
        "format": "custom",
        "bytes": file.stat().st_size,
        "sha256": digest,
        "seconds": backup["seconds"],
    }
    rows = audited(conn, "planned", "backed_up", "applied")[-3:]
    assert [(event, version) for event, version, _ in rows] == [
        ("planned", None),
        ("backed_up", None),
        ("applied", "003"),
    ]
    assert rows[0][2]["backup"]["needed"] == planned
    assert {k: v for k, v in rows[1][2].items() if k != "origin"} == backup
    assert not there(conn, "orders")
    restored = cluster.create_database(f"{conn.info.dbname}_restored", template="template0")
    try:
        assert restore("--dbname", restored, str(file)) == ""
        assert dumped(cluster, restored) == before
    finally:
        cluster.drop_database(f"{conn.info.dbname}_restored")


def test_only_the_relations_that_are_touched(made: Made, wmigrate: Wmigrate, cluster: Cluster, kept: Path) -> None:
    made(", backup_scope: relations, backup_jobs: 2")
    backup = wmigrate("up", "--yes", "--json").json["backup"]
    assert (backup["scope"], backup["relations"], backup["format"]) == ("relations", ["public.orders"], "directory")
    (folder,) = kept.glob("*")
    assert (str(folder), folder.is_dir()) == (backup["place"], True)
    assert sum(file.stat().st_size for file in folder.iterdir()) == backup["bytes"]
    listed = restore("--list", str(folder))
    assert ("TABLE DATA public orders" in listed, "people" in listed) == (True, False)


def test_what_nobody_can_foresee_needs_the_whole_database(made: Made, wmigrate: Wmigrate) -> None:
    made(", backup_scope: relations", **{"003_drop.sql": "DO $$ BEGIN EXECUTE 'DROP TABLE ' || 'orders'; END $$;"})
    assert wmigrate("plan", "--json").json["backup_needed"] == {
        "003": "line 1 may take away more than can be foreseen: a DO block runs"
    }
    assert wmigrate("up", "--yes", "--json").json["backup"]["scope"] == "database"


def test_the_config_asks_for_one_or_says_that_none_is_needed(made: Made, wmigrate: Wmigrate, kept: Path) -> None:
    blocks = "migrations:\n- {version: 003, backup: false}\n- {version: 004, backup: true}\n"
    made(blocks=blocks, **{"004_more.sql": "CREATE TABLE more (id int);"})
    assert wmigrate("up", "--to", "3", "--yes", "--json").json["backup"] is None
    assert list(kept.glob("*")) == []
    assert wmigrate("up", "--yes", "--json").json["backup"]["versions"].keys() == {"004"}


def test_before_a_rollback_if_it_is_asked_for(made: Made, wmigrate: Wmigrate, kept: Path) -> None:
    alone = "migrations:\n- {version: 002, dependencies: []}\n"
    folder = made(blocks=alone)
    assert wmigrate("down", "--only", "1", "--yes", "--json").json["backup"] is None
    assert wmigrate("up", "--to", "2", "--yes").code == 0
    config = CONFIG.format(place=kept, more=", backup_before_rollback: true") + alone
    (folder / "migration_config.yaml").write_text(config)
    backup = wmigrate("down", "--only", "1", "--yes", "--json").json["backup"]
    assert (backup["place"], [*backup["versions"]]) == (str(next(kept.glob("*"))), ["001"])


def test_by_a_command_of_ones_own(made: Made, wmigrate: Wmigrate, conn: Conn, path: Path, kept: Path) -> None:
    program(path, "snap", 'echo "asking for $1 of $PGDATABASE"; echo "snapshot-7 $WMIGRATE_BACKUP"; echo')
    made(", snapshot_command: snap it")
    backup = wmigrate("up", "--yes", "--json").json["backup"]
    name = backup["name"]
    assert re.fullmatch(NAME, name)
    assert (backup["method"], backup["place"], backup["bytes"]) == ("snapshot", f"snapshot-7 {name}", None)
    assert (list(kept.glob("*")), there(conn, "orders")) == ([], False)


# What fails

NOTHING = "no backup was made, so nothing was touched: "
INSTALL = "install PostgreSQL's client programs, of the server's major version or a newer one"


def fails(result: Any, conn: Conn, why: str, kept: Path) -> None:
    """The call has failed for this reason, the table stands, and no file is left that one could take for a backup."""
    assert (result.code, result.err.splitlines()[-1]) == (1, f"wmigrate: {NOTHING}{why}")
    assert there(conn, "orders")
    assert [*kept.glob("*")] == []
    assert audited(conn, "backed_up", "applied")[-1][1] == "002"
    assert audited(conn, "backup_failed")[-1][2] == {"error": f"{NOTHING}{why}", "versions": ["003"]}


def test_without_pg_dump_nothing_is_touched(
    made: Made, wmigrate: Wmigrate, conn: Conn, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made()
    monkeypatch.setenv("PATH", str(tmp_path))
    fails(wmigrate("up", "--yes"), conn, f"pg_dump is not on the path; {INSTALL}", kept)


BY_HAND = "try the program by hand, and look at the server's log"
MISMATCH = """echo 'pg_dump: error: aborting because of server version mismatch' >&2
echo 'pg_dump: detail: server version: 18.1; pg_dump version: 13.1' >&2
exit 1"""


@pytest.mark.parametrize(
    ("name", "script", "why"),
    [
        (
            "pg_dump",
            MISMATCH,
            "pg_dump failed: aborting because of server version mismatch;"
            " take programs of the server's major version or a newer one",
        ),
        (
            "pg_restore",
            "exit 3",
            "pg_restore failed: it ends with 3; try the program by hand, and look at the server's log",
        ),
    ],
)
def test_an_old_pg_dump_or_a_backup_that_cannot_be_listed(
    made: Made, wmigrate: Wmigrate, conn: Conn, kept: Path, path: Path, name: str, script: str, why: str
) -> None:
    made()
    program(path, name, script)
    fails(wmigrate("up", "--yes"), conn, why, kept)


def test_without_the_right_to_read_a_table(
    made: Made, wmigrate: Wmigrate, conn: Conn, kept: Path, cluster: Cluster, database: str
) -> None:
    made()
    role = f"{conn.info.dbname}_reader"
    conn.execute(f"CREATE ROLE {role} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA wmigrate TO {role};"
                 f" GRANT USAGE ON SCHEMA wmigrate TO {role}; ALTER TABLE orders OWNER TO {role}")  # fmt: skip
    try:
        result = wmigrate("up", "--yes", "--dsn", make_conninfo(database, user=role))
        why = "pg_dump failed: query failed: ERROR:  permission denied for table people"
        fails(
            result,
            conn,
            f"{why}; let the role read it: GRANT pg_read_all_data, or connect as the owner of the tables",
            kept,
        )
    finally:
        conn.execute(f"ALTER TABLE orders OWNER TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_place_that_cannot_be_used(made: Made, wmigrate: Wmigrate, conn: Conn, kept: Path, tmp_path: Path) -> None:
    folder = made()
    (tmp_path / "file").touch()
    (folder / "migration_config.yaml").write_text(CONFIG.format(place=tmp_path / "file", more=""))
    way = "correct settings.backup.backup_location, or the rights there"
    fails(wmigrate("up", "--yes"), conn, f"{tmp_path / 'file'} cannot be used: File exists; {way}", kept)
    (folder / "migration_config.yaml").write_text("settings:\n  backup: {enabled: true}\n")
    why = "there is no place for a backup; give settings.backup.backup_location a folder or a URL"
    fails(wmigrate("up", "--yes"), conn, why, kept)


def test_without_room_nothing_is_touched(made: Made, process: Any, conn: Conn, kept: Path) -> None:
    made()
    conn.execute("INSERT INTO orders SELECT n, md5(n::text) || md5((-n)::text) FROM generate_series(51, 2000) n")
    limited = ["sh", "-c", 'ulimit -f 64; exec "$@"', "-", *COMMAND, "up", "--yes"]
    result = subprocess.run(limited, text=True, capture_output=True, check=False)
    assert result.returncode == 1
    words = result.stderr.splitlines()[-1]
    assert words.startswith(f"wmigrate: {NOTHING}pg_dump failed: "), result.stderr
    assert (there(conn, "orders"), [*kept.glob("*")]) == (True, [])


def test_a_call_that_is_stopped_stops_pg_dump(made: Made, conn: Conn, kept: Path, database: str) -> None:
    """Who holds a lock on a table keeps pg_dump waiting."""
    made()
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE people")
        with subprocess.Popen([*COMMAND, "up", "--yes"], stderr=subprocess.PIPE, text=True) as call:
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            wait_until(lambda: conn.execute(waiting).fetchone() == (1,))
            assert [file.suffix for file in kept.glob("*")] == [".partial"], "it does not look whole"
            call.send_signal(signal.SIGTERM)
            _, err = call.communicate(timeout=60)
        assert conn.execute(waiting).fetchone() == (0,), "pg_dump has cancelled what it ran on the server"
    assert (call.returncode, there(conn, "orders"), [*kept.glob("*")]) == (1, True, []), err
    assert f"{NOTHING}pg_dump was stopped on request" in err


def test_nothing_secret_is_on_a_command_line(
    made: Made, wmigrate: Wmigrate, conn: Conn, path: Path, tmp_path: Path, database: str, cluster: Cluster
) -> None:
    made()
    seen = tmp_path / "seen"
    real = client_program("pg_dump", cluster.bindir)
    program(path, "pg_dump", f'echo "$@" > {seen}; echo "$PGPASSWORD" >> {seen}; exec {real} "$@"')
    result = wmigrate("up", "--yes", "--dsn", make_conninfo(database, password="hunter2", sslmode="disable"))
    assert result.code == 0, result.err
    arguments, password = seen.read_text().splitlines()
    assert password == "hunter2"
    assert ("hunter2" in arguments, "sslmode=disable" in arguments) == (False, True)
    told = result.out + result.err + str(audited(conn, "planned", "backed_up", "applied"))
    assert "hunter2" not in told


def test_those_that_there_are(made: Made, wmigrate: Wmigrate, conn: Conn) -> None:
    made()
    assert wmigrate("backups").out.startswith("No backup of database ")
    backup = wmigrate("up", "--yes", "--json").json["backup"]
    (told,) = wmigrate("backups", "--json").json["backups"]
    assert backup.items() <= told.items()
    assert wmigrate("backups").out.splitlines()[-1] == (
        "To restore one: createdb NEW; pg_restore --exit-on-error --dbname=NEW PLACE"
    )


def test_what_a_killed_run_left_half_written_goes_with_the_next_one(made: Made, wmigrate: Wmigrate, kept: Path) -> None:
    made()
    day = time.time() - 25 * 3600
    names = [f"wmigrate-shop-20260101T000000Z-{end}.partial" for end in ("abcdef.dump", "012345", "abcde0.dump")]
    left = [*names, "notes.partial"]
    kept.mkdir(parents=True, exist_ok=True)
    (kept / names[1]).mkdir()
    (kept / names[1] / "toc.dat").write_text("")
    os.utime(kept / names[1] / "toc.dat", (day, day))
    for name in left:
        (kept / name).touch()
        os.utime(kept / name, (day, day))
    os.utime(kept / names[2])  # somebody may still write there
    up = wmigrate("up", "--yes", "--json")
    assert {file.name for file in kept.glob("*.partial")} == {names[2], "notes.partial"}
    assert up.json["backup"]["name"] in {file.name for file in kept.glob("*")}


# Those that are old


def test_only_old_backups_that_wmigrate_made_of_this_database_go(
    made: Made, wmigrate: Wmigrate, conn: Conn, kept: Path
) -> None:
    blocks = (
        "migrations:\n- {version: 003, backup: true}\n- {version: 004, backup: true}\n- {version: 005, backup: true}\n"
    )
    more = {f"00{n}_t.sql": f"CREATE TABLE t{n} (id int);" for n in (3, 4, 5)}
    made(
        ", backup_retention_days: 7",
        blocks,
        **{"003_drop.sql": "SELECT 1;", **{k: v for k, v in more.items() if "3" not in k}},
    )
    first = wmigrate("up", "--to", "3", "--yes", "--json").json["backup"]
    second = wmigrate("up", "--to", "4", "--yes", "--json").json["backup"]
    other = kept / "wmigrate-other-20200101T000000Z-abcdef.dump"
    other.write_text("somebody else's")
    with conn.transaction():
        conn.execute("SET LOCAL session_replication_role = replica")
        conn.execute("UPDATE wmigrate.audit_log SET at = at - interval '8 days' WHERE event = 'backed_up'")
        # A copy of another database has the rows of that one.
        conn.execute(
            "UPDATE wmigrate.audit_log SET details = jsonb_set(details, '{origin}', '\"1/2 at elsewhere:5432\"')"
            " WHERE details ->> 'name' = %s", [second["name"]]
        )  # fmt: skip
    up = wmigrate("up", "--yes")
    assert up.code == 0, up.err
    assert f"deleted: {first['place']}" in up.err
    assert [each["name"] for each in wmigrate("backups", "--json").json["backups"]] == [*_last(conn), second["name"]]
    assert {file.name for file in kept.glob("*")} == {second["name"], other.name, *_last(conn)}
    assert audited(conn, "backup_removed") == [
        ("backup_removed", None, {"name": first["name"], "place": first["place"]})
    ]


def _last(conn: Conn) -> list[str]:
    return [audited(conn, "backed_up")[-1][2]["name"]]
