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

    at = BaseHook.get_connection(conn_id)
    found = named(relations, host=at.host, port=at.port, database=at.schema)
    return OperatorLineage(outputs=[Dataset(namespace=namespace, name=name) for namespace, name in found])


def named(
    relations: Iterable[str], *, host: str | None, port: int | None, database: str | None
) -> list[tuple[str, str]]:
    """Each relation once, by namespace and name; what a connection leaves out is as libpq has it."""
    namespace = f"postgres://{host or 'localhost'}:{port or 5432}"
    return [(namespace, f"{database or 'postgres'}.{relation}") for relation in dict.fromkeys(relations)]
