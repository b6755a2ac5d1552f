"""What a key accepts: the words for messages and docs, and the way from what was written to the value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.errors import nearest
from airflow_provider_wmigrate.engine.model import OnFailure

from .yaml_nodes import Scalar, shown

LONGEST = 2_147_483
"""Seconds: what fits PostgreSQL's timeouts, which are milliseconds in 32 bits."""


class Refused(ValueError):
    """A value is not what its key accepts.

    :param reason: empty where a reading refuses it: then the kind's general reason counts.
    :param suggestion: what was meant, perhaps.
    """

    def __init__(self, reason: str = "", suggestion: str | None = None) -> None:
        self.suggestion = suggestion
        super().__init__(reason)


def _as_written(value: Any) -> Any:
    return value


class Kind(Struct, frozen=True):
    """What a key accepts."""

    says: str
    read: Callable[[Any], Any] = _as_written
    """From what was written to the value; raises `Refused`."""
    choices: tuple[str, ...] = ()
    null: bool = False
    """Whether an empty value means None, or no items. Elsewhere it is refused: nobody knows what was meant."""
    wants: type[Any] = Scalar
    """Scalar, tuple or dict: a single value, a list or a mapping."""
    of: Kind | type[Any] | None = None
    """What the items of a list, or the values of a mapping, have to be: of a kind, or a section."""

    def take(self, value: Scalar | tuple[Any, ...] | dict[str, Any]) -> Any:
        """The value of what was written; items are left as they are.

        :raises Refused: it is not of this kind.
        """
        if self.null and isinstance(value, Scalar) and value.is_null:
            return None if self.wants is Scalar else self.wants()
        if not isinstance(value, self.wants) or (isinstance(value, Scalar) and value.is_null):
            raise self._refusal(value)
        try:
            return self.read(value)
        except Refused as e:
            raise (e if str(e) else self._refusal(value)) from None

    def _refusal(self, value: Any) -> Refused:
        """One wording for every kind; an empty value is not repeated."""
        if isinstance(value, Scalar) and value.is_null:
            return Refused(f"has no value; it must be {self.says}")
        return Refused(f"must be {self.says}, not {shown(value)}", self._meant(value))

    def _meant(self, value: Any) -> str | None:
        if not isinstance(value, Scalar) or not self.choices:
            return None
        word = value.text.strip().lower()
        if self.choices == BOOLEAN.choices:
            return {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(word, nearest(word, self.choices))
        spelled = {choice.lower(): choice for choice in self.choices}
        return spelled.get(nearest(word, spelled) or "")


# Single values


def boolean(scalar: Scalar) -> bool:
    """YAML 1.2: neither yes and no nor on and off."""
    if not scalar.plain or scalar.text not in ("true", "True", "TRUE", "false", "False", "FALSE"):
        raise Refused
    return scalar.text.lower() == "true"


def always_true(reason: str) -> Kind:
    """True, and why it cannot be false."""

    def read(scalar: Scalar) -> bool:
        if not boolean(scalar):
            raise Refused(f"cannot be false: {reason}")
        return True

    return Kind(BOOLEAN.says, read, BOOLEAN.choices)


def choice(literal: Any, *, ignore_case: bool = False, also: Mapping[str, str] | None = None) -> Kind:
    """One of the words of a `Literal[...]`; the value is spelled as there.

    :param also: other words that are taken, in lower case, and the word that each stands for.
    """
    words: tuple[str, ...] = get_args(literal)
    spelled = {word.lower() if ignore_case else word: word for word in words} | dict(also or {})

    def read(scalar: Scalar) -> str:
        word = scalar.text.lower() if ignore_case else scalar.text
        if word not in spelled:
            raise Refused
        return spelled[word]

    return Kind(f"{', '.join(words[:-1])} or {words[-1]}", read, words)


def matching(says: str, pattern: str) -> Kind:
    """A text of a certain form."""

    def read(scalar: Scalar) -> str:
        if not re.fullmatch(pattern, scalar.text):
            raise Refused
        return scalar.text

    return Kind(says, read)


def whole(of: str, *, least: int = 1, most: int) -> Kind:
    """A whole number in decimal digits; `010` is ten."""
    bound = " greater than 0" if least == 1 else f", {least} or more"
    return _number(f"a whole number of {of}{bound}", int, r"[-+]?[0-9]{1,300}", of, least, most)


def decimal(of: str, *, least: float, most: int, null: bool = False) -> Kind:
    """A number that may have a fraction."""
    says = f"a number of {of}, at least {least:g}" + (" (or null)" if null else "")
    pattern = r"[-+]?([0-9]{1,300}(\.[0-9]*)?|\.[0-9]+)"
    return replace(_number(says, float, pattern, of, least, most), null=null)


def _number(says: str, of_text: type[int | float], pattern: str, of: str, least: float, most: int) -> Kind:
    def read(scalar: Scalar) -> float:
        if not scalar.plain or not re.fullmatch(pattern, scalar.text):
            raise Refused
        number = of_text(scalar.text)
        if number < least:
            raise Refused
        if number > most:
            raise Refused(f"must be at most {most} {of}, not {shown(scalar)}")
        return number

    return Kind(says, read)


# Lists and mappings


def a_list(says: str, of: Kind | type[Any], *, null: bool = False, read: Callable[[Any], Any] = _as_written) -> Kind:
    """A list of items of one kind."""
    return Kind(f"a list of {says}", read, null=null, wants=tuple, of=of)


def a_mapping(says: str, of: type[Any] | None = None) -> Kind:
    """A mapping; an empty value is one without keys."""
    return Kind(f"a mapping {says}", null=True, wants=dict, of=of)


# Kinds of several keys

BOOLEAN = Kind("true or false", boolean, ("true", "false"))

TEXT = Kind("text", lambda scalar: scalar.text.strip())
"""Any scalar as it was written: `version: 1.10` keeps its zero and a date stays what it looks like."""

WHOLE_SECONDS = whole("seconds", most=LONGEST)
SECONDS = decimal("seconds", least=0.001, most=LONGEST)
ON_FAILURE = choice(OnFailure)
FAIL_OR_SKIP = choice(Literal["fail", "skip"])
