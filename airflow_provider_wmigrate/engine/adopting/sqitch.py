"""Sqitch: deploy/name.sql and revert/name.sql in the order of sqitch.plan; its registry is a schema of its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import timezone
from itertools import pairwise
from pathlib import Path

from airflow_provider_wmigrate.engine.folder.names import as_words
from airflow_provider_wmigrate.engine.folder.problems import Problem

from .model import Applied, Piece, Pieces, Rows, Table, Tool, read_text

_LINE = re.compile(
    r"(?P<tag>@)?(?P<name>[^\s@\[]+)\s*(?:\[(?P<needs>[^\]]*)\])?\s*(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\s"
)
_PLAN = "sqitch.plan"


def _origin(name: str, planned_at: str) -> str:
    """A change can be planned again under the same name."""
    return f"{name} {planned_at}"


def _read(rows: Rows, beside: Mapping[str, Rows]) -> Iterator[Applied]:
    for row in sorted(rows, key=lambda row: row["committed_at"]):
        planned = row["planned_at"].astimezone(timezone.utc)
        yield Applied(
            _origin(row["change"], f"{planned:%Y-%m-%dT%H:%M:%SZ}"),
            at=row["adopted_at"],
            actor=f"{row['committer_name']} <{row['committer_email']}>",
            checksum=row["script_hash"],
        )


def _digests(text: str) -> set[str]:
    return {hashlib.sha1(t.encode()).hexdigest() for t in (text, text.replace("\n", "\r\n"))}


def _pieces(folder: Path) -> Pieces:
    plan = folder / _PLAN
    if not plan.is_file():
        return Pieces([], [Problem(_PLAN, "is not there", f"give the folder that holds {_PLAN}")])
    changes: list[re.Match[str]] = []
    newest: dict[str, int] = {}
    files: dict[int, str] = {}
    """By place in the plan."""
    tagged = 0
    for line in read_text(plan).splitlines():
        match = _LINE.match(line.strip())
        if match is None:
            continue
        if match["tag"]:
            for place in range(tagged, len(changes)):  # what is planned again later keeps its scripts under this name
                files.setdefault(place, f"{changes[place]['name']}@{match['name']}")
            tagged = len(changes)
            continue
        newest[match["name"]] = len(changes)
        changes.append(match)
    return _of_changes(folder, changes, newest, files)


def _of_changes(folder: Path, changes: list[re.Match[str]], newest: dict[str, int], files: dict[int, str]) -> Pieces:
    found: list[Piece] = []
    problems: list[Problem] = []
    origins: dict[str, str] = {}
    times = [c["at"] for c in changes]
    in_order = all(a < b for a, b in pairwise(times))
    for place, change in enumerate(changes):
        name = change["name"]
        file = name if newest[name] == place else files.get(place, name)
        deploy, revert = (folder / way / f"{file}.sql" for way in ("deploy", "revert"))
        needs = [n for n in (change["needs"] or "").split() if n[0] != "!"]
        origin = _origin(name, change["at"])
        if not deploy.is_file():
            problems.append(Problem(f"deploy/{file}.sql", f"is not there, and {_PLAN} has it", "restore it"))
        else:
            found.append(
                Piece(
                    f"deploy/{file}.sql",
                    re.sub(r"\D", "", change["at"]) if in_order else "",
                    as_words(name),
                    read_text(deploy),
                    read_text(revert) if revert.is_file() else None,
                    origin,
                    tuple(dict.fromkeys(filter(None, (origins.get(n.partition("@")[0]) for n in needs)))) or None,
                )
            )
        origins[name] = origin
    return Pieces(found, problems)


SQITCH = Tool(
    "sqitch",
    Table(
        "changes", ("change_id", "change", "project", "committed_at", "planned_at"), at="committed_at", schema="sqitch"
    ),
    _read,
    _pieces,
    _digests,
)
