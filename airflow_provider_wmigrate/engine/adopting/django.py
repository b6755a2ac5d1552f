"""Django: Python; its SQL is what `sqlmigrate` prints. Its table has app and name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from airflow_provider_wmigrate.engine.folder.names import as_words
from airflow_provider_wmigrate.engine.folder.problems import Problem

from .model import Applied, Piece, Pieces, Rows, Table, Tool, read_text

_PLAN = "plan.txt"
_HOW_PLAN = f"make it with `python manage.py showmigrations --plan --verbosity 2 > {_PLAN}`"
_LINE = re.compile(r"\[[X ]\]\s+(?P<name>\w+\.\w+)(?:\s*\.\.\. \((?P<needs>[^)]*)\))?")
_NO_SQL = re.compile(r"(?m)^-- .*\bCANNOT BE WRITTEN AS SQL.*$")


def _read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
    for row in sorted(rows, key=lambda row: row["id"]):
        yield Applied(f"{row['app']}.{row['name']}", at=row["adopted_at"])


def _how(name: str, *, back: bool = False) -> str:
    app, _, migration = name.partition(".")
    more, end = (" --backwards", ".rollback") if back else ("", "")
    return f"`python manage.py sqlmigrate {app} {migration}{more} > {name}{end}.sql`"


def _pieces(folder: Path) -> Pieces:
    plan = folder / _PLAN
    if not plan.is_file():
        return Pieces([], [Problem(_PLAN, "is not there, and Django's own files are Python", _HOW_PLAN)])
    found: list[Piece] = []
    problems: list[Problem] = []
    for match in _LINE.finditer(read_text(plan)):
        name = match["name"]
        up, down = folder / f"{name}.sql", folder / f"{name}.rollback.sql"
        if not up.is_file():
            way = f"make each file with `python manage.py sqlmigrate APP NAME > APP.NAME.sql`, here {_how(name)}"
            problems.append(Problem(up.name, "is not there", way, kind="are not there", rule=_how("APP.NAME")))
            continue
        text = read_text(up)
        if line := _NO_SQL.search(text):
            way = "write there what it does as SQL, or nothing if a new database does not need it, and delete that line"
            reason = f"{name} has an operation in Python, for which Django has no SQL"
            problems.append(Problem(up.name, reason, way, line=text.count("\n", 0, line.start()) + 1))
        back = read_text(down) if down.is_file() else None
        needs = tuple(word.strip() for word in (match["needs"] or "").split(",") if word.strip())
        back = None if back is None or _NO_SQL.search(back) else back
        atomic = not text.strip() or text.startswith("BEGIN;")
        found.append(Piece(up.name, "", as_words(name.replace(".", "_")), text, back, name, needs, atomic))
    return Pieces(found, problems or ([] if found else [Problem(_PLAN, "names no migration", _HOW_PLAN)]))


DJANGO = Tool("django", Table("django_migrations", ("id", "app", "name", "applied"), at="applied"), _read, _pieces)
