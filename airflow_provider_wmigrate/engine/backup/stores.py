"""Where backups are kept: a folder, or whatever fsspec reaches. What is not whole has another name."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from airflow_provider_wmigrate.engine.errors import BackupFailed

from .outside import OpenRemote

PARTIAL = ".partial"
_OURS = re.compile(r"wmigrate-.+-\d{8}T\d{6}Z-[0-9a-f]{6}(\.dump)?" + re.escape(PARTIAL))
_ABANDONED = 24 * 3600
"""Seconds without a write, after which nobody writes any more."""


class Store(Protocol):
    """A place for backups."""

    def writing(self, name: str) -> Any:
        """A context that gives the local path to which one is written; it is gone afterwards if it was not kept."""

    def keep(self, work: Path, name: str) -> str:
        """Give what was written its name, and say where it is."""

    def remove(self, name: str, size: int) -> bool:
        """Delete one. False: it is not there, or has another size, and so is not the one that was made."""

    def tidy(self) -> list[str]:
        """Delete what runs left half written that were killed, and say where it was."""


def store_of(location: str, beside: Path, open_remote: OpenRemote | None = None) -> Store:
    """:param beside: the folder from which a relative one counts.
    :param open_remote: None: fsspec, if it is installed.
    :raises BackupFailed: there is none, or nothing can reach it.
    """
    if not location:
        hint = "give settings.backup.backup_location a folder or a URL"
        raise BackupFailed("there is no place for a backup", hint=hint)
    if "://" not in location or location.startswith("file://"):
        return FolderStore(beside / location.removeprefix("file://"))
    try:
        fs, path = (open_remote or _by_fsspec)(location)
    except (ImportError, ValueError) as error:
        kind = location.partition("://")[0]
        hint = f"install what reaches {kind} (in Airflow a provider, else fsspec and its library), or choose a folder"
        raise BackupFailed(f"{location} cannot be reached: {error}", hint=hint) from error
    except Exception as error:  # whatever the library of that place raises
        raise _unreachable(location, error) from error
    return RemoteStore(fs, path.rstrip("/"), location.rstrip("/"))


def _by_fsspec(location: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    fs, path = url_to_fs(location)
    return fs, path


def _unreachable(location: str, error: Exception) -> BackupFailed:
    said = " ".join(str(error).split()) or type(error).__name__
    hint = "correct settings.backup.backup_location, or the rights there"
    return BackupFailed(f"{location} cannot be used: {said}", hint=hint)


class FolderStore:
    """A folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder))

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        work = self.folder / f"{name}{PARTIAL}"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            work.touch(mode=0o600)
            work.unlink()
        except OSError as error:
            raise _unreachable(str(self.folder), OSError(error.strerror)) from error
        try:
            yield work
        finally:
            _delete(work)

    def keep(self, work: Path, name: str) -> str:
        for path in [*files_of(work), work]:
            _to_disk(path)
        work.rename(self.folder / name)
        _to_disk(self.folder)
        return str(self.folder / name)

    def remove(self, name: str, size: int) -> bool:
        path = self.folder / name
        with suppress(FileNotFoundError):  # another runner was quicker
            if sum(file.stat().st_size for file in files_of(path)) == size:
                _delete(path)
                return not path.exists()
        return False

    def tidy(self) -> list[str]:
        left = []
        for path in self.folder.glob(f"*{PARTIAL}"):
            with suppress(OSError):  # another runner was quicker, or may do more here
                written = max(each.stat().st_mtime for each in (path, *files_of(path)))
                if _OURS.fullmatch(path.name) and time.time() - written > _ABANDONED:
                    _delete(path)
                    left.append(str(path))
        return left


class RemoteStore:
    """What fsspec reaches. A backup is written on this machine first, since pg_dump writes nowhere else."""

    def __init__(self, fs: Any, path: str, location: str) -> None:
        self._fs, self._path, self._location = fs, path, location

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="wmigrate-backup-") as local:
            yield Path(local, name)

    def keep(self, work: Path, name: str) -> str:
        partial, whole = f"{self._path}/{name}{PARTIAL}", f"{self._path}/{name}"
        try:
            self._fs.makedirs(self._path, exist_ok=True)
            self._fs.put(str(work), partial, recursive=work.is_dir())
            sent, wanted = self._size(partial), sum(file.stat().st_size for file in files_of(work))
            if sent != wanted:
                raise OSError(f"{sent} of {wanted} bytes have arrived")
            self._fs.mv(partial, whole, recursive=work.is_dir())
        except Exception as error:
            with suppress(Exception):
                self._fs.rm(partial, recursive=True)
            raise _unreachable(self._location, error) from error
        return f"{self._location}/{name}"

    def remove(self, name: str, size: int) -> bool:
        path = f"{self._path}/{name}"
        try:
            if self._size(path) != size:
                return False
            self._fs.rm(path, recursive=True)
        except FileNotFoundError:
            return False
        except Exception as error:
            raise _unreachable(self._location, error) from error
        return True

    def tidy(self) -> list[str]:
        return []  # when something was written is told by each place in its own way, or not at all

    def _size(self, path: str) -> int:
        return int(sum(self._fs.find(path, detail=True)[each]["size"] for each in self._fs.find(path)))


def files_of(path: Path) -> list[Path]:
    """The file, or those of a folder, in order."""
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
