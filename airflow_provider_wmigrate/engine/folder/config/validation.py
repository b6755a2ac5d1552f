"""`validation`: rules whose violations are findings at plan time."""

from __future__ import annotations

from typing import Any, Literal

from .kinds import BOOLEAN, Refused, a_list, always_true, decimal, matching
from .section import Section, key


class SqlRules(Section):
    """What migrations may contain. These rules do not hold for rollback scripts."""

    allow_ddl: bool = key(BOOLEAN, "Whether migrations may define objects (CREATE, ALTER, ...).", True)
    allow_dml: bool = key(BOOLEAN, "Whether migrations may change rows (INSERT, UPDATE, DELETE, ...).", True)
    allow_drop: bool = key(BOOLEAN, "Whether migrations may drop objects.", True)
    require_transaction: bool = key(BOOLEAN, "Whether every migration must run in one transaction.", False)


def _at_least_one(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if not items:
        raise Refused("must name at least one extension, or no migration could be found")
    return items


_EXTENSION = matching("a file extension such as .sql", r"\.[A-Za-z0-9.]*[A-Za-z0-9]")
_EXTENSIONS = a_list("file extensions such as [.sql]", _EXTENSION, read=_at_least_one)


class FileRules(Section):
    require_version_prefix: bool = key(BOOLEAN, "Whether a SQL file without a number is an error.", True)
    require_description: bool = key(BOOLEAN, "Whether every migration needs a description.", False)
    max_file_size_mb: float = key(decimal("megabytes", least=0.001, most=10_000), "Largest file that is read.", 100)
    allow_empty: bool = key(
        BOOLEAN, "Whether a script without a statement is applied, with a warning; false: it is an error.", True
    )
    allowed_extensions: tuple[str, ...] = key(_EXTENSIONS, "Extensions that a migration's file may have.", (".sql",))


class MigrationRules(Section):
    require_unique_versions: Literal[True] = key(
        always_true("the ledger is keyed by version and cannot hold one twice"),
        "Always true: the version is the key of the ledger.",
        True,
    )
    require_sequential_versions: bool = key(
        BOOLEAN,
        "Whether a gap between versions is an error. Between times (eight digits or more) there is none.",
        False,
    )
    require_dependency_validation: Literal[True] = key(
        always_true("dependencies decide the order and are always validated"),
        "Always true: dependencies decide the order.",
        True,
    )
    require_rollback_validation: bool = key(BOOLEAN, "Whether every migration needs a rollback script.", False)


class Validation(Section):
    """Rules for files and SQL. The plan reports a violation as a finding."""

    sql: SqlRules = key(SqlRules, "What migrations may contain.")
    files: FileRules = key(FileRules, "What files may look like.")
    migrations: MigrationRules = key(MigrationRules, "Rules for versions, dependencies and rollbacks.")
