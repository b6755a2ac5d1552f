"""Which files of a folder are migrations and which are their rollbacks. Names alone are looked at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from airflow_provider_wmigrate.engine.model import canonical_version

from .config import CONFIG_FILE, FileRules
from .names import ROLLBACK_SUFFIX, Named, misnamed, mixed_widths, understood
from .other_tools import Foreign, advice, foreign, no_migration, undoing
from .problems import Problem

_PROGRAMS = {".py", ".rb", ".js", ".ts", ".mjs", ".go", ".php", ".java", ".kt", ".cs", ".exs", ".clj", ".sh", ".pl"}
_LISTS = {".xml", ".yaml", ".yml", ".json", ".toml"}
_COPIES = {".bak", ".orig", ".rej", ".swp", ".tmp", ".old"}


@dataclass(slots=True)
class Files:
    """The files of one folder, as far as their names can be understood, and what is wrong with the others."""

    pairs: list[tuple[Named, Named | None]] = field(default_factory=list)
    """Each migration with its rollback, in numeric order."""
    problems: list[Problem] = field(default_factory=list)
    folders: list[Problem] = field(default_factory=list)
    """Of folders inside that hold a migration each, and are not read."""


def list_files(path: Path, rules: FileRules) -> Files:
    """Read the names in a folder, and pair them.

    :raises OSError: it cannot be listed.
    """
    found = Files()
    named: list[Named] = []
    foreigners: dict[str, list[Foreign]] = {}
    strangers: list[Problem] = []
    for entry in sorted(path.iterdir(), key=lambda p: p.name):
        if entry.name.startswith(".") or entry.name == CONFIG_FILE:
            continue
        one = _one(entry, rules, found)
        if isinstance(one, Named):
            named.append(one)
        elif isinstance(one, Foreign):
            foreigners.setdefault(entry.suffix, []).append(one)
        elif one:
            strangers.append(one)
    for extension, files in foreigners.items():
        found.problems += advice(files, named, extension)
    found.problems += _apart(strangers, named, found.problems)
    found.problems += mixed_widths(named)
    found.pairs = _paired(named, found.problems)
    return found


def _apart(strangers: Sequence[Problem], named: Sequence[Named], others: Sequence[Problem]) -> list[Problem]:
    """The advice for each, where a file by that name would not meet another one."""
    rights = [_right(p) for p in (*strangers, *others)]
    keys = [(n.number, n.is_rollback) for n in (*named, *rights) if n]
    found = []
    for problem in strangers:
        right = _right(problem)
        if right and keys.count((right.number, right.is_rollback)) > 1:
            end = (ROLLBACK_SUFFIX if right.is_rollback else "") + Path(problem.file).suffix
            hint = f"name it NNN_{right.name}{end}: version {canonical_version(right.digits)} is taken"
            rule = f"{problem.rule}, and renumber what would have a version twice"
            problem = replace(problem, hint=hint, aside=hint, rule=rule)
        found.append(problem)
    return found


def _right(problem: Problem) -> Named | None:
    """The name that a problem's advice gives."""
    return understood(problem.aside.removeprefix("name it "), Path(problem.file).suffix)


def _one(entry: Path, rules: FileRules, found: Files) -> Named | Foreign | Problem | None:
    """What one entry is: a problem, if it cannot be understood; None: no migration."""
    numbered, extension = entry.name[:1].isdigit(), entry.suffix
    if not entry.is_file():
        if numbered:
            _no_file(entry, rules, found)
        return None
    if extension not in rules.allowed_extensions:
        if numbered:
            found.problems.append(_wrong_extension(entry, rules))
        return None
    if other := no_migration(entry.name, extension):
        found.problems.append(other)
        return None
    meant = understood(entry.name, extension) or foreign(entry.name, extension)
    if meant is None and (numbered or rules.require_version_prefix):
        return misnamed(entry.name, extension)
    return meant


def _no_file(entry: Path, rules: FileRules, found: Files) -> None:
    if entry.suffix in rules.allowed_extensions:
        reason = "has the name of a migration but is not a readable file"
        found.problems.append(Problem(entry.name, reason, "make it one, or give it another name"))
    elif entry.is_dir() and re.match(r"[0-9]+[-_.]", entry.name):
        scripts = sorted(p.name for p in entry.iterdir() if p.suffix in rules.allowed_extensions)
        if scripts:
            found.folders.append(_folder_of_one(entry.name, scripts))


def _folder_of_one(name: str, scripts: Sequence[str]) -> Problem:
    """A folder for one migration, as diesel, Hasura and Prisma have it. Passed over it would never be applied."""
    return Problem(
        name,
        f"is a folder with {', '.join(scripts[:3])} in it, and folders are not read",
        "move its scripts here: NNN_name.sql, and what undoes it NNN_name.rollback.sql",
        kind="are folders with scripts in them, and folders are not read",
        rule="move the scripts here: 001_name/up.sql to 001_name.sql, 001_name/down.sql to 001_name.rollback.sql",
    )


def _wrong_extension(entry: Path, rules: FileRules) -> Problem:
    allowed, extension = ", ".join(rules.allowed_extensions), entry.suffix
    reason = f"a migration ends in {allowed}, not {extension or 'nothing'}"
    right = next((e for e in rules.allowed_extensions if e.lower() == extension.lower()), None)
    aside, kind = "", f"end in {extension or 'nothing'}, and migrations in {allowed}"
    if right:
        rule, hint = f"write {right}", f"name it {entry.name.removesuffix(extension)}{right}"
        aside = hint
    elif extension.lower() in _PROGRAMS | _LISTS:
        hint = "write anew as SQL what it does, or move it away"
        rule = "write anew as SQL what they do, or move them away"
    elif extension.lower() in _COPIES or extension.endswith("~"):
        rule, hint = "delete them or move them away", "delete it or move it away"
    else:
        rule, hint = (f"rename or move {them}, or allow {them} in {CONFIG_FILE}" for them in ("them", "it"))
    return Problem(entry.name, reason, hint, kind=kind, rule=rule, aside=aside)


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
    extension = Path(file.file).suffix
    undone = None if file.is_rollback else undoing(other, file, extension)
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
