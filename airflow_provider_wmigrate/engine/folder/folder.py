"""A folder of numbered SQL files -> migrations: what the files say, and everything that is wrong with them.

Only names and bytes are read, so this may run while a DAG file is parsed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from airflow_provider_wmigrate.engine.errors import ConfigError, FolderError, UnknownVersion, nearest
from airflow_provider_wmigrate.engine.extension import RequiredExtension
from airflow_provider_wmigrate.engine.lock_modes import LockMode
from airflow_provider_wmigrate.engine.model import (
    NOT_READ,
    ConfigFinding,
    Finding,
    Migration,
    Script,
    canonical_version,
)

from .config.migrations import MigrationBlock
from .config.reading import look_at_config
from .config.root import Config
from .config.settings import Settings
from .files import list_files
from .graph import Graph
from .names import Named
from .problems import Problem, grouped
from .scripts import read_script


class Folder(Struct, frozen=True, dict=True):
    """Everything the files say, before any database is asked."""

    path: Path
    config: Config
    migrations: tuple[Migration, ...]
    """In numeric order."""
    graph: Graph
    wrong: tuple[Finding, ...] = ()
    """Why nothing may be run from it; empty of a folder that `read_folder` gave."""

    def migration(self, version: str) -> Migration:
        """The migration with this version; `2`, `02` and `002` are the same.

        :raises UnknownVersion: no file has it.
        """
        wanted = normalise_version(version, {m.version for m in self.migrations})
        return next(m for m in self.migrations if m.version == wanted)

    def refuse_if_wrong(self) -> None:
        """Raise what `read_folder` raises."""
        in_config = [f for f in self.wrong if isinstance(f, ConfigFinding)]
        if in_config:
            raise ConfigError.of(in_config, others=self.wrong)
        if self.wrong:
            raise FolderError.of(self.wrong)

    @property
    def readable(self) -> tuple[Migration, ...]:
        """The migrations whose scripts could all be read."""
        return tuple(m for m in self.migrations if all(s is None or s.is_read for s in (m.script, m.rollback)))

    def under(self, settings: Settings) -> tuple[Migration, ...]:
        """The migrations with the defaults of one environment filled in where a migration declares nothing."""
        for known, migrations in self._under:
            if known == settings:
                return migrations
        blocks = self.config.migrations
        made = tuple(_with_defaults(m, blocks.get(m.version), settings) for m in self.migrations)
        self._under.append((settings, made))
        return made

    @cached_property
    def _under(self) -> list[tuple[Settings, tuple[Migration, ...]]]:
        """What was asked for before: who plans and who acts share the room of ten thousand migrations."""
        return []


def normalise_version(version: str, known: Collection[str], *, where: str = "this folder") -> str:
    """The canonical form of a version somebody typed.

    :param known: a mapping or a set, where many are asked for.
    :param where: who knows those versions, for the message.
    :raises UnknownVersion: it is not a number, or nobody has it.
    """
    text = version.strip()
    canonical = canonical_version(text) if text.isascii() and text.isdigit() else text
    if canonical not in known:
        raise UnknownVersion(text, known, where=where)
    return canonical


def version_that_stays(to: str | None, known: Iterable[str]) -> str | None:
    """What somebody typed for the version that a rollback leaves, with all before it; None: nothing is left.

    `nothing` says that in words; `0` says it too, unless there is a migration 000.

    :raises UnknownVersion: nobody has it.
    """
    text, known = (to or "nothing").strip(), set(known)
    if text == "nothing" or (not text.strip("0") and "000" not in known):
        return None
    return normalise_version(text, known)


def read_folder(path: Path, environ: Mapping[str, str] | None = None, *, only: Collection[str] | None = None) -> Folder:
    """Read a folder of migrations.

    :param environ: what `${NAME}` in the config stands for.
    :param only: versions whose scripts are wanted; None: all. Names, config and graph are those of the whole folder.
    :raises FolderError: files, or the relation between them, are wrong; it has a finding for each kind of mistake.
    :raises ConfigError: migration_config.yaml is wrong; it has a finding for each mistake.
    """
    folder = look_at_folder(path, environ, only=only)
    folder.refuse_if_wrong()
    return folder


def with_scripts(folder: Folder, only: Collection[str] | None = None) -> Folder:
    """The folder with scripts read that nobody has read yet.

    :param only: versions whose scripts are wanted; None: all.
    :raises FolderError: one of them cannot be read.
    """
    problems: list[Problem] = []
    unread = {m.version for m in folder.migrations if m.script.checksum == NOT_READ}
    wanted = unread if only is None else unread & set(only)
    if not wanted:
        return folder
    directory = str(folder.path.absolute())
    migrations = tuple(
        replace(
            m,
            script=read_script(directory, m.script.file, problems),
            rollback=read_script(directory, m.rollback.file, problems, is_rollback=True) if m.rollback else None,
        )
        if m.version in wanted
        else m
        for m in folder.migrations
    )
    found = replace(folder, migrations=migrations, wrong=(*folder.wrong, *grouped(problems)))
    found.refuse_if_wrong()
    return found


def look_at_folder(
    path: Path, environ: Mapping[str, str] | None = None, *, only: Collection[str] | None = None
) -> Folder:
    """What can be known of a folder, and in `wrong` what keeps it from being used. For looking, not for running.

    :param only: as for `read_folder`.
    :raises FolderError: there is no such folder.
    :raises ConfigError: it is not known where the ledger is, because the config cannot be read so far.
    """
    if not path.is_dir():
        reason = "is not a folder" if path.exists() else "no such folder"
        raise FolderError(str(path), reason, hint="give the folder that holds the NNN_name.sql files")
    with os.scandir(path) as listed:
        entries = list(listed)
    config, in_config = look_at_config(path, environ or {}, names=[entry.name for entry in entries])
    rules = config.validation.files
    files = list_files(path, entries, rules)
    problems = files.problems
    if files.pairs or problems:
        problems += files.folders
    else:
        from .layouts import other_layout

        layout = other_layout(path, rules.allowed_extensions)
        problems += [layout] if layout else []
    migrations = tuple(_migrations(path, files.pairs, config, problems, only))
    names = {m.version: m.script.file for m in migrations}
    in_config += _lost_blocks(names, config)
    graph, contradictions = _graph(migrations, config.file)
    return Folder(path, config, migrations, graph, (*in_config, *grouped(problems), *contradictions))


def _graph(migrations: Iterable[Migration], file: str) -> tuple[Graph, tuple[Finding, ...]]:
    """Where the declared dependencies contradict themselves, a graph without any, and what is wrong."""
    needs = {m.version: m.dependencies for m in migrations}
    try:
        return Graph(needs, file=file, lines={m.version: m.config_line for m in migrations}), ()
    except FolderError as error:
        return Graph(dict.fromkeys(needs, ())), error.findings


def _lost_blocks(names: Mapping[str, str], config: Config) -> Iterator[ConfigFinding]:
    """Blocks of the config that do not speak of a file that is there."""
    for block in config.migrations.values():
        name = names.get(block.version)
        for version in block.squashes:
            if version != block.version and version in names:
                reason = f"version {block.version} squashes {version}, but {names[version]} is there"
                yield ConfigFinding.of(config.file, block.line, "migrations", reason)
        if name is None:
            reason, meant = f"no file has version {block.version}", nearest(block.version, names)
            yield ConfigFinding.of(config.file, block.line, "migrations", reason, meant)
        elif block.filename not in (None, name):
            reason = f"version {block.version} is {name}, not {block.filename}"
            yield ConfigFinding.of(config.file, block.line, "migrations", reason)


def _migrations(
    path: Path,
    pairs: Iterable[tuple[Named, Named | None]],
    config: Config,
    problems: list[Problem],
    only: Collection[str] | None,
) -> Iterator[Migration]:
    blocks, directory = config.migrations, str(path.absolute())
    instead = {version: block.version for block in config.blocks for version in block.squashes}

    def script(version: str, file: str, *, is_rollback: bool = False) -> Script:
        if only is None or version in only:
            return read_script(directory, file, problems, is_rollback=is_rollback)
        return Script(file, "", NOT_READ)

    before: tuple[str, ...] = ()
    for apply, rollback in pairs:
        version = canonical_version(apply.digits)
        migration = Migration(
            version,
            apply.name,
            script(version, apply.file),
            script(version, rollback.file, is_rollback=True) if rollback else None,
            dependencies=before,
            dependencies_implied=True,
        )
        block, before = blocks.get(version), (version,)
        yield _declared(migration, block, instead) if block else migration


def _declared(migration: Migration, block: MigrationBlock, instead: Mapping[str, str]) -> Migration:
    """:param instead: version that was squashed -> the one that stands for it."""
    declared = migration.dependencies if block.dependencies is None else block.dependencies
    if not instead.keys().isdisjoint(declared):
        mine = block.squashes.keys() - {migration.version}
        declared = tuple(dict.fromkeys(instead.get(version, version) for version in declared if version not in mine))
    return replace(
        migration,
        description=block.description or "",
        dependencies=tuple(declared),
        dependencies_implied=block.dependencies is None,
        transactional=block.transactional.apply,
        rollback_transactional=block.transactional.rollback,
        repeatable=block.repeatable.apply,
        rollback_repeatable=block.repeatable.rollback,
        locks=tuple((table, LockMode.named(mode)) for table, mode in block.locks.items()),
        squashes=tuple(block.squashes.items()),
        config_line=block.line,
        **{name: getattr(block, name) for name in _AS_DECLARED},
    )


_AS_DECLARED = (
    "timeout_seconds", "lock_timeout_seconds", "lock_attempts", "max_bystander_wait_seconds", "lock_first", "keep",
    "rollback_supported", "estimated_duration_seconds",
)  # fmt: skip
"""What a migration has of its block under the same name."""


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
