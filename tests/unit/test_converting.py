"""Folders of other tools become ours: SQL byte for byte, both ways apart, versions and dependencies kept.

The folders are written anew from what each tool's documentation and programs accept; tests/cli/test_come_from.py has
folders that the tools themselves have run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from airflow_provider_wmigrate.engine.adopting.converting import Converted, convert
from airflow_provider_wmigrate.engine.adopting.tools import TOOLS
from airflow_provider_wmigrate.engine.errors import FolderError
from airflow_provider_wmigrate.engine.folder.folder import read_folder

Convert = Callable[[str, Mapping[str, str | bytes]], Converted]
CONFIG = "migration_config.yaml"


@pytest.fixture
def lay(tmp_path: Path) -> Callable[[Mapping[str, str | bytes]], Path]:
    def lay(files: Mapping[str, str | bytes]) -> Path:
        source = tmp_path / "theirs"
        source.mkdir()
        for name, text in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return source

    return lay


@pytest.fixture
def of(lay: Callable[[Mapping[str, str | bytes]], Path]) -> Convert:
    return lambda tool, files: convert(TOOLS[tool], lay(files))


def texts(found: Converted) -> dict[str, str]:
    return {name: content.decode() for name, content in found.files.items()}


def refusal(of: Convert, tool: str, files: Mapping[str, str | bytes]) -> list[str]:
    with pytest.raises(FolderError) as refused:
        of(tool, files)
    return [str(finding) for finding in refused.value.findings]


# Both ways in one file

GOOSE = """\
-- a licence
-- +goose Up
-- +goose StatementBegin
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION f();
"""


@pytest.mark.parametrize(
    ("tool", "name", "text", "up", "down"),
    [
        ("dbmate", "20240131093000_a.sql", "-- migrate:up\nA;\r\n-- migrate:down\nB;", "A;\r\n", "B;"),
        ("dbmate", "20240131093000_a.sql", "--migrate:up transaction:true\nA;\n", "A;\n", None),
        ("dbmate", "20240131093000_a.sql", "-- migrate:up\nA;\n-- migrate:down\n\n", "A;\n", None),
        ("goose", "20240131093000_a.sql", GOOSE,
         GOOSE.split("Up\n")[1].split("-- +goose Down")[0], "DROP FUNCTION f();\n"),
        ("node-pg-migrate", "20240131093000_a.sql", "-- Up Migration\nA;\n-- Down Migration\nB;\n", "A;\n", "B;\n"),
        ("node-pg-migrate", "20240131093000_a.sql", "A;\n", "A;\n", None),
        ("seed", "20240131093000_a.sql", "A;\n", "A;\n", None),
    ],
)  # fmt: skip
def test_a_file_is_cut_at_its_markers(of: Convert, tool: str, name: str, text: str, up: str, down: str | None) -> None:
    found = {n: t for n, t in texts(of(tool, {name: text.encode()})).items() if n != CONFIG}
    expected = {"20240131093000_a.sql": up}
    assert found == expected | ({} if down is None else {"20240131093000_a.rollback.sql": down})


def test_bytes_that_are_no_text_are_kept(of: Convert) -> None:
    assert of("goose", {"1_a.sql": b"-- +goose Up\n-- \xff\n"}).files["001_a.sql"] == b"-- \xff\n"


@pytest.mark.parametrize(
    ("tool", "files"),
    [
        ("dbmate", {"001_a.sql": "-- migrate:up transaction:false\nA;"}),
        ("goose", {"001_a.sql": "-- +goose NO TRANSACTION\n-- +goose Up\nA;"}),
        ("diesel", {"001_a/up.sql": "A;", "001_a/metadata.toml": "run_in_transaction = false\n"}),
        ("flyway", {"V1__a.sql": "A;", "V1__a.sql.conf": "executeInTransaction=false\n"}),
        ("yoyo", {"001_a.sql": "-- transactional: false\nA;"}),
        ("liquibase", {"a.sql": "--liquibase formatted sql\n--changeset me:1 runInTransaction:false\nA;"}),
    ],
)
def test_what_runs_outside_a_transaction_still_does(of: Convert, tool: str, files: dict[str, str]) -> None:
    assert "    transactional: {apply: false}\n" in texts(of(tool, files))[CONFIG]


# Names and numbers


def test_flyway(of: Convert) -> None:
    files = {
        "core/V1__Users.sql": "A;",
        "V1_1__mail.sql": "B;",
        "U1_1__mail.sql": "C;",
        "V2__x.sql": "D;",
        "R__views.sql": "E;",
        "beforeMigrate.sql": "F;",
    }
    found = of("flyway", files)
    assert texts(found) == {
        "001_users.sql": "A;",
        "002_mail.sql": "B;",
        "002_mail.rollback.sql": "C;",
        "003_x.sql": "D;",
        "004_views.sql": "E;",
        CONFIG: "migrations:\n"
        + "".join(
            f'  - version: "{v}"\n    filename: {v}_{name}.sql\n    origin: "{origin}"\n'
            for v, name, origin in (
                ("001", "users", "V1__Users.sql"), ("002", "mail", "V1_1__mail.sql"), ("003", "x", "V2__x.sql"),
                ("004", "views", "R__views.sql"),
            )
        ),
    }  # fmt: skip
    assert found.passed_over == ["beforeMigrate.sql: is a callback of Flyway, and no callbacks are run here"]


def test_golang_migrate(of: Convert) -> None:
    files = {"1_a.up.sql": "A;", "1_a.down.sql": "B;", "20240131093000_b.up.sql": "C;"}
    assert texts(of("golang-migrate", files)) == {
        "001_a.sql": "A;", "001_a.rollback.sql": "B;", "20240131093000_b.sql": "C;"
    }  # fmt: skip


def test_diesel(of: Convert) -> None:
    files = {
        "00000000000000_diesel_initial_setup/up.sql": "A;",
        "2024-01-31-093000_Add mail/up.sql": "B;",
        "2024-01-31-093000_Add mail/down.sql": "C;",
    }
    assert texts(of("diesel", files)) == {
        "00000000000000_diesel_initial_setup.sql": "A;",
        "20240131093000_add_mail.sql": "B;",
        "20240131093000_add_mail.rollback.sql": "C;",
    }


PLAN = """\
%syntax-version=1.0.0
%project=shop

users 2024-01-31T09:30:00Z ann <ann@x.org> # first
mails [users] 2024-01-31T09:31:00Z ann <ann@x.org>
@v1 2024-01-31T09:32:00Z ann <ann@x.org>
users [users@v1 !other] {at} ann <ann@x.org> # again
"""
CHANGES = ("deploy/users@v1", "deploy/mails", "deploy/users", "revert/users@v1", "revert/mails", "revert/users")


@pytest.mark.parametrize(
    ("at", "versions"),
    [
        ("2024-01-31T09:33:00Z", ("20240131093000", "20240131093100", "20240131093300")),
        ("2024-01-31T09:30:30Z", ("001", "002", "003")),
    ],
    ids=["times in order", "times that go back"],
)
def test_sqitch(of: Convert, at: str, versions: tuple[str, str, str]) -> None:
    found = texts(of("sqitch", {"sqitch.plan": PLAN.format(at=at), **{f"{c}.sql": f"-- {c}" for c in CHANGES}}))
    config = found.pop(CONFIG)
    first, second, third = versions
    assert found == {
        f"{first}_users.sql": "-- deploy/users@v1",
        f"{first}_users.rollback.sql": "-- revert/users@v1",
        f"{second}_mails.sql": "-- deploy/mails",
        f"{second}_mails.rollback.sql": "-- revert/mails",
        f"{third}_users.sql": "-- deploy/users",
        f"{third}_users.rollback.sql": "-- revert/users",
    }
    assert config == (
        f'migrations:\n  - version: "{first}"\n    filename: {first}_users.sql\n'
        '    origin: "users 2024-01-31T09:30:00Z"\n'
        f'  - version: "{second}"\n    filename: {second}_mails.sql\n    origin: "mails 2024-01-31T09:31:00Z"\n'
        f'    dependencies: ["{first}"]\n'
        f'  - version: "{third}"\n    filename: {third}_users.sql\n    origin: "users {at}"\n'
        f'    dependencies: ["{first}"]\n'
    )


def test_yoyo_keeps_dependencies_and_dated_names(of: Convert) -> None:
    files = {
        "20240131_01_ab3cd-users.sql": "A;",
        "20240131_01_ab3cd-users.rollback.sql": "B;",
        "20240131_02_x1y2z-mails.sql": "-- mails\n-- depends: 20240131_01_ab3cd-users\n\nC;\n-- depends: none\n",
    }
    found = of("yoyo", files)
    assert list(found.files) == [
        "2024013101_01_ab3cd-users.sql", "2024013101_01_ab3cd-users.rollback.sql", "2024013102_02_x1y2z-mails.sql",
        CONFIG,
    ]  # fmt: skip
    assert 'origin: "20240131_02_x1y2z-mails"\n    dependencies: ["2024013101"]\n' in texts(found)[CONFIG]


def test_what_needs_a_higher_number_is_numbered_anew(of: Convert) -> None:
    found = of("yoyo", {"1-a.sql": "-- depends: 2-b\nA;", "2-b.sql": "B;"})
    assert list(found.files) == ["001_b.sql", "002_a.sql", CONFIG]


FORMATTED = """\
--liquibase formatted sql

--changeset ann:1 labels:x
CREATE TABLE a (id int);
--rollback DROP TABLE a;

--changeset ann:add-mail
ALTER TABLE a ADD mail text;
/* liquibase rollback
ALTER TABLE a
DROP mail;
*/
--changeset bob:3
DELETE FROM a;
--rollback empty
"""


def test_liquibase_formatted_sql(of: Convert) -> None:
    found = texts(of("liquibase", {"db/a.sql": FORMATTED}))
    config = found.pop(CONFIG)
    assert found == {
        "001_ann_1.sql": "CREATE TABLE a (id int);\n\n",
        "001_ann_1.rollback.sql": "DROP TABLE a;\n",
        "002_ann_add-mail.sql": "ALTER TABLE a ADD mail text;\n",
        "002_ann_add-mail.rollback.sql": "ALTER TABLE a\nDROP mail;\n",
        "003_bob_3.sql": "DELETE FROM a;\n",
    }
    assert [line for line in config.splitlines() if "origin" in line] == [
        f'    origin: "a.sql::{one}"' for one in ("1::ann", "add-mail::ann", "3::bob")
    ]


PRINTED = """\
-- *********************************************************************
-- Update Database Script
-- *********************************************************************
-- Change Log: db/changelog.xml
-- Against: null@offline:postgresql
-- Liquibase version: 4.4.3
-- *********************************************************************

-- Lock Database
UPDATE public.databasechangeloglock SET LOCKED = TRUE WHERE ID = 1 AND LOCKED = FALSE;

-- Changeset db/changelog.xml::1::ann
CREATE TABLE public.a (id INTEGER);

INSERT INTO public.databasechangelog (ID, AUTHOR) VALUES ('1', 'ann');

-- Changeset db/changelog.xml::2::ann
ALTER TABLE public.a ADD mail TEXT;

INSERT INTO public.databasechangelog (ID, AUTHOR) VALUES ('2', 'ann');

-- Release Database Lock
UPDATE public.databasechangeloglock SET LOCKED = FALSE WHERE ID = 1;

"""
"""As Liquibase 4 prints it; see for example public repositories that keep such output."""


def test_what_liquibase_prints(of: Convert) -> None:
    back = (
        "-- Rolling Back ChangeSet: db/changelog.xml::1::ann\nDROP TABLE public.a;\n\n"
        "DELETE FROM public.databasechangelog WHERE ID = '1';\n"
    )
    found = texts(of("liquibase", {"update.sql": PRINTED, "rollback.sql": back, "changelog.xml": "<changeSet id='1'>"}))
    del found[CONFIG]
    assert found == {
        "001_ann_1.sql": "CREATE TABLE public.a (id INTEGER);\n",
        "001_ann_1.rollback.sql": "DROP TABLE public.a;\n",
        "002_ann_2.sql": "ALTER TABLE public.a ADD mail TEXT;\n",
    }


def test_alembic_in_transactions_of_their_own(of: Convert) -> None:
    """As `transaction_per_migration` and `autocommit_block` print them."""
    printed = (
        "BEGIN;\n\nCREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);\n\n"
        "-- Running upgrade  -> a1, users\n\nCREATE TABLE a (id int);\n\n"
        "INSERT INTO alembic_version (version_num) VALUES ('a1') RETURNING alembic_version.version_num;\n\nCOMMIT;\n\n"
        "BEGIN;\n\n-- Running upgrade a1 -> b2\n\nCOMMIT;\n\nCREATE INDEX CONCURRENTLY i ON a (id);\n\nBEGIN;\n\n"
        "UPDATE s.alembic_version SET version_num='b2' WHERE s.alembic_version.version_num = 'a1';\n\nCOMMIT;\n\n"
    )
    found = texts(
        of(
            "alembic",
            {"upgrade.sql": printed.replace("a1, users", "a1"), "versions/a1_add_users.py": "revision = 'a1'\n"},
        )
    )
    assert found == {
        "001_a1_add_users.sql": "CREATE TABLE a (id int);\n",
        "002_b2.sql": "CREATE INDEX CONCURRENTLY i ON a (id);\n",
        CONFIG: 'migrations:\n  - version: "001"\n    filename: 001_a1_add_users.sql\n    origin: "a1"\n'
        '    dependencies: []\n  - version: "002"\n    filename: 002_b2.sql\n    origin: "b2"\n'
        '    dependencies: ["001"]\n    transactional: {apply: false}\n',
    }


# What cannot be converted

ALEMBIC = (
    "upgrade.sql: is not there, and Alembic's own files are Python; make it with"
    " `alembic upgrade base:heads --sql > upgrade.sql`, and what undoes it with"
    " `alembic downgrade heads:base --sql > downgrade.sql`"
)
MAKE_IT = ALEMBIC.partition(";")[2]
NO_SQL = "holds change sets that are not SQL"
OUTPUT = (
    "make update.sql with `liquibase update-sql --url=offline:postgresql --output-file=update.sql`, and rollback.sql"
    " with `liquibase future-rollback-sql --url=offline:postgresql --output-file=rollback.sql`"
)
SQLMIGRATE = (
    "make each file with `python manage.py sqlmigrate APP NAME > APP.NAME.sql`, here"
    " `python manage.py sqlmigrate shop 0001_initial > shop.0001_initial.sql`"
)


@pytest.mark.parametrize(
    ("tool", "files", "says"),
    [
        ("alembic", {"versions/a1_users.py": ""}, [ALEMBIC]),
        ("django", {"0001_initial.py": ""}, ["plan.txt: is not there, and Django's own files are Python; make it with"
         " `python manage.py showmigrations --plan --verbosity 2 > plan.txt`"]),
        ("django", {"plan.txt": "[X]  shop.0001_initial\n"}, [f"shop.0001_initial.sql: is not there; {SQLMIGRATE}"]),
        (
            "django",
            {"plan.txt": "[ ]  shop.0001_x\n", "shop.0001_x.sql": "BEGIN;\n-- THIS OPERATION CANNOT BE WRITTEN AS SQL"},
            ["shop.0001_x.sql:2: shop.0001_x has an operation in Python, for which Django has no SQL; write there what"
             " it does as SQL, or nothing if a new database does not need it, and delete that line"],
        ),
        ("yoyo", {"0001.a.py": ""}, ["0001.a.py: is not SQL; write what it does as SQL, into .sql and .rollback.sql of"
         " the same name, and move it away"]),
        ("goose", {"1_a.go": "", "2_b.go": ""}, ["2 files are not SQL: 1_a.go, 2_b.go; write what it does as SQL in a"
         " file of the same version"]),
        ("node-pg-migrate", {"1_a.js": ""}, ["1_a.js: is not SQL; write as SQL, into a .sql file of the same name, what"
         " `node-pg-migrate up --dry-run` prints of it"]),
        ("flyway", {"V1__a.java": ""}, ["V1__a.java: is not SQL; write as SQL, into V<version>__name.sql, what it"
         " does"]),
        ("flyway", {"U1__a.sql": ""}, ["U1__a.sql: undoes a migration that is not there; add the migration, or move"
         " this file away"]),
        ("liquibase", {"a.xml": '<changeSet id="1">', "b.yaml": "- changeSet:\n"},
         [f"2 files hold change sets that are not SQL: a.xml, b.yaml; {OUTPUT}"]),
        *(("liquibase", {f"a.{kind}": '<changeSet id="1">'}, [f"a.{kind}: {NO_SQL}; {OUTPUT}"])
          for kind in ("xml", "yaml", "yml", "json")),
        ("liquibase", {"update.sql": "SELECT 1;\n"}, [f"update.sql: has no line `-- Changeset`; {OUTPUT}"]),
        ("alembic", {"upgrade.sql": "SELECT 1;\n"}, ["upgrade.sql: has no line `-- Running upgrade`;" + MAKE_IT]),
        ("django", {"plan.txt": "nothing\n"}, ["plan.txt: names no migration; make it with"
         " `python manage.py showmigrations --plan --verbosity 2 > plan.txt`"]),
        ("django", {"plan.txt": "[X]  shop.a\n[ ]  shop.b\n"}, ["2 files are not there: shop.a.sql, shop.b.sql;"
         " `python manage.py sqlmigrate APP NAME > APP.NAME.sql`"]),
        ("sqitch", {"deploy/a.sql": ""}, ["sqitch.plan: is not there; give the folder that holds sqitch.plan"]),
        ("sqitch", {"sqitch.plan": "a 2024-01-31T09:30:00Z x <y>\n"}, ["deploy/a.sql: is not there, and sqitch.plan has"
         " it; restore it"]),
        ("diesel", {"1_a/down.sql": ""}, ["1_a: has no up.sql; write what it does as SQL in up.sql"]),
        ("dbmate", {"1_a.sql": "", "01_b.sql": ""}, ["1_a.sql: version 001 is that of 01_b.sql too; renumber one of"
         " them"]),
        ("dbmate", {"1_a.sql": "-- migrate:down\nA;"}, ["1_a.sql: has a part that undoes, and none that applies; write"
         " what it applies, too"]),
        ("liquibase", dict.fromkeys(("x/a.sql", "y/a.sql"), "--liquibase formatted sql\n--changeset me:1\nA;"),
         ["a.sql: is called a.sql::1::me, as a.sql is; give one of them another name or id"]),
        ("yoyo", {"1-a.sql": "-- depends: 0-x\n"}, ["1-a.sql: needs 0-x, which is not there; restore it"]),
    ],
)  # fmt: skip
def test_an_obstacle_is_told_with_the_way_on(of: Convert, tool: str, files: dict[str, str], says: list[str]) -> None:
    assert refusal(of, tool, files) == says


def test_what_has_no_like_here_is_told(of: Convert) -> None:
    text = (
        "--liquibase formatted sql\n--changeset me:1 dbms:oracle,h2\nA;\n"
        "--changeset me:2 dbms:postgresql runOnChange:true\nB;\n"
    )
    found = of("liquibase", {"a.sql": text})
    assert list(found.files) == ["001_me_2.sql", CONFIG]
    assert found.passed_over == [
        "a.sql::1::me: is for oracle,h2 alone",
        "runOnChange:true of a.sql::2::me: there is nothing like it here",
    ]


def test_yoyos_hooks_are_told(lay: Callable[[Mapping[str, str]], Path]) -> None:
    found = convert(TOOLS["yoyo"], lay({"1-a.sql": "A;", "post-apply.py": ""}))
    assert found.passed_over == ["post-apply.py: is run by yoyo after each apply, and no hooks are run here"]


def test_alembics_files_may_have_any_name(of: Convert) -> None:
    printed = "-- Running upgrade  -> a1\n\nSELECT 1;\n"
    files = {"upgrade.sql": printed, "versions/2024_01_31-a1_users.py": "revision: str = 'a1'\n"}
    assert next(iter(of("alembic", files).files)) == "001_2024_01_31-a1_users.sql"


@pytest.mark.parametrize("tool", TOOLS)
def test_a_folder_of_something_else(lay: Callable[[Mapping[str, str]], Path], tool: str) -> None:
    with pytest.raises(FolderError) as refused:
        convert(TOOLS[tool], lay({"notes.txt": "nothing"}))
    assert "give the folder" in str(refused.value) or "make it with" in str(refused.value)
    with pytest.raises(FolderError, match="is no folder"):
        convert(TOOLS[tool], Path("/nowhere"))


def test_what_was_written_is_a_folder_of_ours(of: Convert, tmp_path: Path) -> None:
    found = of("yoyo", {"1-a.sql": "A;", "2-b.sql": "-- depends: 1-a\nB;", '3-it\'s "c".sql': "-- depends: 1-a 2-b\n"})
    for name, content in found.files.items():
        (tmp_path / name).write_bytes(content)
    folder = read_folder(tmp_path)
    assert [(m.version, m.name, m.dependencies) for m in folder.migrations] == [
        ("001", "a", ()), ("002", "b", ("001",)), ("003", "it_s_c", ("001", "002"))
    ]  # fmt: skip
    assert folder.config.migrations["003"].origin == '3-it\'s "c"'


@pytest.mark.parametrize(
    ("text", "alone"),
    [("BEGIN;\nSELECT 1;\nCOMMIT;\n", False), ("SELECT 1;\n", True), ("\n", False), ("-- x\nBEGIN;\n", True)],
)
def test_what_django_prints_without_begin_runs_outside_of_a_transaction(of: Convert, text: str, alone: bool) -> None:
    found = texts(of("django", {"plan.txt": "[X]  shop.0001_a\n", "shop.0001_a.sql": text}))
    assert ("transactional: {apply: false}" in found[CONFIG]) is alone


def test_only_sql_files_are_taken_for_formatted_sql(of: Convert) -> None:
    text = "--liquibase formatted sql\n--changeset me:1\nSELECT 1;\n"
    assert [
        name for name in texts(of("liquibase", {"a.sql": text, "b.xml": text, "c.txt": text})) if name != CONFIG
    ] == ["001_me_1.sql"]
