"""Files of a folder, written so that all of them are there in the end, or everything is as before."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_provider_wmigrate.engine.errors import FolderError, WMigrateError

CONFIG_FILE = "migration_config.yaml"


def replace_file(file: Path, text: str) -> None:
    """The file is the old one or the new one at any moment, whatever happens."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        os.chmod(name, file.stat().st_mode & 0o7777 if file.exists() else 0o666 & ~_umask())
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def all_or_nothing(path: Path) -> Iterator[Any]:
    """Gives a function that writes a file which is not there yet. If anything fails, everything is as before."""
    fresh = not path.exists()
    config = Path(os.path.realpath(path / CONFIG_FILE))
    before = config.read_bytes() if config.exists() else None
    written: list[Path] = []

    def write(name: str, content: bytes) -> None:
        with open(path / name, "xb") as stream:
            written.append(path / name)
            stream.write(content)

    try:
        path.mkdir(exist_ok=True)
        yield write
    except BaseException as error:
        for file in written:
            file.unlink(missing_ok=True)
        if before is None:
            config.unlink(missing_ok=True)
        elif config.read_bytes() != before:
            replace_file(config, before.decode("utf-8"))
        if fresh and path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        if isinstance(error, FileExistsError | FolderError):
            raise WMigrateError(f"somebody else wrote into {path} meanwhile ({error})", hint="try again") from error
        raise
