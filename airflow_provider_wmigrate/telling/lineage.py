"""What a migration touched, for OpenLineage, where that provider is installed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def facets(relations: Iterable[str] | None, *, conn_id: str) -> Any:
    """An OperatorLineage whose outputs are the relations that migrations locked; None without the provider.

    A relation is named `database.schema.relation` in the namespace `postgres://host:port`, as OpenLineage asks.
    """
    try:
        from airflow.providers.common.compat.openlineage.facet import Dataset
        from airflow.providers.openlineage.extractors import OperatorLineage
    except ImportError:
        return None
    if relations is None:
        return OperatorLineage()
    from airflow.sdk import BaseHook

    connection = BaseHook.get_connection(conn_id)
    namespace = f"postgres://{connection.host or 'localhost'}:{connection.port or 5432}"
    names = [f"{connection.schema or 'postgres'}.{relation}" for relation in dict.fromkeys(relations)]
    return OperatorLineage(outputs=[Dataset(namespace=namespace, name=name) for name in names])
