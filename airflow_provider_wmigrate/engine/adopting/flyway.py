"""Flyway: V1__name.sql, U1__name.sql and R__name.sql; its table has a row for each migration, undo and repair."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping

from .model import Applied, Rows, Table, Tool, unsettled
from .renamed import renamed_pieces

_WAY = "write as SQL, into V<version>__name.sql, what it does"


def _read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
    last: dict[str, Mapping[str, object]] = {}
    for row in sorted(rows, key=lambda row: row["installed_rank"]):
        if not row["success"]:
            raise unsettled(
                f"Flyway has {row['script']} as failed",
                "see what of it is in the database, run `flyway repair`, and adopt again",
            )
        if row["type"] != "SCHEMA":  # the schema that Flyway made
            last[row["version"] or row["description"]] = row
    for row in last.values():
        if str(row["type"]).startswith("UNDO") or row["type"] == "DELETE":
            continue
        yield _applied(row)


def _applied(row: Mapping[str, object]) -> Applied:
    version = str(row["version"] or "")
    found: dict[str, object] = {"version": version if version.isdigit() else ""}
    if row["type"] == "BASELINE":
        found["is_baseline"] = True
        found["covers"] = lambda number, origin: _numbers(origin or number) <= _numbers(version)
    return Applied(
        str(row["script"]).rpartition("/")[2],
        at=row["adopted_at"],  # type: ignore[arg-type]
        actor=str(row["installed_by"]),
        duration_ms=int(str(row["execution_time"])),
        checksum=None if row["checksum"] is None else str(row["checksum"]),
        **found,  # type: ignore[arg-type]
    )


def _numbers(text: str) -> tuple[int, ...]:
    """The version in `1.2`, `V1_2__name.sql` or `012`; a repeatable one is behind all of them."""
    found = re.match(r"[Vv]?([0-9]+(?:[._][0-9]+)*)", text)
    numbers = [int(n) for n in re.split("[._]", found[1])] if found else [10**30]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def _digests(text: str) -> set[str]:
    """CRC-32 over the lines without their ends, as a signed number of 32 bits."""
    crc = zlib.crc32(text.replace("\n", "").encode())
    return {str(crc - 2**32 if crc >= 2**31 else crc)}


FLYWAY = Tool(
    "flyway",
    Table(
        "flyway_schema_history",
        ("installed_rank", "version", "description", "type", "script", "checksum", "installed_by", "success"),
        at="installed_on::pg_catalog.timestamptz",
    ),
    _read,
    lambda folder: renamed_pieces(folder, way=_WAY, deep=True, named=True),
    _digests,
)
