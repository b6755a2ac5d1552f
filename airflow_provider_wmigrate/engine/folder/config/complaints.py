"""pydantic's complaints -> problems in our words, at the line of the key they are about."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from airflow_provider_wmigrate.engine.errors import nearest

from .reference import describe
from .root import Config
from .section import Section, holds_many, known_keys, section_in
from .yaml_lines import Document, Path, Problem, dotted


def complaints(error: ValidationError, document: Document) -> list[Problem]:
    """Every complaint of one validation of the document."""
    return [_problem(dict(each), document) for each in error.errors(include_url=False, include_input=False)]


def _problem(error: dict[str, Any], document: Document) -> Problem:
    path: Path = error["loc"]
    written = document.written(path)
    line = document.lines.get(written)
    if error["type"] == "missing":
        return Problem(line, dotted(path), "is missing; it is required")
    if error["type"] == "extra_forbidden":
        return _unknown_key(path, line)
    context = error.get("ctx", {})
    return Problem(line, dotted(written), error["msg"], context.get("suggestion"))


def _unknown_key(path: Path, line: int | None) -> Problem:
    """The nearest key of the same section, or the place where a key of this very name belongs."""
    if path[0] == "environments" and path[2:] == ("settings",):
        reason = "is not written here: below an environment leave the settings level out"
        return Problem(line, dotted(path), reason)
    word, known = str(path[-1]), list(known_keys(_section_at(path[:-1])))
    elsewhere = [d.key for d in describe() if d.key.endswith(f".{word}")]
    meant = nearest(word, known) or (elsewhere[0] if len(elsewhere) == 1 else None)
    reason = "is not a known key" + ("" if meant else f" (known here: {', '.join(known)})")
    return Problem(line, dotted(path), reason, meant)


def _section_at(path: Path) -> type[Section]:
    section: type[Section] = Config
    steps = iter(path)
    for step in steps:
        info = known_keys(section)[str(step)]
        section = section_in(info) or section
        if holds_many(info):
            next(steps)  # the name of the environment, the position in the list
    return section
