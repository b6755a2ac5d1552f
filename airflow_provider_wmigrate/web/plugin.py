"""What Airflow's plugin manager loads: in the API server, in the scheduler, and in every task process.

So nothing is imported here but the class that Airflow needs; the app is made when the API server asks for it.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

_VIEW = {"name": "Migrations", "category": "browse"}


class WMigratePlugin(AirflowPlugin):
    """The REST API at /wmigrate, the page in the navigation, and its tab on every DAG."""

    name = "wmigrate"
    external_views = [
        {**_VIEW, "href": "wmigrate/", "destination": "nav", "url_route": "wmigrate"},
        {
            "name": "Migrations",
            "href": "wmigrate/?dag={DAG_ID}",
            "destination": "dag",
            "url_route": "wmigrate-dag",
        },
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:
        """Evaluated when the API server mounts it; anywhere else it costs nothing."""
        from .api import create_app

        return [{"app": create_app(), "url_prefix": "/wmigrate", "name": "wmigrate"}]
