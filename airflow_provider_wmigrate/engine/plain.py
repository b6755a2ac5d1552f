"""Values as JSON, XCom and audit rows have them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from msgspec import Struct

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

_P = TypeVar("_P", bound="Plain")


class Plain(Struct, frozen=True):
    """A frozen value that can be written as plain values."""

    def as_dict(self) -> dict[str, Any]:
        """Its fields by name."""
        return _fields(self)

    @classmethod
    def from_dict(cls: type[_P], given: Mapping[str, Any]) -> _P:
        """Read back `as_dict`, also that of another version of wmigrate. What stands in it stays plain."""
        return cls(**{name: _frozen(given[name]) for name in cls.__struct_fields__ if name in given})

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """What pydantic makes of it, which knows dataclasses and no structs."""
        from pydantic import ConfigDict, create_model

        hints, some = get_type_hints(cls), cls.__struct_defaults__
        defaults = dict(zip(cls.__struct_fields__[-len(some) :], some, strict=True)) if some else {}
        described: dict[str, Any] = {name: (hints[name], defaults.get(name, ...)) for name in cls.__struct_fields__}
        described |= {"__config__": ConfigDict(from_attributes=True), "__doc__": cls.__doc__}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a field may be called as something deprecated of pydantic's
            return handler.generate_schema(create_model(cls.__name__, **described))


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """A list for a tuple, its value for a member of an enumeration, and a moment as ISO 8601 writes it."""
    if value is None or type(value) in _PLAIN:  # most are, and what is derived of them may be an Enum
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (tuple, list)):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    for written in ("as_dict", "isoformat"):
        if hasattr(value, written):
            return getattr(value, written)()
    return _fields(value) if isinstance(value, Struct) else str(value)


_PLAIN = frozenset((str, int, float, bool))


def _fields(value: Struct) -> dict[str, Any]:
    return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
