"""A config as it was written: values that know their spelling, and the line of each."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_wmigrate.engine.model import ConfigFinding

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value as it was written. The text may be a password, so no repr shows it."""

    text: str = field(repr=False)
    plain: bool = True
    """Written without quotes and not as a block of lines."""
    template: str = ""
    """What was written where the text comes from variables; empty: the text was written."""

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in ("", "~", "null", "Null", "NULL")


@dataclass(slots=True)
class Document:
    """The whole file: nested dicts, tuples and scalars, and the line of every key and list item."""

    file: str
    root: Any = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[ConfigFinding] = field(default_factory=list)

    def wrong(self, path: Path, reason: str) -> None:
        """Add a problem with what stands there."""
        self.problems.append(ConfigFinding.of(self.file, self.lines.get(path), dotted(path), reason))

    def written(self, path: Path) -> Path:
        """The path or, when it was not written, the closest level above it that was."""
        return next((path[:n] for n in range(len(path), 0, -1) if path[:n] in self.lines), ())


def dotted(path: Path) -> str:
    """`migrations[2].version`: the way messages and docs write a key. List positions count from 0."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".")


_MAY_HOLD_A_PASSWORD = re.compile(r"://|\bpass(word)?\s*=", re.IGNORECASE)


def shown(value: Scalar | dict[str, Any] | tuple[Any, ...]) -> str:
    """What a person wrote, as a message repeats it."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, tuple):
        return "a list"
    if value.template:
        return f"the value of {_short(value.template)}"
    if value.is_null:
        return "an empty value"
    if _MAY_HOLD_A_PASSWORD.search(value.text):
        return "a connection string"
    short = _short(value.text)
    return short if value.plain else f'"{short}" in quotes'


def _short(text: str) -> str:
    first = text.strip().split("\n")[0]
    return first if len(first) <= 40 else first[:39] + "…"
