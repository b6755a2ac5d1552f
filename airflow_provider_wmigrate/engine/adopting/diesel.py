"""diesel: a folder for each migration, with up.sql and down.sql; its table has the digits of the folder's name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from airflow_provider_wmigrate.engine.folder.names import as_words
from airflow_provider_wmigrate.engine.folder.problems import Problem

from .model import Applied, Piece, Pieces, Rows, Table, Tool, read_text

_NO_TRANSACTION = re.compile(r"(?m)^\s*run_in_transaction\s*=\s*false")


def _read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
    for row in sorted(rows, key=lambda row: row["version"]):
        yield Applied(row["version"], row["version"], row["adopted_at"])


def _pieces(folder: Path) -> Pieces:
    found: list[Piece] = []
    problems: list[Problem] = []
    for place in sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0].isdigit()):
        number, _, words = place.name.partition("_")
        up, down, about = (place / name for name in ("up.sql", "down.sql", "metadata.toml"))
        if not up.is_file():
            problems.append(Problem(place.name, "has no up.sql", "write what it does as SQL in up.sql"))
            continue
        found.append(
            Piece(
                f"{place.name}/up.sql",
                number.replace("-", ""),
                as_words(words),
                read_text(up),
                read_text(down) if down.is_file() else None,
                transactional=not (about.is_file() and _NO_TRANSACTION.search(read_text(about))),
            )
        )
    return Pieces(found, problems)


DIESEL = Tool(
    "diesel",
    Table("__diesel_schema_migrations", ("version", "run_on"), at="run_on::pg_catalog.timestamptz"),
    _read,
    _pieces,
)
