"""`settings`: what may differ between environments."""

from __future__ import annotations

import re
from typing import Literal

from airflow_provider_wmigrate.engine.errors import nearest
from airflow_provider_wmigrate.engine.model import Direction, LatePolicy, OnFailure

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
    choice,
    decimal,
    whole,
)
from .section import Section, key
from .templates import template
from .yaml_nodes import Scalar, shown

_SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
_Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
_Format = Literal["text", "json"]
DriftPolicy = Literal["ignore", "warn", "error"]


def _port(scalar: Scalar) -> int:
    if not re.fullmatch("[0-9]{1,5}", scalar.text) or not 0 < int(scalar.text) < 65536:
        raise Refused
    return int(scalar.text)


PORT = Kind("a port number from 1 to 65535", _port)
SSL_MODE = choice(_SslMode)

_TEMPLATE = template(TEXT)


class Database(Section):
    """Where the command line connects to. Airflow uses connections and never reads this."""

    host: str | None = key(_TEMPLATE, "Host name, address or socket directory.", None)
    port: str | None = key(template(PORT), "Port of the server.", None)
    name: str | None = key(_TEMPLATE, "Name of the database.", None)
    user: str | None = key(_TEMPLATE, "Role to log in as.", None)
    password: str | None = key(_TEMPLATE, "Password; write ${NAME} and keep the value out of the file.", None)
    ssl_mode: str | None = key(template(SSL_MODE), "libpq's sslmode.", None)


class Execution(Section):
    timeout_seconds: int = key(WHOLE_SECONDS, "How long one migration may take in all.", 300)
    retry_attempts: int = key(
        whole("retries", least=0, most=100),
        "How often a migration is tried again after an error that a retry may solve.",
        3,
    )
    retry_delay_seconds: int = key(whole("seconds", least=0, most=LONGEST), "Wait before a retry.", 5)
    dry_run_enabled: bool = key(BOOLEAN, "Whether dry runs are allowed.", True)
    rollback_enabled: bool = key(BOOLEAN, "Whether rollback scripts may run.", True)
    statement_timeout_seconds: float | None = key(
        decimal("seconds", least=0.001, most=LONGEST, null=True),
        "Limit for one statement; null: only `timeout_seconds` counts.",
        None,
    )
    lock_timeout_seconds: float = key(
        SECONDS, "How long the first attempt tries to get its locks on tables, or a statement waits for one.", 2
    )
    lock_timeout_max_seconds: float = key(SECONDS, "The longest such time: it doubles with every attempt.", 30)
    lock_attempts: int = key(
        whole("attempts", least=1, most=1000),
        "How often a transaction is tried in all, when a lock is not free or after a deadlock.",
        6,
    )
    lock_first: bool = key(
        BOOLEAN,
        "Whether a transaction takes its locks before its first statement, and waits for none while it holds one.",
        True,
    )
    concurrent_lock_timeout_seconds: float = key(
        SECONDS, "How long a statement outside a transaction waits for locks and for older transactions to end.", 600
    )
    lock_hold_warning_seconds: float = key(
        SECONDS, "Warn if a table is locked against everybody for longer than this.", 5
    )
    max_bystander_wait_seconds: float | None = key(
        decimal("seconds", least=0.5, most=LONGEST, null=True),
        "Cancel a migration and roll it back when other sessions have waited because of it for longer than this; null:"
        " they wait.",
        None,
    )
    lock_wait_seconds: float = key(SECONDS, "How long to wait for another runner of migrations.", 60)
    late_migrations: LatePolicy = key(
        choice(LatePolicy), "What to do with a pending migration whose number is below that of an applied one.", "apply"
    )
    on_failure: OnFailure = key(
        ON_FAILURE, "Whether the rollback script runs after a failure that left something behind.", "rollback"
    )
    when_extension_missing: Literal["fail", "skip"] = key(
        FAIL_OR_SKIP, "What to do if the server lacks an extension that a migration requires.", "fail"
    )


class Logging(Section):
    level: _Level = key(
        choice(_Level, ignore_case=True, also={"warn": "WARNING"}),
        "Lowest severity that is shown. Upper and lower case are the same, and WARN means WARNING.",
        "INFO",
    )
    format: _Format = key(choice(_Format), "Lines for people, or one JSON object per line.", "text")
    include_sql: bool = key(BOOLEAN, "Whether scripts are shown, and the beginning of a statement that failed.", True)
    include_timing: bool = key(BOOLEAN, "Whether durations are shown.", True)


class Backup(Section):
    enabled: bool = key(BOOLEAN, "Whether backups are made.", False)
    backup_before_migration: bool = key(
        BOOLEAN,
        "Whether one is made before migrations that ask for it (`backup: true`), or that take something away.",
        True,
    )
    backup_before_rollback: bool = key(
        BOOLEAN, "Whether one is made before a rollback that takes tables, columns or rows away.", False
    )
    backup_scope: Literal["database", "relations"] = key(
        choice(Literal["database", "relations"]),
        "The whole database, or only the tables that those migrations touch; where nobody can see which, it is the"
        " whole database.",
        "database",
    )
    backup_jobs: int = key(
        whole("jobs", most=64), "Connections that pg_dump uses; with more than one, a backup is a folder.", 1
    )
    backup_retention_days: int = key(
        whole("days", most=36_500), "Days after which a backup is deleted, when the next one has been made.", 30
    )
    backup_location: str = key(
        TEXT,
        "Where backups are kept: a folder (a relative one counts from that of the migrations), or a URL such as"
        " s3://bucket/path; in Airflow s3://CONNECTION@bucket/path.",
        "",
    )
    snapshot_command: str = key(
        TEXT,
        "A command that makes a backup in place of pg_dump, for a managed database; the last line that it prints says"
        " what it has made.",
        "",
    )

    def before(self, direction: Direction) -> bool:
        """Whether any script of this direction may need one."""
        return self.enabled and (self.backup_before_migration if direction == "apply" else self.backup_before_rollback)


def _schema(scalar: Scalar) -> str:
    name = scalar.text
    if name.startswith("pg_") or name == "information_schema":
        raise Refused(f"{name} belongs to PostgreSQL; choose another schema")
    if not re.fullmatch("[a-z_][a-z0-9_]*", name) or len(name) > 63:
        raise Refused
    return name


_SCHEMA = Kind("a schema name of at most 63 lower-case letters, digits and underscores", _schema)


class Ledger(Section):
    schema_name: str = key(_SCHEMA, "Schema of the ledger's tables.", "wmigrate", written="schema")


DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _minutes(scalar: Scalar) -> int:
    found = re.fullmatch("([0-9]{1,2}):([0-9]{2})", scalar.text)
    if found is None or int(found[2]) > 59 or (minutes := int(found[1]) * 60 + int(found[2])) > 24 * 60:
        raise Refused
    return minutes


UTC = "UTC"
"""It needs no list of time zones."""
_A_TIME_ZONE = "a time zone such as Europe/Berlin"


def _time_zone(scalar: Scalar) -> str:
    if scalar.text == UTC:
        return UTC
    from zoneinfo import ZoneInfo, available_timezones  # most folders name none

    try:
        return ZoneInfo(scalar.text).key
    except (ValueError, OSError, LookupError):
        known = available_timezones()
        if not known:
            raise Refused("cannot be looked up: this machine has no time zones; install the package tzdata") from None
        reason = f"must be {_A_TIME_ZONE}, not {shown(scalar)}"
        raise Refused(reason, nearest(scalar.text, known)) from None


_TIME = Kind("a time of the day such as 22:00, in quotes or not", _minutes)


def _at_least_one(days: tuple[str, ...]) -> tuple[str, ...]:
    if not days:
        raise Refused("must name at least one day")
    return days


_DAY = choice(Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ignore_case=True)


class OpenTime(Section):
    """One time of the day, on some days of the week, at which migrations may begin."""

    days: tuple[str, ...] = key(
        a_list("days such as [mon, fri]", _DAY, read=_at_least_one), "The days on which it begins.", DAYS
    )
    start: int = key(_TIME, "When it begins, on the wall clock of `time_zone`.", written="from")
    end: int = key(_TIME, "When it ends; at or before `from`: on the next day.", written="to")


class Window(Section):
    open: tuple[OpenTime, ...] = key(
        a_list("mappings with from and to", OpenTime, null=True),
        "The times at which a migration may begin, and has to end by its estimate; none: always.",
        (),
    )
    time_zone: str = key(Kind(_A_TIME_ZONE, _time_zone), "Whose clock counts.", UTC)
    outside: Literal["fail", "wait"] = key(
        choice(Literal["fail", "wait"]), "What a run does outside: refuse, or wait until it opens.", "fail"
    )
    wait_seconds: int = key(WHOLE_SECONDS, "If it opens later than that, a run refuses instead of waiting.", 86_400)


class Guard(Section):
    enabled: bool = key(
        BOOLEAN, "Whether migrations wait for loads that have a guard, and these for migrations.", False
    )
    wait_seconds: int = key(WHOLE_SECONDS, "How long a migration waits for loads that are at work.", 600)
    hold_back_seconds: int = key(
        WHOLE_SECONDS, "How long at a time a migration that waits keeps other loads from beginning.", 60
    )


class Settings(Section):
    """What may differ between environments. An environment overrides only the keys written there."""

    database: Database = key(
        Database, "The server and database that the command line connects to. Airflow ignores this."
    )
    execution: Execution = key(Execution, "How migrations are run.")
    logging: Logging = key(Logging, "What the task log and the command line show.")
    backup: Backup = key(Backup, "A backup before migrations that destroy something.")
    ledger: Ledger = key(Ledger, "Where the ledger is in the target database.")
    window: Window = key(Window, "When migrations and rollbacks may begin.")
    guard: Guard = key(Guard, "Keeping loads and migrations apart.")
    keep_days: float | None = key(
        decimal("days", least=1, most=36_500, null=True),
        "How long what migrations with `keep: true` have put aside is kept: the end of a successful run drops what is"
        " older; null: it stays.",
        30,
    )
    drift: DriftPolicy = key(
        choice(DriftPolicy),
        "What to do if others have changed the schema. With `warn` and `error`, each run keeps the schema it left.",
        "ignore",
    )
