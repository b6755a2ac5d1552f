"""`migrations`: what the config says about single migrations."""

from __future__ import annotations

import re
from typing import Literal

from airflow_provider_wmigrate.engine.lock_modes import LockMode
from airflow_provider_wmigrate.engine.model import OnFailure, Transactional, canonical_version

from .kinds import (
    BOOLEAN,
    FAIL_OR_SKIP,
    LONGEST,
    ON_FAILURE,
    SECONDS,
    TEXT,
    WHOLE_SECONDS,
    Kind,
    Refused,
    a_list,
    boolean,
    decimal,
    matching,
    whole,
)
from .section import Section, key
from .yaml_nodes import Scalar


def _version(scalar: Scalar) -> str:
    """From the written digits, quoted or not: a version is a name, and `010` is not eight."""
    if not re.fullmatch("[0-9]{1,250}", scalar.text):
        raise Refused
    return canonical_version(scalar.text)


def _transactional(scalar: Scalar) -> Transactional:
    if scalar.text == "auto":
        return "auto"
    return boolean(scalar) is True


VERSION = Kind("the number of a migration, such as 001", _version)
_IN_TRANSACTION = Kind("auto, true or false", _transactional, ("auto", "true", "false"))


def _lock_mode(scalar: Scalar) -> str:
    word = " ".join(scalar.text.upper().split())
    if word not in _LOCK_MODES:
        raise Refused
    return word


_LOCK_MODES = tuple(mode.keyword for mode in LockMode)
_LOCK_MODE = Kind(f"{', '.join(_LOCK_MODES[:-1])} or {_LOCK_MODES[-1]}", _lock_mode, _LOCK_MODES)
_LOCKS = Kind("a mapping from tables to lock modes, such as public.orders: ACCESS EXCLUSIVE", wants=dict, of=_LOCK_MODE)

_SQUASHES = Kind(
    "a mapping from versions to checksums, such as 001: e3b0c442...",
    wants=dict,
    of=matching("a checksum of 64 hexadecimal digits", "[0-9a-f]{64}"),
)


class Directions(Section):
    """Whether a script runs in one transaction, for each direction."""

    short_for = ("apply", "rollback")

    apply: Transactional = key(_IN_TRANSACTION, "The migration's script.", "auto")
    rollback: Transactional = key(_IN_TRANSACTION, "The rollback script.", "auto")


class Repeatable(Section):
    """Whether a statement that may have run in part can be run again, for each direction."""

    short_for = ("apply", "rollback")

    apply: bool = key(BOOLEAN, "The migration's script.", False)
    rollback: bool = key(BOOLEAN, "The rollback script.", False)


class RequiresExtension(Section):
    """An extension a migration needs; its bare name is enough."""

    short_for = ("name",)

    name: str = key(matching("the name of an extension", "[A-Za-z_][A-Za-z0-9_-]{0,62}"), "Name of the extension.")
    when_missing: Literal["fail", "skip"] | None = key(
        FAIL_OR_SKIP, "What to do if the extension is missing; absent: settings.execution.when_extension_missing.", None
    )
    min_version: str | None = key(
        matching("a version such as 2.13", r"[0-9]{1,9}(\.[0-9]{1,9}){0,4}"),
        "Oldest version that is enough. It is the version in the database, or else that of the server's files.",
        None,
    )
    license: Literal["timescale"] | None = key(
        matching("timescale", "timescale"),
        "Only for timescaledb: requires its community edition (policies, continuous aggregates, columnstore).",
        None,
    )


class MigrationBlock(Section):
    """What the config says about one migration. The folder checks whether the file exists."""

    version: str = key(VERSION, "The migration's number.")
    filename: str | None = key(
        matching("a file name without a folder", r"[^/\\]+"),
        "The file, as a check: its number must be the version.",
        None,
    )
    origin: str | None = key(
        matching("what another tool calls it", r".+"),
        "What the tool that it comes from calls it: `wmigrate convert` writes it, and `wmigrate adopt` looks for it.",
        None,
    )
    description: str = key(TEXT, "What the migration does.", "")
    dependencies: tuple[str, ...] | None = key(
        a_list("versions such as [001, 002]", VERSION),
        "Migrations that must be applied first; absent: the one before this; []: none.",
        None,
    )
    rollback_supported: bool | None = key(
        BOOLEAN, "Whether there is a rollback script; if the folder differs, this is a finding.", None
    )
    estimated_duration_seconds: float | None = key(SECONDS, "How long applying it should take.", None)
    transactional: Directions = key(
        Directions,
        "Whether a script runs in one transaction; auto: the script decides; false: each statement by itself.",
    )
    repeatable: Repeatable = key(
        Repeatable,
        "Whether it is safe to run a statement outside a transaction again, if it may have run in part; false:"
        " a person is asked.",
    )
    timeout_seconds: int | None = key(
        WHOLE_SECONDS, "How long this migration may take; absent: settings.execution.timeout_seconds.", None
    )
    lock_timeout_seconds: float | None = key(
        SECONDS, "First wait for a lock of this migration; absent: settings.execution.lock_timeout_seconds.", None
    )
    lock_attempts: int | None = key(
        whole("attempts", least=1, most=1000),
        "Attempts of this migration; absent: settings.execution.lock_attempts.",
        None,
    )
    max_bystander_wait_seconds: float | None = key(
        decimal("seconds", least=0.5, most=LONGEST),
        "How long others may wait because of this migration; absent: settings.execution.max_bystander_wait_seconds.",
        None,
    )
    lock_first: bool | None = key(BOOLEAN, "The same for this migration; absent: settings.execution.lock_first.", None)
    keep: bool = key(
        BOOLEAN,
        "Whether tables, columns and rows that it destroys by DROP TABLE, DROP COLUMN, TRUNCATE and DELETE are put"
        " aside, so that the rollback gives them back.",
        False,
    )
    locks: dict[str, str] = key(
        _LOCKS,
        "Tables that the migration locks beside those that its SQL shows (in DO blocks and functions), each as"
        " schema.table, with the mode of the lock.",
        {},
    )
    squashes: dict[str, str] = key(
        _SQUASHES,
        "Versions that this file stands for, its own among them, with the checksums that their files had:"
        " `wmigrate squash` writes it.",
        {},
    )
    on_failure: OnFailure | None = key(
        ON_FAILURE, "The same for this migration; absent: settings.execution.on_failure.", None
    )
    backup: bool | None = key(
        BOOLEAN,
        "Whether it needs a backup before it, where settings.backup makes any; absent: if it takes something away.",
        None,
    )
    requires_extensions: tuple[RequiresExtension, ...] = key(
        a_list("names such as [timescaledb], or of mappings", RequiresExtension),
        "PostgreSQL extensions that the database must have, or that the server must be able to create.",
        (),
    )
