"""What Airflow's plugin manager loads: in the API server, in the scheduler, and in every task process.

So nothing is imported here but the class that Airflow needs; the app is made when the API server asks for it.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

_VIEW = {
    "name": "Migrations",
    "icon": "wmigrate/static/icon.svg",
    "icon_dark_mode": "wmigrate/static/icon-dark.svg",
}


class WMigratePlugin(AirflowPlugin):
    """The REST API at /wmigrate, the page in the navigation, and its tab on every DAG."""

    name = "wmigrate"

    @property
    def external_views(self) -> list[dict[str, Any]]:  # type: ignore[override] # evaluated only where it is asked for
        """None where `[wmigrate] page` is false."""
        from airflow_provider_wmigrate.defaults import page_is_shown

        if not page_is_shown():
            return []
        return [
            {**_VIEW, "href": "wmigrate/", "destination": "nav", "category": "browse", "url_route": "wmigrate"},
            {**_VIEW, "href": "wmigrate/?dag={DAG_ID}", "destination": "dag", "url_route": "wmigrate-dag"},
        ]

    @property
    def listeners(self) -> list[Any]:  # type: ignore[override]
        """What loads modules before tasks are forked, and what the configuration wants to be called in each task."""
        from airflow_provider_wmigrate import preloading
        from airflow_provider_wmigrate.defaults import has_guarded_tasks, missing_is_explained

        found: list[Any] = []
        if has_guarded_tasks():
            from airflow_provider_wmigrate import guard_listener

            found.append(guard_listener)
        if missing_is_explained():
            from airflow_provider_wmigrate import missing

            found.append(missing)
        return [*found, preloading]

    @property
    def operator_extra_links(self) -> list[Any]:  # type: ignore[override]
        """From a task to its migration on the page; asked for in the API server."""
        from airflow_provider_wmigrate.links import MigrationLink
        from airflow_provider_wmigrate.operators import ApplyMigrationOperator, RollBackMigrationOperator

        link = MigrationLink()
        link.operators = [ApplyMigrationOperator, RollBackMigrationOperator]  # type: ignore[misc]
        return [link]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Evaluated when the API server mounts it; anywhere else it costs nothing."""
        from .api import create_app

        return [{"app": create_app(), "url_prefix": "/wmigrate", "name": "wmigrate"}]
