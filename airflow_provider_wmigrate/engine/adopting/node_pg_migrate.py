"""node-pg-migrate: SQL with `-- Up Migration` and `-- Down Migration`, or JavaScript; its table has file names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .marked import marked_pieces
from .model import Applied, Rows, Table, Tool, leading_digits

_MARKER = re.compile(r"(?mi)^[^\S\n]*--[^\S\n-]*(?:up|(?P<down>down))[^\S\n]+migration(?:[^\S\n-]*)(?:[^\n]*)(?:\n|\Z)")
_WAY = "write as SQL, into a .sql file of the same name, what `node-pg-migrate up --dry-run` prints of it"


def _read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
    for row in sorted(rows, key=lambda row: row["id"]):
        yield Applied(row["name"], leading_digits(row["name"]), row["adopted_at"])


NODE_PG_MIGRATE = Tool(
    "node-pg-migrate",
    Table("pgmigrations", ("id", "name", "run_on"), at="run_on::pg_catalog.timestamptz"),
    _read,
    lambda folder: marked_pieces(folder, _MARKER, no_transaction=re.compile(r"(?!)"), way=_WAY),
)
