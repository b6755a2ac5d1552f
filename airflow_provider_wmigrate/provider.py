"""What Airflow is told about this provider. Standard library only: every airflow process reads it."""

from __future__ import annotations

from typing import Any

_NAME = "wmigrate"
_ROOT = "airflow_provider_wmigrate"


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata, in the form of Airflow's provider_info.schema.json."""
    return {
        "package-name": "airflow-provider-wmigrate",
        "name": _NAME,
        "description": "PostgreSQL and TimescaleDB schema migrations as Airflow tasks",
        "integrations": [
            {
                "integration-name": _NAME,
                "external-doc-url": "https://www.postgresql.org/docs/current/ddl.html",
                "tags": ["software"],
            }
        ],
        "operators": [_modules("operators", "run_ends", "health")],
        "sensors": [_modules("sensors")],
        "hooks": [_modules("hooks")],
        "triggers": [_modules("triggers")],
        "notifications": [f"{_ROOT}.notifications.MigrationNotifier"],
        "extra-links": [f"{_ROOT}.links.MigrationLink"],
        "connection-types": [_CONNECTION_TYPE],
        "config": {_NAME: _CONFIG},
        "cli": [f"{_ROOT}.cli.airflow_commands.get_cli_commands"],
    }


def _modules(*names: str) -> dict[str, str | list[str]]:
    return {"integration-name": _NAME, "python-modules": [f"{_ROOT}.{name}" for name in names]}


_CONNECTION_TYPE = {
    "connection-type": _NAME,
    "hook-name": "PostgreSQL target (wmigrate)",
    "hook-class-name": f"{_ROOT}.hooks.MigrationHook",
    "ui-field-behaviour": {
        "hidden-fields": [],
        "relabeling": {"schema": "Database", "login": "User", "extra": "More parameters of libpq"},
        "placeholders": {"host": "db.example.org", "port": "5432", "schema": "warehouse"},
    },
    "conn-fields": {
        "sslmode": {
            "label": "TLS",
            "description": "libpq's sslmode; only verify-full makes sure that it is the right server",
            "schema": {
                "type": ["string", "null"],
                "enum": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
                "default": "prefer",
            },
        },
        "sslrootcert": {
            "label": "File of certificate authorities",
            "description": "libpq's sslrootcert: a path on the workers, or system; for verify-ca and verify-full",
            "schema": {"type": ["string", "null"]},
        },
        "connect_timeout": {
            "label": "Seconds to connect",
            "description": "libpq's connect_timeout; 0 waits as long as the operating system does",
            "schema": {"type": ["integer", "null"], "minimum": 0, "default": 10},
        },
    },
}
"""The form of a connection. A connection of type `postgres` works as well."""

_CONFIG = {
    "description": "What wmigrate does where a DAG does not say it",
    "options": {
        "conn_id": {
            "description": "Connection of the target for task groups, sensors and health tasks that are given none, "
            "and for airflow wmigrate without --conn-id. Empty: it has to be given.",
            "version_added": "0.1.0",
            "type": "string",
            "example": "warehouse_db",
            "default": "",
        },
        "environment": {
            "description": "Environment of migration_config.yaml where neither the DAG nor the run names one. "
            "Empty: the settings without an environment.",
            "version_added": "0.1.0",
            "type": "string",
            "example": "production",
            "default": "",
        },
        "page": {
            "description": "Whether Airflow shows the page Migrations in its navigation and on each DAG. "
            "The REST API is there in any case.",
            "version_added": "0.1.0",
            "type": "boolean",
            "example": None,
            "default": "True",
        },
    },
}
"""The section `[wmigrate]` of Airflow's configuration; what reads it is in `defaults.py`."""
