"""What the files say that they must not say, as far as that is seen without reading SQL: the rules of the config's
`validation`, as findings with their file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from airflow_provider_wmigrate.engine.folder.config.root import Config
from airflow_provider_wmigrate.engine.folder.folder import Folder
from airflow_provider_wmigrate.engine.model import (
    Finding,
    Migration,
    Script,
    canonical_version,
    finding_in,
    version_key,
)


def folder_findings(folder: Folder) -> tuple[Finding, ...]:
    """Findings that need no SQL: gaps, descriptions, missing or undeclared rollbacks."""
    found, limit = list[Finding](), folder.config.validation.files.max_file_size_mb
    if folder.config.validation.migrations.require_sequential_versions:
        found += _gaps(folder.migrations)
    for migration in folder.migrations:
        found += _pairing(migration, folder.config)
        if folder.config.validation.files.require_description and not migration.description:
            message, nxt = "has no description", f"describe {migration.version} in {folder.config.file}"
            found.append(finding_in("description_missing", migration, message, nxt))
        found += [
            _too_large(migration, script, folder.config)
            for script in (migration.script, migration.rollback)
            if script and script.size / _MB > limit
        ]
    return tuple(found)


_MB = 1_000_000
_DIGITS_OF_A_TIME = 8
"""As many as 20240131; migrations that are counted never have as many."""


def _gaps(migrations: Iterable[Migration]) -> Iterator[Finding]:
    """One finding for each gap between numbers that count. What is behind the first time has gaps by its nature."""
    before = 0
    for migration in migrations:
        if len(migration.version) >= _DIGITS_OF_A_TIME:
            return
        number = version_key(migration.version)
        if number > before + 1:
            first, last = canonical_version(before + 1), canonical_version(number - 1)
            versions = f"version {first}" if first == last else f"a version from {first} to {last}"
            message = f"no migration has {versions}, and require_sequential_versions is on"
            yield Finding("version_gap", message, "add it or renumber the later ones", version=first)
        before = number


def _pairing(migration: Migration, config: Config) -> Iterator[Finding]:
    there = migration.rollback is not None
    file, line = config.file, migration.config_line
    if migration.rollback_supported is True and not there:
        message = f"rollback_supported is true, but there is no {_rollback_of(migration)}"
        yield finding_in("rollback_missing", migration, message, "write it or say false", file=file, line=line)
    elif migration.rollback_supported is False and there:
        message = f"rollback_supported is false, but there is {_rollback_of(migration)}"
        yield finding_in("rollback_undeclared", migration, message, "delete it or say true", file=file, line=line)
    elif (
        config.validation.migrations.require_rollback_validation and not there and migration.rollback_supported is None
    ):
        message = "has no rollback script, and require_rollback_validation is on"
        hint = f"write {_rollback_of(migration)}, or declare rollback_supported: false"
        yield finding_in("rollback_missing", migration, message, hint)


def _rollback_of(migration: Migration) -> str:
    return migration.stem + ".rollback.sql"


def _too_large(migration: Migration, script: Script, config: Config) -> Finding:
    limit, megabytes = config.validation.files.max_file_size_mb, script.size / _MB
    message = f"has {megabytes:.3g} MB, the limit is {limit:g} MB (max_file_size_mb)"
    return finding_in("file_too_large", migration, message, "split it or raise the limit", file=script.file)
