"""The format as a list, for the docs: every key with its type, its default and its meaning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic.fields import FieldInfo

from .root import Config
from .section import Section, holds_many, kind_of, known_keys, section_in


@dataclass(frozen=True, slots=True)
class KeyDescription:
    """One key of the format."""

    key: str
    type: str
    default: str
    """As YAML; "required", or empty where the key is a mapping or absence has a meaning of its own."""
    meaning: str


def describe() -> tuple[KeyDescription, ...]:
    """Every key of the format in the order of the classes, sections before their keys.

    Below `environments` nothing is listed: its keys are those of `settings`.
    """
    return tuple(_described(Config, ""))


def _described(section: type[Section], prefix: str) -> Iterator[KeyDescription]:
    for name, info in known_keys(section).items():
        inner, key = section_in(info), prefix + name
        default = _default(info) if inner is None else ""
        yield KeyDescription(key, _type(info), default, info.description or "")
        if inner is not None and key != "environments":
            yield from _described(inner, f"{key}[]." if holds_many(info) else f"{key}.")


def _type(info: FieldInfo) -> str:
    inner = section_in(info)
    if inner is None or holds_many(info):
        return kind_of(info).says
    short = f"{kind_of(inner.model_fields[inner.short_for[0]]).says}, or " if inner.short_for else ""
    return f"{short}a mapping"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is None:
        return ""
    return value if isinstance(value, str) and value else json.dumps(value)
