"""Alembic: Python; its SQL is what `--sql` prints. Its table has the newest revision of each branch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from airflow_provider_wmigrate.engine.folder.names import as_words
from airflow_provider_wmigrate.engine.folder.problems import Problem

from .marked import sections
from .model import Applied, Piece, Pieces, Rows, Table, Tool, read_text

_UP, _DOWN = "upgrade.sql", "downgrade.sql"
_HOW = (
    f"make it with `alembic upgrade base:heads --sql > {_UP}`, and what undoes it with"
    f" `alembic downgrade heads:base --sql > {_DOWN}`"
)
_STEP = re.compile(r"(?m)^-- Running (?:upgrade|downgrade) (?P<before>[^\n]*?) ?-> ?(?P<after>[^\n]*)\n")
_OWN = re.compile(
    r"(?m)^(?:INSERT INTO|UPDATE|DELETE FROM|DROP TABLE) (?:\S+\.)?\"?alembic_version\"?(?![\w\"])[^;]*;\n*"
)
_REVISION = re.compile(r"(?m)^revision(?:\s*:\s*\w+)?\s*=\s*[\"'](\w+)[\"']")
_EDGE = re.compile(r"(?m)^(?:BEGIN|COMMIT);\n*")


def _read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
    for row in rows:
        yield Applied(row["version_num"], with_ancestors=True)


def _pieces(folder: Path) -> Pieces:
    if not (folder / _UP).is_file():
        return Pieces([], [Problem(_UP, "is not there, and Alembic's own files are Python", _HOW)])
    downs = {}
    if (folder / _DOWN).is_file():
        downs = {step["before"]: _sql(below)[0] for step, below in sections(read_text(folder / _DOWN), _STEP)}
    names = {m[1]: f.stem for f in folder.rglob("*.py") if (m := _REVISION.search(read_text(f)))}
    found = []
    for step, below in sections(read_text(folder / _UP), _STEP):
        revision = step["after"].strip()
        up, transactional = _sql(below)
        needs = tuple(filter(None, (word.strip() for word in step["before"].split(","))))
        words = as_words(names.get(revision, revision))
        down = downs.get(revision)
        found.append(Piece(f"{_UP}: {revision}", "", words, up, down, revision, needs, transactional))
    return Pieces(found, [] if found else [Problem(_UP, "has no line `-- Running upgrade`", _HOW)])


def _sql(text: str) -> tuple[str, bool]:
    """A step without what Alembic writes around it, and whether it is all in one transaction."""
    text = _OWN.sub("", text)
    inner = re.sub(r"(?:^(?:BEGIN|COMMIT);\n*)+\Z", "", text, flags=re.MULTILINE)
    cleaned = _EDGE.sub("", inner).strip()
    return (f"{cleaned}\n" if cleaned else ""), not _EDGE.search(inner)


ALEMBIC = Tool("alembic", Table("alembic_version", ("version_num",)), _read, _pieces)
