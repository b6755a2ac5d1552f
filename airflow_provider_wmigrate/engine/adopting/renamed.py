"""Folders in which only the names of files are another tool's: Flyway's, golang-migrate's, the warehouse's first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from airflow_provider_wmigrate.engine.folder.names import Named, understood
from airflow_provider_wmigrate.engine.folder.other_tools import Foreign, foreign, no_migration, renamed
from airflow_provider_wmigrate.engine.folder.problems import Problem

from .model import Piece, Pieces, program, read_text

_PROGRAMS = (".java", ".class", ".kt", ".py", ".go", ".sh")
_END = ".sql"


def renamed_pieces(folder: Path, *, way: str, deep: bool = False, named: bool = False) -> Pieces:
    """:param way: what to do with a program.
    :param deep: folders inside are read too.
    :param named: the tool's table has names, not versions.
    """
    files: dict[str, Path] = {}
    problems: list[Problem] = []
    for file in sorted(f for f in (folder.rglob("*") if deep else folder.iterdir()) if f.is_file()):
        if files.setdefault(file.name, file) is not file and file.suffix == _END:
            problems.append(Problem(str(file), f"has the name of {files[file.name]}", "rename one of them"))
    ours = [meant for name in files if name.endswith(_END) and (meant := understood(name, _END))]
    known = {o.file for o in ours}
    theirs: list[Foreign] = []
    passed_over: list[str] = []
    for name in files:
        if name in known:
            continue
        if name.endswith(_END) and (other := no_migration(name, _END)):
            passed_over.append(f"{name}: {other.reason}")
        elif name.endswith(_END) and (their := foreign(name, _END)):
            theirs.append(their)
        elif name.endswith(_PROGRAMS) and foreign(Path(name).stem, ""):
            problems.append(program(name, way))
    return Pieces([*_pieces(files, [*renamed(theirs, ours), *ours], named, problems)], problems, passed_over)


def _pieces(files: dict[str, Path], meant: list[Named], named: bool, problems: list[Problem]) -> Iterator[Piece]:
    downs = {m.number: m for m in meant if m.is_rollback}
    ups = sorted((m for m in meant if not m.is_rollback), key=lambda m: m.number)
    for number in sorted(downs.keys() - {m.number for m in ups}):
        reason = "undoes a migration that is not there"
        problems.append(Problem(downs[number].file, reason, "add the migration, or move this file away"))
    for up in ups:
        down, about = downs.get(up.number), files.get(f"{up.file}.conf")
        yield Piece(
            up.file,
            up.digits,
            up.name,
            read_text(files[up.file]),
            read_text(files[down.file]) if down else None,
            up.file if named else "",
            transactional=not (about and "executeintransaction=false" in read_text(about).lower().replace(" ", "")),
        )
