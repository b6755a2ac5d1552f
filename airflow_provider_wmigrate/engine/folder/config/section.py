"""A mapping with known keys: what all parts of the format have in common, and the way through them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.fields import FieldInfo

from .kinds import Kind, a_mapping
from .yaml_lines import Path, Scalar


class Section(BaseModel):
    """A mapping with known keys. An empty one (`settings:` and nothing below) means the defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: ClassVar[Kind] = a_mapping("of keys")
    short_for: ClassVar[tuple[str, ...]] = ()
    """The keys that a single value, written in place of the mapping, stands for."""

    @model_validator(mode="before")
    @classmethod
    def _take(cls, value: Any) -> Any:
        if cls.short_for and isinstance(value, Scalar):
            return dict.fromkeys(cls.short_for, value)
        return cls.kind.take(value)


def known_keys(section: type[Section]) -> dict[str, FieldInfo]:
    """The keys of a section as a person writes them, in their order."""
    return {info.alias or name: info for name, info in section.model_fields.items()}


def section_in(info: FieldInfo) -> type[Section] | None:
    """The section a key holds, be it one, a list of them or many by name."""
    for candidate in (info.annotation, *get_args(info.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None


def holds_many(info: FieldInfo) -> bool:
    """Whether the path to a section below this key has one step more: a position or a name."""
    return get_origin(info.annotation) in (tuple, dict)


def kind_of(info: FieldInfo) -> Kind:
    """The kind in `Annotated[..., kind]`, and in `Annotated[..., kind] | None`."""
    inner = (m for arg in get_args(info.annotation) for m in getattr(arg, "__metadata__", ()))
    return next(kind for kind in (*info.metadata, *inner) if isinstance(kind, Kind))


class Written(NamedTuple):
    """A key that somebody wrote, with its value and with the value it would have had."""

    path: Path
    value: Any
    default: Any


def written(section: Section, at: Path = ()) -> Iterator[Written]:
    """The keys written in a section and below, without those that only hold sections."""
    for name, info in type(section).model_fields.items():
        if name not in section.model_fields_set:
            continue
        path, value = (*at, info.alias or name), getattr(section, name)
        if section_in(info) is None:
            yield Written(path, value, info.get_default(call_default_factory=True))
        for inner_path, inner in _sections_of(value, path):
            yield from written(inner, inner_path)


def _sections_of(value: Any, path: Path) -> Iterator[tuple[Path, Section]]:
    """The sections of a value: itself, the items of a list, the values by name."""
    if isinstance(value, Section):
        yield path, value
    elif isinstance(value, dict):
        yield from (((*path, name), section) for name, section in value.items())
    elif isinstance(value, tuple):
        yield from (((*path, n), section) for n, section in enumerate(value) if isinstance(section, Section))


_S = TypeVar("_S", bound=Section)


def overridden(base: _S, over: _S) -> _S:
    """The section with every key that was written in the other one."""
    changed = {}
    for name in over.model_fields_set:
        old, new = getattr(base, name), getattr(over, name)
        changed[name] = overridden(old, new) if isinstance(new, Section) else new
    return base.model_copy(update=changed)
