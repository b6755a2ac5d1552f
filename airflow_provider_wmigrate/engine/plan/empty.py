"""Scripts without a statement. Other tools have them to keep a number, or because there is nothing to undo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from airflow_provider_wmigrate.engine.errors import ScriptError
from airflow_provider_wmigrate.engine.model import Finding, Migration
from airflow_provider_wmigrate.engine.sql.analysis import analyse
from airflow_provider_wmigrate.engine.sql.script import Analysis


def empty(migration: Migration, analysis: Analysis, *, allowed: bool) -> Iterator[Finding]:
    """Of a script of the migration: that it does nothing.

    :param allowed: whether that is no more than a warning.
    """
    if analysis.statements or analysis.unparsed:
        return
    what = "rolling it back" if analysis.script == migration.rollback else "applying it"
    message = f"has no statement: {what} does nothing"
    nxt = "that is allowed" if allowed else "write one, delete the file, or allow it (validation.files.allow_empty)"
    severity = "warning" if allowed else "error"
    yield Finding("empty_script", message, nxt, severity, version=migration.version, file=analysis.script.file)  # type: ignore[arg-type]


def empty_rollbacks(migrations: Iterable[Migration]) -> tuple[Finding, ...]:
    """The rollback scripts of the folder that are about to run and undo nothing. Only warnings: undoing goes on."""
    found: list[Finding] = []
    for migration in migrations:
        with suppress(ScriptError):  # that is told where it is run
            if migration.rollback:
                found += empty(migration, analyse(migration.rollback), allowed=True)
    return tuple(found)
