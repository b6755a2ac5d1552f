"""What is wrong with the files of a folder, gathered so that a person is told all of it in a few lines."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from airflow_provider_wmigrate.engine.errors import place
from airflow_provider_wmigrate.engine.model import FolderFinding

_NAMED = 3
"""How many files a line names of those it counts."""


class Problem(Struct, frozen=True):
    """One thing wrong with one file. Several of one `kind` are told in one line."""

    file: str
    reason: str
    hint: str
    line: int | None = None
    kind: str = ""
    """What several such files are told to be: "are not UTF-8". Empty: it is always told alone."""
    rule: str = ""
    """What heals all of a kind."""
    aside: str = ""
    """What is said beside the file's name where several are told."""
    code: str = "folder_error"


def grouped(problems: Iterable[Problem]) -> tuple[FolderFinding, ...]:
    """One finding for each kind, in the order in which the kinds were met; the files of a kind in order of name."""
    kinds: dict[tuple[str, str], list[Problem]] = {}
    for number, problem in enumerate(problems):
        kinds.setdefault((problem.kind, problem.rule if problem.kind else str(number)), []).append(problem)
    return tuple(_finding(sorted(kind, key=lambda p: p.file)) for kind in kinds.values())


def _finding(kind: list[Problem]) -> FolderFinding:
    first, files = kind[0], tuple(p.file for p in kind)
    if len(kind) == 1:
        return FolderFinding(first.code, first.reason, first.hint, file=first.file, line=first.line, files=files)
    named = ", ".join(place(p.file, p.line) + (f" ({p.aside})" if p.aside else "") for p in kind[:_NAMED])
    more = f" and {len(kind) - _NAMED} more" if len(kind) > _NAMED else ""
    return FolderFinding(first.code, f"{len(kind)} files {first.kind}: {named}{more}", first.rule, files=files)
