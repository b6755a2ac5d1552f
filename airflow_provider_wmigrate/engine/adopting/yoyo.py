"""yoyo: 0001.name.sql and 0001.name.rollback.sql, with `-- depends:` on top; its table has the files' names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from airflow_provider_wmigrate.engine.folder.names import as_words
from airflow_provider_wmigrate.engine.folder.problems import Problem

from .model import Applied, Piece, Pieces, Rows, Table, Tool, leading_digits, program, read_text, unsettled

_HEADER = re.compile(r"(?m)\A(?:[^\S\n]*--[^\n]*\n|[^\S\n]*\n)*")
_DEPENDS = re.compile(r"(?m)^\s*--\s*depends:(.*)$")
_NO_TRANSACTION = re.compile(r"(?mi)^\s*--\s*transactional:\s*false")
_WAY = "write what it does as SQL, into .sql and .rollback.sql of the same name, and move it away"


def _read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
    for lock in beside["yoyo_lock"]:
        raise unsettled(
            f"yoyo is at work, or died: process {lock['pid']} has its lock",
            "wait for it, or `yoyo break-lock`, and adopt again",
        )
    who = {
        log["migration_id"]: f"{log['username']}@{log['hostname']}"
        for log in sorted(beside["_yoyo_log"], key=lambda log: log["created_at_utc"])
        if log["operation"] in ("apply", "mark")
    }
    for row in sorted(rows, key=lambda row: row["applied_at_utc"]):
        name = row["migration_id"]
        yield Applied(name, leading_digits(name), row["adopted_at"], who.get(name, ""))


def _pieces(folder: Path) -> Pieces:
    found: list[Piece] = []
    problems: list[Problem] = []
    passed_over: list[str] = []
    files = sorted(f for f in folder.iterdir() if f.is_file() and f.suffix in (".py", ".sql") and f.name[0] not in "._")
    for file in files:
        name, down = file.stem, folder / f"{file.stem}.rollback.sql"
        if name.startswith("post-apply"):
            passed_over.append(f"{file.name}: is run by yoyo after each apply, and no hooks are run here")
        elif file.suffix == ".py":
            problems += [program(file.name, _WAY)]
        elif not name.endswith(".rollback"):
            text = read_text(file)
            header = _HEADER.match(text)
            above = header[0] if header else ""
            needs = " ".join(_DEPENDS.findall(above)).split()
            digits = "".join(re.match(r"(\d*)(?:_(\d+)(?=_))?", name).groups(""))  # type: ignore[union-attr]
            found.append(
                Piece(
                    file.name,
                    digits,
                    as_words(name[len(leading_digits(name)) :]),
                    text,
                    read_text(down) if down.is_file() else None,
                    name,
                    tuple(dict.fromkeys(needs)) or None,
                    transactional=not _NO_TRANSACTION.search(above),
                )
            )
    return Pieces(found, problems, passed_over)


YOYO = Tool(
    "yoyo",
    Table(
        "_yoyo_migration",
        ("migration_hash", "migration_id", "applied_at_utc"),
        at="pg_catalog.timezone('UTC', applied_at_utc)",
        beside=("yoyo_lock", "_yoyo_log"),
    ),
    _read,
    _pieces,
)
