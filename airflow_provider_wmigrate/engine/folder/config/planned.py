"""Parts of the format whose effect is not built yet: using one is a finding, so that nobody relies on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from airflow_provider_wmigrate.engine.model import Finding, Severity

from .section import Section, Written, written
from .yaml_nodes import Path, dotted


@dataclass(frozen=True, slots=True)
class Planned:
    """What will give the keys their effect, and what to do until then."""

    topic: str
    severity: Severity
    next_step: str


PLANNED: dict[str, Planned] = {
    "settings.backup": Planned("backup", "error", "remove it and make the backup yourself: none would be made"),
}
"""Dotted key, as the docs write it -> what is planned. The list shrinks with every issue."""


def planned_findings(config: Section, file: str, line_of: Callable[[str], int | None]) -> tuple[Finding, ...]:
    """One per section of which keys are used that have no effect yet, in the order of the file. A default asks for
    nothing."""
    used: dict[Path, list[Written]] = {}
    for key in written(config):
        section = _planned_section(key.path)
        if section and key.value != key.default:
            used.setdefault(section, []).append(key)
    found = [_finding(section, keys, file, line_of) for section, keys in used.items()]
    return tuple(sorted(found, key=lambda finding: finding.line or 0))


def _planned_section(path: Path) -> Path:
    """The part of a path that is a planned key; empty: none of it."""
    return next((path[:n] for n in range(1, len(path) + 1) if _documented(path[:n]) in PLANNED), ())


def _documented(path: Path) -> str:
    """The key as the docs write it: the settings of an environment like any settings."""
    return dotted(("settings", *path[2:]) if path[0] == "environments" else path)


def _finding(section: Path, keys: list[Written], file: str, line_of: Callable[[str], int | None]) -> Finding:
    planned, name = PLANNED[_documented(section)], dotted(section)
    words = ", ".join(_words(keys, len(section)))
    lines = [line for key in keys if (line := line_of(dotted(key.path)))]
    return Finding(
        code="planned_key",
        message=f"{name} has no effect yet ({words}): it will come with the {planned.topic}",
        next_step=planned.next_step,
        severity=planned.severity,
        file=file,
        line=min(lines, default=line_of(name)),
    )


def _words(keys: list[Written], start: int) -> Iterator[str]:
    """Only true and false are told with their keys: another value may be a password."""
    for key in keys:
        value = f": {str(key.value).lower()}" if isinstance(key.value, bool) else ""
        yield dotted(key.path[start:]) + value
