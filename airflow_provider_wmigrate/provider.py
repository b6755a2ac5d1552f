"""What Airflow is told about this provider. Standard library only: every airflow process reads it."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata, in the form of Airflow's provider_info.schema.json."""
    integration = "wmigrate"
    root = "airflow_provider_wmigrate"
    return {
        "package-name": "airflow-provider-wmigrate",
        "name": integration,
        "description": "PostgreSQL and TimescaleDB schema migrations as Airflow tasks",
        "integrations": [
            {
                "integration-name": integration,
                "external-doc-url": "https://www.postgresql.org/docs/current/ddl.html",
                "tags": ["software"],
            }
        ],
        "operators": [{"integration-name": integration, "python-modules": [f"{root}.operators"]}],
        "sensors": [{"integration-name": integration, "python-modules": [f"{root}.sensors"]}],
        "hooks": [{"integration-name": integration, "python-modules": [f"{root}.hooks"]}],
        "triggers": [{"integration-name": integration, "python-modules": [f"{root}.triggers"]}],
        "cli": [f"{root}.cli.airflow_commands.get_cli_commands"],
    }
