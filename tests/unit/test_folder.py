"""Reading a folder: the naming rule, the pairing, what a checksum is taken of. Wrong folders: test_bad_input.py."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_wmigrate.engine.errors import FolderError, UnknownVersion
from airflow_provider_wmigrate.engine.extension import RequiredExtension
from airflow_provider_wmigrate.engine.folder.folder import (
    Folder,
    normalise_version,
    read_folder,
    version_that_stays,
    with_scripts,
)
from airflow_provider_wmigrate.engine.folder.scripts import of_timescaledb
from airflow_provider_wmigrate.engine.lock_modes import LockMode
from airflow_provider_wmigrate.engine.model import NOT_READ, Migration, Script, canonical_version, checksum

MakeFolder = Callable[..., Path]
CONFIG = "migration_config.yaml"


def read(make_folder: MakeFolder, *names: str, **files: str) -> Folder:
    return read_folder(make_folder(dict.fromkeys(names, "SELECT 1;") | files))


@pytest.mark.parametrize(
    ("name", "version", "words"),
    [
        ("001_a.sql", "001", "a"),
        ("099_initial_schema.sql", "099", "initial_schema"),
        ("0042_x2_3y.sql", "042", "x2_3y"),
        ("1000_later.sql", "1000", "later"),
        ("123456789012345678_big.sql", "123456789012345678", "big"),
        ("001_2.sql", "001", "2"),
        ("000_before_all.sql", "000", "before_all"),
        ("1_a.sql", "001", "a"),
        ("07_a.sql", "007", "a"),
        ("00000000000001_a.sql", "001", "a"),
        ("20240131093000_a.sql", "20240131093000", "a"),
        (f"{'9' * 200}_big.sql", "9" * 200, "big"),
        ("001_add-mail_to-all.sql", "001", "add-mail_to-all"),
        ("2023_13_01_no_date.sql", "2023", "13_01_no_date"),
    ],
)
def test_names(make_folder: MakeFolder, name: str, version: str, words: str) -> None:
    (migration,) = read(make_folder, name).migrations
    assert (migration.version, migration.name, migration.stem) == (version, words, name.removesuffix(".sql"))


@pytest.mark.parametrize("names", ["1 2 9 10 100", "01 02 09 10 99 100", "0 1", "00 01 10", "001 0002 00000000000003"])
def test_versions_may_be_written_in_one_manner_throughout(make_folder: MakeFolder, names: str) -> None:
    folder = read(make_folder, *(f"{number}_a.sql" for number in names.split()))
    assert [int(m.version) for m in folder.migrations] == [int(number) for number in names.split()]
    assert [m.stem for m in folder.migrations] == [f"{number}_a" for number in names.split()]


def test_a_rollback_has_the_digits_of_its_migration(make_folder: MakeFolder) -> None:
    (migration,) = read(make_folder, "1_add-mail.sql", "1_add-mail.rollback.sql").migrations
    assert migration.rollback is not None
    assert (migration.stem, migration.rollback.file) == ("1_add-mail", "1_add-mail.rollback.sql")


@pytest.mark.parametrize("empty", ["", " \r\n\t\n", "\ufeff", "-- nothing yet"])
def test_a_script_may_be_empty(make_folder: MakeFolder, empty: str) -> None:
    (migration,) = read_folder(make_folder({"001_a.sql": empty, "001_a.rollback.sql": empty})).migrations
    assert migration.script == migration.script.of("001_a.sql", empty.removeprefix("\ufeff").replace("\r\n", "\n"))
    assert migration.script.is_read


@pytest.mark.parametrize(
    ("typed", "stays"),
    [(None, None), ("", None), ("nothing", None), (" nothing ", None), ("0", None), ("000", None), ("2", "002")],
)
def test_the_version_that_stays(typed: str | None, stays: str | None) -> None:
    assert version_that_stays(typed, ["001", "002"]) == stays


def test_where_there_is_a_version_0_it_stays() -> None:
    assert version_that_stays("0", ["000", "001"]) == "000"
    assert version_that_stays("nothing", ["000", "001"]) is None
    with pytest.raises(UnknownVersion):
        version_that_stays("3", ["000", "001"])


def test_order_is_numeric(make_folder: MakeFolder) -> None:
    folder = read(make_folder, "1000_d.sql", "999_c.sql", "0100_b.sql", "002_a.sql")
    assert [m.version for m in folder.migrations] == ["002", "100", "999", "1000"]


def test_without_config_each_depends_on_the_one_before(make_folder: MakeFolder) -> None:
    folder = read(make_folder, "001_a.sql", "005_b.sql", "1000_c.sql")
    assert [m.dependencies for m in folder.migrations] == [(), ("001",), ("005",)]
    assert folder.graph.order == ("001", "005", "1000")


def test_an_empty_folder_is_a_history_of_nothing(make_folder: MakeFolder) -> None:
    folder = read(make_folder)
    assert (folder.migrations, folder.graph.order) == ((), ())


def test_defaults_without_config(make_folder: MakeFolder) -> None:
    folder = read(make_folder, "001_a.sql")
    (migration,) = folder.migrations
    assert (migration.rollback, migration.description, migration.rollback_supported) == (None, "", None)
    (migration,) = folder.under(folder.config.settings)
    assert (migration.timeout_seconds, migration.on_failure, migration.requires_extensions) == (300, "rollback", ())


def test_a_rollback_is_paired_by_its_stem(make_folder: MakeFolder) -> None:
    files = {"001_a.sql": "one", "001_a.rollback.sql": "undo one", "002_b.sql": "two"}
    one, two = read_folder(make_folder(files)).migrations
    assert one.rollback is not None
    assert (one.rollback.file, one.rollback.text) == ("001_a.rollback.sql", "undo one")
    assert two.rollback is None


@pytest.mark.parametrize("other", ["README.md", ".001_hidden.sql", ".gitkeep", "notes.txt", "data.csv"])
def test_what_is_no_migration_is_left_alone(make_folder: MakeFolder, other: str) -> None:
    assert len(read(make_folder, "001_a.sql", other).migrations) == 1


def test_folders_inside_are_left_alone(make_folder: MakeFolder) -> None:
    folder = make_folder({"001_a.sql": "SELECT 1"})
    (folder / "archive").mkdir()
    (folder / "2024").mkdir()
    assert len(read_folder(folder).migrations) == 1


def test_a_linked_file_is_a_file(make_folder: MakeFolder, tmp_path: Path) -> None:
    (tmp_path / "shared.sql").write_text("SELECT 1")
    folder = make_folder({})
    (folder / "001_a.sql").symlink_to(tmp_path / "shared.sql")
    assert read_folder(folder).migrations[0].script.text == "SELECT 1"


def test_sql_files_without_a_number_can_be_allowed(make_folder: MakeFolder) -> None:
    config = "validation: {files: {require_version_prefix: false}}\n"
    files = {"001_a.sql": "SELECT 1", "seed.sql": "SELECT 2", CONFIG: config}
    assert [m.version for m in read_folder(make_folder(files)).migrations] == ["001"]


# Bytes

TEXT = "CREATE TABLE a ();\n-- größer\nSELECT 1;\n"


@pytest.mark.parametrize(
    "raw",
    [
        TEXT.encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r\n", 1).encode(),
    ],
    ids=["LF", "BOM", "CRLF", "CR", "BOM and CRLF", "mixed"],
)
def test_the_checksum_does_not_depend_on_the_editor(make_folder: MakeFolder, raw: bytes) -> None:
    (migration,) = read_folder(make_folder({"001_a.sql": raw})).migrations
    assert migration.script.text == TEXT
    assert migration.script.checksum == checksum(TEXT)


def test_the_checksum_is_what_it_says() -> None:
    """`printf 'SELECT 1;\\n' | sha256sum`: ledgers are full of these, so they must never change."""
    assert checksum("SELECT 1;\n") == "b4e0497804e46e0a0b0b8c31975b062152d551bac49c3c2e80932567b4085dcd"


@pytest.mark.parametrize("other", [TEXT + " ", TEXT.replace("1", "2"), TEXT.rstrip("\n"), "\n" + TEXT, TEXT.upper()])
def test_everything_else_counts(make_folder: MakeFolder, other: str) -> None:
    (migration,) = read_folder(make_folder({"001_a.sql": other})).migrations
    assert migration.script.checksum != checksum(TEXT)


# Versions somebody types


@pytest.mark.parametrize(
    ("typed", "version"),
    [("2", "002"), ("02", "002"), ("002", "002"), ("0002", "002"), (" 2 ", "002"), ("1000", "1000"), ("0", "000"),
     ("0000", "000"), ("0" * 5000 + "2", "002"), ("9" * 5000, "9" * 5000)],
)  # fmt: skip
def test_versions_are_numbers(typed: str, version: str) -> None:
    assert normalise_version(typed, ["000", "001", "002", "1000", "9" * 5000]) == version


@pytest.mark.parametrize("typed", ["", "3", "-2", "2.0", "²", "٢", "two", "0", "9" * 5000, " x "])
def test_unknown_versions(typed: str) -> None:
    with pytest.raises(UnknownVersion) as refused:
        normalise_version(typed, ["001", "002", "1000"])
    assert str(refused.value) == f"no migration {typed.strip()} in this folder; the newest one is 1000"


@pytest.mark.parametrize("written", [["1", "2", "10"], ["01", "02", "10"], ["001", "1000"]])
def test_one_manner_of_numbers_is_as_good_as_another(make_folder: MakeFolder, written: list[str]) -> None:
    found = read(make_folder, *(f"{digits}_a.sql" for digits in written))
    assert [m.version for m in found.migrations] == [canonical_version(digits) for digits in written]


def test_nothing_is_no_version() -> None:
    with pytest.raises(UnknownVersion):
        normalise_version(" ", ["000", "001"])


def test_an_unknown_version_that_is_nearly_one() -> None:
    with pytest.raises(UnknownVersion) as refused:
        normalise_version("002_b", ["001", "002", "1000"], where="the ledger")
    assert str(refused.value) == "no migration 002_b in the ledger; did you mean 002?"


def test_a_migration_by_version(make_folder: MakeFolder) -> None:
    folder = read(make_folder, "001_a.sql", "002_b.sql")
    assert folder.migration("2").name == "b"
    with pytest.raises(UnknownVersion):
        folder.migration("3")


@pytest.mark.parametrize(
    ("given", "version"),
    [(0, "000"), (7, "007"), (1000, "1000"), ("000", "000"), ("0007", "007"), ("9" * 5000, "9" * 5000)],
)
def test_one_way_to_write_a_version(given: int | str, version: str) -> None:
    assert canonical_version(given) == version


# What the config declares


def test_what_a_block_declares(make_folder: MakeFolder) -> None:
    config = """\
migrations:
  - version: 1
    filename: 001_a.sql
    description: First
    transactional: {apply: auto, rollback: false}
    timeout_seconds: 7
    rollback_supported: false
    estimated_duration_seconds: 1.5
    on_failure: none
    requires_extensions: [pg_trgm, {name: timescaledb, when_missing: skip, min_version: 2.10, license: timescale}]
  - {version: 3, dependencies: [1]}
environments:
  development: {execution: {timeout_seconds: 9, when_extension_missing: skip, on_failure: none}}
"""
    files = {"001_a.sql": "SELECT 1", "002_b.sql": "SELECT 1", "003_c.sql": "SELECT 1", CONFIG: config}
    folder = read_folder(make_folder(files))
    a, b, c = folder.under(folder.config.settings)
    assert (a.description, a.transactional, a.rollback_transactional) == ("First", "auto", False)
    assert (a.timeout_seconds, a.rollback_supported, a.estimated_duration_seconds) == (7, False, 1.5)
    assert a.on_failure == "none"
    timescaledb = RequiredExtension("timescaledb", "skip", "2.10", "timescale")
    assert a.requires_extensions == (RequiredExtension("pg_trgm", "fail"), timescaledb)
    assert (a.config_line, b.config_line, c.config_line) == (2, None, 11)
    assert (b.timeout_seconds, b.on_failure) == (300, "rollback")
    assert (a.dependencies, b.dependencies, c.dependencies) == ((), ("001",), ("001",))

    a, b, c = folder.under(folder.config.settings_for("development"))
    assert (a.timeout_seconds, b.timeout_seconds, b.on_failure) == (7, 9, "none")
    assert a.requires_extensions == (RequiredExtension("pg_trgm", "skip"), timescaledb)


def test_a_migration_is_whole_with_a_block_and_without(make_folder: MakeFolder) -> None:
    config = """\
migrations:
  - {version: 2, transactional: {apply: false}, repeatable: {rollback: true}, lock_timeout_seconds: 0.5,
     lock_attempts: 4, timeout_seconds: 8, rollback_supported: true}
  - {version: 3, repeatable: {apply: true}, dependencies: [], locks: {public.t: SHARE}}
  - {version: 1, lock_first: false}
"""
    files = {"001_a.sql": "SELECT 1", "002_b.sql": "SELECT 2", "003_c.sql": "SELECT 3", CONFIG: config}
    folder = read_folder(make_folder(files | {"002_b.rollback.sql": "SELECT 4"}))
    first = Migration(
        "001", "a", Script.of("001_a.sql", "SELECT 1"), timeout_seconds=300, on_failure="rollback",
        dependencies_implied=True, lock_first=False, config_line=5,
    )  # fmt: skip
    second = Migration(
        "002", "b", Script.of("002_b.sql", "SELECT 2"), Script.of("002_b.rollback.sql", "SELECT 4"),
        dependencies=("001",), dependencies_implied=True, transactional=False, rollback_transactional="auto",
        repeatable=False, rollback_repeatable=True, timeout_seconds=8, lock_timeout_seconds=0.5, lock_attempts=4,
        rollback_supported=True, on_failure="rollback", config_line=2,
    )  # fmt: skip
    third = Migration(
        "003", "c", Script.of("003_c.sql", "SELECT 3"), repeatable=True, timeout_seconds=300, on_failure="rollback",
        config_line=4, locks=(("public.t", LockMode.SHARE),),
    )  # fmt: skip
    assert folder.under(folder.config.settings) == (first, second, third)


# Scripts, whose text is read when it is needed


def test_a_script_that_is_edited_after_it_was_read_is_refused(tmp_path: Path) -> None:
    """What a plan has looked at is what runs, or nothing."""
    file = tmp_path / "001_a.sql"
    file.write_bytes("\ufeffSELECT 'ä';\r\n".encode())
    (migration,) = read_folder(tmp_path).migrations
    assert (migration.script.text, migration.script.size) == ("SELECT 'ä';\n", 13)
    file.write_text("SELECT 'ä';\n")
    (same,) = read_folder(tmp_path).migrations
    assert same.script == migration.script
    file.write_text("SELECT 2;\n")
    (edited,) = read_folder(tmp_path).migrations
    file.write_text("SELECT 3;\n")
    with pytest.raises(FolderError) as caught:
        _ = edited.script.text
    says = "001_a.sql: was edited since the folder was read; run it again: what it says now is read then"
    assert str(caught.value) == says
    file.unlink()
    with pytest.raises(FolderError, match=r"^001_a.sql: cannot be read any more: No such file or directory; run it"):
        _ = edited.script.text


def test_the_texts_of_a_folder_are_not_kept(tmp_path: Path) -> None:
    for number in range(1, 41):
        (tmp_path / f"{number:03d}_a.sql").write_text(f"SELECT {number}; -- {'x' * 1_000_000}\n")
    tracemalloc.start()
    folder = read_folder(tmp_path)
    now, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert now < 1_000_000
    assert folder.migrations[-1].script.text.startswith("SELECT 40; --")


def test_a_folder_without_its_scripts(make_folder: MakeFolder) -> None:
    """Names, config and graph are there; what was not read is never taken for what was applied."""
    scripts = {"001_a.sql": "SELECT 1;", "001_a.rollback.sql": "SELECT 2;", "002_b.sql": b"\xff"}
    path = make_folder(scripts)
    names = read_folder(path, only=())
    assert [(m.stem, m.dependencies) for m in names.migrations] == [("001_a", ()), ("002_b", ("001",))]
    assert [m.script for m in names.migrations] == [
        Script("001_a.sql", "", NOT_READ),
        Script("002_b.sql", "", NOT_READ),
    ]
    assert names.readable == ()
    own = with_scripts(names, ["001"])
    assert own.migrations == read_folder(path, only=["001"]).migrations
    assert own.migrations[0].script.text == "SELECT 1;"
    assert own.migrations[0].rollback.text == "SELECT 2;"
    assert own.migrations[1] == names.migrations[1]
    assert with_scripts(own, ["001"]) is own
    with pytest.raises(FolderError, match=r"^002_b\.sql:1: is not UTF-8; save it as UTF-8$"):
        with_scripts(own)
    (path / "002_b.sql").write_text("SELECT 3;")
    assert with_scripts(own).migrations == read_folder(path).migrations


def test_whether_a_script_is_about_timescaledb_is_noted_when_it_is_hashed(tmp_path: Path) -> None:
    words = ["SELECT Create_Hypertable('t', 'at')", "SELECT 1", "SELECT add_retention_POLICY('t', '1 d')"]
    for number, text in enumerate(words, 1):
        (tmp_path / f"{number:03}_a.sql").write_text(f"-- grün\n{text};\n", encoding="utf-8")
        (tmp_path / f"{number:03}_a.rollback.sql").write_text(f"{text};\n", encoding="utf-8")
    migrations = read_folder(tmp_path).migrations
    scripts = [migration.script for migration in migrations]
    assert [of_timescaledb(migration.rollback) for migration in migrations if migration.rollback] == [True, False, True]
    kept = [script.with_text() for script in scripts]
    for file in tmp_path.iterdir():
        file.unlink()
    assert [of_timescaledb(script) for script in scripts] == [True, False, True]
    assert [of_timescaledb(script) for script in kept] == [True, False, True]
