"""Links on a task's page in Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from airflow.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey


class MigrationLink(BaseOperatorLink):
    """From the task of a migration to that migration on the page "Migrations".

    Of a task with one migration the plugin makes it when somebody looks, so that no task has to leave it in Airflow.
    The task of the history leaves it when it ends, because only then it is known at which migration it failed.
    """

    name = "Migration"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """The page inside Airflow's own frame; the address of Airflow is `[api] base_url`."""
        group = ti_key.task_id.rpartition(".")[0] or "plan"
        group += f"[{ti_key.map_index}]" if ti_key.map_index >= 0 else ""
        version = "" if operator.version is None else str(operator.version)
        of_one = {"version": version} if version.isdigit() else {}  # a template has been rendered for the task alone
        return page_address(dag=ti_key.dag_id, group=group, **of_one)


def page_address(**query: str) -> str:
    """Where the page is in Airflow, with what it is to open."""
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    # Airflow shows behind /plugin/wmigrate/ whatever path of the same server follows it, with its own root path.
    inner = f"{urlsplit(base).path}/wmigrate/".lstrip("/")
    return f"{base}/plugin/wmigrate/{inner}?{urlencode(query)}"
