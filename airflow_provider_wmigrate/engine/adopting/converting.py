"""Pieces of another tool's folder -> the files of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.errors import FolderError, place
from airflow_provider_wmigrate.engine.folder.config.root import CONFIG_FILE
from airflow_provider_wmigrate.engine.folder.names import ROLLBACK_SUFFIX
from airflow_provider_wmigrate.engine.folder.problems import Problem, grouped
from airflow_provider_wmigrate.engine.model import Finding, canonical_version

from .model import Piece, Pieces, Tool


class Converted(Struct, frozen=True):
    """What a folder becomes."""

    files: Mapping[str, bytes]
    """By name, in order; the config is the last one, if there is anything that it must say."""
    migrations: Sequence[tuple[str, str, bool]]
    """Of each migration where it comes from, its new file, and whether it has a rollback."""
    passed_over: Sequence[str]


def convert(tool: Tool, source: Path) -> Converted:
    """Read another tool's folder.

    :raises FolderError: it cannot be converted; it has a finding for each kind of obstacle.
    """
    if not source.is_dir():
        raise FolderError(str(source), "is no folder", hint=f"give the folder in which {tool.name} has its migrations")
    read = tool.pieces(source)
    pieces = _numbered(read.found)
    problems = [*read.problems, *_wrong(pieces)]
    if not pieces and not problems:
        hint = f"give the folder in which {tool.name} has its migrations"
        raise FolderError(str(source), f"holds no migration of {tool.name}", hint=hint)
    if problems:
        raise _refusal(grouped(problems))
    return _files(pieces, read)


def _refusal(findings: Sequence[Finding]) -> FolderError:
    """One error that names every file: no other command shows the rest."""
    first, others = (
        findings[0],
        [f"{place(f.file, f.line)}: {f.message}" if f.file else f.message for f in findings[1:]],
    )
    hint = first.next_step + (f" (and {'; '.join(others)})" if others else "")
    error = FolderError(first.file, first.message, line=first.line, hint=hint)
    error.findings = tuple(findings)
    return error


def _files(pieces: Sequence[Piece], read: Pieces) -> Converted:
    files: dict[str, bytes] = {}
    rows = []
    for piece in pieces:
        stem = _stem(piece)
        files[f"{stem}.sql"] = piece.up.encode("utf-8", "surrogateescape")
        if piece.down is not None:
            files[f"{stem}{ROLLBACK_SUFFIX}.sql"] = piece.down.encode("utf-8", "surrogateescape")
        rows.append((piece.source, f"{stem}.sql", piece.down is not None))
    versions = {p.origin: canonical_version(p.digits) for p in pieces}
    blocks = [line for piece in pieces for line in _block(piece, versions)]
    if blocks:
        files[CONFIG_FILE] = "".join(f"{line}\n" for line in ("migrations:", *blocks)).encode()
    return Converted(files, rows, read.passed_over)


def _stem(piece: Piece) -> str:
    return f"{piece.digits}_{piece.words or 'migration'}"


def _numbered(pieces: Sequence[Piece]) -> list[Piece]:
    """With the tool's versions, if every piece has one and no piece needs a higher one; else in the tool's order."""
    numbers = {p.origin or p.source: int(p.digits or 0) for p in pieces}
    kept = all(p.digits for p in pieces) and all(
        numbers.get(n, 0) < int(p.digits) for p in pieces for n in p.needs or ()
    )
    if kept:
        return sorted((replace(p, digits=p.digits.zfill(3)) for p in pieces), key=lambda p: int(p.digits))
    width = max(3, len(str(len(pieces))))
    return [replace(p, digits=f"{place:0{width}d}") for place, p in enumerate(_in_order(pieces), 1)]


def _in_order(pieces: Sequence[Piece]) -> list[Piece]:
    """Each behind those it needs; the tool's order wherever there is a choice. What is in a circle comes last."""
    left, placed, order = list(pieces), set[str](), list[Piece]()
    known = {p.origin for p in pieces}
    while left:
        ready = next((p for p in left if all(n in placed or n not in known for n in p.needs or ())), left[0])
        left.remove(ready)
        placed.add(ready.origin)
        order.append(ready)
    return order


def _wrong(pieces: Sequence[Piece]) -> Iterator[Problem]:
    seen: dict[int, Piece] = {}
    known: dict[str, Piece] = {}
    for piece in pieces:
        if piece.origin and known.setdefault(piece.origin, piece) is not piece:
            reason = f"is called {piece.origin}, as {known[piece.origin].source} is"
            yield Problem(piece.source, reason, "give one of them another name or id")
    for piece in pieces:
        other = seen.setdefault(int(piece.digits), piece)
        if other is not piece:
            yield Problem(piece.source, f"version {piece.digits} is that of {other.source} too", "renumber one of them")
        for missing in sorted(set(piece.needs or ()) - known.keys()):
            yield Problem(piece.source, f"needs {missing}, which is not there", "restore it")


def _block(piece: Piece, versions: Mapping[str, str]) -> Iterator[str]:
    """Lines of the config; none where the file says all."""
    fields = []
    if piece.origin:
        fields.append(f"origin: {json.dumps(piece.origin, ensure_ascii=False)}")
    if piece.needs is not None:
        fields.append("dependencies: [" + ", ".join(f'"{versions[n]}"' for n in piece.needs) + "]")
    if not piece.transactional:
        fields.append("transactional: {apply: false}")
    if fields:
        yield f'  - version: "{canonical_version(piece.digits)}"'
        yield f"    filename: {_stem(piece)}.sql"
        yield from (f"    {field}" for field in fields)
