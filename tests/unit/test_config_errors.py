"""What a wrong migration_config.yaml is told: one line with file, line, key, reason and the word that was meant."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from airflow_provider_wmigrate.engine.errors import ConfigError
from airflow_provider_wmigrate.engine.folder.config.reading import look_at_config, parse_config
from airflow_provider_wmigrate.engine.folder.config.root import CONFIG_FILE, Config
from airflow_provider_wmigrate.engine.model import ConfigFinding

EXECUTION = "settings:\n  execution:\n    "
BLOCK = "migrations:\n  - version: 002\n    "
DATABASE = "settings:\n  database:\n    "

BOOLEAN = "3: settings.execution.dry_run_enabled: must be true or false, not "

KEYS = [
    *[
        (EXECUTION + f"dry_run_enabled: {word}", f"{BOOLEAN}{word}{meant}")
        for word, meant in {
            "yes": "; did you mean true?",
            "On": "; did you mean true?",
            "no": "; did you mean false?",
            "OFF": "; did you mean false?",
            "tru": "; did you mean true?",
            "fals": "; did you mean false?",
            "maybe": "",
        }.items()
    ],
    (
        EXECUTION + "timeout_secnds: 3",
        "3: settings.execution.timeout_secnds: is not a known key; did you mean timeout_seconds?",
    ),
    (
        "settings:\n  ledger:\n    zzz: x",
        "3: settings.ledger.zzz: is not a known key (known here: schema)",
    ),
    ("setings: {}", "1: setings: is not a known key; did you mean settings?"),
    (
        "settings:\n  retry_attempts: 3",
        "2: settings.retry_attempts: is not a known key; did you mean settings.execution.retry_attempts?",
    ),
    (
        "settings:\n  ledger:\n    schema_name: x",
        "3: settings.ledger.schema_name: is not a known key; did you mean schema?",
    ),
    (BLOCK + "depends: [001]", "3: migrations[0].depends: is not a known key; did you mean dependencies?"),
    (
        BLOCK + "line: 7",
        "3: migrations[0].line: is not a known key (known here: version, filename, origin, description, "
        "dependencies, rollback_supported, estimated_duration_seconds, transactional, repeatable, timeout_seconds, "
        "lock_timeout_seconds, lock_attempts, max_bystander_wait_seconds, lock_first, keep, locks, squashes,"
        " on_failure, backup, requires_extensions)",
    ),
    (
        "environments:\n  production:\n    settings:\n      execution: {}",
        "3: environments.production.settings: is not written here: below an environment leave the settings level out",
    ),
    (
        "environments:\n  settings:\n    backup:\n      settings: 3",
        "4: environments.settings.backup.settings: is not a known key (known here: enabled, backup_before_migration, "
        "backup_before_rollback, backup_scope, backup_jobs, backup_retention_days, backup_location, snapshot_command)",
    ),
    (
        "environments:\n  production:\n    execution:\n      timeout: 3",
        "4: environments.production.execution.timeout: is not a known key; did you mean timeout_seconds?",
    ),
    ("migrations:\n  - description: x", "2: migrations[0].version: is missing; it is required"),
    (
        BLOCK + "requires_extensions: [{when_missing: skip}]",
        "3: migrations[0].requires_extensions[0].name: is missing; it is required",
    ),
    (
        "settings:\n  logging: {}\n  logging: {level: INFO}",
        "3: settings.logging: appears twice; it is already at line 2",
    ),
]

VALUES = [
    (
        EXECUTION + "timeout_seconds: -5",
        "3: settings.execution.timeout_seconds: must be a whole number of seconds greater than 0, not -5",
    ),
    (
        EXECUTION + "timeout_seconds: 0",
        "3: settings.execution.timeout_seconds: must be a whole number of seconds greater than 0, not 0",
    ),
    (
        EXECUTION + 'timeout_seconds: "300"',
        '3: settings.execution.timeout_seconds: must be a whole number of seconds greater than 0, not "300" in quotes',
    ),
    (
        EXECUTION + "timeout_seconds: 1:30",
        "3: settings.execution.timeout_seconds: must be a whole number of seconds greater than 0, not 1:30",
    ),
    (
        EXECUTION + "timeout_seconds: 2.5",
        "3: settings.execution.timeout_seconds: must be a whole number of seconds greater than 0, not 2.5",
    ),
    (
        EXECUTION + "timeout_seconds:",
        "3: settings.execution.timeout_seconds: has no value; it must be a whole number of seconds greater than 0",
    ),
    (
        EXECUTION + "timeout_seconds: [300]",
        "3: settings.execution.timeout_seconds: must be a whole number of seconds greater than 0, not a list",
    ),
    (
        EXECUTION + "timeout_seconds: 99999999",
        "3: settings.execution.timeout_seconds: must be at most 2147483 seconds, not 99999999",
    ),
    (
        EXECUTION + "retry_attempts: three",
        "3: settings.execution.retry_attempts: must be a whole number of retries, 0 or more, not three",
    ),
    (
        EXECUTION + "lock_timeout_seconds: 0",
        "3: settings.execution.lock_timeout_seconds: must be a number of seconds, at least 0.001, not 0",
    ),
    (
        EXECUTION + "lock_timeout_seconds: .inf",
        "3: settings.execution.lock_timeout_seconds: must be a number of seconds, at least 0.001, not .inf",
    ),
    (
        EXECUTION + "dry_run_enabled: yes",
        "3: settings.execution.dry_run_enabled: must be true or false, not yes; did you mean true?",
    ),
    (
        EXECUTION + "dry_run_enabled: off",
        "3: settings.execution.dry_run_enabled: must be true or false, not off; did you mean false?",
    ),
    (
        EXECUTION + 'dry_run_enabled: "true"',
        '3: settings.execution.dry_run_enabled: must be true or false, not "true" in quotes; did you mean true?',
    ),
    (
        EXECUTION + "late_migrations: warning",
        "3: settings.execution.late_migrations: must be apply, warn or error, not warning; did you mean warn?",
    ),
    (
        EXECUTION + "on_failure: null",
        "3: settings.execution.on_failure: has no value; it must be rollback or none",
    ),
    (
        "settings: {logging: {level: verbose}}",
        "1: settings.logging.level: must be DEBUG, INFO, WARNING or ERROR, not verbose",
    ),
    (
        "settings: {ledger: {schema: pg_mine}}",
        "1: settings.ledger.schema: pg_mine belongs to PostgreSQL; choose another schema",
    ),
    (
        "settings: {ledger: {schema: information_schema}}",
        "1: settings.ledger.schema: information_schema belongs to PostgreSQL; choose another schema",
    ),
    (
        f"settings: {{ledger: {{schema: {'x' * 64}}}}}",
        "1: settings.ledger.schema: must be a schema name of at most 63 lower-case letters, digits and underscores, "
        f"not {'x' * 39}…",
    ),
    (
        "settings: {ledger: {schema: My-Schema}}",
        "1: settings.ledger.schema: must be a schema name of at most 63 lower-case letters, digits and underscores, "
        "not My-Schema",
    ),
    ("settings: [a]", "1: settings: must be a mapping of keys, not a list"),
    ("settings:\n  execution: fast", "2: settings.execution: must be a mapping of keys, not fast"),
    (
        "environments: [production]",
        "1: environments: must be a mapping from names of environments to settings, not a list",
    ),
    (
        "environments:\n  production: true",
        "2: environments.production: must be a mapping of keys, not true",
    ),
    (
        "migration_system:\n  description: [a, b]",
        "2: migration_system.description: must be text, not a list",
    ),
    (
        "validation:\n  migrations:\n    require_unique_versions: false",
        "3: validation.migrations.require_unique_versions: cannot be false: "
        "the ledger is keyed by version and cannot hold one twice",
    ),
    (
        "validation:\n  migrations:\n    require_dependency_validation: false",
        "3: validation.migrations.require_dependency_validation: cannot be false: "
        "dependencies decide the order and are always validated",
    ),
    (
        "validation:\n  files:\n    allowed_extensions: []",
        "3: validation.files.allowed_extensions: must name at least one extension, or no migration could be found",
    ),
    (
        "validation:\n  files:\n    allowed_extensions:\n      - .sql\n      - sql",
        "5: validation.files.allowed_extensions[1]: must be a file extension such as .sql, not sql",
    ),
]

MIGRATIONS = [
    (
        "migrations: {version: 001}",
        "1: migrations: must be a list of mappings, one for each migration, not a mapping",
    ),
    ("migrations:\n  - 001", "2: migrations[0]: must be a mapping of keys, not 001"),
    (
        "migrations:\n  - version: 1.0",
        "2: migrations[0].version: must be the number of a migration, such as 001, not 1.0",
    ),
    (
        f"migrations:\n  - version: {'9' * 251}",
        f"2: migrations[0].version: must be the number of a migration, such as 001, not {'9' * 39}…",
    ),
    (
        BLOCK + "dependencies: 001",
        "3: migrations[0].dependencies: must be a list of versions such as [001, 002], not 001",
    ),
    (
        BLOCK + "dependencies:",
        "3: migrations[0].dependencies: has no value; it must be a list of versions such as [001, 002]",
    ),
    (
        BLOCK + "dependencies:\n      - 001\n      - first",
        "5: migrations[0].dependencies[1]: must be the number of a migration, such as 001, not first",
    ),
    (
        BLOCK + "filename: 003_tables.sql",
        "3: migrations[0].filename: 003_tables.sql does not begin with the version of its block, 002",
    ),
    (
        BLOCK + "filename: tables.sql",
        "3: migrations[0].filename: tables.sql does not begin with the version of its block, 002",
    ),
    (
        BLOCK + "filename: 002_tables.rollback.sql",
        "3: migrations[0].filename: 002_tables.rollback.sql is a rollback script; write the migration's own file",
    ),
    (
        BLOCK + "filename: ../002_tables.sql",
        "3: migrations[0].filename: must be a file name without a folder, not ../002_tables.sql",
    ),
    (
        BLOCK + "transactional: maybe",
        "3: migrations[0].transactional: must be auto, true or false, not maybe",
    ),
    (
        BLOCK + "transactional: {apply: no}",
        "3: migrations[0].transactional.apply: must be auto, true or false, not no",
    ),
    (
        BLOCK + "requires_extensions: timescaledb",
        "3: migrations[0].requires_extensions: "
        "must be a list of names such as [timescaledb], or of mappings, not timescaledb",
    ),
    (
        BLOCK + "requires_extensions: [{name: timescaledb, when_missing: ignore}]",
        "3: migrations[0].requires_extensions[0].when_missing: must be fail or skip, not ignore",
    ),
    (
        BLOCK + "requires_extensions: [{name: timescaledb, min_version: latest}]",
        "3: migrations[0].requires_extensions[0].min_version: must be a version such as 2.13, not latest",
    ),
    (
        BLOCK + "requires_extensions: [{name: timescaledb, license: apache}]",
        "3: migrations[0].requires_extensions[0].license: must be timescale, not apache",
    ),
    (
        BLOCK + "requires_extensions:\n    - pg_trgm\n    - name: postgis\n      license: timescale",
        "6: migrations[0].requires_extensions[1].license: only timescaledb is known by its licence, not postgis",
    ),
    (
        BLOCK + "rollback_supported: false\n    on_failure: rollback",
        "4: migrations[0].on_failure: cannot be rollback where rollback_supported is false",
    ),
    (
        "migrations:\n  - version: 002\n\n  - version: '2'",
        "4: migrations[1].version: 002 already has a block, at line 2",
    ),
]

TOGETHER = [
    (
        EXECUTION + "timeout_seconds: 10\n    statement_timeout_seconds: 20",
        "4: settings.execution.statement_timeout_seconds: is 20, more than the 10 of timeout_seconds for all",
    ),
    (
        "settings:\n  backup:\n    backup_location: s3://u:hunter2@bucket/path",
        "3: settings.backup.backup_location: has a password in it, which the audit log would tell; name an Airflow"
        " connection (s3://CONNECTION@bucket), or set it in the environment",
    ),
    (
        EXECUTION + "statement_timeout_seconds: 200\nenvironments:\n  dev:\n    execution: {timeout_seconds: 60}",
        "6: environments.dev.execution.timeout_seconds: is 60, less than the 200 of statement_timeout_seconds",
    ),
    (
        EXECUTION + "timeout_seconds: soon\n    retry_attempts: -1\n    dry_run_enabled: 1",
        "3: settings.execution.timeout_seconds: must be a whole number of seconds greater than 0, not soon "
        "(and 2 more; `wmigrate check` shows all)",
    ),
    (
        "settings:\n  logging: {level: x}\n\n  logging: {level: y}",
        "2: settings.logging.level: must be DEBUG, INFO, WARNING or ERROR, not x"
        " (and 1 more; `wmigrate check` shows all)",
    ),
    (
        "validation: {sql: {allow_drop: 1}}\nsettings:\n  logging: {}\n  logging: {}",
        "1: validation.sql.allow_drop: must be true or false, not 1 (and 1 more; `wmigrate check` shows all)",
    ),
]

DATABASES = [
    (
        DATABASE + "port: 65536",
        "3: settings.database.port: must be a port number from 1 to 65535 (or ${NAME:default}), not 65536",
    ),
    (
        DATABASE + "port: 0",
        "3: settings.database.port: must be a port number from 1 to 65535 (or ${NAME:default}), not 0",
    ),
    (
        DATABASE + "port: 70000",
        "3: settings.database.port: must be a port number from 1 to 65535 (or ${NAME:default}), not 70000",
    ),
    (
        DATABASE + "port: ${DB_PORT:http}",
        "3: settings.database.port: must be a port number from 1 to 65535 (or ${NAME:default}), not ${DB_PORT:http}",
    ),
    (
        DATABASE + "ssl_mode: requir",
        "3: settings.database.ssl_mode: must be disable, allow, prefer, require, verify-ca or verify-full "
        "(or ${NAME:default}), not requir; did you mean require?",
    ),
    (
        DATABASE + "host: ${DB_HOST",
        "3: settings.database.host: has a ${ that does not read ${NAME} or ${NAME:default}; write $${ for ${ itself",
    ),
    (
        DATABASE + "host: ${DB_HOST:-localhost}",
        "3: settings.database.host: has a default that begins with a dash; write ${NAME:default}, not ${NAME:-default}",
    ),
    (
        DATABASE + "password:",
        "3: settings.database.password: has no value; it must be text (or ${NAME:default})",
    ),
]

YAML = [
    (
        "settings: {}\nx: 'one\ny: z\n  w: 'two\n# the end\n# really\n",
        "4: is not valid YAML: did not find expected key",
    ),
    (
        "x: [1, 2\ny: 3\nz: 4\n# the end\n",
        "2: is not valid YAML: did not find expected ',' or ']' while parsing a flow sequence",
    ),
    (
        'x: "one\n# the end\n',
        "1: is not valid YAML: found unexpected end of stream while scanning a quoted scalar",
    ),
    ("- a\n", "1: must be a mapping of sections such as settings and migrations, not a list"),
    ("just words", "1: must be a mapping of sections such as settings and migrations, not just words"),
    ("settings:\n\texecution: {}", "2: is indented with a tab; YAML wants spaces"),
    (
        "settings: {execution: {}\nmigrations: []\n",
        "1: is not valid YAML: did not find expected ',' or '}' while parsing a flow mapping",
    ),
    (
        "settings:\n  database:\n    name: 'x\n\n# the end\n",
        "3: is not valid YAML: found unexpected end of stream while scanning a quoted scalar",
    ),
    ("settings: a: b", "1: is not valid YAML: mapping values are not allowed in this context"),
    ("settings: {}\n---\nsettings: {}\n", "2: begins a second YAML document; there may be only one"),
    ("settings: {}\nx: a\x00b\n", "2: holds the character U+0000, which YAML does not allow"),
    (
        "a: &a [x]\nb: [*a, *a]\n",
        "1: a: has an anchor (&name), which is not supported; "
        "write the value out, in quotes if it begins with * & or ! (and 3 more; `wmigrate check` shows all)",
    ),
    (
        DATABASE + "password: *hunter2",
        "3: settings.database.password: is an alias (*name), which is not supported; "
        "write the value out, in quotes if it begins with * & or !",
    ),
    (
        DATABASE + "password: !hunter2",
        "3: settings.database.password: has a tag (!name), which is not supported; "
        "write the value out, in quotes if it begins with * & or !",
    ),
    ("settings: {[a]: b}", "1: settings: has a key that is not a plain word"),
    ("x: " + "[" * 5000, "1: x[0][0]: is nested more than 20 levels deep"),
]

ALL = KEYS + VALUES + MIGRATIONS + TOGETHER + DATABASES + YAML

# Every mistake of one file, each with its line

EVERY = [
    (
        "settings:\n  logging:\n    level: ${LEVEL}\nenvironments:\n  production:\n    logging: {level: WARNED}\n",
        [
            "3: settings.logging.level: needs the environment variable LEVEL, which is not set and has no default here",
            "6: environments.production.logging.level: must be DEBUG, INFO, WARNING or ERROR, not WARNED;"
            " did you mean WARNING?",
        ],
    ),
    (
        "setings: {}\nsettings:\n  ledger: {schema: A}\n  ledger: {}\n  loging: {}\n  backup: &x {}\n  execution: *x\n",
        [
            "1: setings: is not a known key; did you mean settings?",
            "3: settings.ledger.schema: must be a schema name of at most 63 lower-case letters, digits and underscores,"
            " not A",
            "4: settings.ledger: appears twice; it is already at line 3",
            "5: settings.loging: is not a known key; did you mean logging?",
            "6: settings.backup: has an anchor (&name), which is not supported; write the value out,"
            " in quotes if it begins with * & or !",
            "7: settings.execution: is an alias (*name), which is not supported; write the value out,"
            " in quotes if it begins with * & or !",
        ],
    ),
    (
        "migrations:\n- description: x\n- {version: 1}\n- {version: x}\n- {version: 1, filename: 002_a.sql}\n"
        "- version: 3\n  on_failure: rollback\n  rollback_supported: false\n  lock_attempts: 0\n",
        [
            "2: migrations[0].version: is missing; it is required",
            "4: migrations[2].version: must be the number of a migration, such as 001, not x",
            "5: migrations[3].version: 001 already has a block, at line 3",
            "5: migrations[3].filename: 002_a.sql does not begin with the version of its block, 001",
            "7: migrations[4].on_failure: cannot be rollback where rollback_supported is false",
            "9: migrations[4].lock_attempts: must be a whole number of attempts greater than 0, not 0",
        ],
    ),
    (
        "migrations:\n- version: 1\n  locks:\n    public.a: SHARE\n    b: SHARE\n    public.c: exclusiv\n"
        "- version: 2\n  transactional: false\n  lock_first: true\n- version: 3\n  lock_first: false\n"
        "  locks: {public.a: SHARE}\n- version: 4\n  locks: public.a\n",
        [
            "5: migrations[0].locks.b: is no table; write schema.table, as in SQL",
            "6: migrations[0].locks.public.c: must be ACCESS SHARE, ROW SHARE, ROW EXCLUSIVE, SHARE UPDATE EXCLUSIVE,"
            " SHARE, SHARE ROW EXCLUSIVE, EXCLUSIVE or ACCESS EXCLUSIVE, not exclusiv; did you mean EXCLUSIVE?",
            "12: migrations[2].locks: has no effect where lock_first is false",
            "14: migrations[3].locks: must be a mapping from tables to lock modes, such as public.orders: ACCESS"
            " EXCLUSIVE, not public.a",
        ],
    ),
    (
        "settings:\n  execution: {timeout_seconds: soon, statement_timeout_seconds: 400}\n  logging: {format: xml}\n",
        [
            "2: settings.execution.timeout_seconds: must be a whole number of seconds greater than 0, not soon",
            "3: settings.logging.format: must be text or json, not xml",
        ],
    ),
    (
        "settings:\n  execution: {statement_timeout_seconds: 400}\n  logging: {format: xml}\n",
        [
            "2: settings.execution.statement_timeout_seconds: is 400, more than the 300 of timeout_seconds for all",
            "3: settings.logging.format: must be text or json, not xml",
        ],
    ),
    (
        "migrations:\n- version: 1\n  transactional: maybe\n  requires_extensions: [{when_missing: skip}, {nme: x}]\n",
        [
            "3: migrations[0].transactional: must be auto, true or false, not maybe",
            "4: migrations[0].requires_extensions[0].name: is missing; it is required",
            "4: migrations[0].requires_extensions[1].name: is missing; it is required",
            "4: migrations[0].requires_extensions[1].nme: is not a known key; did you mean name?",
        ],
    ),
]


@pytest.mark.parametrize(("text", "told"), EVERY)
def test_every_mistake_is_told(text: str, told: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    error = caught.value
    said = [
        f"{f.line}: {f.message}" + ("" if f.next_step == "correct it" else f"; {f.next_step}") for f in error.findings
    ]
    assert said == told
    first = error.findings[0]
    assert isinstance(first, ConfigFinding)
    assert {f.file for f in error.findings} == {CONFIG_FILE}
    assert {(f.code, f.severity) for f in error.findings} == {("config_error", "error")}
    assert (error.line, error.key, error.reason) == (first.line, first.key, first.reason)
    assert f"(and {len(told) - 1} more; `wmigrate check` shows all)" in str(error)


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        ("settings: {execution: {timeout_seconds: x}}", True),
        ("settings: {logging: {level: x}, backup: {enabled: x}}", True),
        ("environments: {a: {execution: {timeout_seconds: x}}}", True),
        ("migrations: {}", True),
        ("migrations: [{version: x}]", True),
        ("validation: x", True),
        ("monitoring: {alerts: x}", True),
        ("migration_system: {x: y}", True),
        ("settings: {ledger: {schema: A}}", False),
        ("settings: {legder: {schema: a}}", False),
        ("settings: {database: {port: x}}", False),
        ("settings: x", False),
        ("setings: {}", False),
        ("environments: {a: {ledger: {schema: A}}}", False),
        ("environments: {a: x}", False),
        ("environments: x", False),
        ("x", False),
        ("settings: {execution: {timeout_seconds: x}, ledger: {schema: A}}", False),
        ("a: [", False),
    ],
)
def test_a_look_goes_on_where_it_cannot_go_astray(tmp_path: Path, text: str, looks: bool) -> None:
    """A mistake in what may have been meant for the ledger ends it: it would look into another one."""
    (tmp_path / CONFIG_FILE).write_text("# a comment\n" + text)
    if not looks:
        with pytest.raises(ConfigError):
            look_at_config(tmp_path)
        return
    config, found = look_at_config(tmp_path)
    assert config.settings == Config().settings
    assert found
    with pytest.raises(ConfigError) as caught:
        parse_config((tmp_path / CONFIG_FILE).read_text())
    assert list(caught.value.findings) == found


def test_what_is_right_beside_a_mistake_is_read(tmp_path: Path) -> None:
    text = (
        "settings: {execution: {retry_attempts: 9, lock_attempts: x}}\n"
        "migrations:\n- {version: x}\n- {version: 2, description: two, nme: x}\n- {version: 3}\n"
    )
    (tmp_path / CONFIG_FILE).write_text(text)
    config, found = look_at_config(tmp_path)
    assert [(f.line, f.key) for f in found] == [
        (1, "settings.execution.lock_attempts"), (3, "migrations[0].version"), (4, "migrations[1].nme"),
    ]  # fmt: skip
    execution = config.settings.execution
    assert (execution.retry_attempts, execution.lock_attempts) == (9, 6)
    assert {v: (b.line, b.description) for v, b in config.migrations.items()} == {"002": (4, "two"), "003": (5, "")}


@pytest.mark.parametrize(
    ("written", "read"), [("[sql, .SQL]", (".SQL",)), ("[sql]", (".sql",)), ("[sql, SQL]", (".sql",))]
)
def test_of_a_list_what_is_right_is_left_or_the_default(tmp_path: Path, written: str, read: tuple[str, ...]) -> None:
    (tmp_path / CONFIG_FILE).write_text(f"validation: {{files: {{allowed_extensions: {written}}}}}")
    config, found = look_at_config(tmp_path)
    assert config.validation.files.allowed_extensions == read
    assert found[0].reason == "must be a file extension such as .sql, not sql"


def test_without_a_file_there_is_nothing_wrong(tmp_path: Path) -> None:
    assert look_at_config(tmp_path) == (Config(), [])


@pytest.mark.parametrize(("text", "message"), ALL, ids=[message[:70] for _, message in ALL])
def test_a_wrong_config_is_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert str(caught.value) == f"migration_config.yaml:{message}"
    assert "\n" not in str(caught.value)
    assert caught.value.file == CONFIG_FILE
    assert caught.value.line == int(message.split(":")[0])


def test_another_file_name_is_told() -> None:
    with pytest.raises(ConfigError, match=r"^other\.yaml:1: a: is not a known key"):
        parse_config("a: 1", file="other.yaml")


@pytest.mark.parametrize(
    "written",
    ["[hunter2]", "{hunter2: x}", "'${hunter2'", "!hunter2 x", "*hunter2", "&hunter2 x", "${X:-hunter2}", "@hunter2"],
)
def test_no_error_repeats_a_password(written: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(DATABASE + f"password: {written}\n")
    assert caught.value.line == 3
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


# The file itself


def told(folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        look_at_config(folder)
    error = caught.value
    begins = error.file if error.line is None else f"{error.file}:{error.line}"
    assert str(error).startswith(f"{begins}: ")
    assert [(f.file, f.line, f.key) for f in error.findings] == [(error.file, error.line, "")]
    return str(error)


def test_not_utf8(tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).write_bytes("settings: {}\n# été\n".encode("latin-1"))
    assert told(tmp_path) == "migration_config.yaml:2: is not UTF-8 (byte 0xe9); save the file as UTF-8"


def test_not_utf8_from_the_second_line_on(tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).write_bytes(b"\n\xe9")
    assert told(tmp_path) == "migration_config.yaml:2: is not UTF-8 (byte 0xe9); save the file as UTF-8"


def test_utf16(tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).write_bytes("settings: {}".encode("utf-16"))
    assert told(tmp_path) == "migration_config.yaml:1: is not UTF-8 (byte 0xff); save the file as UTF-8"


def test_the_other_suffix_is_not_silently_ignored(tmp_path: Path) -> None:
    (tmp_path / "migration_config.yml").write_text("settings: {}")
    assert told(tmp_path) == "migration_config.yml: would not be read; rename it to migration_config.yaml"


@pytest.mark.parametrize("name", ["migrations_config.yaml", "Migration_Config.yaml", "migration-config.yml"])
def test_a_name_that_is_nearly_right_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("settings: {}")
    assert told(tmp_path) == f"{name}: would not be read; rename it to migration_config.yaml"


def test_a_second_config_beside_it_is_told(tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).write_text("settings: {}")
    (tmp_path / "migration_config.yml").write_text("settings: {}")
    assert told(tmp_path) == (
        "migration_config.yml: lies beside migration_config.yaml and is not read; delete one of them"
    )


def test_other_files_beside_it_are_left_alone(tmp_path: Path) -> None:
    for name in ("migration_config.example.yaml", "migration_config_dev.yaml", "values.yaml", "migration_config.md"):
        (tmp_path / name).write_text("x: [")
    assert look_at_config(tmp_path) == (Config(), [])


@pytest.mark.parametrize("url", ["postgresql://u:s3cret@h/d", "host=h password=s3cret", '"postgres://u:s3cret@h"'])
def test_a_connection_string_in_the_wrong_place_is_not_repeated(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(f"settings:\n  database: {url}\n")
    assert str(refused.value) == (
        "migration_config.yaml:2: settings.database: must be a mapping of keys, not a connection string"
    )


def test_a_directory_of_that_name(tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).mkdir()
    assert told(tmp_path) == "migration_config.yaml: cannot be read: Is a directory"


def test_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).symlink_to(tmp_path / "gone.yaml")
    assert told(tmp_path) == "migration_config.yaml: is a link to a file that does not exist"
