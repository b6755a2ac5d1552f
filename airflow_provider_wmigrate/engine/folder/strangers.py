"""Entries of a folder whose names are not ours: what is wrong with each, and the name that would be right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from airflow_provider_wmigrate.engine.model import canonical_version

from .config.root import CONFIG_FILE, FileRules
from .names import ROLLBACK_SUFFIX, Named, misnamed, understood
from .other_tools import Foreign, advice, foreign, no_migration
from .problems import Problem

_PROGRAMS = {".py", ".rb", ".js", ".ts", ".mjs", ".go", ".php", ".java", ".kt", ".cs", ".exs", ".clj", ".sh", ".pl"}
_LISTS = {".xml", ".yaml", ".yml", ".json", ".toml"}
_COPIES = {".bak", ".orig", ".rej", ".swp", ".tmp", ".old"}


def look_at_strangers(
    entries: Sequence[Path], named: Sequence[Named], rules: FileRules
) -> tuple[list[Problem], list[Problem]]:
    """What is wrong with entries, and with folders inside that hold a migration each.

    :param named: the files whose names are ours.
    """
    problems: list[Problem] = []
    folders: list[Problem] = []
    foreigners: dict[str, list[Foreign]] = {}
    strangers: list[Problem] = []
    for entry in entries:
        numbered, allowed = entry.name[:1].isdigit(), entry.suffix in rules.allowed_extensions
        if not numbered and not (allowed and entry.is_file()):
            continue
        if not entry.is_file() and allowed:
            reason = "has the name of a migration but is not a readable file"
            problems.append(Problem(entry.name, reason, "make it one, or give it another name"))
        elif not entry.is_file():
            folders += _folder_of_one(entry, rules)
        elif not allowed:
            problems.append(_wrong_extension(entry, rules))
        elif other := no_migration(entry.name, entry.suffix):
            problems.append(other)
        elif meant := foreign(entry.name, entry.suffix):
            foreigners.setdefault(entry.suffix, []).append(meant)
        elif numbered or rules.require_version_prefix:
            strangers.append(misnamed(entry.name, entry.suffix))
    for extension, files in foreigners.items():
        problems += advice(files, named, extension)
    return [*problems, *_apart(strangers, named, problems)], folders


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


def _folder_of_one(entry: Path, rules: FileRules) -> list[Problem]:
    """A folder for one migration, as diesel, Hasura and Prisma have it. Passed over it would never be applied."""
    is_named = entry.is_dir() and re.match(r"[0-9]+[-_.]", entry.name)
    scripts = sorted(p.name for p in entry.iterdir() if p.suffix in rules.allowed_extensions) if is_named else []
    if not scripts:
        return []
    problem = Problem(
        entry.name,
        f"is a folder with {', '.join(scripts[:3])} in it, and folders are not read",
        "move its scripts here: NNN_name.sql, and what undoes it NNN_name.rollback.sql",
        kind="are folders with scripts in them, and folders are not read",
        rule="move the scripts here: 001_name/up.sql to 001_name.sql, 001_name/down.sql to 001_name.rollback.sql",
    )
    return [problem]


def _wrong_extension(entry: Path, rules: FileRules) -> Problem:
    allowed, extension = ", ".join(rules.allowed_extensions), entry.suffix
    reason = f"a migration ends in {allowed}, not {extension or 'nothing'}"
    right = next((e for e in rules.allowed_extensions if e.lower() == extension.lower()), None)
    aside, kind = "", f"end in {extension or 'nothing'}, and migrations in {allowed}"
    if right:
        rule, hint = f"write {right}", f"name it {entry.name.removesuffix(extension)}{right}"
        aside = hint
    elif extension.lower() in _PROGRAMS | _LISTS:
        hint = "write what it does as SQL, or move it away"
        rule = "write what they do as SQL, or move them away"
    elif extension.lower() in _COPIES or extension.endswith("~"):
        rule, hint = "delete them or move them away", "delete it or move it away"
    else:
        rule, hint = (f"rename or move {them}, or allow {them} in {CONFIG_FILE}" for them in ("them", "it"))
    return Problem(entry.name, reason, hint, kind=kind, rule=rule, aside=aside)
