"""Files that hold both ways, cut at their tool's markers as that tool cuts them: line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from airflow_provider_wmigrate.engine.folder.names import as_words
from airflow_provider_wmigrate.engine.folder.problems import Problem

from .model import Applied, Piece, Pieces, Rows, Table, Tool, leading_digits, program, read_text

_PROGRAMS = (".py", ".go", ".js", ".ts", ".mjs", ".cjs", ".java", ".sh")


def sections(text: str, marker: re.Pattern[str]) -> list[tuple[re.Match[str], str]]:
    """Each line that is a marker, and what stands below it, up to the next one."""
    if not (found := list(marker.finditer(text))):
        return []
    ends = [m.start() for m in found[1:]] + [len(text)]
    return [(m, text[m.end() : end]) for m, end in zip(found, ends, strict=True)]


def marked_pieces(
    folder: Path, *, marker: re.Pattern[str], no_transaction: re.Pattern[str], way: str, named: bool = False
) -> Pieces:
    """:param marker: a whole line, with its line end; its group `down` is that of what undoes.
    :param no_transaction: what says that a script runs outside a transaction.
    :param way: what to do with a program.
    :param named: the tool's table has names, not versions.
    """
    found: list[Piece] = []
    problems: list[Problem] = []
    for file in sorted(f for f in folder.iterdir() if f.name[0].isdigit() and f.is_file()):
        if file.suffix in _PROGRAMS:
            problems.append(program(file.name, way))
        elif file.suffix == ".sql":
            piece = _piece(file, marker, no_transaction, named=named)
            found += [piece] if isinstance(piece, Piece) else []
            problems += [piece] if isinstance(piece, Problem) else []
    return Pieces(found, problems)


def _piece(file: Path, marker: re.Pattern[str], no_transaction: re.Pattern[str], *, named: bool) -> Piece | Problem:
    text, name = read_text(file), file.name.removesuffix(".sql")
    cut = sections(text, marker)
    ups = [(m, below) for m, below in cut if not m["down"]]
    downs = [below for m, below in cut if m["down"]]
    if cut and not ups:
        return Problem(file.name, "has a part that undoes, and none that applies", "write what it applies, too")
    digits = leading_digits(name)
    return Piece(
        file.name,
        digits,
        as_words(name[len(digits) :]),
        "".join(below for _, below in ups) if cut else text,
        "".join(downs) if any(d.strip() for d in downs) else None,
        name if named else "",
        transactional=not no_transaction.search(text),
    )


# dbmate: one file with `-- migrate:up` and `-- migrate:down`; its table has the versions alone.
_DBMATE = re.compile(r"(?m)^--[^\S\n]*migrate:(?:up|(?P<down>down))(?:[^\S\n][^\n]*)?(?:\n|\Z)")
_DBMATE_ALONE = re.compile(r"(?m)^--[^\S\n]*migrate:up\b.*\btransaction:false")


def _dbmate_read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
    for row in rows:
        yield Applied(str(row["version"]), str(row["version"]))


DBMATE = Tool(
    "dbmate",
    Table("schema_migrations", ("version",), lacks=("dirty", "checksum", "statement_hashes")),
    _dbmate_read,
    partial(marked_pieces, marker=_DBMATE, no_transaction=_DBMATE_ALONE, way="dbmate reads SQL only"),
)


# goose: one file with `-- +goose Up` and `-- +goose Down`; of each version the last row of its table counts.
_GOOSE = re.compile(r"(?mi)^--[^\S\n]*\+goose[^\S\n]+(?:up|(?P<down>down))[^\S\n]*(?:\n|\Z)")
_GOOSE_ALONE = re.compile(r"(?mi)^--\s*\+goose\s+no\s+transaction")
_GOOSE_WAY = "write what it does as SQL in a file of the same version"


def _goose_read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
    last = {row["version_id"]: row for row in sorted(rows, key=lambda row: row["id"])}
    for version, row in last.items():
        if version and row["is_applied"]:  # 0 is the row with which the table was made
            yield Applied(str(version), str(version), row["adopted_at"])


GOOSE = Tool(
    "goose",
    Table("goose_db_version", ("id", "version_id", "is_applied", "tstamp"), at="tstamp::pg_catalog.timestamptz"),
    _goose_read,
    partial(marked_pieces, marker=_GOOSE, no_transaction=_GOOSE_ALONE, way=_GOOSE_WAY),
)


# node-pg-migrate: SQL with `-- Up Migration` and `-- Down Migration`, or JavaScript; its table has file names.
_NODE = re.compile(r"(?mi)^[^\S\n]*--[^\S\n-]*(?:up|(?P<down>down))[^\S\n]+migration(?:[^\S\n-]*)(?:[^\n]*)(?:\n|\Z)")
_NODE_WAY = "write as SQL, into a .sql file of the same name, what `node-pg-migrate up --dry-run` prints of it"


def _node_read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
    for row in sorted(rows, key=lambda row: row["id"]):
        yield Applied(row["name"], leading_digits(row["name"]), row["adopted_at"])


NODE_PG_MIGRATE = Tool(
    "node-pg-migrate",
    Table("pgmigrations", ("id", "name", "run_on"), at="run_on::pg_catalog.timestamptz"),
    _node_read,
    partial(marked_pieces, marker=_NODE, no_transaction=re.compile(r"(?!)"), way=_NODE_WAY),
)
