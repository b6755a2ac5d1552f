"""Who may do what: Airflow's auth manager decides, per DAG and per connection."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from airflow.models import Connection
from airflow.models.dag import DagModel
from fastapi import Request

from .problems import ProblemError

_SHOWN = (None, DagAccessEntity.RUN, DagAccessEntity.TASK, DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM)
"""What the answers are made of: whoever may not read one of these in Airflow does not get it here either."""


def may_read_dag(user: Any, dag_id: str) -> bool:
    """Whether the caller may read the DAG with its runs, tasks, task instances and XComs."""
    return all(_may(user, "GET", dag_id, entity) for entity in _SHOWN)


def may_start(user: Any, dag_id: str) -> bool:
    """Whether the caller may start runs of the DAG."""
    return _may(user, "POST", dag_id, DagAccessEntity.RUN)


def _may(user: Any, method: Literal["GET", "POST"], dag_id: str, entity: Any) -> bool:
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return bool(get_auth_manager().is_authorized_dag(method=method, access_entity=entity, details=details, user=user))


def may_read_connection(user: Any, conn_id: str) -> bool:
    """Whether the caller may read the connection, and with it the database behind it."""
    details = ConnectionDetails(conn_id=conn_id, team_name=Connection.get_team_name(conn_id))
    return bool(get_auth_manager().is_authorized_connection(method="GET", details=details, user=user))


# Dependencies of routes


def reads_dag(dag_id: str, user: GetUserDep) -> None:
    """The right to read the DAG of the address."""
    if not may_read_dag(user, dag_id):
        raise ProblemError(403, "forbidden", "you may not read this DAG with its runs, tasks and XComs")


def json_only(request: Request) -> None:
    """A form on another site can send anything but this."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ProblemError(415, "not_json", "send the request as application/json")


def same_site(request: Request) -> None:
    """No other site may have a logged-in browser start a run. A token in the header is nothing a browser adds."""
    if request.headers.get("authorization", "").lower().startswith("bearer "):
        return
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    own = {request.headers.get("host"), urlsplit(conf.get("api", "base_url", fallback="")).netloc} - {None, ""}
    if site is None:
        foreign = origin is not None and urlsplit(origin).netloc not in own
    else:
        foreign = site not in ("same-origin", "none")
    if foreign:
        raise ProblemError(403, "cross_site", "a browser sent this from another site; use the page, or a token")


def starts_dag(dag_id: str, user: GetUserDep) -> None:
    """The right to start runs of the DAG of the address."""
    if not may_start(user, dag_id):
        raise ProblemError(403, "forbidden", f"you may not start runs of {dag_id}")
