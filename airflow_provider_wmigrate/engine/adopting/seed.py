"""The plain `schema_migrations` of the warehouse's first design: a row for each migration, with its rollback script."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from .model import Applied, Rows, Table, Tool, leading_digits
from .renamed import renamed_pieces


def _read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
    for row in rows:
        version = str(row["version"])
        yield Applied(
            str(row.get("name") or row.get("description") or version),
            leading_digits(version.lstrip("vV")),
            row["adopted_at"],
            str(row.get("applied_by") or ""),
            checksum=str(row["checksum"]).lower(),
            rollback_sql=row["rollback_sql"],
        )


def _digests(text: str) -> set[str]:
    """The design does not say which algorithm it is, nor whether the last line end counts."""
    texts = {text, text.strip(), text.replace("\n", "\r\n")}
    return {hashlib.new(name, t.encode()).hexdigest() for t in texts for name in ("sha256", "md5", "sha1")}


SEED = Tool(
    "seed",
    Table(
        "schema_migrations",
        ("version", "checksum", "applied_at", "rollback_sql"),
        lacks=("statement_hashes",),
        at="applied_at::pg_catalog.timestamptz",
    ),
    _read,
    lambda folder: renamed_pieces(folder, way="write what it does as SQL"),
    _digests,
)
