"""`settings`: what may differ between environments."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from airflow_provider_wmigrate.engine.model import LatePolicy

from .kinds import (
    LONGEST,
    TEXT,
    Bool,
    FailOrSkip,
    Kind,
    OnFailurePolicy,
    Refused,
    Seconds,
    Text,
    WholeSeconds,
    choice,
    decimal,
    whole,
)
from .section import Section
from .templates import template
from .yaml_lines import Scalar

_SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
_Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
_Format = Literal["text", "json"]


def _port(scalar: Scalar) -> int:
    if not re.fullmatch("[0-9]{1,5}", scalar.text) or not 0 < int(scalar.text) < 65536:
        raise Refused
    return int(scalar.text)


PORT = Kind("a port number from 1 to 65535", _port)
SSL_MODE = choice(_SslMode)

_Template = Annotated[str | None, template(TEXT)]


class Database(Section):
    """Where the command line connects to. Airflow uses connections and never reads this."""

    host: _Template = Field(default=None, description="Host name, address or socket directory.")
    port: Annotated[str | None, template(PORT)] = Field(default=None, description="Port of the server.")
    name: _Template = Field(default=None, description="Name of the database.")
    user: _Template = Field(default=None, description="Role to log in as.")
    password: _Template = Field(
        default=None, repr=False, description="Password; write ${NAME} and keep the value out of the file."
    )
    ssl_mode: Annotated[str | None, template(SSL_MODE)] = Field(default=None, description="libpq's sslmode.")


class Execution(Section):
    """How migrations are run."""

    timeout_seconds: WholeSeconds = Field(default=300, description="Total budget of one migration.")
    retry_attempts: Annotated[int, whole("retries", least=0, most=100)] = Field(
        default=3, description="How often a failure that may heal by itself is tried again."
    )
    retry_delay_seconds: Annotated[int, whole("seconds", least=0, most=LONGEST)] = Field(
        default=5, description="Wait before a retry."
    )
    dry_run_enabled: Bool = Field(default=True, description="Whether dry runs are allowed.")
    rollback_enabled: Bool = Field(default=True, description="Whether rollback scripts may be run.")
    statement_timeout_seconds: Annotated[float | None, decimal("seconds", least=0.001, most=LONGEST, null=True)] = (
        Field(default=None, description="Budget of one statement; null: only the total counts.")
    )
    lock_timeout_seconds: Seconds = Field(
        default=2, description="How long a statement waits for a lock on a table at the first attempt."
    )
    lock_timeout_max_seconds: Seconds = Field(
        default=30, description="What that wait rises to: it doubles with every attempt."
    )
    lock_attempts: Annotated[int, whole("attempts", least=1, most=1000)] = Field(
        default=6,
        description="How often a transaction is tried in all, for want of a lock or after a deadlock.",
    )
    concurrent_lock_timeout_seconds: Seconds = Field(
        default=600,
        description="The same for statements outside a transaction, which wait for every older transaction to end.",
    )
    lock_hold_warning_seconds: Seconds = Field(
        default=5, description="A table locked against everybody for longer than this is told as a warning."
    )
    lock_wait_seconds: Seconds = Field(default=60, description="How long to wait for another runner of migrations.")
    late_migrations: Annotated[LatePolicy, choice(LatePolicy)] = Field(
        default="apply",
        description="What to do with a pending migration whose number is below an applied one's.",
    )
    on_failure: OnFailurePolicy = Field(
        default="rollback",
        description="Whether a failure that left something behind runs the rollback script.",
    )
    when_extension_missing: FailOrSkip = Field(
        default="fail",
        description="What to do when the server cannot have an extension that a migration requires.",
    )


class Logging(Section):
    """What the task log and the command line tell."""

    level: Annotated[_Level, choice(_Level, ignore_case=True, also={"warn": "WARNING"})] = Field(
        default="INFO", description="Least severity that is told; case does not matter, and WARN is WARNING."
    )
    format: Annotated[_Format, choice(_Format)] = Field(
        default="text", description="Lines for people or one JSON object per line."
    )
    include_sql: Bool = Field(
        default=True, description="Whether scripts are shown, and the beginning of a statement that failed."
    )
    include_timing: Bool = Field(default=True, description="Whether durations are shown.")


class Backup(Section):
    """A backup before migrating."""

    enabled: Bool = Field(default=False, description="Whether backups are made.")
    backup_before_migration: Bool = Field(default=True, description="Whether one is made before migrations run.")
    backup_retention_days: Annotated[int, whole("days", most=36_500)] = Field(
        default=30, description="Days after which a backup may be deleted."
    )
    backup_location: Text = Field(default="", description="Where backups are kept.")


def _schema(scalar: Scalar) -> str:
    name = scalar.text
    if name.startswith("pg_") or name == "information_schema":
        raise Refused(f"{name} belongs to PostgreSQL; choose another schema")
    if not re.fullmatch("[a-z_][a-z0-9_]*", name) or len(name) > 63:
        raise Refused
    return name


_SCHEMA = Kind("a schema name of at most 63 lower-case letters, digits and underscores", _schema)


class Ledger(Section):
    """Where the target database remembers."""

    schema_name: Annotated[str, _SCHEMA] = Field(
        default="wmigrate", alias="schema", description="Schema of the ledger's tables."
    )


class Settings(Section):
    """What may differ between environments. Below an environment only the keys written there count."""

    database: Database = Field(default_factory=Database, description="Where the command line connects to.")
    execution: Execution = Field(default_factory=Execution, description="How migrations are run.")
    logging: Logging = Field(default_factory=Logging, description="What is told.")
    backup: Backup = Field(default_factory=Backup, description="A backup before migrating.")
    ledger: Ledger = Field(default_factory=Ledger, description="Where the target database remembers.")
