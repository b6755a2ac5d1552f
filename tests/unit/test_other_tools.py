"""Folders of other tools: the advice for each name, and that whoever follows it has a right folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_wmigrate.engine.folder.folder import look_at_folder, read_folder
from airflow_provider_wmigrate.engine.model import FolderFinding

MakeFolder = Callable[..., Path]

UP_DOWN = "rename *.up.sql to *.sql and *.down.sql to *.rollback.sql, or `wmigrate convert --from golang-migrate`"
FLYWAY = (
    "rename V1__name.sql to 001_name.sql and U1__name.sql to 001_name.rollback.sql, or `wmigrate convert --from flyway`"
)
DATED = "write date and time as one number: 20240131093000_name.sql"
DB_MIGRATE = "rename 001-name-up.sql to 001_name.sql and 001-name-down.sql to 001_name.rollback.sql"
POSTGRATOR = "rename 001.do.name.sql to 001_name.sql and 001.undo.name.sql to 001_name.rollback.sql"
SIGN = "write an underscore after the version"
REPEATABLE = "number them after the others: here every change of them is a migration of its own"

# What each file becomes, and the rule for all of them
FOLDERS: list[tuple[str, dict[str, str], str]] = [
    ("golang-migrate", {"001_users.down.sql": "001_users.rollback.sql", "001_users.up.sql": "001_users.sql"}, UP_DOWN),
    ("golang-migrate", {"1_a.up.sql": "1_a.sql", "10_c.UP.sql": "10_c.sql", "2_b.up.sql": "2_b.sql"}, UP_DOWN),
    ("golang-migrate", {"007_it.undo.sql": "007_done.rollback.sql", "007_done.do.sql": "007_done.sql"}, UP_DOWN),
    (
        "golang-migrate",
        {"1_a.up.sql": "001_a.sql", "02_b.up.sql": "002_b.sql", "02_b.revert.sql": "002_b.rollback.sql"},
        UP_DOWN,
    ),
    (
        "golang-migrate",
        {"20240101000000-Add Mail.up.sql": "20240101000000_add_mail.sql", "5_x.backward.sql": "5_x.rollback.sql"},
        UP_DOWN,
    ),
    (
        "Flyway",
        {
            "U1__undo_it.sql": "001_create_users.rollback.sql",
            "V10__c.sql": "010_c.sql",
            "V1__Create users.sql": "001_create_users.sql",
            "V2_b.sql": "002_b.sql",
            "v003__d.sql": "003_d.sql",
        },
        FLYWAY,
    ),
    (
        "Flyway",
        {
            "U1.1__b.sql": "002_b.rollback.sql",
            "V1.1__b.sql": "002_b.sql",
            "V1_2__c.sql": "003_c.sql",
            "V1__a.sql": "001_a.sql",
            "V2.0.10__e.sql": "005_e.sql",
            "V2.0.9__d.sql": "004_d.sql",
        },
        FLYWAY,
    ),
    ("Postgrator", {"001.do.sql": "001_migration.sql", "001.undo.sql": "001_migration.rollback.sql"}, POSTGRATOR),
    ("Postgrator", {"002.do.x-y.sql": "002_x-y.sql", "002.undo.z.sql": "002_x-y.rollback.sql"}, POSTGRATOR),
    (
        "tools that write the version as a date",
        {
            "2014_10_12_000000_create_users_table.sql": "20141012000000_create_users_table.sql",
            "2023-01-31-120000_x.sql": "20230131120000_x.sql",
            "2023-02-01_y.sql": "20230201000000_y.sql",
            "2023-02-02T1200-z.rollback.sql": "20230202120000_z.rollback.sql",
            "2023-02-02T1200-z.sql": "20230202120000_z.sql",
        },
        DATED,
    ),
    (
        "db-migrate",
        {
            "20111219120000-intro-down.sql": "20111219120000_intro.rollback.sql",
            "20111219120000-intro-up.sql": "20111219120000_intro.sql",
            "20111219120001-x-rollback.sql": "20111219120001_x.rollback.sql",
        },
        DB_MIGRATE,
    ),
    (
        "tools with another sign after the version",
        {
            "0001.create-table.rollback.sql": "0001_create-table.rollback.sql",
            "0001.create-table.sql": "0001_create-table.sql",
            "002-b.sql": "002_b.sql",
            "003 c.sql": "003_c.sql",
        },
        SIGN,
    ),
]


def told(tool: str, becomes: dict[str, str], rule: str) -> str:
    if len(becomes) == 1:
        ((name, right),) = becomes.items()
        return f"{name}: is named in the way of {tool}; name it {right}"
    names = sorted(becomes)
    first = ", ".join(f"{name} (name it {becomes[name]})" for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} files are named in the way of {tool}: {first}{more}; {rule}"


@pytest.mark.parametrize(("tool", "becomes", "rule"), FOLDERS)
def test_the_names_of_other_tools(make_folder: MakeFolder, tool: str, becomes: dict[str, str], rule: str) -> None:
    (finding,) = look_at_folder(make_folder(dict.fromkeys(becomes, "SELECT 1;"))).wrong
    assert str(finding) == told(tool, becomes, rule)
    assert isinstance(finding, FolderFinding)
    assert (finding.code, finding.file, finding.files) == ("folder_error", None, tuple(sorted(becomes)))


@pytest.mark.parametrize(("tool", "becomes", "rule"), FOLDERS)
def test_who_follows_the_advice_has_a_right_folder(
    make_folder: MakeFolder, tool: str, becomes: dict[str, str], rule: str
) -> None:
    """A script that undoes is a rollback, and no version is there twice."""
    orphans = [new for new in becomes.values() if new.replace(".rollback", "") not in becomes.values()]
    files = {new: f"-- {old}" for old, new in becomes.items() if new not in orphans}
    migrations = read_folder(make_folder(files)).migrations
    assert len(migrations) == sum(".rollback" not in name for name in files)
    assert sum(m.rollback is not None for m in migrations) == sum(".rollback" in name for name in files)


@pytest.mark.parametrize(("tool", "becomes", "rule"), FOLDERS)
def test_each_name_alone_is_known_too(make_folder: MakeFolder, tool: str, becomes: dict[str, str], rule: str) -> None:
    for name in becomes:
        (finding,) = look_at_folder(make_folder({name: "SELECT 1;"})).wrong
        assert str(finding).startswith(f"{name}: is named in the way of {tool}; name it "), str(finding)
        assert finding.file == name


def test_repeatable_ones_come_last(make_folder: MakeFolder) -> None:
    names = ["V2__b.sql", "R__views.sql", "R__a b.sql", "V1__a.sql"]
    found = [str(f) for f in look_at_folder(make_folder(dict.fromkeys(names, "SELECT 1;"))).wrong]
    assert found == [
        "2 files are named in the way of Flyway's repeatable ones:"
        f" R__a b.sql (name it 003_a_b.sql), R__views.sql (name it 004_views.sql); {REPEATABLE}",
        "2 files are named in the way of Flyway:"
        f" V1__a.sql (name it 001_a.sql), V2__b.sql (name it 002_b.sql); {FLYWAY}",
    ]
    for others, number in {(): "001", ("001_a.sql", "007_b.sql"): "008", ("V1.1__a.sql", "V1.2__b.sql"): "003"}.items():
        found = [str(f) for f in look_at_folder(make_folder(dict.fromkeys([*others, "R__v.sql"], "SELECT 1;"))).wrong]
        assert found[0] == f"R__v.sql: is named in the way of Flyway's repeatable ones; name it {number}_v.sql"
    assert found[1:] == [
        "2 files are named in the way of Flyway:"
        f" V1.1__a.sql (name it 001_a.sql), V1.2__b.sql (name it 002_b.sql); {FLYWAY}"
    ]


def test_a_date_is_as_long_as_other_dates(make_folder: MakeFolder) -> None:
    names = ["2024-01-02_a.sql", "202401021200000_x.up.sql"]
    assert [str(f) for f in look_at_folder(make_folder(dict.fromkeys(names, "SELECT 1;"))).wrong] == [
        "2024-01-02_a.sql: is named in the way of tools that write the version as a date; name it 20240102_a.sql",
        "202401021200000_x.up.sql: is named in the way of golang-migrate; name it 202401021200000_x.sql",
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "says"),
    [
        (
            "001_users.sql",
            "001_users.up.sql",
            f"001_users.up.sql: is named in the way of golang-migrate; {UP_DOWN},"
            " and renumber what would have a version twice",
        ),
        ("001_all.sql", "001_users.down.sql",
         "001_users.down.sql: is named in the way of golang-migrate; name it 001_all.rollback.sql"),
        ("02_b.sql", "3_x.up.sql", "3_x.up.sql: is named in the way of golang-migrate; name it 003_x.sql"),
    ],
)  # fmt: skip
def test_beside_files_with_our_names(make_folder: MakeFolder, ours: str, theirs: str, says: str) -> None:
    (finding,) = look_at_folder(make_folder({ours: "SELECT 1;", theirs: "SELECT 1;"})).wrong
    assert str(finding) == says


def test_versions_that_would_meet_are_said_to(make_folder: MakeFolder) -> None:
    names = ["1.do.a.sql", "001.do.b.sql"]
    (finding,) = look_at_folder(make_folder(dict.fromkeys(names, "SELECT 1;"))).wrong
    assert str(finding) == (
        "2 files are named in the way of Postgrator: 001.do.b.sql, 1.do.a.sql;"
        f" {POSTGRATOR}, and renumber what would have a version twice"
    )


@pytest.mark.parametrize(
    ("up", "down"),
    [
        ("001_users.sql", "001_users_down.sql"),
        ("001_users_up.sql", "001_users_down.sql"),
        ("001_users-apply.sql", "001_users-revert.sql"),
        ("001_users.sql", "001_users_rollback.sql"),
        ("1_x-y.sql", "1_x-y_undo.sql"),
    ],
)
def test_two_files_of_one_version_of_which_one_undoes_the_other(make_folder: MakeFolder, up: str, down: str) -> None:
    """Renumbered, as two of one version otherwise are, it would undo the first one right after it."""
    (finding,) = look_at_folder(make_folder({up: "SELECT 1;", down: "SELECT 1;"})).wrong
    digits = up.partition("_")[0]
    right = up.replace(".sql", ".rollback.sql")
    assert str(finding) == (
        f"{down}: undoes {up} by its name, and would be a second migration {digits}; name it {right}"
    )
    read_folder(make_folder({up: "SELECT 1;", right: "SELECT 1;"}))


def test_several_such_pairs(make_folder: MakeFolder) -> None:
    names = ["001_a.sql", "001_a_down.sql", "002_b.sql", "002_b_down.sql"]
    (finding,) = look_at_folder(make_folder(dict.fromkeys(names, "SELECT 1;"))).wrong
    assert str(finding) == (
        "2 files undo others by their names and would be second migrations:"
        " 001_a_down.sql (name it 001_a.rollback.sql), 002_b_down.sql (name it 002_b.rollback.sql);"
        " rename them to *.rollback.sql, each with the name of the migration that it undoes"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("afterMigrate.sql", "is a callback of Flyway, and no callbacks are run here"),
        ("beforeEachMigrate__x.sql", "is a callback of Flyway, and no callbacks are run here"),
        ("B5__base.sql", "is a baseline of Flyway, which repeats what others do"),
        ("001_a.verify.sql", "is a test of another tool"),
        ("001.a.test.sql", "is a test of another tool"),
    ],
)
def test_what_is_no_migration_is_not_to_become_one(make_folder: MakeFolder, name: str, reason: str) -> None:
    (finding,) = look_at_folder(make_folder({"001_a.sql": "SELECT 1;", name: "SELECT 1;"})).wrong
    assert str(finding) == f"{name}: {reason}; move it away"
    more = {"001_a.sql": "SELECT 1;", name: "SELECT 1;", "002_z.verify.sql": "SELECT 1;"}
    (finding,) = look_at_folder(make_folder(more)).wrong
    first, second = sorted([name, "002_z.verify.sql"])
    assert str(finding) == (f"2 files belong to another tool and are no migrations: {first}, {second}; move them away")


@pytest.mark.parametrize("name", ["V1__a.sql", "R__a.sql"])
def test_numbers_of_other_tools_count_where_names_without_a_number_are_allowed(
    make_folder: MakeFolder, name: str
) -> None:
    """Passed over as a file without a number, it would be missed only in the database."""
    config = "validation: {files: {require_version_prefix: false}}\n"
    files = {"002_b.sql": "SELECT 1;", "seed.sql": "SELECT 1;", name: "SELECT 1;", "migration_config.yaml": config}
    (finding,) = look_at_folder(make_folder(files)).wrong
    assert finding.file == name
