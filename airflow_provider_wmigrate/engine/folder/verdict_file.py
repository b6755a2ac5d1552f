"""The verdicts on rollbacks that stand in the folder: one line for each, committed with the migrations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path

from msgspec import Struct

from airflow_provider_wmigrate.engine.errors import FolderError
from airflow_provider_wmigrate.engine.model import Migration, checksum, version_key

VERDICT_FILE = "migration_verdicts.txt"

_HEAD = """\
# Verdicts on the rollbacks of this folder, as `wmigrate verify --write` writes them. Commit it; do not edit it.
# version grade postgresql script rollback builds_on seal
"""
_NOTHING = "-"
_ACCEPTED = "accepted:"


class Grade(str, Enum):
    """What is proven of a rollback."""

    EXACT = "exact"
    """Schema and rows are what they were, and applying again gives the same schema again."""
    DEFINITION_LOST = "definition_lost"
    ROWS_LOST = "rows_lost"
    """With definitions or not."""
    FAILS = "fails"
    """The migration, its rollback, or applying it again."""
    IRREVERSIBLE = "irreversible"
    """The config says so."""
    NO_ROLLBACK = "no_rollback"
    NOT_TRIED = "not_tried"
    """Never counted as proven."""

    @property
    def words(self) -> str:
        return self.value.replace("_", " ")

    @property
    def passes(self) -> bool:
        """Whether somebody knows what a rollback does: it is exact, or a person has declared that there is none."""
        return self in (Grade.EXACT, Grade.IRREVERSIBLE)


class About(Struct, frozen=True):
    """What a verdict is about, as checksums; empty: there is none."""

    script: str
    rollback: str
    builds_on: str
    """Over the scripts of all that the migration needs, and whether it keeps what it destroys."""


class WrittenVerdict(Struct, frozen=True):
    """One line of the file."""

    grade: Grade
    accepted: bool
    """A person has said that this grade is all right."""
    postgresql: int
    """Major version on which it was seen."""
    about: About
    line: int | None = None

    @property
    def passes(self) -> bool:
        return self.accepted or self.grade.passes


def about(migrations: Iterable[Migration]) -> dict[str, About]:
    """Of each version, the texts that a verdict on it is about.

    :param migrations: all of a folder, with their scripts read.
    """
    files = {m.version: m for m in migrations}
    found: dict[str, About] = {}
    waiting = list(files)
    while waiting:  # parents first, and without a call for each, which a thousand in a row would not survive
        migration = files[waiting[-1]]
        lacking = [parent for parent in migration.dependencies if parent not in found]
        if lacking:
            waiting += lacking
            continue
        waiting.pop()
        below = [(v, found[v]) for v in sorted(migration.dependencies, key=version_key)]
        text = "".join(f"{v} {a.script} {a.builds_on}\n" for v, a in below) + ("keep\n" if migration.keep else "")
        rollback = migration.rollback.checksum if migration.rollback else ""
        found[migration.version] = About(migration.script.checksum, rollback, checksum(text) if text else "")
    return found


_CONFLICT = (b"<<<<<<<", b"|||||||", b"=======", b">>>>>>>")


def read_verdicts(folder: Path) -> dict[str, WrittenVerdict]:
    """By version, what the file says; nothing if there is none.

    :raises FolderError: it cannot be read, or a line is not as it was written.
    """
    try:
        lines = (folder / VERDICT_FILE).read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise FolderError(VERDICT_FILE, f"cannot be read: {error.strerror}", hint="make it readable") from None
    found: dict[str, WrittenVerdict] = {}
    for number, line in enumerate(lines, 1):
        if line[:7] in _CONFLICT:
            hint = "delete the file's lines of both sides, then `wmigrate verify --write` writes what is missing"
            raise FolderError(VERDICT_FILE, "holds a conflict that git left", line=number, hint=hint)
        if line.strip() and not line.startswith(b"#"):
            version, verdict = _read(line, number)
            if version in found:
                raise _not_as_written(f"has a second verdict on {version}", number)
            found[version] = verdict
    return found


def _read(line: bytes, number: int) -> tuple[str, WrittenVerdict]:
    try:
        text, _, seal = line.decode("ascii").rpartition(" ")
        version, grade, postgresql, *sums = text.split(" ")
        script, rollback, builds_on = ("" if each == _NOTHING else each for each in sums)
        if seal != _seal(text):
            raise ValueError
        accepted = grade.startswith(_ACCEPTED)
        known = Grade(grade.removeprefix(_ACCEPTED))
        return version, WrittenVerdict(known, accepted, int(postgresql), About(script, rollback, builds_on), number)
    except ValueError:
        raise _not_as_written("is not as `wmigrate verify --write` wrote it", number) from None


def _not_as_written(reason: str, line: int) -> FolderError:
    hint = "restore that line, or delete it and run `wmigrate verify --write` again"
    return FolderError(VERDICT_FILE, reason, line=line, hint=hint)


def as_text(verdicts: Mapping[str, WrittenVerdict]) -> str:
    """The whole file. The same verdicts always give the same text."""
    return _HEAD + "".join(_line(version, verdicts[version]) for version in sorted(verdicts, key=version_key))


def _line(version: str, verdict: WrittenVerdict) -> str:
    grade = f"{_ACCEPTED if verdict.accepted else ''}{verdict.grade.value}"
    sums = (verdict.about.script, verdict.about.rollback, verdict.about.builds_on)
    text = " ".join([version, grade, str(verdict.postgresql), *(each or _NOTHING for each in sums)])
    return f"{text} {_seal(text)}\n"


def _seal(text: str) -> str:
    """By which a line that was edited by hand is known. Whoever means to deceive can compute it as well."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
