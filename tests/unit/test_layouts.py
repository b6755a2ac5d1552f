"""SQL in another layout: an error that says which one it is and what to do, never a history of nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_wmigrate.engine.errors import FolderError
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.folder.layouts import is_known

Lay = Callable[..., Path]
OURS = "; here all files lie in one folder: 001_name.sql, and what undoes it 001_name.rollback.sql"
SQITCH = (
    ", as Sqitch has it: deploy, revert and verify"
    + OURS
    + "; `wmigrate convert --from sqitch SOURCE DEST` writes such a folder"
)
DIESEL = (
    ", as diesel, Hasura and others have it: a folder for each migration, with up.sql and down.sql"
    + OURS
    + "; `wmigrate convert --from diesel SOURCE DEST` writes such a folder"
)
PRISMA = (
    ", as Prisma has it: a folder for each migration, with migration.sql"
    + OURS
    + "; move 20240131093000_name/migration.sql to 20240131093000_name.sql"
)
LIQUIBASE = (
    ", as Liquibase has it: changelogs"
    + OURS
    + "; `wmigrate convert --from liquibase SOURCE DEST` writes such a folder"
)
KNOWN = OURS + (
    " (other layouts that are known: Sqitch: deploy, revert and verify;"
    " diesel, Hasura and others: a folder for each migration, with up.sql and down.sql;"
    " Prisma: a folder for each migration, with migration.sql; Liquibase: changelogs;"
    " Flyway, dbmate and others: a folder below the one given)"
)


@pytest.fixture
def lay(tmp_path: Path) -> Lay:
    def lay(*names: str) -> Path:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("SELECT 1;")
        return tmp_path

    return lay


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["1_a/up.sql"], "1 SQL file in another layout (1_a/up.sql)" + DIESEL),
        (
            ["2023-01-01-000000_a/up.sql", "2023-01-01-000000_a/down.sql", "00000000000000_setup/up.sql", "b/up.sql"],
            "4 SQL files in another layout (00000000000000_setup/up.sql, 2023-01-01-000000_a/down.sql,"
            " 2023-01-01-000000_a/up.sql ...)" + DIESEL,
        ),
        (["default/1644500000000_init/down.sql"], "1 SQL file in another layout"
         " (default/1644500000000_init/down.sql)" + DIESEL),
        (
            ["sqitch.plan", "deploy/a.sql", "revert/a.sql", "verify/a.sql"],
            "3 SQL files in another layout (deploy/a.sql, revert/a.sql, verify/a.sql)" + SQITCH,
        ),
        (["db/revert/a.sql"], "1 SQL file in another layout (db/revert/a.sql)" + SQITCH),
        (["20240101_init/migration.sql"], "1 SQL file in another layout (20240101_init/migration.sql)" + PRISMA),
        (["changelog/x.sql"], "1 SQL file in another layout (changelog/x.sql)" + LIQUIBASE),
        (["db/change-sets/x.sql"], "1 SQL file in another layout (db/change-sets/x.sql)" + LIQUIBASE),
        (["seeds/a.sql", "seeds/b.SQL"], "2 SQL files in another layout (seeds/a.sql, seeds/b.SQL)" + KNOWN),
        (["a/b/c/d/e/f/x.sql"], "1 SQL file in another layout (a/b/c/d/e/f/x.sql)" + KNOWN),
    ],
)  # fmt: skip
def test_a_layout_is_told(lay: Lay, names: list[str], says: str) -> None:
    folder = lay(*names)
    with pytest.raises(FolderError) as refused:
        read_folder(folder)
    assert str(refused.value) == f"{folder}: holds no migration, but {says}"
    (finding,) = refused.value.findings
    assert (finding.code, finding.file) == ("other_layout", str(folder))
    assert is_known(folder, [".sql"]) == (KNOWN not in says)


@pytest.mark.parametrize(
    "inner", ["001_a.sql", "1_a.up.sql", "20240101000000-a.sql", "V1__a.sql", "R__a.sql", "U1.2__a.sql"]
)
def test_migrations_in_a_folder_below_are_found(lay: Lay, inner: str) -> None:
    folder = lay(f"db/migrations/{inner}", "db/seeds/x.sql")
    with pytest.raises(FolderError) as refused:
        read_folder(folder)
    assert str(refused.value) == (
        f"{folder}: holds no migration, but 2 SQL files in another layout (db/migrations/{inner}, db/seeds/x.sql);"
        f" give the folder that holds the migrations: {folder}/db/migrations"
    )
    assert is_known(folder, [".sql"])


@pytest.mark.parametrize(
    "names", [[], ["README.md"], [".git/x.sql"], ["docs/.hidden.sql"], ["a/b/c/d/e/f/g/too_deep.sql"], ["x/notes.txt"]]
)
def test_without_sql_it_is_a_history_that_has_not_begun(lay: Lay, names: list[str]) -> None:
    folder = lay(*names)
    assert read_folder(folder).migrations == ()
    assert not is_known(folder, [".sql"])


def test_other_endings_count_that_are_allowed(lay: Lay) -> None:
    folder = lay("x/a.psql")
    assert read_folder(folder).migrations == ()
    (folder / "migration_config.yaml").write_text("validation: {files: {allowed_extensions: [.psql]}}")
    with pytest.raises(FolderError):
        read_folder(folder)


def test_sql_counts_where_only_other_endings_are_allowed(lay: Lay) -> None:
    folder = lay("seeds/a.sql")
    (folder / "migration_config.yaml").write_text("validation: {files: {allowed_extensions: [.psql]}}")
    with pytest.raises(FolderError) as refused:
        read_folder(folder)
    assert str(refused.value) == f"{folder}: holds no migration, but 1 SQL file in another layout (seeds/a.sql){KNOWN}"


def test_sql_beside_that_is_no_migration(lay: Lay) -> None:
    folder = lay("seed.sql")
    (folder / "migration_config.yaml").write_text("validation: {files: {require_version_prefix: false}}")
    with pytest.raises(FolderError) as refused:
        read_folder(folder)
    assert str(refused.value) == f"{folder}: holds no migration, but 1 SQL file in another layout (seed.sql){KNOWN}"


def test_beside_migrations_folders_are_left_alone_unless_each_is_a_migration(lay: Lay) -> None:
    folder = lay("001_a.sql", "archive/x.sql", "2024/y.sql", "3_notes/readme.txt")
    assert len(read_folder(folder).migrations) == 1
    lay("002_b/up.sql", "002_b/down.sql")
    with pytest.raises(FolderError) as refused:
        read_folder(folder)
    assert str(refused.value) == (
        "002_b: is a folder with down.sql, up.sql in it, and folders are not read;"
        " move its scripts here: NNN_name.sql, and what undoes it NNN_name.rollback.sql"
    )
    lay("002_b/a.sql", "002_b/b.sql")
    with pytest.raises(FolderError) as refused:
        read_folder(folder)
    assert str(refused.value).startswith("002_b: is a folder with a.sql, b.sql, down.sql in it, and folders are not")
    lay("003_c/migration.sql")
    with pytest.raises(FolderError) as refused:
        read_folder(folder)
    assert str(refused.value) == (
        "2 files are folders with scripts in them, and folders are not read: 002_b, 003_c;"
        " move the scripts here: 001_name/up.sql to 001_name.sql, 001_name/down.sql to 001_name.rollback.sql"
    )


def test_a_great_many_files_are_not_all_looked_at(lay: Lay) -> None:
    folder = lay(*(f"x/{number}.sql" for number in range(2001)))
    with pytest.raises(FolderError, match="holds no migration, but 2000 or more SQL files in another layout"):
        read_folder(folder)


def test_a_link_to_a_folder_is_not_followed(lay: Lay, tmp_path: Path) -> None:
    lay("elsewhere/a.sql", "folder/x/readme")
    folder = tmp_path / "folder"
    (folder / "x" / "again").symlink_to(folder)
    (folder / "x" / "elsewhere").symlink_to(tmp_path / "elsewhere")
    assert read_folder(folder).migrations == ()


@pytest.mark.parametrize(
    "name",
    [
        "db.changelog-master.xml",
        "changelog.yaml",
        "versions/1975ea83b712_add_x.py",
        "db/migrate/20240101120000_create_a.rb",
        "migrations/0001_initial.py",
        "src/20240101T120000Z-add.ts",
    ],
)
def test_migrations_that_are_no_sql_are_no_empty_folder(lay: Lay, name: str) -> None:
    folder = lay(name, "README.md", "src/app.js")
    with pytest.raises(FolderError) as refused:
        read_folder(folder)
    assert str(refused.value) == (
        f"{folder}: holds no migration, but what looks like another tool's, and is no SQL ({name}){OURS};"
        " `wmigrate convert` names the command of Alembic, Django and others that prints their SQL"
    )
    assert not is_known(folder, [".sql"])


def test_programs_and_data_are_no_migrations(lay: Lay) -> None:
    assert read_folder(lay("README.md", "app.py", "package.json", "data/2024.json", "dags/my_dag.py")).migrations == ()
