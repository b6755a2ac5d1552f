"""What a migration touched, for OpenLineage, where that provider is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.record import Record


def facets(record: Record | None, *, conn_id: str) -> Any:
    """An OperatorLineage whose outputs are the relations a migration locked; None without the provider.

    A relation is named `database.schema.relation` in the namespace `postgres://host:port`, as OpenLineage asks.
    """
    try:
        from airflow.providers.common.compat.openlineage.facet import Dataset
        from airflow.providers.openlineage.extractors import OperatorLineage
    except ImportError:
        return None
    if record is None:
        return OperatorLineage()
    from airflow.sdk import BaseHook

    connection = BaseHook.get_connection(conn_id)
    namespace = f"postgres://{connection.host or 'localhost'}:{connection.port or 5432}"
    names = [f"{connection.schema or 'postgres'}.{lock.relation}" for lock in record.locks]
    return OperatorLineage(outputs=[Dataset(namespace=namespace, name=name) for name in names])
