"""Which connections of Airflow mean the same database."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_wmigrate.engine.usage import Grade

    from .python import SureOf


def same_database(conn_id: str) -> SureOf:
    """How sure it is that what uses a connection uses the database of this one, by what Airflow knows of both."""

    @cache
    def sure(other: str | None) -> Grade | None:
        if other == conn_id:
            return "certain"
        if other is None or "{{" in other:
            return "likely"
        mine, theirs = _place(conn_id), _place(other)
        if mine is None or theirs is None:
            return "perhaps"
        if mine == theirs:
            return "certain"
        return "perhaps" if mine[-1] == theirs[-1] else None

    return sure


def _place(conn_id: str) -> tuple[str, int, str] | None:
    """Host, port and database. None: Airflow does not say, or it is no PostgreSQL."""
    from airflow.sdk import BaseHook

    try:
        found = BaseHook.get_connection(conn_id)
    except Exception:
        return None
    return found.host or "localhost", found.port or 5432, found.schema or found.login or ""
