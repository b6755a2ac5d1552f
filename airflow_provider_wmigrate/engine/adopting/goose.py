"""goose: one file with `-- +goose Up` and `-- +goose Down`; of each version the last row of its table counts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .marked import marked_pieces
from .model import Applied, Rows, Table, Tool

_MARKER = re.compile(r"(?mi)^--[^\S\n]*\+goose[^\S\n]+(?:up|(?P<down>down))[^\S\n]*(?:\n|\Z)")
_NO_TRANSACTION = re.compile(r"(?mi)^--\s*\+goose\s+no\s+transaction")


def _read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
    last = {row["version_id"]: row for row in sorted(rows, key=lambda row: row["id"])}
    for version, row in last.items():
        if version and row["is_applied"]:  # 0 is the row with which the table was made
            yield Applied(str(version), str(version), row["adopted_at"])


GOOSE = Tool(
    "goose",
    Table("goose_db_version", ("id", "version_id", "is_applied", "tstamp"), at="tstamp::pg_catalog.timestamptz"),
    _read,
    lambda folder: marked_pieces(
        folder, _MARKER, no_transaction=_NO_TRANSACTION, way="write what it does as SQL in a file of the same version"
    ),
)
