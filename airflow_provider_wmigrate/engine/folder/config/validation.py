"""`validation`: rules whose violations are findings at plan time."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from .kinds import Bool, Refused, a_list, always_true, decimal, matching
from .section import Section


class SqlRules(Section):
    """What migrations may contain. Rollback scripts may always do what undoing needs."""

    allow_ddl: Bool = Field(default=True, description="Whether migrations may define objects (CREATE, ALTER, ...).")
    allow_dml: Bool = Field(
        default=True, description="Whether migrations may change rows (INSERT, UPDATE, DELETE, ...)."
    )
    allow_drop: Bool = Field(default=True, description="Whether migrations may drop objects.")
    require_transaction: Bool = Field(default=False, description="Whether every migration must run in one transaction.")


def _at_least_one(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if not items:
        raise Refused("must name at least one extension, or no migration could be found")
    return items


_Extension = Annotated[str, matching("a file extension such as .sql", r"\.[A-Za-z0-9.]*[A-Za-z0-9]")]
_EXTENSIONS = a_list("file extensions such as [.sql]", read=_at_least_one)


class FileRules(Section):
    """What files may look like."""

    require_version_prefix: Bool = Field(default=True, description="Whether a SQL file without a number is an error.")
    require_description: Bool = Field(default=False, description="Whether every migration needs a description.")
    max_file_size_mb: Annotated[float, decimal("megabytes", least=0.001, most=10_000)] = Field(
        default=100, description="Largest file that is read."
    )
    allow_empty: Bool = Field(
        default=True,
        description="Whether a script without a statement is applied, with a warning; else it is an error.",
    )
    allowed_extensions: Annotated[tuple[_Extension, ...], _EXTENSIONS] = Field(
        default=(".sql",), description="Extensions a migration's file may have."
    )


class MigrationRules(Section):
    """What the history must look like."""

    require_unique_versions: Annotated[
        Literal[True], always_true("the ledger is keyed by version and cannot hold one twice")
    ] = Field(default=True, description="Always true: the ledger is keyed by version.")
    require_sequential_versions: Bool = Field(default=False, description="Whether a gap between versions is an error.")
    require_dependency_validation: Annotated[
        Literal[True], always_true("dependencies decide the order and are always validated")
    ] = Field(default=True, description="Always true: the order is made from them.")
    require_rollback_validation: Bool = Field(
        default=False, description="Whether every migration needs a rollback script."
    )


class Validation(Section):
    """Rules whose violations are findings at plan time."""

    sql: SqlRules = Field(default_factory=SqlRules, description="What migrations may contain.")
    files: FileRules = Field(default_factory=FileRules, description="What files may look like.")
    migrations: MigrationRules = Field(default_factory=MigrationRules, description="What the history must look like.")
