"""Values as JSON, XCom and audit rows have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar

_P = TypeVar("_P", bound="Plain")


class Plain:
    """A dataclass that can be written as plain values."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """Its fields by name; `dataclasses.asdict` would copy what is plain, and take five times as long."""
        return _fields(self)

    @classmethod
    def from_dict(cls: type[_P], given: Mapping[str, Any]) -> _P:
        """Read back `as_dict`, also that of another version of wmigrate. Its values are no such dataclasses."""
        return cls(**{f.name: _frozen(given[f.name]) for f in fields(cls) if f.name in given})  # type: ignore[arg-type]


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """A list for a tuple, its value for a member of an enumeration, and a moment as ISO 8601 writes it."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (tuple, list)):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    for written in ("as_dict", "isoformat"):
        if hasattr(value, written):
            return getattr(value, written)()
    return _fields(value) if is_dataclass(value) else str(value)


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
