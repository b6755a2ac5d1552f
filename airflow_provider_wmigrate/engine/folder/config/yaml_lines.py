"""YAML text -> values that know their line and their spelling.

PyYAML's own loader follows YAML 1.1: `010` is eight, `yes` is true, `1:30` is ninety, and of two equal keys
the last one wins silently. So its parser's events are read here, every scalar stays the text a person wrote,
and the key it belongs to decides what that text means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from airflow_provider_wmigrate.engine.errors import ConfigError
from airflow_provider_wmigrate.engine.model import ConfigFinding

from .yaml_nodes import Document, Path, Scalar, dotted

_DEPTH = 20
"""Deeper nesting than any key has: a file that goes there is broken or hostile."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C parser is some ten times faster, and a config is read at every parse of a DAG file."""

_NOT_YAML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


def read_yaml(text: str, file: str) -> Document:
    """Read one YAML document. What is not YAML at all raises; what can be read past is kept as a problem."""
    if bad := _NOT_YAML.search(text):
        line, code = text.count("\n", 0, bad.start()) + 1, ord(bad.group())
        raise ConfigError(file, line, "", f"holds the character U+{code:04X}, which YAML does not allow")
    try:
        return _Reader(text, file).document()
    except yaml.MarkedYAMLError as e:
        raise _syntax_error(e, text, file) from None
    except yaml.YAMLError as e:
        raise ConfigError(file, None, "", f"is not valid YAML: {str(e).splitlines()[0]}") from None


def _syntax_error(e: yaml.MarkedYAMLError, text: str, file: str) -> ConfigError:
    """The parser's complaint, at the line where a person has to look.

    What is opened and never closed is noticed only at the end of the file; its beginning is the place then.
    """
    lines = text.splitlines()
    mark = e.problem_mark or e.context_mark
    opened = bool(e.context) and any(word in str(e.context) for word in ("quoted scalar", "flow"))
    if opened and e.context_mark and (mark is None or mark.line >= len(lines) - 1):
        mark = e.context_mark
    number = mark.line if mark else 0
    if number < len(lines) and re.match(r" *\t", lines[number]):
        return ConfigError(file, number + 1, "", "is indented with a tab; YAML wants spaces")
    where = f" {e.context}" if opened else ""
    return ConfigError(file, number + 1, "", f"is not valid YAML: {e.problem}{where}")


class _Reader:
    """One pass over the parser's events. A class only because path, lines and problems travel together."""

    def __init__(self, text: str, file: str) -> None:
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=_LOADER))
        self._document = Document(file)

    def document(self) -> Document:
        next(self._events)  # the stream begins
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return self._document
        first = next(self._events)
        self._document.lines[()] = first.start_mark.line + 1
        self._document.root = self._node(first, ())
        next(self._events)  # the document ends
        if isinstance(second := next(self._events), yaml.DocumentStartEvent):
            raise self._refused(second, (), "begins a second YAML document; there may be only one")
        return self._document

    def _node(self, event: Any, path: Path) -> Any:
        if what := _reference(event):
            reason = f"{what}, which is not supported; write the value out, in quotes if it begins with * & or !"
            self._wrong(event, path, reason)
        if isinstance(event, yaml.AliasEvent):
            return Scalar("")
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(event.value, plain=not event.style)
        if len(path) >= _DEPTH:
            raise self._refused(event, path[:3], f"is nested more than {_DEPTH} levels deep")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._mapping(path)

    def _sequence(self, path: Path) -> tuple[Any, ...]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            here = (*path, len(items))
            self._document.lines[here] = event.start_mark.line + 1
            items.append(self._node(event, here))
        return tuple(items)

    def _mapping(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path)
            here = (*path, key)
            if key in found:
                reason = f"appears twice; it is already at line {self._document.lines[here]}"
                self._wrong(event, here, reason)
                self._skip()
                continue
            self._document.lines[here] = event.start_mark.line + 1
            found[key] = self._node(next(self._events), here)
        return found

    def _skip(self) -> None:
        """Pass over one node; the lines of what was read before it stay as they are."""
        depth = 0
        while True:
            event = next(self._events)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth == 0:
                return

    def _key(self, event: Any, path: Path) -> str:
        if not isinstance(event, yaml.ScalarEvent) or not event.value or _reference(event):
            raise self._refused(event, path, "has a key that is not a plain word")
        return str(event.value)

    def _wrong(self, event: Any, path: Path, reason: str) -> None:
        """Something that can be read past."""
        document, line = self._document, event.start_mark.line + 1
        document.problems.append(ConfigFinding.of(document.file, line, dotted(path), reason))

    def _refused(self, event: Any, path: Path, reason: str) -> ConfigError:
        return ConfigError(self._document.file, event.start_mark.line + 1, dotted(path), reason)


def _reference(event: Any) -> str | None:
    """Aliases can blow up, tags can mean anything. Names stay untold: one may be an unquoted password."""
    if isinstance(event, yaml.AliasEvent):
        return "is an alias (*name)"
    if event.anchor is not None:
        return "has an anchor (&name)"
    return "has a tag (!name)" if event.tag is not None else None
