"""migration_config.yaml -> frozen values. Every key is known and has a meaning; every mistake has its line.

`Config` and the classes above it are the format: `describe()` lists them for the docs. YAML's own traps are
dealt with in yaml_lines.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from .errors import ConfigError, nearest
from .model import Finding, LatePolicy, OnFailure, Severity, Transactional, canonical_version
from .yaml_lines import (
    BOOLEAN,
    Document,
    Kind,
    Path,
    Problem,
    Refused,
    Scalar,
    a_list,
    boolean,
    choice,
    decimal,
    dotted,
    listing,
    matching,
    problem,
    read_yaml,
    shown,
    text_kind,
    whole,
)

CONFIG_FILE = "migration_config.yaml"

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

_LONGEST = 2_147_483
"""Seconds: what fits PostgreSQL's timeouts, which are milliseconds in 32 bits."""


# Planned keys


class Planned(NamedTuple):
    """A part of the format whose effect is not built yet. Using it says so, so that nobody relies on it."""

    topic: str
    severity: Severity
    next_step: str
    defaults_count: bool = True
    """Whether a key written with its default value counts as used."""


_NOTHING_READS_IT = "leave it out, or keep it knowing that nothing reads it yet"

PLANNED: dict[str, Planned] = {
    "settings.backup": Planned(
        "backup", "error", "remove it and make the backup yourself: none would be made", defaults_count=False
    ),
    "settings.database": Planned("command line", "warning", _NOTHING_READS_IT),
    "monitoring": Planned("health, metrics and alerts", "warning", _NOTHING_READS_IT),
}
"""Dotted key -> what is planned. The list shrinks with every issue; `settings` covers `environments` too."""


# Kinds of value


def _template(says: str, accepts: str = "") -> Kind:
    """A text in which ${NAME} and ${NAME:default} stand for variables; checked with their defaults."""

    def read(scalar: Scalar) -> str:
        if reason := _malformed(scalar.text):
            raise Refused(reason)
        known, unset = _expand(scalar.text, {})
        if accepts and known and unset is None and not _accepted(known, accepts):
            raise Refused
        return scalar.text

    return Kind(says, read, SSL_MODES if accepts == "ssl_mode" else ())


def _accepted(text: str, what: str) -> bool:
    if what == "port":
        return bool(re.fullmatch("[0-9]{1,5}", text)) and 0 < int(text) < 65536
    return text in SSL_MODES


def _version(scalar: Scalar) -> str:
    """From the written digits, quoted or not: a version is a name, and `010` is not eight."""
    if not re.fullmatch("[0-9]{1,18}", scalar.text) or not int(scalar.text):
        raise Refused
    return canonical_version(int(scalar.text))


def _transactional(scalar: Scalar) -> Transactional:
    if scalar.text == "auto":
        return "auto"
    return boolean(scalar) is True


def _schema(scalar: Scalar) -> str:
    name = scalar.text
    if name.startswith("pg_") or name == "information_schema":
        raise Refused(f"{name} belongs to PostgreSQL; choose another schema")
    if not re.fullmatch("[a-z_][a-z0-9_]*", name) or len(name) > 63:
        raise Refused
    return name


Bool = Annotated[bool, BOOLEAN]
Text = Annotated[str, text_kind()]
Version = Annotated[str, Kind("the number of a migration, such as 001", _version)]
WholeSeconds = Annotated[int, whole("seconds", most=_LONGEST)]
Seconds = Annotated[float, decimal("seconds", least=0.001, most=_LONGEST)]
FailOrSkip = Annotated[Literal["fail", "skip"], choice("fail", "skip")]
Template = Annotated[str | None, _template("text")]

_PORT_WORDS = "a port number from 1 to 65535"
_OR_VARIABLE = " (or ${NAME:default})"
_EXTENSION = matching("the name of an extension", "[A-Za-z_][A-Za-z0-9_-]{0,62}")
_EXTENSIONS = a_list("file extensions such as [.sql]")
_TRANSACTIONAL = Kind("auto, true or false", _transactional, ("auto", "true", "false"))
_LEVELS = choice("DEBUG", "INFO", "WARNING", "ERROR", ignore_case=True)


# The format


class Section(BaseModel):
    """A mapping with known keys. An empty one (`settings:` and nothing below) means the defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    short_form: ClassVar[Kind | None] = None
    """What may be written in place of the mapping."""

    @model_validator(mode="before")
    @classmethod
    def _mapping(cls, value: Any) -> Any:
        if isinstance(value, Scalar) and value.is_null:
            return {}
        if isinstance(value, (Scalar, tuple)):
            raise problem(f"must be a mapping of keys, not {shown(value)}")
        return value


class MigrationSystem(Section):
    """What the project says about itself."""

    version: Text = Field(default="", description="Version of the project's schema; kept in application_metadata.")
    description: Text = Field(default="", description="What these migrations are for.")
    created: Text = Field(default="", description="When the folder was begun; free text.")
    last_updated: Text = Field(default="", description="When the folder was last changed; free text.")


class Place(NamedTuple):
    """Where a value was written."""

    file: str
    line: int | None
    key: str


class Database(Section):
    """Where the command line connects to. Airflow uses connections and never reads this."""

    host: Template = Field(default=None, description="Host name, address or socket directory.")
    port: Annotated[str | None, _template(_PORT_WORDS + _OR_VARIABLE, "port")] = Field(
        default=None, description="Port of the server."
    )
    name: Template = Field(default=None, description="Name of the database.")
    user: Template = Field(default=None, description="Role to log in as.")
    password: Template = Field(
        default=None, repr=False, description="Password; write ${NAME} and keep the value out of the file."
    )
    ssl_mode: Annotated[str | None, _template(listing(SSL_MODES) + _OR_VARIABLE, "ssl_mode")] = Field(
        default=None, description="libpq's sslmode."
    )
    _places: dict[str, Place] = PrivateAttr(default_factory=dict)


class Execution(Section):
    """How migrations are run."""

    timeout_seconds: WholeSeconds = Field(default=300, description="Total budget of one migration.")
    retry_attempts: Annotated[int, whole("retries", least=0, most=100)] = Field(
        default=3, description="How often a failure that may heal by itself is tried again."
    )
    retry_delay_seconds: Annotated[int, whole("seconds", least=0, most=_LONGEST)] = Field(
        default=5, description="Wait before a retry."
    )
    dry_run_enabled: Bool = Field(default=True, description="Whether dry runs are allowed.")
    rollback_enabled: Bool = Field(default=True, description="Whether rollback scripts may be run.")
    statement_timeout_seconds: Annotated[float | None, decimal("seconds", least=0.001, most=_LONGEST, null=True)] = (
        Field(default=None, description="Budget of one statement; null: only the total counts.")
    )
    lock_timeout_seconds: Seconds = Field(default=5, description="How long a statement waits for a lock on a table.")
    lock_wait_seconds: Seconds = Field(default=60, description="How long to wait for another runner of migrations.")
    late_migrations: Annotated[LatePolicy, choice("apply", "warn", "error")] = Field(
        default="apply",
        description="What to do with a pending migration whose number is below an applied one's.",
    )
    on_failure: Annotated[OnFailure, choice("rollback", "none")] = Field(
        default="rollback",
        description="Whether a failure that left something behind runs the rollback script.",
    )
    when_extension_missing: FailOrSkip = Field(
        default="fail",
        description="What to do when the server cannot have an extension that a migration requires.",
    )


class Logging(Section):
    """What the task log and the command line tell."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], _LEVELS] = Field(
        default="INFO", description="Least severity that is told; case does not matter."
    )
    format: Annotated[Literal["text", "json"], choice("text", "json")] = Field(
        default="text", description="Lines for people or one JSON object per line."
    )
    include_sql: Bool = Field(default=True, description="Whether the scripts about to run are shown.")
    include_timing: Bool = Field(default=True, description="Whether durations are shown.")


class Backup(Section):
    """A backup before migrating."""

    enabled: Bool = Field(default=False, description="Whether backups are made.")
    backup_before_migration: Bool = Field(default=True, description="Whether one is made before migrations run.")
    backup_retention_days: Annotated[int, whole("days", most=36_500)] = Field(
        default=30, description="Days after which a backup may be deleted."
    )
    backup_location: Text = Field(default="", description="Where backups are kept.")


class Ledger(Section):
    """Where the target database remembers."""

    schema_name: Annotated[
        str, Kind("a schema name of at most 63 lower-case letters, digits and underscores", _schema)
    ] = Field(default="wmigrate", alias="schema", description="Schema of the ledger's tables.")


class Environment(Section):
    """Overrides of the settings where wmigrate runs under this name. Only the keys written here count."""

    database: Database = Field(default_factory=Database, description="Overrides of settings.database.")
    execution: Execution = Field(default_factory=Execution, description="Overrides of settings.execution.")
    logging: Logging = Field(default_factory=Logging, description="Overrides of settings.logging.")
    backup: Backup = Field(default_factory=Backup, description="Overrides of settings.backup.")
    ledger: Ledger = Field(default_factory=Ledger, description="Overrides of settings.ledger.")


class Settings(Section):
    """What may differ between environments."""

    database: Database = Field(default_factory=Database, description="Where the command line connects to.")
    execution: Execution = Field(default_factory=Execution, description="How migrations are run.")
    logging: Logging = Field(default_factory=Logging, description="What is told.")
    backup: Backup = Field(default_factory=Backup, description="A backup before migrating.")
    ledger: Ledger = Field(default_factory=Ledger, description="Where the target database remembers.")


class Directions(Section):
    """Whether a script runs in one transaction, for each direction."""

    short_form = _TRANSACTIONAL

    apply: Annotated[Transactional, _TRANSACTIONAL] = Field(default="auto", description="The migration's script.")
    rollback: Annotated[Transactional, _TRANSACTIONAL] = Field(default="auto", description="The rollback script.")

    @model_validator(mode="before")
    @classmethod
    def _both(cls, value: Any) -> Any:
        return {"apply": value, "rollback": value} if isinstance(value, Scalar) else value


class RequiresExtension(Section):
    """An extension a migration needs; its bare name is enough."""

    short_form = _EXTENSION

    name: Annotated[str, _EXTENSION] = Field(description="Name of the extension.")
    when_missing: FailOrSkip | None = Field(
        default=None,
        description="When it cannot be had; absent: settings.execution.when_extension_missing.",
    )

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, Scalar) else value


class MigrationBlock(Section):
    """What the config says about one migration. Whether the file exists is the folder's business."""

    version: Version = Field(description="The migration's number.")
    filename: Annotated[str, matching("a file name without a folder", r"[^/\\]+")] | None = Field(
        default=None, description="The file, as a safeguard: its number must be the version."
    )
    description: Text = Field(default="", description="What the migration does.")
    dependencies: Annotated[tuple[Version, ...] | None, a_list("versions such as [001, 002]")] = Field(
        default=None, description="Migrations that must be applied before; absent: the one before; []: none."
    )
    rollback_supported: Bool | None = Field(
        default=None,
        description="Whether there is a rollback script; a contradiction to the folder is a finding.",
    )
    estimated_duration_seconds: Seconds | None = Field(default=None, description="How long applying it should take.")
    transactional: Directions = Field(
        default_factory=Directions,
        description="Whether a script runs in one transaction; auto: found out from the script.",
    )
    timeout_seconds: WholeSeconds | None = Field(
        default=None,
        description="Total budget of this migration; absent: settings.execution.timeout_seconds.",
    )
    on_failure: Annotated[OnFailure, choice("rollback", "none")] | None = Field(
        default=None, description="Policy of this migration; absent: settings.execution.on_failure."
    )
    requires_extensions: Annotated[
        tuple[RequiresExtension, ...], a_list("names such as [timescaledb], or of mappings")
    ] = Field(default=(), description="PostgreSQL extensions the server must be able to have.")
    _line: int | None = PrivateAttr(None)

    @property
    def line(self) -> int | None:
        """Line of the block in the config file."""
        return self._line


class SqlRules(Section):
    """What migrations may contain. Rollback scripts may always do what undoing needs."""

    allow_ddl: Bool = Field(default=True, description="Whether migrations may define objects (CREATE, ALTER, ...).")
    allow_dml: Bool = Field(
        default=True, description="Whether migrations may change rows (INSERT, UPDATE, DELETE, ...)."
    )
    allow_drop: Bool = Field(default=True, description="Whether migrations may drop objects.")
    require_transaction: Bool = Field(default=False, description="Whether every migration must run in one transaction.")


class FileRules(Section):
    """What files may look like."""

    require_version_prefix: Bool = Field(default=True, description="Whether a SQL file without a number is an error.")
    require_description: Bool = Field(default=False, description="Whether every migration needs a description.")
    max_file_size_mb: Annotated[float, decimal("megabytes", least=0.001, most=10_000)] = Field(
        default=100, description="Largest file that is read."
    )
    allowed_extensions: Annotated[
        tuple[Annotated[str, matching("a file extension such as .sql", r"\.[A-Za-z0-9.]*[A-Za-z0-9]")], ...],
        _EXTENSIONS,
    ] = Field(default=(".sql",), description="Extensions a migration's file may have.")

    @field_validator("allowed_extensions")
    @classmethod
    def _at_least_one(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise problem("must name at least one extension, or no migration could be found")
        return value


class MigrationRules(Section):
    """What the history must look like."""

    require_unique_versions: Bool = Field(default=True, description="Always true: the ledger is keyed by version.")
    require_sequential_versions: Bool = Field(default=False, description="Whether a gap between versions is an error.")
    require_dependency_validation: Bool = Field(default=True, description="Always true: the order is made from them.")
    require_rollback_validation: Bool = Field(
        default=False, description="Whether every migration needs a rollback script."
    )

    @field_validator("require_unique_versions")
    @classmethod
    def _unique(cls, value: bool) -> bool:
        if not value:
            raise problem("cannot be false: the ledger is keyed by version and cannot hold one twice")
        return value

    @field_validator("require_dependency_validation")
    @classmethod
    def _validated(cls, value: bool) -> bool:
        if not value:
            raise problem("cannot be false: dependencies decide the order and are always validated")
        return value


class Validation(Section):
    """Rules whose violations are findings at plan time."""

    sql: SqlRules = Field(default_factory=SqlRules, description="What migrations may contain.")
    files: FileRules = Field(default_factory=FileRules, description="What files may look like.")
    migrations: MigrationRules = Field(default_factory=MigrationRules, description="What the history must look like.")


class HealthCheck(Section):
    """A periodic look at the target."""

    enabled: Bool = Field(default=True, description="Whether the target is looked at.")
    interval_seconds: WholeSeconds = Field(default=300, description="Time between two looks.")
    timeout_seconds: WholeSeconds = Field(default=30, description="Time after which a look has failed.")


class Metrics(Section):
    """Numbers for a monitoring system."""

    enabled: Bool = Field(default=True, description="Whether metrics are sent.")
    collect_timing: Bool = Field(default=True, description="Whether durations are sent.")
    collect_success_rate: Bool = Field(default=True, description="Whether successes and failures are counted.")
    collect_error_details: Bool = Field(default=True, description="Whether failures are counted by kind.")


class Alerts(Section):
    """What a person is told about at once."""

    enabled: Bool = Field(default=True, description="Whether alerts are raised.")
    migration_failure: Bool = Field(default=True, description="Alert when a migration fails.")
    migration_timeout: Bool = Field(default=True, description="Alert when a budget runs out.")
    database_connection_failure: Bool = Field(default=True, description="Alert when the target cannot be reached.")
    rollback_failure: Bool = Field(default=True, description="Alert when a rollback fails.")


class Monitoring(Section):
    """Health, metrics and alerts."""

    health_check: HealthCheck = Field(default_factory=HealthCheck, description="A periodic look at the target.")
    metrics: Metrics = Field(default_factory=Metrics, description="Numbers for a monitoring system.")
    alerts: Alerts = Field(default_factory=Alerts, description="What a person is told about at once.")


class Config(Section):
    """The whole file."""

    migration_system: MigrationSystem = Field(
        default_factory=MigrationSystem, description="What the project says about itself."
    )
    settings: Settings = Field(default_factory=Settings, description="Settings of every environment.")
    blocks: Annotated[tuple[MigrationBlock, ...], a_list("mappings, one for each migration")] = Field(
        default=(),
        alias="migrations",
        description="What is to be said about single migrations; one without a block is fine.",
    )
    environments: dict[str, Environment] = Field(
        default_factory=dict, description="Overrides of the settings, by the name of the environment."
    )
    validation: Validation = Field(default_factory=Validation, description="Rules for files and SQL.")
    monitoring: Monitoring = Field(default_factory=Monitoring, description="Health, metrics and alerts.")
    _file: str = PrivateAttr(CONFIG_FILE)
    _lines: dict[str, int] = PrivateAttr(default_factory=dict)
    _by_version: dict[str, MigrationBlock] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any, /) -> None:
        self._by_version = {block.version: block for block in self.blocks}

    @field_validator("blocks", "environments", mode="before")
    @classmethod
    def _may_be_empty(cls, value: Any, info: Any) -> Any:
        if isinstance(value, Scalar) and value.is_null:
            return () if info.field_name == "blocks" else {}
        if info.field_name == "environments" and not isinstance(value, dict):
            raise problem(f"must be a mapping from names of environments to settings, not {shown(value)}")
        return value

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
        return self._by_version

    def settings_for(self, environment: str | None) -> Settings:
        """The settings with the overrides of one environment; None: without any."""
        if environment is None:
            return self.settings
        if environment not in self.environments:
            raise self._unknown_environment(environment)
        return _with_overrides(self.settings, self.environments[environment])

    def _unknown_environment(self, name: str) -> ConfigError:
        known = f"known: {', '.join(self.environments)}" if self.environments else "none is declared"
        return ConfigError(
            self._file,
            self.line_of("environments"),
            "environments",
            f"there is no environment {name} ({known})",
            suggestion=nearest(name, self.environments),
        )

    @property
    def findings(self) -> tuple[Finding, ...]:
        """One per section of which keys are used that have no effect yet, in the order of the file."""
        found = [
            finding
            for prefix, planned in PLANNED.items()
            for path in _places_of(prefix, self)
            if (finding := self._planned_finding(path, planned)) is not None
        ]
        return tuple(sorted(found, key=lambda finding: finding.line or 0))

    def _planned_finding(self, path: Path, planned: Planned) -> Finding | None:
        section: Any = self
        for name in path:
            section = section[name] if isinstance(section, dict) else getattr(section, str(name))
        used = list(_used_keys(section, defaults_count=planned.defaults_count))
        if not used:
            return None
        return Finding(
            code="planned_key",
            message=f"{dotted(path)} has no effect yet ({_some(used)}): it will come with the {planned.topic}",
            next_step=planned.next_step,
            severity=planned.severity,
            file=self._file,
            line=min(filter(None, (self.line_of(f"{dotted(path)}.{key}") for key in used)), default=None),
        )


# Reading


def load_config(folder: FilePath) -> Config:
    """The config of a folder of migrations. Without a file everything has its default."""
    path = folder / CONFIG_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            raise ConfigError(CONFIG_FILE, None, "", "is a link to a file that does not exist") from None
        if (other := path.with_suffix(".yml")).exists():
            reason = f"would not be read; rename it to {CONFIG_FILE}"
            raise ConfigError(other.name, None, "", reason) from None
        return Config()
    except OSError as e:
        raise ConfigError(CONFIG_FILE, None, "", f"cannot be read: {e.strerror}") from e
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        reason = f"is not UTF-8 (byte 0x{data[e.start]:02x}); save the file as UTF-8"
        raise ConfigError(CONFIG_FILE, line, "", reason) from None
    return parse_config(text)


def parse_config(text: str, file: str = CONFIG_FILE) -> Config:
    """The config written in a text; the first mistake by line is raised, with the number of the others."""
    document = read_yaml(text, file)
    root = {} if document.root is None or _is_null(document.root) else document.root
    if not isinstance(root, dict):
        reason = f"must be a mapping of sections such as settings and migrations, not {shown(root)}"
        raise ConfigError(file, document.lines.get(()), "", reason)
    try:
        config = Config.model_validate(root)
    except ValidationError as e:
        errors = e.errors(include_url=False, include_input=False)
        raise _first(file, document.problems + [_problem(dict(error), document) for error in errors]) from None
    _remember_places(config, document, file)
    if problems := document.problems + list(_contradictions(config, document)):
        raise _first(file, problems)
    return config


def _is_null(value: object) -> bool:
    return isinstance(value, Scalar) and value.is_null


def _first(file: str, problems: list[Problem]) -> ConfigError:
    distinct = sorted({(p.line, p.key): p for p in reversed(problems)}.values(), key=lambda p: p.line or 0)
    first, more = distinct[0], len(distinct) - 1
    reason = first.reason + (f" (and {more} more)" if more else "")
    return ConfigError(file, first.line, first.key, reason, suggestion=first.suggestion)


def _remember_places(config: Config, document: Document, file: str) -> None:
    """Lines are no part of the format, so they travel beside the fields."""
    config._file = file
    config._lines = {dotted(path): line for path, line in document.lines.items()}
    for number, block in enumerate(config.blocks):
        block._line = document.lines.get(("migrations", number))
    holders: dict[str, Settings | Environment] = {"settings": config.settings}
    holders.update((f"environments.{name}", environment) for name, environment in config.environments.items())
    for prefix, holder in holders.items():
        keys = {name: f"{prefix}.database.{name}" for name in Database.model_fields}
        holder.database._places = {
            name: Place(file, config.line_of(key), key) for name, key in keys.items() if config.line_of(key)
        }


def _problem(error: dict[str, Any], document: Document) -> Problem:
    """One complaint of pydantic in our words, at the line of the key it is about."""
    path: Path = error["loc"]
    line = document.nearest_line(path)
    if error["type"] == "missing":
        return Problem(line, dotted(path), "is missing; it is required")
    if error["type"] == "extra_forbidden":
        return _unknown_key(path, line)
    while path and path not in document.lines:
        path = path[:-1]
    context = error.get("ctx", {})
    return Problem(line, dotted(path), context.get("reason", error["msg"]), context.get("suggestion"))


def _unknown_key(path: Path, line: int | None) -> Problem:
    """The nearest key of the same section, or the place where a key of this very name belongs."""
    word, section = str(path[-1]), _section_at(path[:-1])
    if section is Environment and word == "settings":
        reason = "is not written here: below an environment leave the settings level out"
        return Problem(line, dotted(path), reason)
    known = [_alias(name, info) for name, info in section.model_fields.items()]
    elsewhere = [d.key for d in describe() if d.key.endswith("." + word) and not d.key.startswith("environments.")]
    meant = nearest(word, known) or (elsewhere[0] if len(elsewhere) == 1 else None)
    reason = "is not a known key" + ("" if meant else f" (known here: {', '.join(known)})")
    return Problem(line, dotted(path), reason, meant)


def _section_at(path: Path) -> type[Section]:
    section: type[Section] = Config
    steps = iter(path)
    for step in steps:
        info = next(info for name, info in section.model_fields.items() if _alias(name, info) == step)
        inner, shape = _inner(info)
        if inner is None:
            break
        if shape:
            next(steps)  # the name of the environment, the position in the list
        section = inner
    return section


def _alias(name: str, info: FieldInfo) -> str:
    return info.alias or name


def _inner(info: FieldInfo) -> tuple[type[Section] | None, str]:
    """The section a field holds, if it does, and how docs write many of them."""
    annotation = info.annotation
    shape = {tuple: "[]", dict: ".<name>"}.get(get_origin(annotation), "")  # type: ignore[arg-type]
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate, shape
    return None, ""


# Contradictions between keys


def _contradictions(config: Config, document: Document) -> Iterator[Problem]:
    """What is wrong although each key by itself is right."""
    first_lines: dict[str, int | None] = {}
    for number, block in enumerate(config.blocks):
        key = f"migrations[{number}]"
        if block.version in first_lines:
            reason = f"{block.version} already has a block, at line {first_lines[block.version]}"
            yield Problem(config.line_of(f"{key}.version"), f"{key}.version", reason)
        first_lines.setdefault(block.version, block.line)
        for name, reason in _block_contradictions(block):
            yield Problem(config.line_of(f"{key}.{name}"), f"{key}.{name}", reason)
    yield from _budget_problems(config, ("settings",), config.settings)
    for name in config.environments:
        yield from _budget_problems(config, ("environments", name), config.settings_for(name))


def _block_contradictions(block: MigrationBlock) -> Iterator[tuple[str, str]]:
    """Key and reason."""
    if block.filename is not None:
        digits = re.match("[0-9]*", block.filename).group()  # type: ignore[union-attr]
        if not digits or canonical_version(int(digits[:18])) != block.version:
            yield (
                "filename",
                f"{block.filename} does not begin with the version of its block, {block.version}",
            )
        elif block.filename.endswith(".rollback.sql"):
            yield "filename", f"{block.filename} is a rollback script; write the migration's own file"
    if block.on_failure == "rollback" and block.rollback_supported is False:
        yield "on_failure", "cannot be rollback where rollback_supported is false"


def _budget_problems(config: Config, level: Path, settings: Settings) -> Iterator[Problem]:
    """A statement's budget above the total would never be reached. Told where one of the two was written."""
    total, statement = settings.execution.timeout_seconds, settings.execution.statement_timeout_seconds
    if statement is None or statement <= total:
        return
    reasons = {
        "statement_timeout_seconds": f"is {statement:g}, more than the {total} of timeout_seconds for all",
        "timeout_seconds": f"is {total}, less than the {statement:g} of statement_timeout_seconds",
    }
    for name, reason in reasons.items():
        key = dotted((*level, "execution", name))
        if (line := config.line_of(key)) is not None:
            yield Problem(line, key, reason)
            return


# Environments and planned keys

_S = TypeVar("_S", bound=Section)


def _with_overrides(settings: Settings, environment: Environment) -> Settings:
    parts = {
        name: _overridden(getattr(settings, name), getattr(environment, name)) for name in environment.model_fields_set
    }
    return settings.model_copy(update=parts)


def _overridden(section: _S, over: _S) -> _S:
    merged = section.model_copy(update={name: getattr(over, name) for name in over.model_fields_set})
    if isinstance(section, Database) and isinstance(over, Database) and isinstance(merged, Database):
        merged._places = section._places | over._places
    return merged


def _places_of(prefix: str, config: Config) -> Iterator[Path]:
    """Where a planned section can be written: at its own place and in every environment."""
    path = tuple(prefix.split("."))
    yield path
    if path[0] == "settings":
        yield from (("environments", name, *path[1:]) for name in config.environments)


def _used_keys(section: Section, *, defaults_count: bool) -> Iterator[str]:
    """Keys written in this section and below."""
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if name not in section.model_fields_set:
            continue
        if isinstance(value, Section):
            yield from (f"{_alias(name, info)}.{key}" for key in _used_keys(value, defaults_count=defaults_count))
        elif defaults_count or value != info.get_default(call_default_factory=True):
            yield _alias(name, info)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")


# Variables in settings.database

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class ResolvedDatabase:
    """settings.database with the variables filled in. None: left to libpq."""

    host: str | None = None
    port: int | None = None
    name: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ssl_mode: str | None = None

    def parameters(self) -> dict[str, str | int]:
        """What was given, under libpq's names, for psycopg.connect. Holds the password: never log it."""
        given = {
            "host": self.host,
            "port": self.port,
            "dbname": self.name,
            "user": self.user,
            "password": self.password,
            "sslmode": self.ssl_mode,
        }
        return {name: value for name, value in given.items() if value is not None}


def resolve_database(database: Database, environ: Mapping[str, str]) -> ResolvedDatabase:
    """Fill in ${NAME} and ${NAME:default}. An empty variable counts as unset where there is a default."""
    values = {name: _resolved(database, name, environ) for name in Database.model_fields}
    port = values.pop("port")
    return ResolvedDatabase(port=None if port is None else int(port), **values)


def _resolved(database: Database, name: str, environ: Mapping[str, str]) -> str | None:
    template = getattr(database, name)
    if template is None:
        return None
    value, unset = _expand(template, environ)
    place = database._places.get(name, Place(CONFIG_FILE, None, f"settings.database.{name}"))
    if unset is not None:
        reason = f"needs the environment variable {unset}, which is not set and has no default here"
        raise ConfigError(*place, reason)
    if value and name in ("port", "ssl_mode") and not _accepted(value, name):
        wanted = _PORT_WORDS if name == "port" else listing(SSL_MODES)
        raise ConfigError(*place, f"must be {wanted}, not {value}")
    return value or None


def _expand(template: str, environ: Mapping[str, str]) -> tuple[str, str | None]:
    """The text with its variables filled in, and the first variable that has neither value nor default."""
    unset: list[str] = []

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        if default is not None:
            return environ.get(name) or default
        if name not in environ:
            unset.append(name)
        return environ.get(name, "")

    return _VARIABLE.sub(value, template), unset[0] if unset else None


def _malformed(template: str) -> str | None:
    """Why a template cannot be read. Its text is not repeated: it may hold a password."""
    if "${" in _VARIABLE.sub("", template):
        return "has a ${ that does not read ${NAME} or ${NAME:default}"
    if any((match.group(2) or "").startswith("-") for match in _VARIABLE.finditer(template)):
        return "has a default that begins with a dash; write ${NAME:default}, not ${NAME:-default}"
    return None


# The format as a list


@dataclass(frozen=True, slots=True)
class KeyDescription:
    """One key of the format, for the docs."""

    key: str
    type: str
    default: str
    """As YAML; "required", or empty where the key is a mapping or absence has a meaning of its own."""
    meaning: str


def describe() -> tuple[KeyDescription, ...]:
    """Every key of the format in the order of the classes, sections before their keys."""
    return tuple(_described(Config, ""))


def _described(section: type[Section], prefix: str) -> Iterator[KeyDescription]:
    for name, info in section.model_fields.items():
        key, meaning = prefix + _alias(name, info), info.description or ""
        inner, shape = _inner(info)
        if inner is None:
            yield KeyDescription(key, _kind_of(info).says, _default(info), meaning)
            continue
        yield KeyDescription(key, _type_of_section(info, inner, shape), "", meaning)
        if section is not Environment:
            yield from _described(inner, f"{key}{shape}.")


def _type_of_section(info: FieldInfo, inner: type[Section], shape: str) -> str:
    if shape == "[]":
        return _kind_of(info).says
    if shape:
        return "mappings by name"
    return f"{inner.short_form.says}, or a mapping" if inner.short_form else "a mapping"


def _kind_of(info: FieldInfo) -> Kind:
    """The kind in `Annotated[..., kind]`, and in `Annotated[..., kind] | None`."""
    annotations = (
        *info.metadata,
        *(m for arg in get_args(info.annotation) for m in getattr(arg, "__metadata__", ())),
    )
    return next(kind for kind in annotations if isinstance(kind, Kind))


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return value if isinstance(value, str) and value else repr(value).replace("'", '"')
