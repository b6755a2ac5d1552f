"""A document -> a Config without what is wrong in it, and what that is, at the line of the key it is about."""

from __future__ import annotations

from typing import Any

from airflow_provider_wmigrate.engine.errors import nearest
from airflow_provider_wmigrate.engine.model import ConfigFinding

from .kinds import Kind, Refused
from .root import Config
from .section import REQUIRED, Section, known_keys
from .yaml_nodes import Document, Path, Scalar, dotted

_GONE: Any = object()
"""The value of what is wrong: as if it had not been written. So is a section without a key that it must have."""


def config_of(document: Document) -> Config | None:
    """Every problem is added to the document's. None: it is no mapping."""
    config = _Values(document).section(Config, document.root, ())
    if config is _GONE:
        return None
    lines = {dotted(path): line for path, line in document.lines.items()}
    vars(config).update(file=document.file, lines=lines)
    return config  # type: ignore[no-any-return]


class _Values:
    """One pass over a document. A class only because it and its problems travel together."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def section(self, section: type[Section], node: Any, path: Path) -> Any:
        short = isinstance(node, Scalar) and section.short_for
        taken = dict.fromkeys(section.short_for, node) if short else self._taken(section.takes, node, path)
        if taken is _GONE:
            return _GONE
        known = known_keys(section)
        values: dict[str, Any] = {}
        for name, key in section.keys.items():
            if key.written in taken:
                value = self._value(key.accepts, taken[key.written], (*path, key.written))
                if value is not _GONE:
                    values[name] = value
            elif key.default is REQUIRED:
                self._problem((*path, key.written), "is missing; it is required", key=dotted((*path, key.written)))
        for name in taken:
            if name not in known:
                self._unknown((*path, name), list(known))
        if any(key.default is REQUIRED and name not in values for name, key in section.keys.items()):
            return _GONE
        read = section(**values)
        vars(read).update(path=dotted(path), line=self._document.lines.get(path))
        return read

    def _value(self, accepts: Kind | type[Section], node: Any, path: Path) -> Any:
        if isinstance(accepts, type):
            return self.section(accepts, node, path)
        taken = self._taken(accepts, node, path)
        if accepts.of is None or taken is _GONE:
            return taken
        many = isinstance(taken, dict)
        items = {at: self._value(accepts.of, inner, (*path, at)) for at, inner in _items(taken)}
        kept = {at: value for at, value in items.items() if value is not _GONE}
        if len(kept) < len(items) and not many:  # what is left may be too little
            left = tuple(inner for at, inner in enumerate(taken) if at in kept)
            if self._taken(accepts, left, path) is _GONE:
                return _GONE
        return kept if many else tuple(kept.values())

    def _taken(self, kind: Kind, node: Any, path: Path) -> Any:
        try:
            return kind.take(node)
        except Refused as refused:
            self._problem(path, str(refused), refused.suggestion)
            return _GONE

    def _problem(self, path: Path, reason: str, suggestion: str | None = None, *, key: str = "") -> None:
        key = key or dotted(self._document.written(path))
        document = self._document
        line = document.lines.get(document.written(path))
        document.problems.append(ConfigFinding.of(document.file, line, key, reason, suggestion))

    def _unknown(self, path: Path, known: list[str]) -> None:
        """The nearest key of the same section, or the place where a key of this very name belongs."""
        from .reference import describe

        if path[0] == "environments" and path[2:] == ("settings",):
            self._problem(path, "is not written here: below an environment leave the settings level out")
            return
        word = str(path[-1])
        elsewhere = [d.key for d in describe() if d.key.endswith(f".{word}")]
        meant = nearest(word, known) or (elsewhere[0] if len(elsewhere) == 1 else None)
        self._problem(path, "is not a known key" + ("" if meant else f" (known here: {', '.join(known)})"), meant)


def _items(taken: Any) -> Any:
    return taken.items() if isinstance(taken, dict) else enumerate(taken)
