"""The whole of migration_config.yaml as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from airflow_provider_wmigrate.engine.errors import ConfigError, nearest
from airflow_provider_wmigrate.engine.model import Finding

from .kinds import TEXT, a_list, a_mapping
from .migrations import MigrationBlock
from .monitoring import Monitoring
from .section import Section, key, overridden
from .settings import Backup, Settings
from .validation import Validation

CONFIG_FILE = "migration_config.yaml"

PLANNED = {"settings.backup": "backup"}
"""The part of the format whose effect is not built yet; using it is a finding, so that nobody relies on it. Dotted key,
as the docs write it -> what will give it its effect."""


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

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The keys that are used and have no effect yet."""
        levels = {"settings": self.settings, **{f"environments.{n}": s for n, s in self.environments.items()}}
        found = (self._planned(level, settings.backup) for level, settings in levels.items())
        return tuple(sorted(filter(None, found), key=lambda finding: finding.line or 0))

    def _planned(self, level: str, backup: Backup) -> Finding | None:
        """That a backup is asked for at this level. A default asks for nothing."""
        used = {k: v for k, v in backup.as_dict().items() if k in backup.given and v != Backup.keys[k].default}
        if not used:
            return None
        # Only true and false are told with their keys: another value may be a password.
        words = [f"{k}: {str(v).lower()}" if isinstance(v, bool) else k for k, v in used.items()]
        return Finding(
            "planned_key",
            f"{level}.backup has no effect yet ({', '.join(words)}): backups are not built yet",
            "remove it and make the backup yourself: none would be made",
            file=self.file,
            line=min((line for k in used if (line := self.lines.get(f"{level}.backup.{k}"))), default=None),
        )

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
