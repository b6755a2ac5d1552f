"""The nouns of coming from another tool: what its table says was applied, what its folder holds, and the tool."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from airflow_provider_wmigrate.engine.errors import HistoryError
from airflow_provider_wmigrate.engine.folder.problems import Problem
from airflow_provider_wmigrate.engine.model import Finding

Rows = Sequence[Mapping[str, Any]]
"""Of a table, by column; `adopted_at` is the time that `Table.at` gives."""


class Table(Struct, frozen=True):
    """Where a tool keeps its history."""

    name: str
    has: tuple[str, ...]
    """Columns that it has,"""
    lacks: tuple[str, ...] = ()
    """and that others of the same name have."""
    at: str = "NULL"
    """When a migration was applied, as an expression; a time without a zone is taken to be in the session's."""
    schema: str | None = None
    beside: tuple[str, ...] = ()
    """Tables of the same schema that are read too, where they are there."""


class Applied(Struct, frozen=True):
    """What another tool says of one migration, or of all up to one."""

    name: str
    """As the tool calls it: the `origin` of a converted folder."""
    version: str = ""
    """Its number, where the tool has numbers; digits."""
    at: datetime | None = None
    """None: the tool does not keep it."""
    actor: str = ""
    duration_ms: int = 0
    checksum: str | None = None
    rollback_sql: str | None = None
    covers: Callable[[str, str], bool] | None = None
    """Of a migration's version and origin: whether it is applied with this one."""
    with_ancestors: bool = False
    is_baseline: bool = False
    """It stands for what it covers, and needs no file of its own."""


class Piece(Struct, frozen=True):
    """One migration of another tool's folder, as it will stand here."""

    source: str
    """The file that it comes from."""
    digits: str
    """Its version; empty: it is numbered in the order of the pieces."""
    words: str
    up: str
    down: str | None = None
    origin: str = ""
    """What the tool's table calls it; empty: its version says it."""
    needs: tuple[str, ...] | None = None
    """Origins; None: nobody declared any."""
    transactional: bool = True


class Pieces(Struct, frozen=True):
    """A folder as it was read. Texts keep bytes that are not UTF-8 as surrogates."""

    found: Sequence[Piece]
    problems: Sequence[Problem] = ()
    """Why it cannot be converted."""
    passed_over: Sequence[str] = ()
    """What is not taken along, with the reason."""


class Tool(Struct, frozen=True):
    """One tool that projects come from."""

    name: str
    table: Table
    read: Callable[[Rows, Mapping[str, Rows]], Iterable[Applied]]
    """Of its table's rows, and those of the tables beside; raises `HistoryError` for what must be settled first."""
    pieces: Callable[[Path], Pieces]
    digests: Callable[[str], set[str]] = lambda text: set()
    """The checksums that the tool would have of a script; none: it keeps none that can be computed again."""


def unsettled(message: str, next_step: str) -> HistoryError:
    """What the tool itself has to put in order before its history can be taken over."""
    return HistoryError([Finding("not_adoptable", message, next_step)])


def read_text(file: Path) -> str:
    """The file, every byte of it but a byte order mark."""
    return file.read_bytes().decode("utf-8-sig", "surrogateescape")


def program(source: str, way: str) -> Problem:
    """A migration that is no SQL.

    :param way: what gives its SQL.
    """
    return Problem(source, "is not SQL", way, kind="are not SQL", rule=way)


def leading_digits(name: str) -> str:
    """The number with which a name begins."""
    return name[: len(name) - len(name.lstrip("0123456789"))]
