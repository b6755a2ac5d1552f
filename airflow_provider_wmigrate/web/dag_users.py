"""Which tasks use what a plan takes away: those of the serialized DAGs that the caller may read, as they are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_wmigrate.dag_sql.connections import same_database
from airflow_provider_wmigrate.engine.foreseen import Forecast

if TYPE_CHECKING:
    from .group_view import GroupView


def with_tasks(view: GroupView, forecast: Sequence[Forecast]) -> list[Forecast]:
    """The forecast of the last plan, which had no way to Airflow's own database, with what that says."""
    conn_id = view.target.conn_id
    if not any(one.blast for one in forecast) or conn_id is None:
        return [*forecast]
    from airflow.api_fastapi.app import get_auth_manager

    from airflow_provider_wmigrate.dag_sql.serialized import in_metadata
    from airflow_provider_wmigrate.engine.blast import users_elsewhere, words_around

    mine = get_auth_manager().get_authorized_dag_ids(user=view.user, method="GET", session=view.session)
    look = in_metadata(view.session, sure=same_database(conn_id), readable=mine)
    found = look(frozenset(word for one in forecast if one.blast for word in words_around(one.blast)))
    return [replace(one, blast=users_elsewhere(one.blast, found)) if one.blast else one for one in forecast]
