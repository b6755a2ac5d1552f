"""`migrations`: what the config says about single migrations."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from airflow_provider_wmigrate.engine.model import Transactional, canonical_version

from .kinds import (
    Bool,
    FailOrSkip,
    Kind,
    OnFailurePolicy,
    Refused,
    Seconds,
    Text,
    WholeSeconds,
    a_list,
    boolean,
    matching,
    whole,
)
from .section import Section
from .yaml_lines import Scalar


def _version(scalar: Scalar) -> str:
    """From the written digits, quoted or not: a version is a name, and `010` is not eight."""
    if not re.fullmatch("[0-9]{1,250}", scalar.text):
        raise Refused
    return canonical_version(scalar.text)


def _transactional(scalar: Scalar) -> Transactional:
    if scalar.text == "auto":
        return "auto"
    return boolean(scalar) is True


_Version = Annotated[str, Kind("the number of a migration, such as 001", _version)]
_WhetherInTransaction = Annotated[Transactional, Kind("auto, true or false", _transactional, ("auto", "true", "false"))]


class Directions(Section):
    """Whether a script runs in one transaction, for each direction."""

    short_for = ("apply", "rollback")

    apply: _WhetherInTransaction = Field(default="auto", description="The migration's script.")
    rollback: _WhetherInTransaction = Field(default="auto", description="The rollback script.")


class Repeatable(Section):
    """Whether a statement that may have run in part can simply be run again, for each direction."""

    short_for = ("apply", "rollback")

    apply: Bool = Field(default=False, description="The migration's script.")
    rollback: Bool = Field(default=False, description="The rollback script.")


class RequiresExtension(Section):
    """An extension a migration needs; its bare name is enough."""

    short_for = ("name",)

    name: Annotated[str, matching("the name of an extension", "[A-Za-z_][A-Za-z0-9_-]{0,62}")] = Field(
        description="Name of the extension."
    )
    when_missing: FailOrSkip | None = Field(
        default=None,
        description="When it cannot be had as needed; absent: settings.execution.when_extension_missing.",
    )
    min_version: Annotated[str, matching("a version such as 2.13", r"[0-9]{1,9}(\.[0-9]{1,9}){0,4}")] | None = Field(
        default=None, description="Oldest version that will do, of the database or else of the server's files."
    )
    license: Annotated[Literal["timescale"], matching("timescale", "timescale")] | None = Field(
        default=None,
        description="Of timescaledb: what needs its community edition (policies, continuous aggregates, columnstore).",
    )


class MigrationBlock(Section):
    """What the config says about one migration. Whether the file exists is the folder's business."""

    version: _Version = Field(description="The migration's number.")
    filename: Annotated[str, matching("a file name without a folder", r"[^/\\]+")] | None = Field(
        default=None, description="The file, as a safeguard: its number must be the version."
    )
    description: Text = Field(default="", description="What the migration does.")
    dependencies: Annotated[tuple[_Version, ...] | None, a_list("versions such as [001, 002]")] = Field(
        default=None, description="Migrations that must be applied before; absent: the one before; []: none."
    )
    rollback_supported: Bool | None = Field(
        default=None,
        description="Whether there is a rollback script; a contradiction to the folder is a finding.",
    )
    estimated_duration_seconds: Seconds | None = Field(default=None, description="How long applying it should take.")
    transactional: Directions = Field(
        default_factory=Directions,
        description="Whether a script runs in one transaction; auto: found out from the script; false: each"
        " statement by itself.",
    )
    repeatable: Repeatable = Field(
        default_factory=Repeatable,
        description="Whether a statement outside a transaction that may have run in part is safe to run again; false:"
        " a person is asked.",
    )
    timeout_seconds: WholeSeconds | None = Field(
        default=None,
        description="Total budget of this migration; absent: settings.execution.timeout_seconds.",
    )
    lock_timeout_seconds: Seconds | None = Field(
        default=None,
        description="Wait for a lock at the first attempt; absent: settings.execution.lock_timeout_seconds.",
    )
    lock_attempts: Annotated[int, whole("attempts", least=1, most=1000)] | None = Field(
        default=None, description="Attempts of this migration; absent: settings.execution.lock_attempts."
    )
    on_failure: OnFailurePolicy | None = Field(
        default=None, description="Policy of this migration; absent: settings.execution.on_failure."
    )
    requires_extensions: Annotated[
        tuple[RequiresExtension, ...], a_list("names such as [timescaledb], or of mappings")
    ] = Field(default=(), description="PostgreSQL extensions the server must have or be able to create.")
    _line: int | None = PrivateAttr(None)

    @property
    def line(self) -> int | None:
        """Line of the block in the config file."""
        return self._line
