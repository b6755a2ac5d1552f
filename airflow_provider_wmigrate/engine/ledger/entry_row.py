"""The row of an entry: what is stored of an applied migration, and what the audit log says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Literal

from airflow_provider_wmigrate.engine.model import CHECKSUM_ALGORITHM, Identity, Migration

from .storable import storable, storable_data, stored_script


def entry_values(
    migration: Migration,
    identity: Identity,
    encoding: str,
    *,
    duration_ms: int,
    statements: int,
    status: Literal["applied", "incomplete"] = "applied",
    statement_hashes: Sequence[str] = (),
) -> dict[str, Any]:
    """The columns of an entry but `applied_at`: applied, or begun, with none of its statements done.

    :param encoding: the database's.
    """
    rollback = migration.rollback
    return {
        "version": migration.version,
        "name": storable(migration.name, encoding),
        "status": status,
        "direction": "apply",
        "checksum": migration.script.checksum,
        "checksum_algorithm": CHECKSUM_ALGORITHM,
        "dependencies": list(migration.dependencies),
        "rollback_sql": stored_script(rollback.text, encoding) if rollback else None,
        "rollback_checksum": rollback.checksum if rollback else None,
        "duration_ms": duration_ms,
        "statements_done": statements if status == "applied" else 0,
        "statements_total": statements,
        "statement_hashes": list(statement_hashes),
        **stored_identity(identity, encoding),
    }


@lru_cache(maxsize=16)
def stored_identity(identity: Identity, encoding: str) -> Mapping[str, Any]:
    """The columns that say who, in both tables."""
    columns: Mapping[str, Any] = storable_data(identity.columns(), encoding)
    return columns


FACTS = (
    "name", "status", "direction", "checksum", "checksum_algorithm", "dependencies", "rollback_checksum",
    "duration_ms", "actor", "dag_id", "run_id", "task_id", "try_number",
)  # fmt: skip
"""What the log keeps of an entry beside `applied_at`, and compares with it; not the journal, which changes with every
statement."""

ENTRY_FACTS = (
    "pg_catalog.jsonb_build_object('applied_at', pg_catalog.timezone('UTC', applied_at), "
    + ", ".join(f"'{name}', {name}" for name in FACTS)
    + ")"
)
"""The same, asked of the table."""


def entry_facts(values: Mapping[str, Any], applied_at: datetime) -> dict[str, Any]:
    """What `ENTRY_FACTS` would answer of these values."""
    at = applied_at.astimezone(timezone.utc).replace(tzinfo=None).isoformat()
    at = at.rstrip("0") if "." in at else at  # as the server writes fractions
    return {**{name: values[name] for name in FACTS}, "applied_at": at}
