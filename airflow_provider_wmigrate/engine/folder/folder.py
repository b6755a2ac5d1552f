"""A folder of numbered SQL files -> migrations: the naming rule, the pairing with rollbacks, the checksums.

Only names and bytes are read, so this may run while a DAG file is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from airflow_provider_wmigrate.engine.errors import ConfigError, FolderError, UnknownVersion, nearest
from airflow_provider_wmigrate.engine.model import Migration, RequiredExtension, Script, canonical_version

from .config import CONFIG_FILE, Config, MigrationBlock, Settings, load_config
from .graph import Graph

ROLLBACK_SUFFIX = ".rollback"
_NAME = re.compile(r"(?P<number>[0-9]{3,})_(?P<name>[a-z0-9]+(?:_[a-z0-9]+)*)")
_NAMING_RULE = "name it NNN_snake_name.sql, with at least three digits"


@dataclass(frozen=True, slots=True)
class Folder:
    """Everything the files say, before any database is asked."""

    path: Path
    config: Config
    migrations: tuple[Migration, ...]
    """In numeric order."""
    graph: Graph

    def migration(self, version: str) -> Migration:
        """The migration with this version; `2`, `02` and `002` are the same.

        :raises UnknownVersion: no file has it.
        """
        wanted = normalise_version(version, (m.version for m in self.migrations))
        return next(m for m in self.migrations if m.version == wanted)

    def under(self, settings: Settings) -> tuple[Migration, ...]:
        """The migrations with the defaults of one environment filled in where a migration declares nothing."""
        blocks = self.config.migrations
        return tuple(_with_defaults(m, blocks.get(m.version), settings) for m in self.migrations)


def normalise_version(version: str, known: Iterable[str], *, where: str = "this folder") -> str:
    """The canonical form of a version somebody typed.

    :param where: who knows those versions, for the message.
    :raises UnknownVersion: it is not a number, or nobody has it.
    """
    known = set(known)
    text = version.strip()
    canonical = canonical_version(int(text)) if text.isascii() and text.isdigit() else text
    if canonical not in known:
        raise UnknownVersion(text, known, where=where)
    return canonical


def read_folder(path: Path) -> Folder:
    """Read a folder of migrations.

    :raises FolderError: a file or the relation between two files is wrong; the first one found is told.
    :raises ConfigError: migration_config.yaml is wrong.
    """
    if not path.is_dir():
        reason = "is not a folder" if path.exists() else "no such folder"
        raise FolderError(str(path), reason, hint="give the folder that holds the NNN_name.sql files")
    config = load_config(path)
    found = _paired(_named_files(path, config))
    migrations = _migrations(found, config)
    lines = {m.version: m.config_line for m in migrations}
    graph = Graph({m.version: m.dependencies for m in migrations}, file=config.file, lines=lines)
    return Folder(path, config, migrations, graph)


def canonical_text(raw: bytes, file: str) -> str:
    """Text without byte order mark and with LF line ends: what checksums are taken of and what is run.

    :raises FolderError: empty, or not UTF-8.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1  # `object` is without the byte order mark
        raise FolderError(file, "is not UTF-8", line=line, hint="save it as UTF-8") from None
    del raw  # a large file is not kept twice while its line ends are changed
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text or text.isspace():
        raise FolderError(file, "is empty", hint="write a migration into it or delete it")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise FolderError(file, "contains a NUL byte", line=line, hint="save it as UTF-8 text")
    return text


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    number: int
    name: str
    is_rollback: bool


def _named_files(path: Path, config: Config) -> list[_File]:
    files = config.validation.files
    found = []
    for entry in sorted(path.iterdir(), key=lambda p: p.name):
        looks_numbered = entry.name[:1].isdigit()
        if entry.name.startswith("."):
            continue
        if not entry.is_file():
            if looks_numbered and entry.suffix in files.allowed_extensions:
                hint = "make it one, or give it another name"
                raise FolderError(entry.name, "has the name of a migration but is not a readable file", hint=hint)
            continue
        if entry.suffix not in files.allowed_extensions:
            if looks_numbered:
                allowed = ", ".join(files.allowed_extensions)
                hint = f"rename or move it, or allow it in {CONFIG_FILE}"
                raise FolderError(
                    entry.name, f"a migration ends in {allowed}, not {entry.suffix or 'nothing'}", hint=hint
                )
            continue
        if looks_numbered or files.require_version_prefix:
            found.append(_named(entry))
    return found


def _named(entry: Path) -> _File:
    stem = entry.name.removesuffix(entry.suffix)
    bare = stem.removesuffix(ROLLBACK_SUFFIX)
    match = _NAME.fullmatch(bare)
    if not match:
        raise FolderError(entry.name, _why_not(bare), hint=_NAMING_RULE)
    number = int(match["number"])
    if not number:
        raise FolderError(entry.name, "versions begin at 001", hint=_NAMING_RULE)
    return _File(entry, number, match["name"], is_rollback=bare != stem)


def _why_not(stem: str) -> str:
    digits = re.match(r"[0-9]*", stem)
    count = len(digits[0]) if digits else 0
    if not count:
        return "has no version number"
    if count < 3:
        return f"version {stem[:count]} has fewer than three digits"
    if len(stem) == count:
        return "has a version but no name"
    return "the name is not lower-case words joined by single underscores"


def _paired(files: list[_File]) -> list[tuple[_File, _File | None]]:
    applies: dict[int, _File] = {}
    rollbacks: dict[int, _File] = {}
    for file in files:
        seen = rollbacks if file.is_rollback else applies
        other = seen.setdefault(file.number, file)
        if other is not file:
            version = canonical_version(file.number)
            raise FolderError(
                file.path.name, f"version {version} is taken by {other.path.name}", hint="renumber one of them"
            )
    for number, rollback in rollbacks.items():
        apply = applies.get(number)
        expected = rollback.path.name.replace(ROLLBACK_SUFFIX, "")
        if apply is None or apply.path.stem != rollback.path.name.removesuffix(rollback.path.suffix).removesuffix(
            ROLLBACK_SUFFIX
        ):
            hint = (
                f"did you mean to pair it with {apply.path.name}?"
                if apply
                else "add the migration or delete the rollback"
            )
            raise FolderError(rollback.path.name, f"a rollback without its migration {expected}", hint=hint)
    return [(applies[number], rollbacks.get(number)) for number in sorted(applies)]


def _script(file: _File) -> Script:
    return Script.of(file.path.name, canonical_text(file.path.read_bytes(), file.path.name))


def _check_blocks(names: Mapping[str, str], config: Config) -> None:
    """Every block of the config must speak of a file that is there."""
    for block in config.migrations.values():
        name = names.get(block.version)
        if name is None:
            reason, meant = f"no file has version {block.version}", nearest(block.version, names)
            raise ConfigError(config.file, block.line, "migrations", reason, suggestion=meant)
        if block.filename not in (None, name):
            reason = f"version {block.version} is {name}, not {block.filename}"
            raise ConfigError(config.file, block.line, "migrations", reason)


def _migrations(found: list[tuple[_File, _File | None]], config: Config) -> tuple[Migration, ...]:
    versions = [canonical_version(apply.number) for apply, _ in found]
    _check_blocks({v: apply.path.name for v, (apply, _) in zip(versions, found, strict=True)}, config)
    blocks = config.migrations
    migrations = []
    for i, (apply, rollback) in enumerate(found):
        version = versions[i]
        block = blocks.get(version)
        before = (versions[i - 1],) if i else ()
        migration = Migration(
            version, apply.name, _script(apply), _script(rollback) if rollback else None, dependencies=before
        )
        migrations.append(_declared(migration, block) if block else migration)
    return tuple(migrations)


def _declared(migration: Migration, block: MigrationBlock) -> Migration:
    return replace(
        migration,
        description=block.description or "",
        dependencies=migration.dependencies if block.dependencies is None else tuple(block.dependencies),
        transactional=block.transactional.apply,
        rollback_transactional=block.transactional.rollback,
        repeatable=block.repeatable.apply,
        rollback_repeatable=block.repeatable.rollback,
        timeout_seconds=block.timeout_seconds,
        lock_timeout_seconds=block.lock_timeout_seconds,
        lock_attempts=block.lock_attempts,
        rollback_supported=block.rollback_supported,
        estimated_duration_seconds=block.estimated_duration_seconds,
        config_line=block.line,
    )


def _with_defaults(migration: Migration, block: MigrationBlock | None, settings: Settings) -> Migration:
    execution = settings.execution
    if block is None:
        return replace(migration, timeout_seconds=execution.timeout_seconds, on_failure=execution.on_failure)
    extensions = tuple(
        RequiredExtension(e.name, e.when_missing or execution.when_extension_missing, e.min_version, e.license)
        for e in block.requires_extensions
    )
    return replace(
        migration,
        timeout_seconds=migration.timeout_seconds or execution.timeout_seconds,
        on_failure=block.on_failure or execution.on_failure,
        requires_extensions=extensions,
    )
