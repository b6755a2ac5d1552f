"""Parts of the format whose effect is not built yet: using one is a finding, so that nobody relies on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_wmigrate.engine.model import Finding, Severity

from .section import Section, Written, written
from .yaml_lines import Path, dotted


@dataclass(frozen=True, slots=True)
class Planned:
    """What will give the keys their effect, and what to do until then."""

    topic: str
    severity: Severity
    next_step: str
    counts: Callable[[Any, Any], bool] = lambda value, default: True
    """Whether a written value, beside its default, asks for what is not there."""


def _not_the_default(value: Any, default: Any) -> bool:
    return bool(value != default)


PLANNED: dict[str, Planned] = {
    "settings.backup": Planned(
        "backup", "error", "remove it and make the backup yourself: none would be made", counts=_not_the_default
    ),
}
"""Dotted key, as the docs write it -> what is planned. The list shrinks with every issue."""


def planned_findings(config: Section, file: str, line_of: Callable[[str], int | None]) -> tuple[Finding, ...]:
    """One per section of which keys are used that have no effect yet, in the order of the file."""
    used: dict[Path, list[Written]] = {}
    for key in written(config):
        section = _planned_section(key.path)
        if section and PLANNED[_documented(section)].counts(key.value, key.default):
            used.setdefault(section, []).append(key)
    found = [_finding(section, keys, file, line_of) for section, keys in used.items()]
    return tuple(sorted(found, key=lambda finding: finding.line or 0))


def _planned_section(path: Path) -> Path:
    """The part of a path that is a planned key; empty: none of it."""
    return next((path[:n] for n in range(1, len(path) + 1) if _documented(path[:n]) in PLANNED), ())


def _documented(path: Path) -> str:
    """The key as the docs write it: without positions, and the settings of an environment like any settings."""
    if path[0] == "environments":
        path = ("settings", *path[2:])
    return re.sub(r"\[[0-9]+\]", "[]", dotted(path))


def _finding(section: Path, keys: list[Written], file: str, line_of: Callable[[str], int | None]) -> Finding:
    planned, name = PLANNED[_documented(section)], dotted(section)
    lines = [line for key in keys if (line := line_of(dotted(key.path)))]
    return Finding(
        code="planned_key",
        message=f"{name} has no effect yet ({_some(keys, section)}): it will come with the {planned.topic}",
        next_step=planned.next_step,
        severity=planned.severity,
        file=file,
        line=min(lines, default=line_of(name)),
    )


def _some(keys: list[Written], section: Path) -> str:
    """The first few keys. Only true and false are told with them: another value may be a password."""
    words = list(_words(keys[:4], len(section)))
    return ", ".join(words) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")


def _words(keys: list[Written], start: int) -> Iterator[str]:
    for key in keys:
        value = f": {str(key.value).lower()}" if isinstance(key.value, bool) else ""
        yield dotted(key.path[start:]) + value
