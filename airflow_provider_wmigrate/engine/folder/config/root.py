"""The whole of migration_config.yaml as one frozen value, with the keys that have no module of their own: `monitoring`
(health, metrics and alerts) and `validation` (rules whose violations are findings at plan time)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from airflow_provider_wmigrate.engine.errors import ConfigError, nearest

from .kinds import BOOLEAN, TEXT, WHOLE_SECONDS, Refused, a_list, a_mapping, always_true, decimal, matching
from .migrations import MigrationBlock
from .section import Section, key, overridden
from .settings import Settings

CONFIG_FILE = "migration_config.yaml"


class HealthCheck(Section):
    enabled: bool = key(BOOLEAN, "Whether CheckHealthOperator looks at the target.", True)
    interval_seconds: int = key(WHOLE_SECONDS, "Time between two looks.", 300)
    timeout_seconds: int = key(
        WHOLE_SECONDS, "Time limit of every look; a check without an answer by then is unhealthy.", 30
    )


class Metrics(Section):
    enabled: bool = key(BOOLEAN, "Whether metrics are sent.", True)
    collect_timing: bool = key(BOOLEAN, "Whether durations are sent.", True)
    collect_success_rate: bool = key(BOOLEAN, "Whether successes and failures are counted.", True)
    collect_error_details: bool = key(BOOLEAN, "Whether failures are counted by SQLSTATE.", True)


class Alerts(Section):
    enabled: bool = key(BOOLEAN, "Whether alerts are sent.", True)
    migration_failure: bool = key(BOOLEAN, "Alert when a migration fails.", True)
    migration_timeout: bool = key(BOOLEAN, "Alert when a time limit ends or a run misses its deadline.", True)
    database_connection_failure: bool = key(BOOLEAN, "Alert when the target cannot be reached.", True)
    rollback_failure: bool = key(BOOLEAN, "Alert when a rollback fails.", True)


class Monitoring(Section):
    health_check: HealthCheck = key(HealthCheck, "A regular health check of the target.")
    metrics: Metrics = key(Metrics, "Metrics for a monitoring system.")
    alerts: Alerts = key(Alerts, "Messages to people when something fails.")


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
    require_rollback_validation: bool = key(
        BOOLEAN,
        "Whether every migration needs a rollback script, and that a verdict in migration_verdicts.txt; see"
        " `wmigrate verify --write`.",
        False,
    )


class Validation(Section):
    """Rules for files and SQL. The plan reports a violation as a finding."""

    sql: SqlRules = key(SqlRules, "What migrations may contain.")
    files: FileRules = key(FileRules, "What files may look like.")
    migrations: MigrationRules = key(MigrationRules, "Rules for versions, dependencies and rollbacks.")


class MigrationSystem(Section):
    version: str = key(TEXT, "Version of the project's schema; kept in application_metadata.", "")
    description: str = key(TEXT, "What these migrations are for.", "")
    created: str = key(TEXT, "When the folder was created; free text.", "")
    last_updated: str = key(TEXT, "When the folder was last changed; free text.", "")


class Config(Section):
    """The whole file."""

    takes = a_mapping("of sections such as settings and migrations")

    migration_system: MigrationSystem = key(MigrationSystem, "Information about the project.")
    settings: Settings = key(Settings, "Settings for every environment.")
    blocks: tuple[MigrationBlock, ...] = key(
        a_list("mappings, one for each migration", MigrationBlock, null=True),
        "Settings of single migrations. A migration does not need a block.",
        (),
        written="migrations",
    )
    environments: dict[str, Settings] = key(
        a_mapping("from names of environments to settings", Settings),
        "Overrides of settings, by the name of the environment: any key of `settings`; the others stay as they are.",
        {},
    )
    validation: Validation = key(Validation, "Rules for files and SQL. The plan reports a violation as a finding.")
    monitoring: Monitoring = key(Monitoring, "Health, metrics and alerts.")

    file: str = CONFIG_FILE
    """Name of the file, for messages."""
    lines: Mapping[str, int] = MappingProxyType({})
    """Where each key was written. List positions count from 0: `migrations[0]`."""

    @property
    def migrations(self) -> Mapping[str, MigrationBlock]:
        """The blocks by version."""
        return {block.version: block for block in self.blocks}

    def settings_for(self, environment: str | None) -> Settings:
        """The settings with the overrides of one environment; None: without any.

        :raises ConfigError: no such environment is declared.
        """
        if environment is None:
            return self.settings
        if environment not in self.environments:
            raise self._unknown_environment(environment)
        return overridden(self.settings, self.environments[environment])

    def _unknown_environment(self, name: str) -> ConfigError:
        known = f"known: {', '.join(self.environments)}" if self.environments else "none is declared"
        return ConfigError(
            self.file,
            self.lines.get("environments"),
            "environments",
            f"there is no environment {name} ({known})",
            suggestion=nearest(name, self.environments),
        )
