"""Texts in which ${NAME} and ${NAME:default} stand for environment variables."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .kinds import Kind, Refused
from .yaml_lines import Scalar

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::([^}]*))?\}")


def template(of: Kind) -> Kind:
    """A text that is of a certain kind when its variables are filled in; checked with their defaults."""

    def read(scalar: Scalar) -> str:
        if reason := _malformed(scalar.text):
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
        if default is not None:
            return environ.get(name) or default
        if name not in environ:
            unset.append(name)
        return environ.get(name, "")

    return _VARIABLE.sub(value, text), unset[0] if unset else None


def _malformed(text: str) -> str | None:
    """Why a template cannot be read. Its text is not repeated: it may hold a password."""
    if "${" in _VARIABLE.sub("", text):
        return "has a ${ that does not read ${NAME} or ${NAME:default}"
    if any((match.group(2) or "").startswith("-") for match in _VARIABLE.finditer(text)):
        return "has a default that begins with a dash; write ${NAME:default}, not ${NAME:-default}"
    return None
