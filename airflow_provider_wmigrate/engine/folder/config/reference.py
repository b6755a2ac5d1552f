"""The format as a list, for the docs: every key with its type, its default and its meaning."""

from __future__ import annotations

import json
from collections.abc import Iterator

from msgspec import Struct

from .kinds import Kind
from .root import Config
from .section import REQUIRED, Key, Section, known_keys


class KeyDescription(Struct, frozen=True):
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
    for name, key in known_keys(section).items():
        inner, path = key.section, prefix + name
        default = _default(key) if inner is None else ""
        yield KeyDescription(path, _type(key), default, key.meaning)
        if inner is not None and path != "environments":
            yield from _described(inner, f"{path}[]." if isinstance(key.accepts, Kind) else f"{path}.")


def _type(key: Key) -> str:
    accepts = key.accepts
    if isinstance(accepts, Kind):
        return accepts.says
    first = accepts.keys[accepts.short_for[0]].accepts if accepts.short_for else None
    return f"{first.says}, or a mapping" if isinstance(first, Kind) else "a mapping"


def _default(key: Key) -> str:
    if key.default is REQUIRED:
        return "required"
    if key.default is None:
        return ""
    return key.default if isinstance(key.default, str) and key.default else json.dumps(key.default)
