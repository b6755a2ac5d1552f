"""Texts in which ${NAME} and ${NAME:default} stand for environment variables, and $${ for ${ itself.

The variables are handed in. settings.database alone keeps its templates: only the command line needs them, and a DAG
file must be readable where they are not set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .kinds import Kind, Refused
from .yaml_nodes import Document, Path, Scalar

_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::([^}]*))?\}")
UNSET = "needs the environment variable {}, which is not set and has no default here"


def fill_in(document: Document, environ: Mapping[str, str]) -> None:
    """Put values in the place of variables in all but settings.database. What cannot be filled in is a problem."""
    document.root = _filled(document.root, (), document, environ)


def _filled(node: Any, path: Path, document: Document, environ: Mapping[str, str]) -> Any:
    if path[:2] == ("settings", "database") or (path[:1] == ("environments",) and path[2:3] == ("database",)):
        return node
    if isinstance(node, dict):
        return {key: _filled(inner, (*path, key), document, environ) for key, inner in node.items()}
    if isinstance(node, tuple):
        return tuple(_filled(inner, (*path, n), document, environ) for n, inner in enumerate(node))
    if "${" not in node.text:
        return node
    text, unset = expand(node.text, environ)
    reason = malformed(node.text) or (UNSET.format(unset) if unset else None)
    if reason:
        document.wrong(path, reason)
    # Whatever a variable holds was written without quotes, so that a number can come from one.
    return Scalar(text, plain=bool(text), template=node.text)


def template(of: Kind) -> Kind:
    """A text that is of a certain kind when its variables are filled in; checked with their defaults."""

    def read(scalar: Scalar) -> str:
        if reason := malformed(scalar.text):
            raise Refused(reason)
        text, unset = expand(scalar.text, {})
        if text and unset is None:
            of.read(Scalar(text))
        return scalar.text

    return Kind(f"{of.says} (or ${{NAME:default}})", read, of.choices)


def expand(text: str, environ: Mapping[str, str]) -> tuple[str, str | None]:
    """The text with its variables filled in, and the first variable that has neither value nor default.

    An empty variable counts as unset where there is a default.
    """
    unset: list[str] = []

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        if name is None:
            return "${"
        if default is not None:
            return environ.get(name) or default
        if name not in environ:
            unset.append(name)
        return environ.get(name, "")

    return _VARIABLE.sub(value, text), unset[0] if unset else None


def malformed(text: str) -> str | None:
    """Why a template cannot be read. Its text is not repeated: it may hold a password."""
    if "${" in _VARIABLE.sub("", text):
        return "has a ${ that does not read ${NAME} or ${NAME:default}; write $${ for ${ itself"
    if any((match.group(2) or "").startswith("-") for match in _VARIABLE.finditer(text)):
        return "has a default that begins with a dash; write ${NAME:default}, not ${NAME:-default}"
    return None
