"""Projects of other tools come to wmigrate: the real tool applies, and from then on wmigrate goes on.

Sqitch's registry is that of a real run of Sqitch 1.3.1, whose programs would cost CI sixty packages of Perl;
golang-migrate, goose, diesel, Flyway and Liquibase are in no package index for ordinary users: their documented tables
are in tests/postgres/test_adopt.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dev.programs import run_npm
from tests.needs import need

Wmigrate = Callable[..., Any]
Conn = psycopg.Connection[Any]
HERE = Path(__file__).parent


@pytest.fixture
def theirs(tmp_path: Path, pg_environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The other tool's folder, beside the current one."""
    for name, value in pg_environment.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "theirs"
    folder.mkdir()
    return folder


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def run(*command: str, cwd: Path, **variables: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def url(environment: Mapping[str, str], scheme: str = "postgresql", more: str = "") -> str:
    e = environment
    return f"{scheme}://{e['PGUSER']}@{e['PGHOST']}:{e['PGPORT']}/{e['PGDATABASE']}{more}"


def goes_on(wmigrate: Wmigrate, tool: str, source: str, conn: Conn, versions: list[str]) -> list[dict[str, Any]]:
    """The whole way: convert, adopt, nothing to do, one more and back; what was taken over."""
    tables = user_tables(conn)
    assert wmigrate("convert", "--from", tool, source, "ours", "--dry-run", "--json").json["dry_run"] is True
    assert not Path("ours").exists()
    done = wmigrate("convert", "--from", tool, source, "ours")
    assert (done.code, done.err) == (0, "")
    assert wmigrate("convert", "--from", tool, source, "ours", "--json").json["unchanged"], "again changes nothing"
    ours = ("--folder", "ours")
    assert wmigrate("check", *ours, "--offline").code == 0
    seen = wmigrate("adopt", "--from", tool, *ours, "--dry-run", "--json").json
    assert (seen["dry_run"], seen["adoption"]["audit_head"]) == (True, None)
    assert conn.execute("SELECT to_regnamespace('wmigrate')").fetchone() == (None,)
    taken = wmigrate("adopt", "--from", tool, *ours, "--yes", "--json").json["adoption"]
    assert [one["version"] for one in taken["adopted"]] == versions
    assert {m["status"] for m in wmigrate("status", *ours, "--json").json["migrations"]} == {"applied"}
    assert wmigrate("up", *ours, "--yes").out.startswith("Nothing to apply")
    assert wmigrate("audit", "verify").code == 0
    assert wmigrate("new", "more", *ours, "--template", "table", "--set", "table=more").code == 0
    assert wmigrate("up", *ours, "--yes").code == 0
    assert user_tables(conn) == tables | {"more"}
    assert wmigrate("down", "--steps", "1", *ours, "--yes").code == 0
    assert user_tables(conn) == tables
    nothing = wmigrate("adopt", "--from", tool, *ours)
    assert (nothing.code, nothing.out.splitlines()[-1].partition(",")[0]) == (
        0, f"Nothing to take over from {taken['table']}"
    )  # fmt: skip
    return list(taken["adopted"])


def user_tables(conn: Conn) -> set[str]:
    rows = conn.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    ).fetchall()
    return {name for (name,) in rows}


def rolled_back(wmigrate: Wmigrate, conn: Conn) -> set[str]:
    """The tables that are left when everything was rolled back with the scripts that came along."""
    assert wmigrate("down", "nothing", "--folder", "ours", "--yes").code == 0
    return user_tables(conn)


def test_dbmate(theirs: Path, wmigrate: Wmigrate, conn: Conn, pg_environment: Mapping[str, str]) -> None:
    files = {
        "20240131093000_users.sql": "-- migrate:up\nCREATE TABLE users (id int);\n\n"
        "-- migrate:down\nDROP TABLE users;\n",
        "20240201093000_by_id.sql": "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY by_id ON users (id);\n"
        "-- migrate:down transaction:false\nDROP INDEX CONCURRENTLY by_id;\n",
    }
    write(theirs, files)
    dbmate = str(Path(sys.executable).with_name("dbmate"))
    target = url(pg_environment, "postgres", "?sslmode=disable")
    run(dbmate, "--url", target, "--migrations-dir", ".", "--no-dump-schema", "migrate", cwd=theirs)
    taken = goes_on(wmigrate, "dbmate", "theirs", conn, ["20240131093000", "20240201093000"])
    assert {(one["applied_at"], one["actor"], one["checksum"]) for one in taken} == {(None, None, "not kept")}
    assert rolled_back(wmigrate, conn) == {"schema_migrations"}


def test_node_pg_migrate(theirs: Path, wmigrate: Wmigrate, conn: Conn, pg_environment: Mapping[str, str]) -> None:
    node, _ = need("node", "npm")
    if not (HERE / "node" / "node_modules").is_dir():
        run_npm(HERE / "node")
    files = {
        "1700000000000_users.sql": "-- Up Migration\nCREATE TABLE users (id int);\n\n"
        "-- Down Migration\nDROP TABLE users;\n",
        "1700000000001_mail.sql": "ALTER TABLE users ADD mail text;\n",
    }
    write(theirs, files)
    program = HERE / "node" / "node_modules" / ".bin" / "node-pg-migrate"
    run(node, str(program), "up", "-m", ".", cwd=theirs, DATABASE_URL=url(pg_environment))
    taken = goes_on(wmigrate, "node-pg-migrate", "theirs", conn, ["1700000000000", "1700000000001"])
    assert [one["called"] for one in taken] == ["1700000000000_users", "1700000000001_mail"]
    assert all(one["applied_at"] for one in taken)


def test_yoyo(theirs: Path, wmigrate: Wmigrate, conn: Conn, pg_environment: Mapping[str, str]) -> None:
    files = {
        "0001.users.sql": "CREATE TABLE users (id int);\n",
        "0001.users.rollback.sql": "DROP TABLE users;\n",
        "0002.mail.sql": "-- depends: 0001.users\n\nALTER TABLE users ADD mail text;\n",
        "0002.mail.rollback.sql": "ALTER TABLE users DROP mail;\n",
    }
    write(theirs, files)
    yoyo = str(Path(sys.executable).with_name("yoyo"))
    target = url(pg_environment, "postgresql+psycopg")
    run(yoyo, "apply", "--batch", "--no-config-file", "--database", target, ".", cwd=theirs)
    taken = goes_on(wmigrate, "yoyo", "theirs", conn, ["001", "002"])
    assert [one["called"] for one in taken] == ["0001.users", "0002.mail"]
    assert all(one["applied_at"] and "@" in one["actor"] for one in taken)
    assert "users" not in rolled_back(wmigrate, conn)


ENV = """\
from alembic import context
from sqlalchemy import create_engine

url = context.config.get_main_option("sqlalchemy.url")
if context.is_offline_mode():
    context.configure(url=url, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(url).connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""
REVISION = """\
from alembic import op
import sqlalchemy as sa

revision = "{name}"
down_revision = {before!r}


def upgrade():
    op.create_table("{table}", sa.Column("id", sa.Integer))


def downgrade():
    op.drop_table("{table}")
"""
ALEMBIC = """\
import sys
import zlib
from alembic import command
from alembic.config import Config

def config(file=None):
    found = Config(stdout=sys.stdout, output_buffer=file)
    found.set_main_option("script_location", ".")
    found.set_main_option("sqlalchemy.url", sys.argv[1])
    return found

command.upgrade(config(), "heads")
with open("upgrade.sql", "w") as file:
    command.upgrade(config(file), "base:heads", sql=True)
with open("downgrade.sql", "w") as file:
    command.downgrade(config(file), "heads:base", sql=True)
"""


def test_alembic(theirs: Path, wmigrate: Wmigrate, conn: Conn, pg_environment: Mapping[str, str]) -> None:
    """Two branches and their merge."""
    revisions = {"a1": (None, "users"), "b2": ("a1", "b"), "c3": ("a1", "c"), "d4": (("b2", "c3"), "d")}
    for name, (before, table) in revisions.items():
        write(theirs, {f"versions/{name}_{table}.py": REVISION.format(name=name, before=before, table=table)})
    write(theirs, {"env.py": ENV})
    run(sys.executable, "-c", ALEMBIC, url(pg_environment, "postgresql+psycopg"), cwd=theirs)
    taken = goes_on(wmigrate, "alembic", "theirs", conn, ["001", "002", "003", "004"])
    names = {one["version"]: one["called"] for one in taken}
    assert sorted(names.values()) == ["a1", "b2", "c3", "d4"]
    needs = conn.execute("SELECT version, dependencies FROM wmigrate.schema_migrations").fetchall()
    assert {names[v]: {names[d] for d in ds} for v, ds in needs} == {
        "a1": set(), "b2": {"a1"}, "c3": {"a1"}, "d4": {"b2", "c3"}
    }  # fmt: skip
    assert rolled_back(wmigrate, conn) == {"alembic_version"}


DJANGO = """\
import sys, django
from contextlib import redirect_stdout
from django.conf import settings
from django.core.management import call_command

user, host, port, name = sys.argv[1:]
database = {"ENGINE": "django.db.backends.postgresql", "NAME": name, "USER": user, "HOST": host, "PORT": port}
database["TIME_ZONE"] = "GMT"  # the one that every server knows, with a list of time zones or without
settings.configure(INSTALLED_APPS=["shop", "mail"], DATABASES={"default": database})
django.setup()
call_command("migrate", verbosity=0)
with open("sql/plan.txt", "w") as file, redirect_stdout(file):
    call_command("showmigrations", format="plan", verbosity=2)
for app, name in (("shop", "0001_initial"), ("mail", "0001_initial"), ("shop", "0002_index")):
    for back, end in ((False, ""), (True, ".rollback")):
        with open(f"sql/{app}.{name}{end}.sql", "w") as file:
            call_command("sqlmigrate", app, name, backwards=back, stdout=file)
"""
APP = """\
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = {needs}
    operations = [{what}]
"""
MODEL = "migrations.CreateModel('{}', [('id', models.BigAutoField(primary_key=True)), ('n', models.IntegerField())])"


def test_django(theirs: Path, wmigrate: Wmigrate, conn: Conn, pg_environment: Mapping[str, str]) -> None:
    """Two apps that need each other's migrations."""
    index = "migrations.AddIndex('Item', models.Index(fields=['n'], name='by_n'))"
    files = {
        "shop/migrations/0001_initial.py": APP.format(needs=[], what=MODEL.format("Item")),
        "mail/migrations/0001_initial.py": APP.format(needs=[("shop", "0001_initial")], what=MODEL.format("Letter")),
        "shop/migrations/0002_index.py": APP.format(
            needs=[("shop", "0001_initial"), ("mail", "0001_initial")], what=index
        ),
        **dict.fromkeys([f"{app}/{p}__init__.py" for app in ("shop", "mail") for p in ("", "migrations/")], ""),
        "sql/.keep": "",
    }
    write(theirs, files)
    place = [pg_environment[name] for name in ("PGUSER", "PGHOST", "PGPORT", "PGDATABASE")]
    run(sys.executable, "-c", DJANGO, *place, cwd=theirs, PYTHONPATH=".")
    taken = goes_on(wmigrate, "django", "theirs/sql", conn, ["001", "002", "003"])
    assert [one["called"] for one in taken] == ["shop.0001_initial", "mail.0001_initial", "shop.0002_index"]
    assert all(one["applied_at"] for one in taken)
    needs = conn.execute("SELECT dependencies FROM wmigrate.schema_migrations WHERE version = '003'").fetchone()
    assert needs == (["002", "001"],)
    assert rolled_back(wmigrate, conn) == {"django_migrations"}


SQITCH_PLAN = """\
%syntax-version=1.0.0
%project=shop

users 2026-11-27T10:19:22Z ann <ann@x.org> # add users
mails [users] 2026-11-27T10:19:23Z ann <ann@x.org> # mails
"""
SQITCH = """\
-- {Way} shop:{name} {to} pg
{more}
BEGIN;
{sql}
COMMIT;
"""
REGISTRY = """\
CREATE SCHEMA sqitch;
CREATE TABLE sqitch.changes (change_id text PRIMARY KEY, script_hash text, change text NOT NULL, project text NOT NULL,
  note text NOT NULL DEFAULT '', committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  committer_name text NOT NULL, committer_email text NOT NULL, planned_at timestamptz NOT NULL,
  planner_name text NOT NULL, planner_email text NOT NULL, UNIQUE (project, script_hash));
INSERT INTO sqitch.changes VALUES
 ('b0d81095e6b3f889fd58d0db2f330a911563e8b2', 'b4989306aa1a74f9c482b301760a98942606a297', 'users', 'shop', 'add users',
  '2026-11-27 10:19:24.061546+00', 'ann', 'ann@x.org', '2026-11-27 10:19:22+00', 'ann', 'ann@x.org'),
 ('438e2c439e4a4c10202393fc82a3c83c80997198', '3cb7a88b231f49be85b63077790fbac2a94e1024', 'mails', 'shop', 'mails',
  '2026-11-27 10:19:24.110323+00', 'ann', 'ann@x.org', '2026-11-27 10:19:23+00', 'ann', 'ann@x.org');
"""
"""What `sqitch deploy` 1.3.1 left of this plan and these scripts: their hashes are its own."""


def test_sqitch(theirs: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    def script(way: str, name: str, sql: str, more: str = "") -> str:
        return SQITCH.format(Way=way, to="to" if way == "Deploy" else "from", name=name, sql=sql, more=more)

    files = {
        "sqitch.plan": SQITCH_PLAN,
        "deploy/users.sql": script("Deploy", "users", "CREATE TABLE users (id int);"),
        "revert/users.sql": script("Revert", "users", "DROP TABLE users;"),
        "deploy/mails.sql": script("Deploy", "mails", "CREATE TABLE mails (id int);", "-- requires: users\n"),
        "revert/mails.sql": script("Revert", "mails", "DROP TABLE mails;"),
    }
    write(theirs, files)
    conn.execute(REGISTRY.encode() + b"CREATE TABLE users (id int); CREATE TABLE mails (id int)")
    taken = goes_on(wmigrate, "sqitch", "theirs", conn, ["20261127101922", "20261127101923"])
    assert [(one["actor"], one["checksum"]) for one in taken] == [("ann <ann@x.org>", "compared")] * 2
    assert rolled_back(wmigrate, conn) == set()


# From documented tables


def checksum_of_flyway(text: str) -> int:
    value = zlib.crc32(text.replace("\n", "").encode())
    return value - 2**32 if value >= 2**31 else value


A, B = "CREATE TABLE a (id int);\n", "ALTER TABLE a ADD n int;\n"
DOWN_A, DOWN_B = "DROP TABLE a;\n", "ALTER TABLE a DROP n;\n"
DOCUMENTED: dict[str, tuple[dict[str, str], str, list[str]]] = {
    "flyway": (
        {"V1.1__a.sql": A, "V1.2__b.sql": B, "U1.1__a.sql": DOWN_A, "U1.2__b.sql": DOWN_B},
        "CREATE TABLE flyway_schema_history (installed_rank int PRIMARY KEY, version varchar(50), description varchar,"
        " type varchar, script varchar, checksum int, installed_by varchar, installed_on timestamp DEFAULT now(),"
        " execution_time int, success bool); INSERT INTO flyway_schema_history VALUES"
        f" (1, '1.1', 'a', 'SQL', 'V1.1__a.sql', {checksum_of_flyway(A)}, 'bob', now(), 3, true),"
        f" (2, '1.2', 'b', 'SQL', 'V1.2__b.sql', {checksum_of_flyway(B)}, 'bob', now(), 4, true)",
        ["001", "002"],
    ),
    "liquibase": (
        {
            "db/a.sql": f"--liquibase formatted sql\n--changeset bob:1\n{A}--rollback DROP TABLE a;\n"
            f"--changeset bob:2\n{B}--rollback ALTER TABLE a DROP n;\n"
        },
        "CREATE TABLE databasechangelog (id varchar, author varchar, filename varchar, dateexecuted timestamp,"
        " orderexecuted int, exectype varchar, md5sum varchar); INSERT INTO databasechangelog VALUES"
        " ('1', 'bob', 'db/a.sql', now(), 1, 'EXECUTED', '9:x'), ('2', 'bob', 'db/a.sql', now(), 2, 'EXECUTED', '9:y')",
        ["001", "002"],
    ),
    "golang-migrate": (
        {"1_a.up.sql": A, "1_a.down.sql": DOWN_A, "20240131093000_b.up.sql": B, "20240131093000_b.down.sql": DOWN_B},
        "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty bool NOT NULL);"
        " INSERT INTO schema_migrations VALUES (20240131093000, false)",
        ["001", "20240131093000"],
    ),
    "goose": (
        {
            "20240131093000_a.sql": f"-- +goose Up\n{A}-- +goose Down\n{DOWN_A}",
            "20240201093000_b.sql": f"-- +goose Up\n{B}-- +goose Down\n{DOWN_B}",
        },
        "CREATE TABLE goose_db_version (id serial PRIMARY KEY, version_id bigint, is_applied bool, tstamp timestamp"
        " DEFAULT now()); INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true),"
        " (20240131093000, true), (20240201093000, true)",
        ["20240131093000", "20240201093000"],
    ),
    "diesel": (
        {
            "2024-01-31-093000_a/up.sql": A, "2024-01-31-093000_a/down.sql": DOWN_A,
            "2024-02-01-093000_b/up.sql": B, "2024-02-01-093000_b/down.sql": DOWN_B,
        },
        "CREATE TABLE __diesel_schema_migrations (version varchar(50) PRIMARY KEY, run_on timestamp DEFAULT now());"
        " INSERT INTO __diesel_schema_migrations VALUES ('20240131093000'), ('20240201093000')",
        ["20240131093000", "20240201093000"],
    ),
}  # fmt: skip
"""Folder, table and the versions that come of it; the tables are those of tests/postgres/test_adopt.py."""


@pytest.mark.parametrize("tool", DOCUMENTED)
def test_the_whole_way_from_a_documented_table(theirs: Path, wmigrate: Wmigrate, conn: Conn, tool: str) -> None:
    files, table, versions = DOCUMENTED[tool]
    write(theirs, files)
    conn.execute(f"{A}{B}{table}".encode())
    goes_on(wmigrate, tool, "theirs", conn, versions)
    assert "a" not in rolled_back(wmigrate, conn)


# What the commands say


def test_the_words_of_adopt_and_convert(theirs: Path, wmigrate: Wmigrate, conn: Conn) -> None:
    write(theirs, {"1_a.up.sql": "SELECT 1;", "1_a.down.sql": "SELECT 2;", "2_b.up.sql": "SELECT 3;"})
    assert wmigrate("convert", "--from", "golang-migrate", "theirs", "ours").out.splitlines() == [
        "From        File       Rollback",
        "1_a.up.sql  001_a.sql  yes",
        "2_b.up.sql  002_b.sql  no",
        "Wrote 2 migrations into ours. Look at them with `wmigrate check --folder ours`,",
        "and take over what was applied: `wmigrate adopt --from golang-migrate --folder ours --dry-run`",
    ]
    conn.execute("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty bool)")
    conn.execute("INSERT INTO schema_migrations VALUES (1, false)")
    adopt = ("adopt", "--from", "golang-migrate", "--folder", "ours")
    asked = wmigrate(*adopt)
    assert (asked.code, asked.out) == (2, "")
    place = f"database {conn.info.dbname} on 127.0.0.1:{conn.info.port} as postgres"
    assert asked.err == (
        "wmigrate: this would change the target (Take over 1 migration from public.schema_migrations, without running"
        f" them, on {place}), and there is nobody to ask; give --yes\n"
    )
    table = [
        "Version  Name  In golang-migrate  Applied (UTC)  By        Checksum",
        "001      a     1                  not kept       not kept  not kept",
        "Pending, golang-migrate has not applied them: 002",
    ]
    assert wmigrate(*adopt, "--dry-run").out.splitlines() == [
        *table, f"Would take over 1 migration from public.schema_migrations, changed nothing, on {place}."
    ]  # fmt: skip
    assert wmigrate(*adopt, "--yes").out.splitlines() == [
        *table, f"Took over 1 migration from public.schema_migrations, ran nothing, on {place}."
    ]  # fmt: skip
    assert wmigrate("history").out.splitlines()[1].endswith("taken over from golang-migrate")


def test_convert_overwrites_nothing(theirs: Path, wmigrate: Wmigrate) -> None:
    write(theirs, {"1_a.up.sql": "SELECT 1;"})
    Path("ours").mkdir()
    Path("ours/001_a.sql").write_text("SELECT 2;")
    refused = wmigrate("convert", "--from", "golang-migrate", "theirs", "ours")
    assert (refused.code, refused.err) == (
        1,
        "wmigrate: ours/001_a.sql: is there already, with another text; give a folder that is empty, or that an earlier"
        " `convert` wrote and nobody edited\n",
    )
    assert Path("ours/001_a.sql").read_text() == "SELECT 2;"


def test_convert_writes_nothing_that_would_not_be_a_folder(theirs: Path, wmigrate: Wmigrate) -> None:
    write(theirs, {"1_a.up.sql": "SELECT 1;"})
    Path("ours").mkdir()
    Path("ours/001_b.sql").write_text("SELECT 2;")
    for dest, says in (
        ("theirs", "theirs: is the folder that is read; give another one to write"),
        ("ours", "001_b.sql: version 001 is taken by 001_a.sql; renumber one of them"),
        ("theirs/1_a.up.sql", "theirs/1_a.up.sql: is not a folder; give a folder, or a name that is not taken"),
    ):
        refused = wmigrate("convert", "--from", "golang-migrate", "theirs", dest)
        assert (refused.code, refused.err) == (1, f"wmigrate: {says}\n")
    assert [p.name for p in Path("ours").iterdir()] == ["001_b.sql"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["adopt"], "--from is missing; see `wmigrate adopt --help`"),
        (["adopt", "--from", "flywya"], "unknown from flywya; did you mean flyway?"),
        (["convert", "--from", "goose", "x"], "DEST is missing; see `wmigrate convert --help`"),
    ],
)
def test_wrong_words(wmigrate: Wmigrate, words: list[str], says: str) -> None:
    result = wmigrate(*words)
    assert (result.code, result.err) == (2, f"wmigrate: {says}\n")
