"""dbmate: one file with `-- migrate:up` and `-- migrate:down`; its table has the versions alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .marked import marked_pieces
from .model import Applied, Rows, Table, Tool

_MARKER = re.compile(r"(?m)^--[^\S\n]*migrate:(?:up|(?P<down>down))(?:[^\S\n][^\n]*)?(?:\n|\Z)")
_NO_TRANSACTION = re.compile(r"(?m)^--[^\S\n]*migrate:up\b.*\btransaction:false")


def _read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
    for row in rows:
        yield Applied(str(row["version"]), str(row["version"]))


DBMATE = Tool(
    "dbmate",
    Table("schema_migrations", ("version",), lacks=("dirty", "checksum", "statement_hashes")),
    _read,
    lambda folder: marked_pieces(folder, _MARKER, no_transaction=_NO_TRANSACTION, way="dbmate reads SQL only"),
)
