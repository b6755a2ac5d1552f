"""What the name of a file says: version, name and direction, and which name would be right where it is wrong."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from msgspec import Struct

from .problems import Problem

ROLLBACK_SUFFIX = ".rollback"
WORDS = "[a-z0-9]+(?:[_-][a-z0-9]+)*"
"""The name of a migration: lower-case words and numbers joined by single underscores or hyphens."""
_NAME = re.compile(f"(?P<digits>[0-9]+)_(?P<name>{WORDS})")
_DATE = re.compile("(?:19|20)[0-9]{2}_(?:0[1-9]|1[0-2])_(?:0[1-9]|[12][0-9]|3[01])_.*")
"""Such a name would have the year as its version, and so would every other of that year."""


class Named(Struct, frozen=True):
    """A file name as it is understood here."""

    file: str
    digits: str
    name: str
    is_rollback: bool

    @property
    def number(self) -> int:
        return int(self.digits)

    @property
    def stem(self) -> str:
        """What a migration and its rollback have in common."""
        return f"{self.digits}_{self.name}"


def parts_of(file: str, extension: str) -> tuple[str, bool]:
    """The name without its extension and without `.rollback`; whether it had that."""
    stem = file.removesuffix(extension)
    bare = stem.removesuffix(ROLLBACK_SUFFIX)
    return bare, bare != stem


def understood(file: str, extension: str) -> Named | None:
    """None: it is not named in our way."""
    bare, is_rollback = parts_of(file, extension)
    match = _NAME.fullmatch(bare)
    if not match or _DATE.fullmatch(bare):
        return None
    return Named(file, match[1], match[2], is_rollback)


def misnamed(file: str, extension: str) -> Problem:
    """Of a name that is neither ours nor another tool's: what is wrong with it, and the nearest right one."""
    bare, is_rollback = parts_of(file, extension)
    end = (ROLLBACK_SUFFIX if is_rollback else "") + extension
    match = re.fullmatch("(?P<digits>[0-9]*)(?P<rest>.*)", bare, re.DOTALL)
    digits, rest = (match["digits"], match["rest"]) if match else ("", bare)
    words = as_words(rest)
    if not digits and _NAME.fullmatch(words):
        digits, words = words.split("_", 1)
    if not digits:
        wanted = f"name it NNN_{words or 'name'}{end}, NNN being its place in the order"
        hint = f"{wanted}, or move it away if it is no migration"
        rule = "name them NNN_name.sql, NNN being the place in the order, or move away what is no migration"
        return Problem(file, "has no version number", hint, kind="have no version number", rule=rule)
    if not words:
        hint = f"name it {digits}_what_it_does{end}"
        rule = "name them NNN_what_it_does.sql"
        return Problem(file, "has a version but no name", hint, kind="have a version but no name", rule=rule)
    right = f"name it {digits}_{words}{end}"
    reason = "the name is not lower-case words joined by single underscores or hyphens"
    return Problem(
        file,
        reason,
        right,
        kind="have names that are not lower-case words joined by single underscores or hyphens",
        rule="rename them: version, underscore, lower-case words",
        aside=right,
    )


def as_words(text: str) -> str:
    """A text as the name of a migration: CamelCase and signs become underscores, accents go; empty: nothing is left."""
    spaced = re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", text)
    plain = unicodedata.normalize("NFKD", spaced.casefold()).encode("ascii", "ignore").decode()
    joined = re.sub("[^a-z0-9-]+", "_", plain)
    return re.sub("[_-]*_[_-]*|-{2,}", "_", joined).strip("_-")


def one_width(written: Iterable[str]) -> bool:
    """Whether versions are written in one manner: with three digits or more, or all as `1` ... `10`, or `01` ..."""
    written = set(written)
    return all(len(d) > 2 for d in written) or any(all(d == str(int(d)).zfill(n) for d in written) for n in (1, 2))


def mixed_widths(named: Sequence[Named]) -> list[Problem]:
    """Versions of one or two digits in a folder that does not write all its versions so: `1` and then `002`."""
    if one_width(n.digits for n in named):
        return []
    return [_of_fewer_digits(n) for n in named if len(n.digits) < 3]


def _of_fewer_digits(named: Named) -> Problem:
    right = f"name it {named.file.replace(named.digits, named.digits.zfill(3), 1)}"
    return Problem(
        named.file,
        f"version {named.digits} is not written as others here are",
        right,
        kind="have versions of fewer digits than others here",
        rule="write every version with three digits",
        aside=right,
    )
