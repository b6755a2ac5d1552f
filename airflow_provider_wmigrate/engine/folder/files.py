"""Which files of a folder are migrations and which are their rollbacks. Names alone are looked at."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from airflow_provider_wmigrate.engine.model import canonical_version

from .config.root import CONFIG_FILE, FileRules
from .names import ROLLBACK_SUFFIX, Named, mixed_widths, understood
from .problems import Problem


@dataclass(slots=True)
class Files:
    """The files of one folder, as far as their names can be understood, and what is wrong with the others."""

    pairs: list[tuple[Named, Named | None]] = field(default_factory=list)
    """Each migration with its rollback, in numeric order."""
    problems: list[Problem] = field(default_factory=list)
    folders: list[Problem] = field(default_factory=list)
    """Of folders inside that hold a migration each, and are not read."""


def list_files(path: Path, entries: Iterable[os.DirEntry[str]], rules: FileRules) -> Files:
    """Read the names in a folder, and pair them.

    :param entries: all that the folder holds.
    """
    found = Files()
    named: list[Named] = []
    others: list[Path] = []
    for entry in entries:
        file = entry.name
        if file.startswith(".") or file == CONFIG_FILE:
            continue
        extension = file[file.rindex(".") :] if "." in file else ""
        ours = extension in rules.allowed_extensions and entry.is_file()
        if ours and (meant := understood(file, extension)):
            named.append(meant)
        else:
            others.append(path / file)
    named.sort(key=lambda n: n.file)
    others.sort()
    if others:
        from .strangers import look_at_strangers

        found.problems, found.folders = look_at_strangers(others, named, rules)
    found.problems += mixed_widths(named)
    found.pairs = _paired(named, found.problems)
    return found


def _paired(named: Iterable[Named], problems: list[Problem]) -> list[tuple[Named, Named | None]]:
    applies: dict[int, Named] = {}
    rollbacks: dict[int, Named] = {}
    for file in named:
        seen = rollbacks if file.is_rollback else applies
        other = seen.setdefault(file.number, file)
        if other is not file:
            problems.append(_taken(other, file))
    for number, rollback in list(rollbacks.items()):
        apply = applies.get(number)
        if apply is None or apply.stem != rollback.stem:
            problems.append(_orphan(rollback, apply))
            del rollbacks[number]
    return [(applies[number], rollbacks.get(number)) for number in sorted(applies)]


def _taken(other: Named, file: Named) -> Problem:
    from .other_tools import undoing

    undone = None if file.is_rollback else undoing(other, file, Path(file.file).suffix)
    return undone or Problem(
        file.file,
        f"version {canonical_version(file.digits)} is taken by {other.file}",
        "renumber one of them",
        kind="have versions that are taken",
        rule="renumber one of each two",
        aside=f"by {other.file}",
    )


def _orphan(rollback: Named, apply: Named | None) -> Problem:
    extension = Path(rollback.file).suffix
    expected = rollback.stem + extension
    if apply is None:
        hint, rule = "add the migration or delete the rollback", "add the migrations or delete the rollbacks"
    else:
        hint = f"name it {apply.stem}{ROLLBACK_SUFFIX}{extension} if it undoes {apply.file}"
        rule = "give each the name of the migration that it undoes"
    reason = f"is a rollback without its migration {expected}"
    return Problem(rollback.file, reason, hint, kind="are rollbacks without their migrations", rule=rule)
