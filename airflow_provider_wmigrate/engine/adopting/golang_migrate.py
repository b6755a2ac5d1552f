"""golang-migrate: 1_name.up.sql and 1_name.down.sql; its table has one row, the newest version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from .model import Applied, Rows, Table, Tool, unsettled
from .renamed import renamed_pieces


def _read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
    for row in rows:
        version = int(row["version"])
        if row["dirty"]:
            raise unsettled(
                f"golang-migrate has version {version} as dirty: it stopped in the middle of it",
                f"see what of it is in the database, then `migrate force {version}` if all of it is, or the version"
                " before it if nothing is, and adopt again",
            )
        yield Applied(str(version), str(version), covers=partial(_up_to, version))


def _up_to(newest: int, number: str, origin: str) -> bool:
    return int(number) <= newest


GOLANG_MIGRATE = Tool(
    "golang-migrate",
    Table("schema_migrations", ("version", "dirty")),
    _read,
    lambda folder: renamed_pieces(folder, way="write what it does as SQL, into 1_name.up.sql"),
)
