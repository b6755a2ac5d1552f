"""What is wrong in a config although each key by itself is right."""

from __future__ import annotations

import re
from collections.abc import Iterator

from airflow_provider_wmigrate.engine.model import ConfigFinding, canonical_version, version_key

from .migrations import MigrationBlock
from .root import Config
from .settings import Settings


def contradictions(config: Config, *, budgets: bool) -> Iterator[ConfigFinding]:
    """Two blocks for one migration, a block at odds with itself, budgets at odds with one another.

    :param budgets: whether the budgets are what was written.
    """
    first_lines: dict[str, int | None] = {}
    for block in config.blocks:
        for name, reason in _in_block(block, first_lines):
            key = f"{block.path}.{name}"
            yield ConfigFinding.of(config.file, config.lines.get(key), key, reason)
        first_lines.setdefault(block.version, block.line)
    if not budgets:
        return
    levels = {"settings": config.settings}
    levels |= {f"environments.{name}": config.settings_for(name) for name in config.environments}
    for level, settings in levels.items():
        yield from _budgets(config, level, settings)
        yield from _backups(config, level, settings)


def _in_block(block: MigrationBlock, first_lines: dict[str, int | None]) -> Iterator[tuple[str, str]]:
    """Key and reason."""
    if block.version in first_lines:
        yield "version", f"{block.version} already has a block, at line {first_lines[block.version]}"
    if block.filename is not None and not _has_version(block.filename, block.version):
        yield "filename", f"{block.filename} does not begin with the version of its block, {block.version}"
    elif block.filename is not None and block.filename.endswith(".rollback.sql"):
        yield "filename", f"{block.filename} is a rollback script; write the migration's own file"
    if block.on_failure == "rollback" and block.rollback_supported is False:
        yield "on_failure", "cannot be rollback where rollback_supported is false"
    yield from _of_locks(block)
    yield from _of_squashes(block)
    for number, needed in enumerate(block.requires_extensions):
        if needed.license is not None and needed.name != "timescaledb":
            reason = f"only timescaledb is known by its licence, not {needed.name}"
            yield f"requires_extensions[{number}].license", reason


def _of_squashes(block: MigrationBlock) -> Iterator[tuple[str, str]]:
    """Versions that one file cannot stand for."""
    for version in block.squashes:
        if not re.fullmatch("[0-9]{3,250}", version) or canonical_version(version) != version:
            yield f"squashes.{version}", "is no version, written with three digits or more"
        elif version_key(version) > version_key(block.version):
            yield f"squashes.{version}", f"is above {block.version}"
    if block.squashes and block.version not in block.squashes:
        yield "squashes", f"lacks {block.version} itself"


def _of_locks(block: MigrationBlock) -> Iterator[tuple[str, str]]:
    """What is said of locks where it can have no effect."""
    if block.locks and block.lock_first is False:
        yield "locks", "has no effect where lock_first is false"
    for table in block.locks:
        if not _TABLE.fullmatch(table):
            yield f"locks.{table}", "is no table; write schema.table, as in SQL"


_NAME = r'(?:[^\W\d][\w$]*|"(?:[^"\0]|"")+")'
_TABLE = re.compile(rf"{_NAME}\.{_NAME}")


def _has_version(filename: str, version: str) -> bool:
    digits = re.match("[0-9]+", filename)
    return digits is not None and canonical_version(digits[0]) == version


def _budgets(config: Config, level: str, settings: Settings) -> Iterator[ConfigFinding]:
    """A statement's budget above the total would never be reached. Told where one of the two was written."""
    total, statement = settings.execution.timeout_seconds, settings.execution.statement_timeout_seconds
    if statement is None or statement <= total:
        return
    reasons = {
        "statement_timeout_seconds": f"is {statement:g}, more than the {total} of timeout_seconds for all",
        "timeout_seconds": f"is {total}, less than the {statement:g} of statement_timeout_seconds",
    }
    for name, reason in reasons.items():
        key = f"{level}.execution.{name}"
        if (line := config.lines.get(key)) is not None:
            yield ConfigFinding.of(config.file, line, key, reason)
            return


def _backups(config: Config, level: str, settings: Settings) -> Iterator[ConfigFinding]:
    """A place whose password would be told wherever the place is."""
    key = f"{level}.backup.backup_location"
    if re.match(r"[^/]*://[^/@]*:[^/@]*@", settings.backup.backup_location) and key in config.lines:
        reason = (
            "has a password in it, which the audit log would tell; name an Airflow connection (s3://CONNECTION@bucket)"
        )
        yield ConfigFinding.of(config.file, config.lines[key], key, f"{reason}, or set it in the environment")
