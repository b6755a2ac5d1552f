"""What a right migration_config.yaml means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_provider_wmigrate.engine.errors import ConfigError
from airflow_provider_wmigrate.engine.folder.config.database import resolve_database
from airflow_provider_wmigrate.engine.folder.config.migrations import RequiresExtension
from airflow_provider_wmigrate.engine.folder.config.reading import look_at_config, parse_config
from airflow_provider_wmigrate.engine.folder.config.reference import describe
from airflow_provider_wmigrate.engine.folder.config.root import CONFIG_FILE, Config
from airflow_provider_wmigrate.engine.folder.config.settings import Database, Execution, Settings
from airflow_provider_wmigrate.engine.folder.config.yaml_nodes import Scalar, shown

SHIPPED = Path(__file__).parents[2] / "migrations"


# Defaults


def test_a_folder_without_a_config_has_the_defaults(tmp_path: Path) -> None:
    config, found = look_at_config(tmp_path)
    assert (config, found) == (Config(), [])
    assert config.settings.execution.as_dict() == {
        "timeout_seconds": 300,
        "retry_attempts": 3,
        "retry_delay_seconds": 5,
        "dry_run_enabled": True,
        "rollback_enabled": True,
        "statement_timeout_seconds": None,
        "lock_timeout_seconds": 2,
        "lock_timeout_max_seconds": 30,
        "lock_attempts": 6,
        "lock_first": True,
        "concurrent_lock_timeout_seconds": 600,
        "lock_hold_warning_seconds": 5,
        "max_bystander_wait_seconds": None,
        "lock_wait_seconds": 60,
        "late_migrations": "apply",
        "on_failure": "rollback",
        "when_extension_missing": "fail",
    }
    assert config.settings.ledger.schema_name == "wmigrate"
    assert config.validation.files.allowed_extensions == (".sql",)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "~", "\ufeff", "settings:\nmigrations:\n"])
def test_nothing_written_means_the_defaults(text: str) -> None:
    config = parse_config(text)
    assert config.settings == Settings()
    assert config.migrations == {}


@pytest.mark.parametrize("section", ["migration_system", "settings", "migrations", "environments", "validation"])
def test_an_empty_section_means_the_defaults(section: str) -> None:
    config = parse_config(f"{section}:\n")
    assert config.as_dict() == Config().as_dict()


def test_a_default_passes_the_check_of_its_own_key() -> None:
    """The defaults, written into a file as the docs show them, are the defaults."""
    for key in describe():
        in_a_list = "[]" in key.key
        if key.key.startswith(("settings.", "validation.", "monitoring.")) and key.default and not in_a_list:
            *sections, name = key.key.split(".")
            text = "".join("  " * depth + f"{section}:\n" for depth, section in enumerate(sections))
            config = parse_config(f"{text}{'  ' * len(sections)}{name}: {key.default}\n")
            assert config.as_dict() == Config().as_dict(), key.key


# YAML's traps


def test_versions_are_names_and_never_octal() -> None:
    config = parse_config(
        "migrations:\n"
        "- version: 010\n"
        "  dependencies: [001, \"002\", 7, '0008']\n"
        '- {version: "011"}\n'
        "- {version: 0}\n"
        "- {version: 20240131093000, dependencies: [12345678901234567890]}\n"
        "- {version: 1000}\n"
    )
    assert list(config.migrations) == ["010", "011", "000", "20240131093000", "1000"]
    assert config.migrations["20240131093000"].dependencies == ("12345678901234567890",)
    assert config.migrations["010"].dependencies == ("001", "002", "007", "008")


def test_numbers_are_decimal() -> None:
    text = "settings: {execution: {timeout_seconds: 010, lock_timeout_seconds: .5, lock_wait_seconds: 1.25}}"
    execution = parse_config(text).settings.execution
    assert (execution.timeout_seconds, execution.lock_timeout_seconds, execution.lock_wait_seconds) == (10, 0.5, 1.25)


@pytest.mark.parametrize("word", ["true", "True", "TRUE", "false", "False", "FALSE"])
def test_true_and_false_are_written_as_yaml_has_them(word: str) -> None:
    text = f"settings: {{execution: {{dry_run_enabled: {word}}}, backup: {{enabled: {word}}}}}"
    settings = parse_config(text).settings
    assert (settings.execution.dry_run_enabled, settings.backup.enabled) == (word.lower() == "true",) * 2


@pytest.mark.parametrize("name", ["x" * 63, "_a", "a1_b", "pg", "information_schema_"])
def test_what_a_schema_may_be_called(name: str) -> None:
    assert parse_config(f"settings: {{ledger: {{schema: {name}}}}}").settings.ledger.schema_name == name


def test_texts_stay_as_they_are_written() -> None:
    system = parse_config(
        "migration_system:\n  version: 1.10\n  description: yes\n  created: 2026-01-31\n  last_updated: 12:30\n"
    ).migration_system
    assert (system.version, system.description) == ("1.10", "yes")
    assert (system.created, system.last_updated) == ("2026-01-31", "12:30")


def test_none_is_a_word() -> None:
    config = parse_config("migrations:\n- version: 001\n  on_failure: none\n")
    assert config.migrations["001"].on_failure == "none"


def test_the_level_may_be_written_in_any_case() -> None:
    assert parse_config("settings: {logging: {level: warning}}").settings.logging.level == "WARNING"


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).write_bytes(b"\xef\xbb\xbfsettings:\r\n  execution:\r\n    timeout_seconds: 9\r\n")
    config = look_at_config(tmp_path)[0]
    assert config.settings.execution.timeout_seconds == 9
    assert config.lines.get("settings.execution.timeout_seconds") == 3


@pytest.mark.parametrize("written", ["warn", "WARN", "Warn", '"WARN"'])
def test_warn_is_warning(written: str) -> None:
    assert parse_config(f"settings: {{logging: {{level: {written}}}}}").settings.logging.level == "WARNING"


# Variables

VARIABLES = """
migration_system: {version: "${V:1.10}", description: "costs $${5} and ${NOTHING:}"}
settings:
  execution: {timeout_seconds: "${T:7}", dry_run_enabled: "${D:false}", lock_timeout_seconds: "${L:0.5}"}
  logging: {level: "${MIGRATION_LOG_LEVEL:INFO}"}
  backup: {backup_location: "/${A}/${B:b}"}
  ledger: {schema: "${S:wm}_${T2:x}"}
environments:
  production: {logging: {level: "${MIGRATION_LOG_LEVEL:WARN}"}, execution: {statement_timeout_seconds: "${ST:null}"}}
migrations:
- version: ${FIRST:1}
  dependencies: ["${FIRST_NEEDS:0}"]
  transactional: ${TX:false}
  requires_extensions: ["${EXT:timescaledb}"]
validation: {files: {allowed_extensions: ["${E:.sql}"], max_file_size_mb: "${M:3}"}}
monitoring: {alerts: {enabled: "${AL:false}"}}
"""


def test_a_variable_may_stand_for_any_value() -> None:
    config = parse_config(VARIABLES, environ={"A": "a"})
    assert config.migration_system.version == "1.10"
    assert config.migration_system.description == "costs ${5} and"
    execution = config.settings.execution
    assert (execution.timeout_seconds, execution.dry_run_enabled, execution.lock_timeout_seconds) == (7, False, 0.5)
    assert (config.settings.logging.level, config.settings.backup.backup_location) == ("INFO", "/a/b")
    assert config.settings.ledger.schema_name == "wm_x"
    production = config.settings_for("production")
    assert (production.logging.level, production.execution.statement_timeout_seconds) == ("WARNING", None)
    (block,) = config.blocks
    assert (block.version, block.dependencies, block.transactional.apply) == ("001", ("000",), False)
    assert [e.name for e in block.requires_extensions] == ["timescaledb"]
    assert config.validation.files.allowed_extensions == (".sql",)
    assert (config.validation.files.max_file_size_mb, config.monitoring.alerts.enabled) == (3, False)


def test_the_values_are_those_that_are_handed_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The engine reads no environment."""
    monkeypatch.setenv("T", "99")
    environ = {"A": "x", "T": "11", "MIGRATION_LOG_LEVEL": "debug", "S": ""}
    assert parse_config(VARIABLES, environ={"A": ""}).settings.execution.timeout_seconds == 7
    (tmp_path / CONFIG_FILE).write_text(VARIABLES)
    config, found = look_at_config(tmp_path, environ)
    settings = config.settings
    assert found == []
    assert (settings.execution.timeout_seconds, settings.logging.level) == (11, "DEBUG")
    assert (settings.ledger.schema_name, settings.backup.backup_location) == ("wm_x", "/x/b")


def test_variables_of_the_database_are_not_needed_to_read_the_file() -> None:
    text = "settings: {database: {host: '${H}', port: '${P}'}}\nenvironments: {x: {database: {name: '${N}'}}}\n"
    config = parse_config(text)
    assert (config.settings.database.host, config.settings_for("x").database.name) == ("${H}", "${N}")
    assert resolve_database(config, {"H": "$${x", "P": "1", "N": "n"}, environment="x")["host"] == "$${x"
    assert resolve_database(with_database(password="a$${b"), {})["password"] == "a${b"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("settings:\n  execution: {timeout_seconds: '${T}'}", "2: settings.execution.timeout_seconds: needs the"
         " environment variable T, which is not set and has no default here"),
        ("migrations:\n- version: 1\n  dependencies: [\"${A}${B}\"]", "3: migrations[0].dependencies[0]: needs the"
         " environment variable A, which is not set and has no default here"),
        ("settings:\n  logging: {level: '${X:loud}'}", "2: settings.logging.level: must be DEBUG, INFO, WARNING or"
         " ERROR, not the value of ${X:loud}"),
        ("settings:\n  execution: {timeout_seconds: '${S}'}", "2: settings.execution.timeout_seconds: must be a whole"
         " number of seconds greater than 0, not the value of ${S}"),
        ("settings:\n  execution: {timeout_seconds: '${X:}'}", "2: settings.execution.timeout_seconds: must be a whole"
         " number of seconds greater than 0, not the value of ${X:}"),
        ("settings:\n  logging: {level: '${X:-INFO}'}", "2: settings.logging.level: has a default that begins with a"
         " dash; write ${NAME:default}, not ${NAME:-default}"),
        ("settings:\n  logging: {level: '${1}'}", "2: settings.logging.level: has a ${ that does not read ${NAME} or"
         " ${NAME:default}; write $${ for ${ itself"),
    ],
)  # fmt: skip
def test_a_variable_that_gives_no_value_is_told_with_its_line(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, environ={"S": "s3cret"})
    assert str(caught.value) == f"{CONFIG_FILE}:{says}"


ORIGINAL = """
migration_system: {version: "1.0.0", description: "Warehouse schema", created: "2025-01-01"}
settings:
  database:
    host: "${DB_HOST:localhost}"
    port: "${DB_PORT:5432}"
    name: "${DB_NAME:warehouse}"
    user: "${DB_USER:warehouse_user}"
    password: "${DB_PASSWORD:}"
    ssl_mode: "${DB_SSL_MODE:prefer}"
  execution: {timeout_seconds: 300, retry_attempts: 3, retry_delay_seconds: 5, dry_run_enabled: true}
  logging: {level: "${MIGRATION_LOG_LEVEL:INFO}", format: "json", include_sql: true, include_timing: true}
  backup: {enabled: false, backup_location: "${BACKUP_LOCATION:/backups}"}
environments:
  development: {logging: {level: "DEBUG"}}
  production: {logging: {level: "WARN"}, execution: {timeout_seconds: 600}}
"""


def test_the_original_format_loads_as_it_is() -> None:
    config = parse_config(ORIGINAL)
    assert config.settings.logging.level == "INFO"
    assert config.settings_for("production").logging.level == "WARNING"
    assert config.settings.backup.backup_location == "/backups"
    assert resolve_database(config, {}) == {
        "host": "localhost", "port": 5432, "dbname": "warehouse", "user": "warehouse_user", "sslmode": "prefer",
    }  # fmt: skip


# Migrations


def test_absent_and_empty_dependencies_differ() -> None:
    config = parse_config("migrations:\n- version: 001\n- version: 002\n  dependencies: []\n")
    assert config.migrations["001"].dependencies is None
    assert config.migrations["002"].dependencies == ()


@pytest.mark.parametrize(
    ("written", "apply", "rollback"),
    [
        ("auto", "auto", "auto"),
        ("true", True, True),
        ("false", False, False),
        ("{apply: false}", False, "auto"),
        ("{rollback: false}", "auto", False),
        ("{apply: false, rollback: true}", False, True),
    ],
)
def test_transactional_for_both_directions_or_each(written: str, apply: object, rollback: object) -> None:
    directions = (
        parse_config(f"migrations:\n- version: 001\n  transactional: {written}\n").migrations["001"].transactional
    )
    assert (directions.apply, directions.rollback) == (apply, rollback)


def test_a_block_is_taken_whole() -> None:
    (block,) = parse_config(
        "migrations:\n- version: 7\n  filename: 007_a.sql\n  origin: V7__a.sql\n  description: ' why '\n"
        "  dependencies: [1, 02]\n"
        "  rollback_supported: true\n  estimated_duration_seconds: 1.5\n  timeout_seconds: 60\n"
        "  lock_timeout_seconds: 0.5\n  lock_attempts: 1\n  max_bystander_wait_seconds: 2.5\n  on_failure: none\n"
        "  lock_first: true\n  backup: true\n  keep: true\n"
        '  locks: {public.orders: access  exclusive, \'"S p"."a.b"\': SHARE}\n'
    ).blocks
    assert block.as_dict() == {
        "version": "007",
        "filename": "007_a.sql",
        "origin": "V7__a.sql",
        "description": "why",
        "dependencies": ("001", "002"),
        "rollback_supported": True,
        "estimated_duration_seconds": 1.5,
        "transactional": {"apply": "auto", "rollback": "auto"},
        "repeatable": {"apply": False, "rollback": False},
        "timeout_seconds": 60,
        "lock_timeout_seconds": 0.5,
        "lock_attempts": 1,
        "max_bystander_wait_seconds": 2.5,
        "lock_first": True,
        "keep": True,
        "locks": {"public.orders": "ACCESS EXCLUSIVE", '"S p"."a.b"': "SHARE"},
        "squashes": {},
        "on_failure": "none",
        "backup": True,
        "requires_extensions": (),
    }
    (bare,) = parse_config("migrations:\n- version: 7\n").blocks
    assert bare.as_dict() == {
        **dict.fromkeys(block.as_dict()),
        "version": "007",
        "description": "",
        "transactional": {"apply": "auto", "rollback": "auto"},
        "repeatable": {"apply": False, "rollback": False},
        "keep": False,
        "locks": {},
        "squashes": {},
        "requires_extensions": (),
    }


def test_an_extension_is_a_name_or_a_mapping() -> None:
    text = "migrations:\n- version: 001\n  requires_extensions: [uuid-ossp, {name: timescaledb, when_missing: skip}]\n"
    required = parse_config(text).migrations["001"].requires_extensions
    assert [(e.name, e.when_missing) for e in required] == [("uuid-ossp", None), ("timescaledb", "skip")]


def test_a_version_of_an_extension_is_what_was_written() -> None:
    """2.10 is no number."""
    text = (
        "migrations: [{version: 1, requires_extensions: [{name: timescaledb, min_version: 2.10, license: timescale}]}]"
    )
    (required,) = parse_config(text).migrations["001"].requires_extensions
    assert (required.min_version, required.license) == ("2.10", "timescale")


def test_blocks_and_keys_know_their_lines() -> None:
    config = parse_config(
        "migrations:\n  - version: 001\n    description: a\n\n  -\n    description: b\n    version: 002\n"
    )
    assert [block.line for block in config.blocks] == [2, 6]
    assert config.lines.get("migrations") == 1
    assert config.lines.get("migrations[1].version") == 7
    assert config.lines.get("migrations[1].filename") is None


# Environments

LAYERED = """
settings:
  execution: {timeout_seconds: 100, retry_attempts: 7, statement_timeout_seconds: 100}
  ledger: {schema: base}
environments:
  development:
    execution: {retry_attempts: 0, statement_timeout_seconds: null}
    logging: {level: debug}
  staging:
  production:
    execution: {timeout_seconds: 300}
    ledger: {schema: prod}
"""

EVERY_SETTING = {
    "database": dict.fromkeys(["host", "name", "user", "password"], "x") | {"port": 1, "ssl_mode": "require"},
    "execution": {
        **dict.fromkeys(["timeout_seconds", "statement_timeout_seconds", "lock_timeout_seconds"], 9),
        "max_bystander_wait_seconds": 12,
        **dict.fromkeys(["lock_timeout_max_seconds", "concurrent_lock_timeout_seconds"], 11),
        **dict.fromkeys(["lock_attempts", "lock_hold_warning_seconds"], 8),
        **dict.fromkeys(["retry_attempts", "retry_delay_seconds", "lock_wait_seconds"], 7),
        **dict.fromkeys(["dry_run_enabled", "rollback_enabled", "lock_first"], "false"),
        "late_migrations": "warn",
        "on_failure": "none",
        "when_extension_missing": "skip",
    },
    "logging": {"level": "ERROR", "format": "json", "include_sql": "false", "include_timing": "false"},
    "backup": {
        "enabled": "true",
        "backup_before_migration": "false",
        "backup_before_rollback": "true",
        "backup_scope": "relations",
        "backup_jobs": 2,
        "backup_retention_days": 1,
        "backup_location": "/backups",
        "snapshot_command": "snap",
    },
    "ledger": {"schema": "other"},
    "guard": {"enabled": "true", "wait_seconds": 1, "hold_back_seconds": 2},
    "window": {
        "open": "[{days: [mon], from: 22:00, to: 5:00}]",
        "time_zone": "Europe/Berlin",
        "outside": "wait",
        "wait_seconds": 1,
    },
}


def test_an_environment_overrides_only_what_it_writes() -> None:
    config = parse_config(LAYERED)
    development = config.settings_for("development")
    assert development.execution == Execution(timeout_seconds=100, retry_attempts=0)
    assert (development.logging.level, development.ledger.schema_name) == ("DEBUG", "base")
    production = config.settings_for("production")
    assert (production.execution.timeout_seconds, production.execution.retry_attempts) == (300, 7)
    assert production.ledger.schema_name == "prod"


def test_without_an_environment_and_with_an_empty_one_the_settings_hold() -> None:
    config = parse_config(LAYERED)
    assert config.settings_for(None) == config.settings_for("staging") == config.settings
    assert config.settings.execution.retry_attempts == 7


def test_a_default_written_in_an_environment_is_an_override() -> None:
    text = "settings: {execution: {retry_attempts: 9}}\nenvironments: {x: {execution: {retry_attempts: 3}}}"
    assert parse_config(text).settings_for("x").execution.retry_attempts == 3


def test_an_unknown_environment_names_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(LAYERED).settings_for("prodution")
    assert str(caught.value) == (
        "migration_config.yaml:5: environments: there is no environment prodution "
        "(known: development, staging, production); did you mean production?"
    )
    with pytest.raises(ConfigError, match=r"^migration_config\.yaml: environments: .* x \(none is declared\)$"):
        Config().settings_for("x")


def test_an_environment_can_override_every_setting() -> None:
    written = "\n".join(
        f"    {section}: {{{', '.join(f'{key}: {value}' for key, value in keys.items())}}}"
        for section, keys in EVERY_SETTING.items()
    )
    settings = parse_config(f"settings:\n{written}").settings
    assert parse_config(f"environments:\n  x:\n{written}").settings_for("x") == settings
    keys = {f"settings.{section}.{key}" for section, keys in EVERY_SETTING.items() for key in keys}
    assert parse_config("settings: {drift: warn}\nenvironments: {x: {drift: error}}").settings_for("x").drift == "error"
    assert keys == {key.key for key in describe() if key.key.count(".") == 2 and key.key.startswith("settings.")}
    default = Settings().as_dict()
    for section, inner in settings.as_dict().items():
        if section in ("drift", "keep_days"):  # which are no sections
            continue
        assert all(value != default[section][name] for name, value in inner.items()), section


def test_a_section_takes_its_keys_and_no_others() -> None:
    with pytest.raises(TypeError, match=r"^Config: wibble$"):
        Config(wibble=1)
    with pytest.raises(TypeError, match=r"^RequiresExtension: name$"):
        RequiresExtension()


@pytest.mark.parametrize(
    ("text", "as_shown"), [("", "an empty value"), ("x" * 40, "x" * 40), ("x" * 41, "x" * 39 + "…"), (" a\nb", "a")]
)
def test_what_was_written_is_repeated_in_one_short_line(text: str, as_shown: str) -> None:
    assert shown(Scalar(text)) == as_shown


def test_how_yaml_spells_nothing() -> None:
    assert [text for text in ("", "~", "null", "Null", "NULL", "nULL") if not Scalar(text).is_null] == ["nULL"]
    assert not Scalar("null", plain=False).is_null


def test_values_are_frozen() -> None:
    with pytest.raises(AttributeError, match="frozen"):
        Config().settings.execution.timeout_seconds = 1


# settings.database

DATABASE = """
settings:
  database:
    host: ${DB_HOST:localhost}
    port: ${DB_PORT:5432}
    name: "warehouse_${DB_SUFFIX:}"
    user: ${DB_USER}
    password: ${DB_PASSWORD:hunter2}
    ssl_mode: require
environments:
  production:
    database: {host: "${PROD_HOST}"}
"""


def with_database(**texts: str) -> Config:
    return Config(settings=Settings(database=Database(**texts)))


@pytest.mark.parametrize("port", ["1", "65535"])
def test_ports_reach_from_1_to_65535(port: str) -> None:
    assert resolve_database(parse_config(f"settings: {{database: {{port: {port}}}}}"), {})["port"] == int(port)


def test_variables_and_their_defaults() -> None:
    config = parse_config(DATABASE)
    environ = {"DB_USER": "alice", "DB_PORT": "6543", "DB_HOST": ""}
    assert resolve_database(config, environ) == {
        "host": "localhost",
        "port": 6543,
        "dbname": "warehouse_",
        "user": "alice",
        "password": "hunter2",
        "sslmode": "require",
    }


def test_a_default_is_everything_after_the_first_colon_and_a_value_is_not_read_again() -> None:
    resolved = resolve_database(with_database(host="${H:a:b}", user="${U}"), {"U": "${HOME}"})
    assert (resolved["host"], resolved["user"]) == ("a:b", "${HOME}")


def test_what_is_not_given_is_left_to_libpq() -> None:
    assert resolve_database(Config(), os.environ) == {}
    assert resolve_database(with_database(password="${P:}", port="${Q:}"), {}) == {}


def test_an_unset_variable_is_named_where_it_is_used() -> None:
    config = parse_config(DATABASE)
    with pytest.raises(ConfigError) as caught:
        resolve_database(config, {})
    assert str(caught.value) == (
        "migration_config.yaml:7: settings.database.user: needs the environment variable DB_USER, "
        "which is not set and has no default here"
    )
    with pytest.raises(ConfigError) as caught:
        resolve_database(config, {"DB_USER": "alice"}, environment="production")
    assert (caught.value.line, caught.value.key) == (12, "environments.production.database.host")
    with pytest.raises(ConfigError) as caught:
        resolve_database(config, {"PROD_HOST": "db"}, environment="production")
    assert (caught.value.line, caught.value.key) == (7, "settings.database.user")


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"DB_PORT": "http"}, "must be a port number from 1 to 65535, not http"),
        ({"DB_PORT": "70000"}, "must be a port number from 1 to 65535, not 70000"),
    ],
)
def test_a_variable_is_checked_like_a_value(environ: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_database(parse_config(DATABASE), {"DB_USER": "alice", **environ})
    assert str(caught.value) == f"migration_config.yaml:5: settings.database.port: {reason}"


@pytest.mark.parametrize("port", ["${P}", "${P}x", "${P}99999", "${P:}", "${P:1}"])
def test_a_template_is_checked_as_far_as_it_is_known(port: str) -> None:
    assert parse_config(f"settings: {{database: {{port: {port!r}}}}}").settings.database.port == port


def test_a_variable_for_the_mode_is_one_of_libpqs() -> None:
    config = parse_config("settings: {database: {ssl_mode: '${MODE}'}}", file="other.yaml")
    assert resolve_database(config, {"MODE": "verify-full"}) == {"sslmode": "verify-full"}
    with pytest.raises(ConfigError) as caught:
        resolve_database(config, {"MODE": "on"})
    assert str(caught.value) == (
        "other.yaml:1: settings.database.ssl_mode: must be disable, allow, prefer, require, verify-ca or verify-full,"
        " not on"
    )
    assert (config.file, Config().file) == ("other.yaml", CONFIG_FILE)


def test_no_repr_shows_the_password() -> None:
    config = parse_config(DATABASE)
    assert resolve_database(config, {"DB_USER": "alice"})["password"] == "hunter2"
    assert "hunter2" not in f"{config!r} {config} {config.settings!r} {config.settings_for('production')!r}"


# Keys of migrations


@pytest.mark.parametrize(
    ("written", "apply", "rollback"),
    [
        ("", False, False),
        ("repeatable: true", True, True),
        ("repeatable: false", False, False),
        ("repeatable: {apply: true}", True, False),
        ("repeatable: {rollback: true}", False, True),
    ],
)
def test_repeatable_for_both_directions_or_each(written: str, apply: bool, rollback: bool) -> None:
    block = parse_config(f"migrations:\n- version: 001\n  {written}\n").migrations["001"]
    assert (block.repeatable.apply, block.repeatable.rollback) == (apply, rollback)
    assert (block.transactional.apply, block.transactional.rollback) == ("auto", "auto")


def test_what_a_key_takes() -> None:
    types = {described.key: described.type for described in describe()}
    assert {key: types[key] for key in ("settings", "migrations", "environments")} == {
        "settings": "a mapping",
        "migrations": "a list of mappings, one for each migration",
        "environments": "a mapping from names of environments to settings",
    }
    assert (types["migrations[].transactional"], types["migrations[].repeatable"]) == (
        "auto, true or false, or a mapping",
        "true or false, or a mapping",
    )


# The format as a list


def test_every_key_is_described() -> None:
    described = describe()
    assert len({key.key for key in described}) == len(described)
    assert [key.key for key in described if not key.meaning.endswith(".") or not key.type] == []
    by_key = {key.key: key for key in described}
    assert by_key["settings.execution.timeout_seconds"].default == "300"
    assert by_key["settings.execution.timeout_seconds"].type == "a whole number of seconds greater than 0"
    assert by_key["migrations[].version"].default == "required"
    assert by_key["migrations[].on_failure"].type == "rollback or none"
    assert by_key["settings.ledger.schema"].default == "wmigrate"


# The shipped config


def test_the_shipped_config_is_clean_and_fits_its_folder() -> None:
    config = look_at_config(SHIPPED)[0]
    files = {path.name for path in SHIPPED.glob("*.sql") if not path.name.endswith(".rollback.sql")}
    assert {block.filename for block in config.blocks} == files
    assert all((SHIPPED / str(b.filename).replace(".sql", ".rollback.sql")).exists() for b in config.blocks)
    assert config.migrations["001"].dependencies == ()
    assert config.migrations["002"].dependencies == ("001",)
    above = {version: block.dependencies for version, block in config.migrations.items() if version > "002"}
    assert above == {
        "003": ("002",),
        "004": ("002",),
        "005": ("002",),
        "006": ("004",),
        "007": ("002",),
        "008": ("006", "007"),
    }


@pytest.mark.parametrize(
    ("environment", "policy"), [("development", "skip"), ("staging", "fail"), ("production", "fail")]
)
def test_only_development_skips_a_missing_extension(environment: str, policy: str) -> None:
    assert look_at_config(SHIPPED)[0].settings_for(environment).execution.when_extension_missing == policy
