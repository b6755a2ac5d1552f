"""Wrong folders and wrong scripts, each with the one line a person is told. Wrong configs: test_config_errors.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_wmigrate.engine.errors import WMigrateError
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.plan.rules import script_findings

MakeFolder = Callable[..., Path]
Files = dict[str, str | bytes]

CONFIG = "migration_config.yaml"
NAMING = "; name it NNN_snake_name.sql, with at least three digits"
ENDING = "; rename or move it, or allow it in migration_config.yaml"


def named(*names: str, **more: str | bytes) -> Files:
    return dict.fromkeys(names, "SELECT 1;") | more


def holding(content: str | bytes, name: str = "001_a.sql") -> Files:
    return {name: content}


def depending(*declared: str) -> Files:
    """Four migrations and, from line 2 of the config on, one block per line."""
    blocks = "".join(f"  - {{{block}}}\n" for block in declared)
    return named("001_a.sql", "002_b.sql", "003_c.sql", "004_d.sql") | {CONFIG: "migrations:\n" + blocks}


BOM = b"\xef\xbb\xbf"

FOLDERS: list[tuple[Files, str]] = [
    # names
    (named("1_a.sql"), "1_a.sql: version 1 has fewer than three digits" + NAMING),
    (named("01_a.sql"), "01_a.sql: version 01 has fewer than three digits" + NAMING),
    (named("a.sql"), "a.sql: has no version number" + NAMING),
    (named("V001__a.sql"), "V001__a.sql: has no version number" + NAMING),
    (named("-001_a.sql"), "-001_a.sql: has no version number" + NAMING),
    (named("\u0661_a.sql"), "\u0661_a.sql: has no version number" + NAMING),
    (named("001.sql"), "001.sql: has a version but no name" + NAMING),
    (named("001_.sql"), "001_.sql: the name is not lower-case words joined by single underscores" + NAMING),
    (named("001_A.sql"), "001_A.sql: the name is not lower-case words joined by single underscores" + NAMING),
    (named("001-a.sql"), "001-a.sql: the name is not lower-case words joined by single underscores" + NAMING),
    (named("001_a b.sql"), "001_a b.sql: the name is not lower-case words joined by single underscores" + NAMING),
    (named("001_a__b.sql"), "001_a__b.sql: the name is not lower-case words joined by single underscores" + NAMING),
    (named("001_größe.sql"), "001_größe.sql: the name is not lower-case words joined by single underscores" + NAMING),
    (named("001_a.up.sql"), "001_a.up.sql: the name is not lower-case words joined by single underscores" + NAMING),
    (named("000_a.sql"), "000_a.sql: versions begin at 001" + NAMING),
    (named("001_a.SQL"), "001_a.SQL: a migration ends in .sql, not .SQL" + ENDING),
    (named("001_a.txt"), "001_a.txt: a migration ends in .sql, not .txt" + ENDING),
    (named("001_a"), "001_a: a migration ends in .sql, not nothing" + ENDING),
    (named("001_a.sql~"), "001_a.sql~: a migration ends in .sql, not .sql~" + ENDING),
    # pairs
    (named("001_a.sql", "001_b.sql"), "001_b.sql: version 001 is taken by 001_a.sql; renumber one of them"),
    (named("001_a.sql", "0001_b.sql"), "001_a.sql: version 001 is taken by 0001_b.sql; renumber one of them"),
    (
        named("001_a.sql", "001_a.rollback.sql", "0001_a.rollback.sql"),
        "001_a.rollback.sql: version 001 is taken by 0001_a.rollback.sql; renumber one of them",
    ),
    (
        named("001_a.rollback.sql"),
        "001_a.rollback.sql: a rollback without its migration 001_a.sql; add the migration or delete the rollback",
    ),
    (
        named("001_a.sql", "001_b.rollback.sql"),
        "001_b.rollback.sql: a rollback without its migration 001_b.sql; did you mean to pair it with 001_a.sql?",
    ),
    (
        named("001_a.sql", "0001_a.rollback.sql"),
        "0001_a.rollback.sql: a rollback without its migration 0001_a.sql; did you mean to pair it with 001_a.sql?",
    ),
    (
        named("001_a.sql", "002_a.rollback.sql"),
        "002_a.rollback.sql: a rollback without its migration 002_a.sql; add the migration or delete the rollback",
    ),
    # bytes
    (holding(""), "001_a.sql: is empty; write a migration into it or delete it"),
    (holding(" \r\n\t\n"), "001_a.sql: is empty; write a migration into it or delete it"),
    (holding(BOM), "001_a.sql: is empty; write a migration into it or delete it"),
    (
        named("001_a.sql") | holding("", "001_a.rollback.sql"),
        "001_a.rollback.sql: is empty; write a migration into it or delete it",
    ),
    (holding(b"SELECT 1;\nSELECT '\xe4';"), "001_a.sql:2: is not UTF-8; save it as UTF-8"),
    (holding(BOM + b"--\n\xff"), "001_a.sql:2: is not UTF-8; save it as UTF-8"),
    (holding("SELECT 1;".encode("utf-16")), "001_a.sql:1: is not UTF-8; save it as UTF-8"),
    (holding(b"SELECT 1;\r\n\r\nSELECT '\0';"), "001_a.sql:3: contains a NUL byte; save it as UTF-8 text"),
    # dependencies
    (
        depending("version: 2, dependencies: [2]"),
        f"{CONFIG}:2: migration 002 depends on itself; remove that dependency",
    ),
    (
        depending("version: 1", "version: 3, dependencies: [1, 2, 001]"),
        f"{CONFIG}:3: migration 003 names dependency 001 twice; name it once",
    ),
    (
        depending("version: 2, dependencies: [777]"),
        f"{CONFIG}:2: migration 002 depends on unknown version 777; no file has that version",
    ),
    (
        depending("version: 2, dependencies: [014]"),
        f"{CONFIG}:2: migration 002 depends on unknown version 014; did you mean 004?",
    ),
    (
        depending("version: 1, dependencies: [2]"),
        f"{CONFIG}:2: circular dependency: 001 -> 002 -> 001; remove one of these dependencies",
    ),
    (
        depending("version: 2, dependencies: [4]"),
        f"{CONFIG}:2: circular dependency: 002 -> 004 -> 003 -> 002; remove one of these dependencies",
    ),
    (
        depending(
            "version: 2, dependencies: [1, 3]",
            "version: 3, dependencies: [2, 4]",
            "version: 4, dependencies: [1]",
        ),
        f"{CONFIG}:2: circular dependency: 002 -> 003 -> 002; remove one of these dependencies",
    ),
    # what the config says of files
    (
        depending("version: 9"),
        f"{CONFIG}:2: migrations: no file has version 009; did you mean 004?",
    ),
    (
        depending("version: 2, filename: 002_x.sql"),
        f"{CONFIG}:2: migrations: version 002 is 002_b.sql, not 002_x.sql",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("files", "says"), FOLDERS, ids=[says for _, says in FOLDERS])
def test_wrong_folders(make_folder: MakeFolder, files: Files, says: str) -> None:
    with pytest.raises(WMigrateError) as refused:
        read_folder(make_folder(files))
    assert str(refused.value) == says
    assert not refused.value.retryable


@pytest.mark.parametrize(("name", "reason"), [("missing", "no such folder"), ("file", "is not a folder")])
def test_no_folder(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WMigrateError) as refused:
        read_folder(tmp_path / name)
    assert str(refused.value) == f"{tmp_path / name}: {reason}; give the folder that holds the NNN_name.sql files"


@pytest.mark.parametrize("kind", ["folder", "broken link"])
def test_what_only_has_the_name_of_a_migration(make_folder: MakeFolder, kind: str) -> None:
    """Passed over in silence it would be missed only in the database."""
    path = make_folder({}) / "001_a.sql"
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere.sql")
    with pytest.raises(WMigrateError) as refused:
        read_folder(path.parent)
    says = "001_a.sql: has the name of a migration but is not a readable file; make it one, or give it another name"
    assert str(refused.value) == says


CONTROL = " is transaction control; wmigrate commits the script together with its ledger entry; remove it"
NOTHING = " contains no SQL statement; write one or delete the file"

SCRIPTS = {
    "-- to be done": NOTHING,
    "/* SELECT 1; */": NOTHING,
    ";\n;": NOTHING,
    "BEGIN;\nCOMMIT;": NOTHING,
    "SELECT 1;\nCOMMIT;": "2: COMMIT" + CONTROL,
    "SELECT 1;\n\nEND;": "3: COMMIT" + CONTROL,
    "ROLLBACK;": "1: ROLLBACK" + CONTROL,
    "-- x\nABORT;": "2: ROLLBACK" + CONTROL,
    "BEGIN;\nSELECT 1;": "1: BEGIN" + CONTROL,
    "START TRANSACTION;\nSELECT 1;": "1: START TRANSACTION" + CONTROL,
    "BEGIN;\nSELECT 1;\nROLLBACK;": "3: ROLLBACK" + CONTROL,
    "BEGIN;\nSELECT 1;\nCOMMIT;\nSELECT 2;\nROLLBACK;": "5: ROLLBACK" + CONTROL,
    "BEGIN;\nSELECT 1;\nCOMMIT;\nBEGIN;\nSELECT 2;\nROLLBACK;": "6: ROLLBACK" + CONTROL,
    "BEGIN;\nSELECT 1;\nCOMMIT;\nCOMMIT;": "4: COMMIT" + CONTROL,
    "BEGIN;\nSELECT 1;\nCOMMIT;\nBEGIN;": "4: BEGIN" + CONTROL,
    "BEGIN;\nSELECT 1;\nCOMMIT AND CHAIN;\nSELECT 2;\nCOMMIT;": "3: COMMIT" + CONTROL,
    "BEGIN;\nSELECT 1;\nCOMMIT;\nBEGIN;\nVACUUM;\nCOMMIT;": (
        "5: VACUUM cannot run inside a transaction, and stands in the one that begins at line 4;"
        " put it behind the COMMIT"
    ),
    "BEGIN;\nCOMMIT;\nBEGIN;\nEND;": NOTHING,
    "BEGIN;\nBEGIN;\nSELECT 1;\nCOMMIT;\nCOMMIT;": "2: BEGIN" + CONTROL,
    "SELECT 1;\nPREPARE TRANSACTION 'x';": "2: PREPARE TRANSACTION" + CONTROL,
    "COMMIT PREPARED 'x';": "1: COMMIT PREPARED" + CONTROL,
    "ROLLBACK PREPARED 'x';": "1: ROLLBACK PREPARED" + CONTROL,
    "\nBEGIN ISOLATION LEVEL SERIALIZABLE;\nSELECT 1;\nCOMMIT;": (
        "2: BEGIN with options cannot be unwrapped;"
        " wmigrate runs each script in a READ COMMITTED transaction; write a plain BEGIN or none"
    ),
    "SELECT 'ü';\nCREATE INDEX\n  CONCURRENTLY ON t (a);": (
        "2: CREATE INDEX CONCURRENTLY without a name: a failed build could not be found again; name the index"
    ),
}


@pytest.mark.parametrize(("script", "says"), SCRIPTS.items())
@pytest.mark.parametrize("file", ["001_a.sql", "001_a.rollback.sql"])
def test_wrong_scripts(make_folder: MakeFolder, file: str, script: str, says: str) -> None:
    folder = read_folder(make_folder(named("001_a.sql") | {file: script}))
    (finding,) = script_findings(folder.migrations, folder.config)
    assert str(finding) == f"{file}:{says}"
    assert (finding.severity, finding.version) == ("error", "001")
