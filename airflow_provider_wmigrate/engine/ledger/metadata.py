"""What application_metadata holds."""

from __future__ import annotations

from airflow_provider_wmigrate.engine.folder.folder import Folder

from .trail import HEAD

DESCRIPTIONS = {
    "ledger_version": "Version of the ledger's own tables",
    HEAD: "Number of rows in audit_log and the hash of the last one",
    "schema_version": "Highest version that is applied",
    "application_version": "migration_system.version of the last successful run",
    "application_description": "migration_system.description of the last successful run",
    "folder_created": "migration_system.created of the last successful run",
    "folder_last_updated": "migration_system.last_updated of the last successful run",
    "last_successful_run": "When a run last ended with nothing failed",
}


def system_values(folder: Folder) -> dict[str, str]:
    """What migration_system says, under the names application_metadata keeps it by."""
    system = folder.config.migration_system
    values = {
        "application_version": system.version,
        "application_description": system.description,
        "folder_created": system.created,
        "folder_last_updated": system.last_updated,
    }
    return {key: value for key, value in values.items() if value}
