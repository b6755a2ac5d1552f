"""Files that hold both ways, cut at their tool's markers as that tool cuts them: line by line."""

from __future__ import annotations

import re
from pathlib import Path

from airflow_provider_wmigrate.engine.folder.names import as_words
from airflow_provider_wmigrate.engine.folder.problems import Problem

from .model import Piece, Pieces, leading_digits, program, read_text

_PROGRAMS = (".py", ".go", ".js", ".ts", ".mjs", ".cjs", ".java", ".sh")


def sections(text: str, marker: re.Pattern[str]) -> list[tuple[re.Match[str], str]]:
    """Each line that is a marker, and what stands below it, up to the next one."""
    if not (found := list(marker.finditer(text))):
        return []
    ends = [m.start() for m in found[1:]] + [len(text)]
    return [(m, text[m.end() : end]) for m, end in zip(found, ends, strict=True)]


def marked_pieces(
    folder: Path, marker: re.Pattern[str], *, no_transaction: re.Pattern[str], way: str, named: bool = False
) -> Pieces:
    """:param marker: a whole line, with its line end; its group `down` is that of what undoes.
    :param no_transaction: what says that a script runs outside a transaction.
    :param way: what to do with a program.
    :param named: the tool's table has names, not versions.
    """
    found: list[Piece] = []
    problems: list[Problem] = []
    for file in sorted(f for f in folder.iterdir() if f.name[0].isdigit() and f.is_file()):
        if file.suffix in _PROGRAMS:
            problems.append(program(file.name, way))
        elif file.suffix == ".sql":
            piece = _piece(file, marker, no_transaction, named=named)
            found += [piece] if isinstance(piece, Piece) else []
            problems += [piece] if isinstance(piece, Problem) else []
    return Pieces(found, problems)


def _piece(file: Path, marker: re.Pattern[str], no_transaction: re.Pattern[str], *, named: bool) -> Piece | Problem:
    text, name = read_text(file), file.name.removesuffix(".sql")
    cut = sections(text, marker)
    ups = [(m, below) for m, below in cut if not m["down"]]
    downs = [below for m, below in cut if m["down"]]
    if cut and not ups:
        return Problem(file.name, "has a part that undoes, and none that applies", "write what it applies, too")
    digits = leading_digits(name)
    return Piece(
        file.name,
        digits,
        as_words(name[len(digits) :]),
        "".join(below for _, below in ups) if cut else text,
        "".join(downs) if any(d.strip() for d in downs) else None,
        name if named else "",
        transactional=not no_transaction.search(text),
    )
