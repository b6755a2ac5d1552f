"""SQL in the files of a DAG folder or a bundle: Python that is read and never run, SQL, and YAML for DAG factories."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from airflow_provider_wmigrate.engine.blast import Elsewhere, Found
from airflow_provider_wmigrate.engine.plan.blast import Source

from .python import SureOf, in_python

_MOST_FILES = 5_000
_MOST_BYTES = 1_000_000
_KINDS = (".py", ".sql", ".hql", ".yaml", ".yml")
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})


def in_files(folder: Path, *, migrations: Path | None, sure: SureOf) -> Elsewhere:
    """:param folder: with the DAGs.
    :param migrations: is left out.
    :param sure: of a connection's id.
    """

    def look(words: frozenset[str]) -> Found:
        return _Files(folder, migrations, words, sure).found()

    return look


class _Files:
    """:param words: the names that go; a file without any of them is not parsed."""

    def __init__(self, folder: Path, migrations: Path | None, words: frozenset[str], sure: SureOf) -> None:
        self._folder, self._sure = folder.resolve(), sure
        self._migrations = migrations.resolve() if migrations else None
        self._words = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(words)))})(?!\w)", re.IGNORECASE)
        self._unseen: list[str] = []
        self._paths_found: list[Path] = []
        self._named: set[Path] = set()
        """SQL files that a task names."""

    def found(self) -> Found:
        paths = sorted(self._paths())
        if len(paths) > _MOST_FILES:
            self._unseen.append(f"{len(paths) - _MOST_FILES:,} of the files in {self._folder.name}: there are too many")
        paths = self._paths_found = paths[:_MOST_FILES]
        sources = [source for path in paths if path.suffix == ".py" for source in self._of_python(path)]
        for path in paths:
            if path.suffix != ".py" and path not in self._named:
                sources += self._of_text(path)
        self._unseen.append("SQL in modules, files and services outside of the folder of the DAGs")
        return Found(sources, tuple(self._unseen))

    def _paths(self) -> Iterator[Path]:
        for place, folders, files in os.walk(self._folder):
            here = Path(place)
            folders[:] = [
                f for f in folders if f not in _SKIPPED and not f.startswith(".") and here / f != self._migrations
            ]
            yield from (here / name for name in files if name.endswith(_KINDS))

    def _read(self, path: Path) -> str | None:
        try:
            if path.is_file() and path.stat().st_size <= _MOST_BYTES:  # a pipe would keep the reader for ever
                return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            pass
        self._unseen.append(f"{self._shown(path)}: it cannot be read as text, or is too large")
        return None

    def _shown(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _of_python(self, path: Path) -> list[Source]:
        text = self._read(path)
        if text is None or not (self._words.search(text) or ".sql" in text):
            return []

        try:
            return [*in_python(text, self._shown(path), sure=self._sure, read_file=self._named_by_task)]
        except (SyntaxError, ValueError, RecursionError):
            self._unseen.append(f"{self._shown(path)}: it is no Python of this version")
            return []

    def _named_by_task(self, name: str) -> str | None:
        """The text of the SQL file of which an operator has the path, below whatever folder its DAG looks in."""
        end = "/" + name.removeprefix("./")
        file = next((path for path in self._paths_found if path.as_posix().endswith(end)), None)
        if file is None:
            return None
        self._named.add(file)
        return self._read(file)

    def _of_text(self, path: Path) -> Iterator[Source]:
        text, surest = self._read(path), self._sure(None)
        if text is None or surest is None or not self._words.search(text):
            return
        if path.suffix in (".sql", ".hql"):
            yield Source("SQL file", self._shown(path), (text,), surest)
        else:
            yield Source("file", self._shown(path), (), "perhaps", words=(text,))
