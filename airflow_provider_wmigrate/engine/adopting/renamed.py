"""Folders in which only the names of files are another tool's: Flyway's, golang-migrate's, the warehouse's first."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from airflow_provider_wmigrate.engine.folder.names import Named, understood
from airflow_provider_wmigrate.engine.folder.other_tools import Foreign, foreign, no_migration, renamed
from airflow_provider_wmigrate.engine.folder.problems import Problem

from .model import Applied, Piece, Pieces, Rows, Table, Tool, leading_digits, program, read_text, unsettled

_PROGRAMS = (".java", ".class", ".kt", ".py", ".go", ".sh")
_END = ".sql"


def renamed_pieces(folder: Path, *, way: str, deep: bool = False, named: bool = False) -> Pieces:
    """:param way: what to do with a program.
    :param deep: folders inside are read too.
    :param named: the tool's table has names, not versions.
    """
    files: dict[str, Path] = {}
    problems: list[Problem] = []
    for file in sorted(f for f in (folder.rglob("*") if deep else folder.iterdir()) if f.is_file()):
        if files.setdefault(file.name, file) is not file and file.suffix == _END:
            problems.append(Problem(str(file), f"has the name of {files[file.name]}", "rename one of them"))
    ours = [meant for name in files if name.endswith(_END) and (meant := understood(name, _END))]
    known = {o.file for o in ours}
    theirs: list[Foreign] = []
    passed_over: list[str] = []
    for name in files:
        if name in known:
            continue
        if name.endswith(_END) and (other := no_migration(name, _END)):
            passed_over.append(f"{name}: {other.reason}")
        elif name.endswith(_END) and (their := foreign(name, _END)):
            theirs.append(their)
        elif name.endswith(_PROGRAMS) and foreign(Path(name).stem, ""):
            problems.append(program(name, way))
    return Pieces([*_pieces(files, [*renamed(theirs, ours), *ours], named, problems)], problems, passed_over)


def _pieces(files: dict[str, Path], meant: list[Named], named: bool, problems: list[Problem]) -> Iterator[Piece]:
    downs = {m.number: m for m in meant if m.is_rollback}
    ups = sorted((m for m in meant if not m.is_rollback), key=lambda m: m.number)
    for number in sorted(downs.keys() - {m.number for m in ups}):
        reason = "undoes a migration that is not there"
        problems.append(Problem(downs[number].file, reason, "add the migration, or move this file away"))
    for up in ups:
        down, about = downs.get(up.number), files.get(f"{up.file}.conf")
        yield Piece(
            up.file,
            up.digits,
            up.name,
            read_text(files[up.file]),
            read_text(files[down.file]) if down else None,
            up.file if named else "",
            transactional=not (about and "executeintransaction=false" in read_text(about).lower().replace(" ", "")),
        )


# Flyway: V1__name.sql, U1__name.sql and R__name.sql; its table has a row for each migration, undo and repair.
_FLYWAY_WAY = "write as SQL, into V<version>__name.sql, what it does"


def _flyway_read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
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


def _flyway_digests(text: str) -> set[str]:
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
    _flyway_read,
    lambda folder: renamed_pieces(folder, way=_FLYWAY_WAY, deep=True, named=True),
    _flyway_digests,
)


# golang-migrate: 1_name.up.sql and 1_name.down.sql; its table has one row, the newest version.
def _golang_read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
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
    _golang_read,
    lambda folder: renamed_pieces(folder, way="write what it does as SQL, into 1_name.up.sql"),
)


# The plain `schema_migrations` of the warehouse's first design: a row for each migration, with its rollback script.
def _seed_read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
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


def _seed_digests(text: str) -> set[str]:
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
    _seed_read,
    lambda folder: renamed_pieces(folder, way="write what it does as SQL"),
    _seed_digests,
)
