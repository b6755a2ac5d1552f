"""Liquibase: formatted SQL, or what `update-sql` prints; its table has id, author and file of each change set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from airflow_provider_wmigrate.engine.folder.names import as_words
from airflow_provider_wmigrate.engine.folder.problems import Problem

from .marked import sections
from .model import Applied, Piece, Pieces, Rows, Table, Tool, read_text, unsettled

_UP, _DOWN = "update.sql", "rollback.sql"
_HOW = (
    f"make {_UP} with `liquibase update-sql --url=offline:postgresql --output-file={_UP}`, and {_DOWN} with"
    f" `liquibase future-rollback-sql --url=offline:postgresql --output-file={_DOWN}`"
)
_FORMATTED = re.compile(r"(?i)\A\s*--\s*liquibase formatted sql")
_CHANGESET = re.compile(
    r"(?mi)^[^\S\n]*--[^\S\n]*changeset[^\S\n]+(?P<author>[^\s:]+):(?P<id>\S+)(?P<more>[^\n]*)(?:\n|\Z)"
)
_ROLLBACK = re.compile(r"(?mi)^[^\S\n]*--[^\S\n]*rollback[^\S\n]?([^\n]*)(?:\n|\Z)")
_ROLLBACK_BLOCK = re.compile(r"(?mis)^[^\S\n]*/\*[^\S\n]*liquibase rollback[^\S\n]*\n(.*?)\*/[^\S\n]*\n?")
_NO_TRANSACTION = re.compile(r"(?i)\brunInTransaction:\s*\"?false")
_DBMS = re.compile(r"(?i)\bdbms:\s*\"?([\w,!]+)")
_OTHERS = re.compile(
    r"(?i)\b(?:runOnChange|runAlways|failOnError|endDelimiter|context(?:Filter)?|labels):\s*\"?[^\s\"]+"
)
_PRINTED = re.compile(r"(?m)^-- (?:Changeset|Rolling Back ChangeSet:) (?P<file>.+?)::(?P<id>.+)::(?P<author>[^\n:]+)\n")
_OWN = re.compile(
    r"(?mi)^(?:INSERT INTO|UPDATE|DELETE FROM) (?:\S+\.)?\"?databasechangelog(?:lock)?\"? [^\n]*;\n*"
    r"|^-- Release Database Lock\n*"
)
_CHANGE_SETS = re.compile(r"(?mi)<changeSet\b|^\s*-?\s*\"?changeSet\"?\s*:")


def _origin(file: str, number: str, author: str) -> str:
    """As Liquibase writes it, without the folders, which depend on where it was started."""
    return f"{file.rpartition('/')[2]}::{number}::{author}"


def _read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
    for lock in beside["databasechangeloglock"]:
        if lock["locked"]:
            raise unsettled(
                f"Liquibase is at work, or died: {lock['lockedby']} has its lock",
                "wait for it, or `liquibase release-locks`, and adopt again",
            )
    for row in sorted(rows, key=lambda row: row["orderexecuted"]):
        if row["exectype"] == "FAILED":
            raise unsettled(
                f"Liquibase has {row['id']} of {row['author']} as failed",
                "run `liquibase update` again, or mark it with `liquibase changelog-sync`, and adopt again",
            )
        if row["exectype"] != "SKIPPED":
            yield Applied(_origin(row["filename"], row["id"], row["author"]), at=row["adopted_at"], actor=row["author"])


def _pieces(folder: Path) -> Pieces:
    if (folder / _UP).is_file() and not _FORMATTED.match(read_text(folder / _UP)):
        return _of_output(folder)
    found: list[Piece] = []
    problems: list[Problem] = []
    passed_over: list[str] = []
    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        text = read_text(file) if file.suffix in (".sql", ".xml", ".yaml", ".yml", ".json") else ""
        if file.suffix == ".sql" and _FORMATTED.match(text):
            found += _of_file(file, text, passed_over)
        elif _CHANGE_SETS.search(text):
            kind = "hold change sets that are not SQL"
            problems.append(Problem(file.name, "holds change sets that are not SQL", _HOW, kind=kind, rule=_HOW))
    return Pieces(found, problems, passed_over)


def _of_file(file: Path, text: str, passed_over: list[str]) -> Iterator[Piece]:
    for match, below in sections(text, _CHANGESET):
        origin = _origin(file.name, match["id"], match["author"])
        if (dbms := _DBMS.search(match["more"])) and "postgresql" not in dbms[1].lower():
            passed_over.append(f"{origin}: is for {dbms[1]} alone")
            continue
        passed_over += [f"{word} of {origin}: there is nothing like it here" for word in _OTHERS.findall(match["more"])]
        back = [m[1] for m in _ROLLBACK_BLOCK.finditer(below)]
        up = _ROLLBACK_BLOCK.sub("", below)
        lines = [line for line in _ROLLBACK.findall(up) if line.strip().lower() not in ("", "empty", "not required")]
        down = "".join(back) or "".join(f"{line}\n" for line in lines)
        yield Piece(
            file.name,
            "",
            as_words(f"{match['author']}_{match['id']}"),
            _ROLLBACK.sub("", up),
            down or None,
            origin,
            transactional=not _NO_TRANSACTION.search(match["more"]),
        )


def _of_output(folder: Path) -> Pieces:
    """What Liquibase printed."""
    downs = {origin: sql for origin, _, sql in _printed(folder / _DOWN)}
    found = [
        Piece(f"{_UP}: {origin}", "", words, sql, downs.get(origin), origin)
        for origin, words, sql in _printed(folder / _UP)
    ]
    return Pieces(found, [] if found else [Problem(_UP, "has no line `-- Changeset`", _HOW)])


def _printed(file: Path) -> Iterator[tuple[str, str, str]]:
    """Origin, words and SQL of each change set, without what Liquibase writes around it."""
    for match, sql in sections(read_text(file), _PRINTED) if file.is_file() else ():
        words = as_words(f"{match['author']}_{match['id']}")
        yield _origin(match["file"], match["id"], match["author"]), words, _OWN.sub("", sql).strip() + "\n"


LIQUIBASE = Tool(
    "liquibase",
    Table(
        "databasechangelog",
        ("id", "author", "filename", "dateexecuted", "orderexecuted", "exectype", "md5sum"),
        at="dateexecuted::pg_catalog.timestamptz",
        beside=("databasechangeloglock",),
    ),
    _read,
    _pieces,
)
