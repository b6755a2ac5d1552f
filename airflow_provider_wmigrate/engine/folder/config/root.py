"""The whole of migration_config.yaml as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, PrivateAttr

from airflow_provider_wmigrate.engine.errors import ConfigError, nearest
from airflow_provider_wmigrate.engine.model import Finding

from .kinds import Text, a_list, a_mapping
from .migrations import MigrationBlock
from .monitoring import Monitoring
from .planned import planned_findings
from .section import Section, overridden
from .settings import Settings
from .validation import Validation
from .yaml_lines import Document, dotted

CONFIG_FILE = "migration_config.yaml"


class MigrationSystem(Section):
    """What the project says about itself."""

    version: Text = Field(default="", description="Version of the project's schema; kept in application_metadata.")
    description: Text = Field(default="", description="What these migrations are for.")
    created: Text = Field(default="", description="When the folder was begun; free text.")
    last_updated: Text = Field(default="", description="When the folder was last changed; free text.")


class Config(Section):
    """The whole file."""

    kind = a_mapping("of sections such as settings and migrations")

    migration_system: MigrationSystem = Field(
        default_factory=MigrationSystem, description="What the project says about itself."
    )
    settings: Settings = Field(default_factory=Settings, description="Settings of every environment.")
    blocks: Annotated[tuple[MigrationBlock, ...], a_list("mappings, one for each migration", null=True)] = Field(
        default=(),
        alias="migrations",
        description="What is to be said about single migrations; one without a block is fine.",
    )
    environments: Annotated[dict[str, Settings], a_mapping("from names of environments to settings")] = Field(
        default_factory=dict,
        description="Overrides by the name of the environment: any key of the settings, and only those written count.",
    )
    validation: Validation = Field(default_factory=Validation, description="Rules for files and SQL.")
    monitoring: Monitoring = Field(default_factory=Monitoring, description="Health, metrics and alerts.")
    _file: str = PrivateAttr(CONFIG_FILE)
    _lines: dict[str, int] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any, /) -> None:
        """Take the lines from the document, given as the context: they are no part of the format."""
        if isinstance(context, Document):
            self._file = context.file
            self._lines = {dotted(path): line for path, line in context.lines.items()}
            for number, block in enumerate(self.blocks):
                block._line = self.line_of(f"migrations[{number}]")

    @property
    def file(self) -> str:
        """Name of the file, for messages."""
        return self._file

    def line_of(self, dotted_key: str) -> int | None:
        """Line at which a key was written; None: it was not. List positions count from 0: `migrations[0]`."""
        return self._lines.get(dotted_key)

    @property
    def migrations(self) -> Mapping[str, MigrationBlock]:
        """The blocks by version."""
        return {block.version: block for block in self.blocks}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The keys that are used and have no effect yet."""
        return planned_findings(self, self._file, self.line_of)

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
            self._file,
            self.line_of("environments"),
            "environments",
            f"there is no environment {name} ({known})",
            suggestion=nearest(name, self.environments),
        )
