"""Wrong folders and wrong scripts, each with the one line a person is told. Wrong configs: test_config_errors.py."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_wmigrate.engine.errors import ConfigError, FolderError, WMigrateError
from airflow_provider_wmigrate.engine.folder.folder import look_at_folder, read_folder
from airflow_provider_wmigrate.engine.model import FolderFinding, Script
from airflow_provider_wmigrate.engine.plan.script_rules import script_findings

MakeFolder = Callable[..., Path]
Files = dict[str, str | bytes]

CONFIG = "migration_config.yaml"
WORDS = "the name is not lower-case words joined by single underscores or hyphens; name it "
PLACE = ", NNN being its place in the order, or move it away if it is no migration"
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
    (named("a.sql"), "a.sql: has no version number; name it NNN_a.sql" + PLACE),
    (named("a b.rollback.sql"), "a b.rollback.sql: has no version number; name it NNN_a_b.rollback.sql" + PLACE),
    (named("--.sql"), "--.sql: has no version number; name it NNN_name.sql" + PLACE),
    (named("-001_a_b.sql"), f"-001_a_b.sql: {WORDS}001_a_b.sql"),
    (named("\u0661_a.sql"), "\u0661_a.sql: has no version number; name it NNN_a.sql" + PLACE),
    (named("001.sql"), "001.sql: has a version but no name; name it 001_what_it_does.sql"),
    (named("001_.rollback.sql"), "001_.rollback.sql: has a version but no name; name it 001_what_it_does.rollback.sql"),
    (named("001_AddMail.sql"), f"001_AddMail.sql: {WORDS}001_add_mail.sql"),
    (named("001_a b.sql"), f"001_a b.sql: {WORDS}001_a_b.sql"),
    (named("001_a__b.sql"), f"001_a__b.sql: {WORDS}001_a_b.sql"),
    (named("001_a--b.sql"), f"001_a--b.sql: {WORDS}001_a_b.sql"),
    (named("001_a_-b-.sql"), f"001_a_-b-.sql: {WORDS}001_a_b.sql"),
    (named("001_größe.sql"), f"001_größe.sql: {WORDS}001_grosse.sql"),
    (named("001_A.rollback.sql", "001_a.sql"), f"001_A.rollback.sql: {WORDS}001_a.rollback.sql"),
    (
        named("001_A.sql", "001_a.sql"),
        "001_A.sql: the name is not lower-case words joined by single underscores or hyphens;"
        " name it NNN_a.sql: version 001 is taken",
    ),
    (
        named("001_a.sql", "001_a.rollback.sql", "001_A.rollback.sql"),
        "001_A.rollback.sql: the name is not lower-case words joined by single underscores or hyphens;"
        " name it NNN_a.rollback.sql: version 001 is taken",
    ),
    (named("1_a1.sql", "002_b.sql"), "1_a1.sql: version 1 is not written as others here are; name it 001_a1.sql"),
    (named("1_a.sql", "02_b.sql", "10_c.sql"), "3 files have versions of fewer digits than others here:"
     " 02_b.sql (name it 002_b.sql), 10_c.sql (name it 010_c.sql), 1_a.sql (name it 001_a.sql);"
     " write every version with three digits"),
    (named("1_a1.sql", "2_b2.sql", "003_c.sql"), "2 files have versions of fewer digits than others here:"
     " 1_a1.sql (name it 001_a1.sql), 2_b2.sql (name it 002_b2.sql); write every version with three digits"),
    (named("01_a.sql", "002_b.sql"), "01_a.sql: version 01 is not written as others here are; name it 001_a.sql"),
    (named("7_a.txt"), "7_a.txt: a migration ends in .sql, not .txt" + ENDING),
    (named("001_a.SQL"), "001_a.SQL: a migration ends in .sql, not .SQL; name it 001_a.sql"),
    (named("001_a.txt"), "001_a.txt: a migration ends in .sql, not .txt" + ENDING),
    (named("001_a"), "001_a: a migration ends in .sql, not nothing" + ENDING),
    (named("001_a.sql~"), "001_a.sql~: a migration ends in .sql, not .sql~; delete it or move it away"),
    (named("001_a.bak"), "001_a.bak: a migration ends in .sql, not .bak; delete it or move it away"),
    (
        named("001_a.py"),
        "001_a.py: a migration ends in .sql, not .py; write what it does as SQL, or move it away",
    ),
    (
        named("001_a.xml"),
        "001_a.xml: a migration ends in .sql, not .xml; write what it does as SQL, or move it away",
    ),
    # pairs
    (named("001_a.sql", "001_b.sql"), "001_b.sql: version 001 is taken by 001_a.sql; renumber one of them"),
    (named("001_a.sql", "0001_b.sql"), "001_a.sql: version 001 is taken by 0001_b.sql; renumber one of them"),
    (
        named("001_a.sql", "001_a.rollback.sql", "0001_a.rollback.sql"),
        "001_a.rollback.sql: version 001 is taken by 0001_a.rollback.sql; renumber one of them"
        " (and 1 more; `wmigrate check` shows all)",
    ),
    (
        named("001_a.rollback.sql"),
        "001_a.rollback.sql: is a rollback without its migration 001_a.sql; add the migration or delete the rollback",
    ),
    (
        named("001_a.sql", "001_b.rollback.sql"),
        "001_b.rollback.sql: is a rollback without its migration 001_b.sql;"
        " name it 001_a.rollback.sql if it undoes 001_a.sql",
    ),
    (
        named("001_a.sql", "0001_a.rollback.sql"),
        "0001_a.rollback.sql: is a rollback without its migration 0001_a.sql;"
        " name it 001_a.rollback.sql if it undoes 001_a.sql",
    ),
    (
        named("001_a.sql", "002_a.rollback.sql"),
        "002_a.rollback.sql: is a rollback without its migration 002_a.sql; add the migration or delete the rollback",
    ),
    # bytes
    (holding(b"SELECT 1;\nSELECT '\xe4';"), "001_a.sql:2: is not UTF-8; save it as UTF-8"),
    (holding(BOM + b"--\n\xff"), "001_a.sql:2: is not UTF-8; save it as UTF-8"),
    (holding("SELECT 1;".encode("utf-16")), "001_a.sql:1: is not UTF-8; save it as UTF-8"),
    (holding(b"\n\0"), "001_a.sql:2: contains a NUL byte; save it as UTF-8 text"),
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
    (
        depending("version: 1, dependencies: [2]", "version: 3, dependencies: [4]"),
        f"{CONFIG}:2: circular dependency: 001 -> 002 -> 001; remove one of these dependencies"
        " (and 1 more; `wmigrate check` shows all)",
    ),
    # what the config says of files
    (
        depending("version: 777"),
        f"{CONFIG}:2: migrations: no file has version 777",
    ),
    (
        depending("version: 9"),
        f"{CONFIG}:2: migrations: no file has version 009; did you mean 004?",
    ),
    (
        depending("version: 2, filename: 002_x.sql"),
        f"{CONFIG}:2: migrations: version 002 is 002_b.sql, not 002_x.sql",
    ),
    (
        depending("version: 9", "version: 2, filename: 002_x.sql", "version: 3, dependencies: [8]"),
        f"{CONFIG}:2: migrations: no file has version 009; did you mean 004?"
        " (and 2 more; `wmigrate check` shows all)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("files", "says"), FOLDERS, ids=[says for _, says in FOLDERS])
def test_wrong_folders(make_folder: MakeFolder, files: Files, says: str) -> None:
    with pytest.raises(WMigrateError) as refused:
        read_folder(make_folder(files))
    assert str(refused.value) == says
    assert not refused.value.retryable


# Several at once


def findings(folder: Path) -> list[str]:
    return [str(finding) for finding in look_at_folder(folder).wrong]


def test_everything_that_is_wrong_is_told_one_line_for_each_kind(make_folder: MakeFolder) -> None:
    files = named(
        "001_a.sql", "002_A.sql", "003_B.sql", "004_C.sql", "005_D.sql", "x.sql", "y.sql", "9_z.sql", "006_p.py"
    )
    files |= {"001_b.sql": "", "010_u.sql": b"\xff", "011_u.sql": b"\n\xff", "012_n.sql": "\0", "013_n.sql": "\0"}
    files |= named("020.sql", "021.sql", "030_r.rollback.sql", "031_r.rollback.sql", "001_c.sql")
    files |= {
        CONFIG: "setings: {}\nvalidation: {sql: {allow_drop: 1}}\nmigrations:\n- {version: 10, dependencies: [77]}\n"
    }
    with pytest.raises(ConfigError) as fatal:
        look_at_folder(make_folder(files))
    assert [str(f) for f in fatal.value.findings] == [
        f"{CONFIG}:1: setings: is not a known key; did you mean settings?",
        f"{CONFIG}:2: validation.sql.allow_drop: must be true or false, not 1; correct it",
    ]
    files[CONFIG] = str(files[CONFIG]).replace("setings", "settings")
    told = [
        f"{CONFIG}:2: validation.sql.allow_drop: must be true or false, not 1; correct it",
        "006_p.py: a migration ends in .sql, not .py; write what it does as SQL, or move it away",
        "4 files have names that are not lower-case words joined by single underscores or hyphens:"
        " 002_A.sql (name it 002_a.sql), 003_B.sql (name it 003_b.sql), 004_C.sql (name it 004_c.sql) and 1 more;"
        " rename them: version, underscore, lower-case words",
        "2 files have a version but no name: 020.sql, 021.sql; name them NNN_what_it_does.sql",
        "2 files have no version number: x.sql, y.sql;"
        " name them NNN_name.sql, NNN being the place in the order, or move away what is no migration",
        "9_z.sql: version 9 is not written as others here are; name it 009_z.sql",
        "2 files have versions that are taken: 001_b.sql (by 001_a.sql), 001_c.sql (by 001_a.sql);"
        " renumber one of each two",
        "2 files are rollbacks without their migrations: 030_r.rollback.sql, 031_r.rollback.sql;"
        " add the migrations or delete the rollbacks",
        "2 files are not UTF-8: 010_u.sql:1, 011_u.sql:2; save them as UTF-8",
        "2 files contain NUL bytes: 012_n.sql:1, 013_n.sql:1; save them as UTF-8 text",
        f"{CONFIG}:4: migration 010 depends on unknown version 077; no file has that version",
    ]
    folder = make_folder(files)
    assert findings(folder) == told
    with pytest.raises(ConfigError) as refused:
        read_folder(folder)
    assert str(refused.value) == (
        f"{CONFIG}:2: validation.sql.allow_drop: must be true or false, not 1 (and 10 more; `wmigrate check` shows all)"
    )
    assert refused.value.findings == look_at_folder(folder).wrong
    kinds = {f.message: f.files for f in look_at_folder(folder).wrong if isinstance(f, FolderFinding)}
    assert ("002_A.sql", "003_B.sql", "004_C.sql", "005_D.sql") in kinds.values()


def test_what_can_be_read_of_a_wrong_folder_is_read(make_folder: MakeFolder) -> None:
    files = named("001_a.sql", "003_X.sql") | {"002_b.sql": b"\xff", "001_a.rollback.sql": b"\xfe"}
    folder = look_at_folder(make_folder(files))
    assert [(m.version, m.script.is_read) for m in folder.migrations] == [("001", True), ("002", False)]
    assert [m.version for m in folder.readable] == []
    assert folder.migrations[1].script == Script("002_b.sql", "", hashlib.sha256(b"\xff").hexdigest())
    with pytest.raises(FolderError) as refused:
        folder.refuse_if_wrong()
    assert refused.value.findings == folder.wrong


def test_a_file_that_cannot_be_read(make_folder: MakeFolder) -> None:
    """Linux reads no file whose rights are missing, but to root; and to nobody the first page of its own memory."""
    path = make_folder(named("001_a.sql", "003_c.sql"))
    (path / "002_b.sql").symlink_to("/proc/self/mem")
    (folder, wrong) = look_at_folder(path), findings(path)
    assert wrong == ["002_b.sql: cannot be read: Input/output error; make it readable"]
    assert folder.migrations[1].script == Script("002_b.sql", "", "unreadable")
    assert folder.readable == (folder.migrations[0], folder.migrations[2])
    (path / "001_a.rollback.sql").symlink_to("/proc/self/mem")
    assert [m.version for m in look_at_folder(path).readable] == ["003"]
    assert findings(path) == ["2 files cannot be read: 001_a.rollback.sql, 002_b.sql; make them readable"]


PROGRAMS = [
    ".py", ".rb", ".js", ".ts", ".mjs", ".go", ".php", ".java", ".kt", ".cs", ".exs", ".clj", ".sh", ".pl", ".PY",
    ".xml", ".yaml", ".yml", ".json", ".toml",
]  # fmt: skip


@pytest.mark.parametrize(
    ("endings", "what", "them"),
    [
        (PROGRAMS, "write what it does as SQL, or move it away",
         "write what they do as SQL, or move them away"),
        ([".bak", ".orig", ".rej", ".swp", ".tmp", ".old", ".sql~", ".OLD"], "delete it or move it away",
         "delete them or move them away"),
        ([".txt", ".psql"], f"rename or move it, or allow it in {CONFIG}",
         f"rename or move them, or allow them in {CONFIG}"),
    ],
)  # fmt: skip
def test_other_endings(make_folder: MakeFolder, endings: list[str], what: str, them: str) -> None:
    for number, ending in enumerate(endings):
        path = make_folder(named(f"{number:03d}_a{ending}", "900_z.sql"))
        assert findings(path) == [f"{number:03d}_a{ending}: a migration ends in .sql, not {ending}; {what}"]
        (path / f"{number:03d}_b{ending}").write_text("")
        assert findings(path) == [
            f"2 files end in {ending}, and migrations in .sql: {number:03d}_a{ending}, {number:03d}_b{ending}; {them}"
        ]


def test_a_finding_about_files_is_whole(make_folder: MakeFolder) -> None:
    wrong = look_at_folder(make_folder(named("001_a.sql", "002_B.sql", "x.sql", "y.sql"))).wrong
    hint = "name them NNN_name.sql, NNN being the place in the order, or move away what is no migration"
    assert wrong == (
        FolderFinding(
            "folder_error", f"{WORDS.partition(';')[0]}", "name it 002_b.sql", file="002_B.sql", files=("002_B.sql",)
        ),
        FolderFinding(
            "folder_error", "2 files have no version number: x.sql, y.sql", hint, files=("x.sql", "y.sql")
        ),
    )  # fmt: skip


def test_other_endings_of_several_files(make_folder: MakeFolder) -> None:
    allowed = {CONFIG: "validation: {files: {allowed_extensions: [.sql, .pgsql]}}"}
    files = named("001_a.SQL", "002_b.SQL", "003_c", "004_d", "005_e.PGSQL", "006_f.PGSQL") | allowed
    assert findings(make_folder(files)) == [
        "2 files end in .SQL, and migrations in .sql, .pgsql: 001_a.SQL (name it 001_a.sql), 002_b.SQL (name it"
        " 002_b.sql); write .sql",
        f"2 files end in nothing, and migrations in .sql, .pgsql: 003_c, 004_d; rename or move them, or allow them in"
        f" {CONFIG}",
        "2 files end in .PGSQL, and migrations in .sql, .pgsql: 005_e.PGSQL (name it 005_e.pgsql), 006_f.PGSQL (name it"
        " 006_f.pgsql); write .pgsql",
    ]


def test_another_tools_names_are_told_for_each_ending(make_folder: MakeFolder) -> None:
    allowed = {CONFIG: "validation: {files: {allowed_extensions: [.sql, .pgsql]}}"}
    files = named("V1__a.sql", "V2__b.pgsql", "afterMigrate.pgsql", "003_c.verify.sql") | allowed
    assert findings(make_folder(files)) == [
        "2 files belong to another tool and are no migrations: 003_c.verify.sql, afterMigrate.pgsql; move them away",
        "2 files are named in the way of Flyway: V1__a.sql (name it 001_a.sql), V2__b.pgsql (name it 002_b.pgsql);"
        " rename V1__name.sql to 001_name.sql and U1__name.sql to 001_name.rollback.sql,"
        " or `wmigrate convert --from flyway`",
    ]


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

SCRIPTS = {
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
        "5: VACUUM cannot run inside a transaction, but it is in the one that begins at line 4;"
        " move it after the COMMIT"
    ),
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
