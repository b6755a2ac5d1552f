"""A mapping with known keys: what all parts of the format have in common."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from .kinds import Kind, a_mapping

REQUIRED: Any = ...


class Key(Struct, frozen=True):
    """A key of a section: what it accepts, its meaning, what it is where nobody wrote it, and how it is written."""

    accepts: Kind | type[Section]
    meaning: str
    default: Any
    written: str

    @property
    def section(self) -> type[Section] | None:
        """The section that the key holds, be it one, a list of them or many by name."""
        inner = self.accepts.of if isinstance(self.accepts, Kind) else self.accepts
        return inner if isinstance(inner, type) else None


def key(accepts: Kind | type[Section], meaning: str, default: Any = REQUIRED, *, written: str = "") -> Any:
    """Declares a key, as the value of an attribute of a `Section`. A section that is absent has its defaults.

    :param written: as a person writes it, where that is not the attribute's name.
    """
    return Key(accepts, meaning, accepts() if isinstance(accepts, type) else default, written)


class Section:
    """A mapping with known keys, frozen. An empty one (`settings:` and nothing below) means the defaults. What one is
    for is said where it is a key.

    Not a dataclass: some twenty of those would cost every command and every parse of a DAG file ten milliseconds.
    """

    takes: ClassVar[Kind] = a_mapping("of keys")
    short_for: ClassVar[tuple[str, ...]] = ()
    """The keys that a single value, written in place of the mapping, stands for."""
    keys: ClassVar[dict[str, Key]] = {}
    """By the attribute's name, in the order of the class."""

    given: tuple[str, ...]
    """The attributes that somebody wrote."""
    path: str = ""
    line: int | None = None
    """Where it was written: `migrations[0]` is the first block of the file."""

    def __init_subclass__(cls) -> None:
        found = {name: value for name, value in vars(cls).items() if isinstance(value, Key)}
        cls.keys = {name: k if k.written else replace(k, written=name) for name, k in found.items()}

    def __init__(self, **values: Any) -> None:
        """:raises TypeError: a value is no key's, or one that must be there is missing."""
        wrong = [n for n in values if n not in self.keys]
        wrong += [n for n, k in self.keys.items() if k.default is REQUIRED and n not in values]
        if wrong:
            raise TypeError(f"{type(self).__name__}: {', '.join(wrong)}")
        defaults = {name: key.default for name, key in self.keys.items()}
        vars(self).update(defaults, **values, given=tuple(values))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(getattr(self, n) == getattr(other, n) for n in self.keys)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Names alone: a value may be a password."""
        return f"{type(self).__name__}({', '.join(self.given)})"

    def having(self: _S, **changes: Any) -> _S:
        """The section with other values, which count as written."""
        return type(self)(**{name: getattr(self, name) for name in self.given} | changes)

    def as_dict(self) -> dict[str, Any]:
        """Every value by its attribute's name; sections below as such dicts."""
        return {name: _plain(getattr(self, name)) for name in self.keys}


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.as_dict()
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


def known_keys(section: type[Section]) -> dict[str, Key]:
    """The keys of a section as a person writes them, in their order."""
    return {key.written: key for key in section.keys.values()}


_S = TypeVar("_S", bound=Section)


def overridden(base: _S, over: _S) -> _S:
    """The section with every key that was written in the other one."""
    changed = {}
    for name in over.given:
        old, new = getattr(base, name), getattr(over, name)
        changed[name] = overridden(old, new) if isinstance(new, Section) else new
    return base.having(**changed)
