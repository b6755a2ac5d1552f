"""Where backups are kept, and what is said of a program that failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_wmigrate.engine.backup.programs import Programs, failure
from airflow_provider_wmigrate.engine.backup.stores import FolderStore, files_of, store_of
from airflow_provider_wmigrate.engine.catalog.row_sums import Counter, Sums, TableSums
from airflow_provider_wmigrate.engine.errors import BackupFailed, WMigrateError


def test_a_folder_keeps_what_is_whole_and_removes_what_it_made(tmp_path: Path) -> None:
    store = store_of("file://backups", tmp_path)
    assert isinstance(store, FolderStore)
    with store.writing("b") as work:
        assert work == tmp_path / "backups" / "b.partial"
        work.write_bytes(b"1234")
        assert store.keep(work, "b") == str(tmp_path / "backups" / "b")
    assert [path.name for path in (tmp_path / "backups").iterdir()] == ["b"]
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert store.remove("b", 5) is False
    assert store.remove("c", 5) is False
    assert (tmp_path / "backups" / "b").read_bytes() == b"1234"
    assert store.remove("b", 4) is True
    assert [*store.folder.iterdir()] == []


def test_a_folder_of_files_is_one_backup(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    with store.writing("b") as work:
        (work / "in").mkdir(parents=True)
        (work / "b").write_bytes(b"12")
        (work / "in" / "a").write_bytes(b"3")
        assert files_of(work) == [work / "b", work / "in" / "a"]
        store.keep(work, "b")
    assert store.remove("b", 2) is False
    assert store.remove("b", 3) is True
    assert [*tmp_path.iterdir()] == []


def test_what_was_not_kept_is_gone(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    with store.writing("b") as work:
        work.mkdir()
    assert [*tmp_path.iterdir()] == []


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BackupFailed) as raised, FolderStore(tmp_path / "file").writing("b"):
        pass
    assert str(raised.value).startswith(f"{tmp_path}/file cannot be used: File exists")
    assert raised.value.hint == "correct settings.backup.backup_location, or the rights there"


RIGHTS = "correct settings.backup.backup_location, or the rights there"
WITHOUT = "install what reaches s3 (in Airflow a provider, else fsspec and its library), or choose a folder"


@pytest.mark.parametrize(
    ("location", "error", "said", "hint"),
    [
        ("", None, "there is no place for a backup", "give settings.backup.backup_location a folder or a URL"),
        ("s3://b", ImportError("no s3fs"), "s3://b cannot be reached: no s3fs", WITHOUT),
        ("s3://b", ValueError("unknown"), "s3://b cannot be reached: unknown", WITHOUT),
        (
            "s3://b",
            OSError("no\n right"),
            "s3://b cannot be used: no right",
            "correct settings.backup.backup_location, or the rights there",
        ),
        (
            "s3://b",
            KeyError(),
            "s3://b cannot be used: KeyError",
            "correct settings.backup.backup_location, or the rights there",
        ),
    ],
)
def test_a_place_that_cannot_be_reached(location: str, error: Exception | None, said: str, hint: str) -> None:
    def reach(asked: str) -> tuple[Any, str]:
        assert asked == location
        raise error or AssertionError

    with pytest.raises(BackupFailed) as raised:
        store_of(location, Path("/x"), reach)
    assert str(raised.value).startswith(said)
    assert raised.value.hint == hint


def test_a_place_that_fsspec_reaches(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    fs = fsspec.filesystem("memory")
    store = store_of("memory://backups/", tmp_path, lambda location: (fs, "/backups/"))
    with store.writing("b") as work:
        work.mkdir()
        (work / "a").write_bytes(b"123")
        assert store.keep(work, "b") == "memory://backups/b"
    assert not work.exists()
    assert fs.find("/backups") == ["/backups/b/a"]
    assert [store.remove("b", 4), store.remove("c", 3), store.remove("b", 3)] == [False, False, True]
    assert fs.find("/backups") == []


# Programs

BY_HAND = "try the program by hand, and look at the server's log"


@pytest.mark.parametrize(
    ("said", "reason", "hint", "retryable"),
    [
        ("", "it ends with 3", BY_HAND, False),
        ("pg_dump: error: it broke\nmore", "it broke", BY_HAND, False),
        (
            "pg_dump: warning: old\npg_dump: detail: x\n\npg_dump: it broke",
            "it broke",
            BY_HAND,
            False,
        ),
        (
            "pg_dump: error: aborting because of server version mismatch",
            "aborting because of server version mismatch",
            "take programs of the server's major version or a newer one",
            False,
        ),
        (
            "permission denied for table a",
            "permission denied for table a",
            "let the role read it: GRANT pg_read_all_data, or connect as the owner of the tables",
            False,
        ),
        (
            "x: query would be affected by row-level security",
            "x: query would be affected by row-level security",
            "connect as a role with BYPASSRLS, or as the owner of the tables",
            False,
        ),
        *(
            (words, words, "make room at backup_location, or choose another one", False)
            for words in ("No space left on device", "File too large", "Disk quota exceeded")
        ),
        (
            "canceling statement due to lock timeout",
            "canceling statement due to lock timeout",
            "try again when nobody holds that table",
            True,
        ),
        ("connection to server failed", "connection to server failed", BY_HAND, True),
        ("server closed the connection", "server closed the connection", BY_HAND, True),
        ("terminating connection", "terminating connection", BY_HAND, True),
    ],
)
def test_a_program_that_failed_in_one_sentence(said: str, reason: str, hint: str, retryable: bool) -> None:
    error = failure("pg_dump", said, 3)
    assert str(error).startswith(f"pg_dump failed: {reason}")
    assert (error.hint, error.retryable) == (hint, retryable)


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(WMigrateError) as raised:
        Programs({"PATH": "/nowhere"}).find("pg_dump")
    assert str(raised.value).startswith("pg_dump is not on the path")
    assert raised.value.hint == "install PostgreSQL's client programs, of the server's major version or a newer one"


# What a small database holds


def test_what_is_there_at_all() -> None:
    tables = {"a": TableSums(2, "x", {}, 1), "b": TableSums(0, None, {}, 2)}
    sequences = {"s": Counter(7, 1, True), "unused": Counter(1, 1, False)}
    assert Sums(tables, {"c": "no right"}, sequences, 3).kept() == {
        "a": (2, "x"),
        "s": 7,
        "large objects": 3,
        "c": "no right",
    }
    assert Sums({}, {}, {}, 0).kept() == {}
