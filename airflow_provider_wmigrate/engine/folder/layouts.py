"""Folders that hold SQL in another layout. Taken for an empty one, such a folder would look finished.

Looked at only where there is no migration at all, and not further than a person would look.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from msgspec import Struct

from .problems import Problem

_DEEPEST, _MOST = 6, 2_000
"""Levels and files that are looked at."""

OURS = "here all files lie in one folder: 001_name.sql, and what undoes it 001_name.rollback.sql"


class _Layout(Struct, frozen=True):
    tool: str
    looks: str
    has: Callable[[Sequence[PurePosixPath]], bool]
    heals: str


def _any(pattern: str) -> Callable[[Sequence[PurePosixPath]], bool]:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda files: any(compiled.search(str(file)) for file in files)


_LAYOUTS = (
    _Layout(
        "Sqitch",
        "deploy, revert and verify",
        _any(r"(^|/)(deploy/.+|revert/.+)\.sql$"),
        "`wmigrate convert --from sqitch SOURCE DEST` writes such a folder",
    ),
    _Layout(
        "diesel, Hasura and others",
        "a folder for each migration, with up.sql and down.sql",
        _any(r"/(up|down)\.sql$"),
        "`wmigrate convert --from diesel SOURCE DEST` writes such a folder",
    ),
    _Layout(
        "Prisma",
        "a folder for each migration, with migration.sql",
        _any(r"/migration\.sql$"),
        "move 20240131093000_name/migration.sql to 20240131093000_name.sql",
    ),
    _Layout(
        "Liquibase",
        "changelogs",
        _any(r"change-?(log|set)"),
        "`wmigrate convert --from liquibase SOURCE DEST` writes such a folder",
    ),
)
_HOLDS = re.compile(r"\d+[-_.].*\.sql|[VUR]\d*(?:[._]\d+)*__.*\.sql", re.IGNORECASE)


def other_layout(path: Path, extensions: Sequence[str]) -> Problem | None:
    """What a folder without migrations holds instead; None: no SQL, so it is a history that has not begun."""
    files = list(islice(_scripts(path, extensions), _MOST))
    if not files:
        return _without_sql(path)
    many = f"{len(files)}{' or more' if len(files) == _MOST else ''} SQL file{'s' * (len(files) != 1)}"
    named = ", ".join(str(f) for f in files[:3]) + (" ..." if len(files) > 3 else "")
    reason = f"holds no migration, but {many} in another layout ({named})"
    return Problem(str(path), f"{reason}{_named(files)}", _advice(path, files), code="other_layout")


_PROGRAMS = re.compile(
    r"(?:\d{3,}|\d{2,}[-_.]|[0-9a-f]{12}_|V\d+__)[^/]*\.(?:py|rb|[cm]?[jt]s|go|php|java|kt|cs|exs)"
    r"|[^/]*change-?(?:log|set)[^/]*\.(?:xml|ya?ml|json)",
    re.IGNORECASE,
)
"""Migrations that are no SQL: of Alembic, Django, Rails, Knex, Liquibase and others."""


def _without_sql(path: Path) -> Problem | None:
    """Migrations in another language, of which not one would be applied."""
    files = [file for file in islice(_files(path, ("",)), _MOST) if _PROGRAMS.fullmatch(file.name)]
    if not files:
        return None
    named = ", ".join(str(f) for f in files[:3]) + (" ..." if len(files) > 3 else "")
    reason = f"holds no migration, but what looks like another tool's, and is no SQL ({named})"
    advice = f"{OURS}; `wmigrate convert` names the command of Alembic, Django and others that prints their SQL"
    return Problem(str(path), reason, advice, code="other_layout")


def is_known(path: Path, extensions: Sequence[str]) -> bool:
    """Whether what lies there is a history of another tool, and not just some SQL."""
    files = list(islice(_scripts(path, extensions), _MOST))
    return _layout(files) is not None or _inner(files) is not None


def _named(files: Sequence[PurePosixPath]) -> str:
    layout = _layout(files)
    if layout is None:
        return ""
    return f", as {layout.tool} {'have' if ' and ' in layout.tool else 'has'} it: {layout.looks}"


def _advice(path: Path, files: Sequence[PurePosixPath]) -> str:
    layout, inner = _layout(files), _inner(files)
    if layout is not None:
        return f"{OURS}; {layout.heals}"
    if inner is not None:
        return f"give the folder that holds the migrations: {path / inner}"
    known = "; ".join(f"{layout.tool}: {layout.looks}" for layout in _LAYOUTS)
    return f"{OURS} (other layouts that are known: {known}; Flyway, dbmate and others: a folder below the one given)"


def _layout(files: Sequence[PurePosixPath]) -> _Layout | None:
    return next((layout for layout in _LAYOUTS if layout.has(files)), None)


def _inner(files: Sequence[PurePosixPath]) -> PurePosixPath | None:
    """A folder below in which files have the names of migrations, ours or another tool's."""
    return next((f.parent for f in files if _HOLDS.fullmatch(f.name) and f.parent != PurePosixPath()), None)


def _scripts(path: Path, extensions: Sequence[str]) -> Iterator[PurePosixPath]:
    """The SQL files in the folder and below."""
    return _files(path, tuple({".sql", *extensions}))


def _files(path: Path, endings: tuple[str, ...]) -> Iterator[PurePosixPath]:
    """Files in the folder and below, nearest first, without hidden ones."""
    todo = [(path, 0)]
    while todo:
        folder, depth = todo.pop(0)
        try:
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
        except OSError:
            continue  # what may not be looked into is no reason to fail
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                todo += [(Path(entry.path), depth + 1)] if depth < _DEEPEST else []
            elif entry.name.lower().endswith(endings):
                yield PurePosixPath(Path(entry.path).relative_to(path).as_posix())
