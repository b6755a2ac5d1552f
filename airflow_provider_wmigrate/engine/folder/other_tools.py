"""Files that are named as other tools name theirs: which tool it is, and the names that mean the same here.

The advice must lead to a right folder: a script that undoes becomes a rollback, never a second migration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from .names import ROLLBACK_SUFFIX, Named, as_words, one_width, parts_of
from .problems import Problem

_UP, _DOWN = "up|do|deploy|apply|forward", "down|undo|revert|backward"
_DAY, _TIME = r"(?:19|20)\d\d[-_]\d\d[-_]\d\d", r"[-_T ]?\d\d[-_:]?\d\d(?:[-_:]?\d\d)?(?=[-_. ])"


class _Way(Struct, frozen=True):
    """How a tool names its files: a pattern over the name without extension and without `.rollback`."""

    tool: str
    pattern: re.Pattern[str]
    """Groups: `version`, perhaps `words`, and `down` of a script that undoes."""
    rule: str


def _way(tool: str, pattern: str, rule: str) -> _Way:
    return _Way(tool, re.compile(pattern, re.IGNORECASE), rule)


_FLYWAY = _way(
    "Flyway",
    r"(?:V|(?P<down>U))(?P<version>\d+(?:[._]\d+)*)__?(?P<words>.*[a-z].*)",
    "rename V1__name.sql to 001_name.sql and U1__name.sql to 001_name.rollback.sql,"
    " or `wmigrate convert --from flyway`",
)
_REPEATABLE = _way(
    "Flyway's repeatable ones",
    "R(?P<version>)__(?P<words>.+)",
    "number them after the others: here every change of them is a migration of its own",
)
_DATED = _way(
    "tools that write the version as a date",
    rf"(?P<version>{_DAY}(?:{_TIME})?)[-_. ]+(?P<words>.*[a-z].*)",
    "write date and time as one number: 20240131093000_name.sql",
)
_WAYS = (
    _FLYWAY,
    _REPEATABLE,
    _way(
        "golang-migrate",
        rf"(?P<version>\d+)[-_. ]+(?P<words>.+)\.(?:{_UP}|(?P<down>{_DOWN}))",
        "rename *.up.sql to *.sql and *.down.sql to *.rollback.sql, or `wmigrate convert --from golang-migrate`",
    ),
    _way(
        "Postgrator",
        rf"(?P<version>\d+)\.(?:{_UP}|(?P<down>{_DOWN}))(?:\.(?P<words>.+))?",
        "rename 001.do.name.sql to 001_name.sql and 001.undo.name.sql to 001_name.rollback.sql",
    ),
    _DATED,
    _way(
        "db-migrate",
        rf"(?P<version>\d+)-(?P<words>.+)[-_](?:{_UP}|(?P<down>{_DOWN}|rollback))",
        "rename 001-name-up.sql to 001_name.sql and 001-name-down.sql to 001_name.rollback.sql",
    ),
    _way(
        "tools with another sign after the version",
        r"(?P<version>\d+)[-. ]+(?P<words>.*[a-z].*)",
        "write an underscore after the version",
    ),
)
_NO_MIGRATIONS = (
    (re.compile(r"(before|after)[A-Z]\w*"), "is a callback of Flyway, and no callbacks are run here"),
    (re.compile(r"[Bb]\d+([._]\d+)*__.+"), "is a baseline of Flyway, which repeats what others do"),
    (re.compile(r"\d+[-_. ].+\.(verify|test)"), "is a test of another tool"),
)


class Foreign(Struct, frozen=True):
    """A file to which the way of another tool gives a meaning."""

    file: str
    way: _Way
    version: tuple[int, ...]
    digits: str
    words: str
    is_rollback: bool

    @property
    def numbered(self) -> tuple[int, bool]:
        """What no other file may be as well."""
        return int(self.digits), self.is_rollback


def foreign(file: str, extension: str) -> Foreign | None:
    """The file as another tool means it. None: no tool is known to name its files so."""
    bare, is_rollback = parts_of(file, extension)
    for way in _WAYS:
        if match := way.pattern.fullmatch(bare):
            given = match.groupdict()
            numbers = re.findall(r"\d+", given["version"])
            version = tuple(int(n) for n in numbers) if way is _FLYWAY else ()
            down = is_rollback or given.get("down") is not None
            return Foreign(file, way, version, "".join(numbers), as_words(given["words"] or ""), down)
    return None


def no_migration(file: str, extension: str) -> Problem | None:
    """What other tools put among their migrations that is none."""
    bare = file.removesuffix(extension)
    for pattern, reason in _NO_MIGRATIONS:
        if pattern.fullmatch(bare):
            kind = "belong to another tool and are no migrations"
            return Problem(file, reason, "move it away", kind=kind, rule="move them away")
    return None


def renamed(files: Sequence[Foreign], ours: Sequence[Named]) -> list[Named]:
    """The files as they would be named here, beside those that are already. Two may have one version."""
    return [Named(f.file, f.digits, f.words, f.is_rollback) for f in _right_names(files, ours)]


def _right_names(files: Sequence[Foreign], ours: Sequence[Named]) -> list[Foreign]:
    return _with_words(_numbered(files, ours), {(n.number, n.is_rollback): n.stem for n in ours})


def advice(files: Sequence[Foreign], ours: Sequence[Named], extension: str) -> list[Problem]:
    """What to rename each file to. Where the names would meet, the rule alone is told."""
    taken = {(n.number, n.is_rollback) for n in ours}
    right = _right_names(files, ours)
    times = [f.numbered for f in right]
    clash = any(times.count(key) > 1 or key in taken for key in times)
    return [_problem(f, extension, clash=clash) for f in right]


def _problem(file: Foreign, extension: str, *, clash: bool) -> Problem:
    tool = file.way.tool
    right = f"name it {file.digits}_{file.words}{ROLLBACK_SUFFIX if file.is_rollback else ''}{extension}"
    if clash:
        right = f"{file.way.rule}, and renumber what would have a version twice"
    aside = "" if clash else right
    rule = right if clash else file.way.rule
    return Problem(
        file.file,
        f"is named in the way of {tool}",
        right,
        kind=f"are named in the way of {tool}",
        rule=rule,
        aside=aside,
    )


def _numbered(files: Sequence[Foreign], ours: Sequence[Named]) -> list[Foreign]:
    """With the digits that are right here. Dotted versions are numbered anew, in their order."""
    dotted = any(len(f.version) > 1 for f in files)
    places = {version: n for n, version in enumerate(sorted({f.version for f in files if f.version}), 1)}
    longest = max((len(f.digits) for f in files if f.way is _DATED), default=0)
    as_written = one_width(
        [*(f.digits for f in files if f.way not in (_FLYWAY, _REPEATABLE)), *(n.digits for n in ours)]
    )
    found = []
    for file in files:
        digits = file.digits
        if file.version and dotted:
            digits = str(places[file.version])
        if file.way is _DATED:
            digits = digits.ljust(longest, "0")
        found.append(replace(file, digits=digits if as_written and not file.version else digits.zfill(3)))
    return _repeatable_last(found, ours)


def _repeatable_last(files: Sequence[Foreign], ours: Sequence[Named]) -> list[Foreign]:
    """They ran after all others, in the order of their names."""
    others = [f.numbered[0] for f in files if f.way is not _REPEATABLE]
    last = max([*others, *(n.number for n in ours)], default=0)
    order = sorted(f.file for f in files if f.way is _REPEATABLE)
    return [replace(f, digits=f"{last + 1 + order.index(f.file):03d}") if f.way is _REPEATABLE else f for f in files]


def _with_words(files: Sequence[Foreign], taken: Mapping[tuple[int, bool], str]) -> list[Foreign]:
    """With a name for each; a rollback has that of its migration."""
    names = {f.numbered[0]: f.words or "migration" for f in files if not f.is_rollback}
    names |= {number: stem.partition("_")[2] for (number, is_rollback), stem in taken.items() if not is_rollback}
    return [replace(f, words=names.get(f.numbered[0], f.words or "migration")) for f in files]


def undoing(first: Named, second: Named, extension: str) -> Problem | None:
    """Of two files with one version: that one of them undoes the other, by the words at the ends of their names."""
    for up, down in ((first, second), (second, first)):
        undone = re.fullmatch(rf"(.+?)[-_](?:{_DOWN}|rollback)", down.name)
        if undone and undone[1] == re.sub(rf"[-_](?:{_UP})$", "", up.name):
            right = f"name it {up.stem}{ROLLBACK_SUFFIX}{extension}"
            return Problem(
                down.file,
                f"undoes {up.file} by its name, and would be a second migration {up.digits}",
                right,
                kind="undo others by their names and would be second migrations",
                rule="rename them to *.rollback.sql, each with the name of the migration that it undoes",
                aside=right,
            )
    return None
