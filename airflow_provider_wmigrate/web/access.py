"""Who may do what: Airflow's auth manager decides, per DAG and per connection."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import bearer_scheme
from airflow.configuration import conf
from airflow.models import Connection
from airflow.models.dag import DagModel
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials
from sqlalchemy.orm import Session

from .problems import ProblemError
from .work import release

_SHOWN = (None, DagAccessEntity.RUN, DagAccessEntity.TASK, DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM)
"""What the answers are made of: whoever may not read one of these in Airflow does not get it here either."""


def may_read_dag(session: Session, user: Any, dag_id: str) -> bool:
    """Whether the caller may read the DAG with its runs, tasks, task instances and XComs."""
    return _may(session, user, "GET", dag_id, *_SHOWN)


def may_read_code(session: Session, user: Any, dag_id: str) -> bool:
    """Whether the caller may read the DAG's code, and with it the scripts that it runs."""
    return _may(session, user, "GET", dag_id, DagAccessEntity.CODE)


def may_start(session: Session, user: Any, dag_id: str) -> bool:
    """Whether the caller may start runs of the DAG."""
    return _may(session, user, "POST", dag_id, DagAccessEntity.RUN)


def _may(
    session: Session, user: Any, method: Literal["GET", "POST"], dag_id: str, *entities: DagAccessEntity | None
) -> bool:
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id, session=session))
    release(session)
    manager = get_auth_manager()
    return all(
        manager.is_authorized_dag(method=method, access_entity=entity, details=details, user=user)
        for entity in entities
    )


def may_read_connection(session: Session, user: Any, conn_id: str) -> bool:
    """Whether the caller may read the connection, and with it the database behind it."""
    details = ConnectionDetails(conn_id=conn_id, team_name=Connection.get_team_name(conn_id, session=session))
    release(session)
    return bool(get_auth_manager().is_authorized_connection(method="GET", details=details, user=user))


# Dependencies of routes


def json_only(request: Request) -> None:
    """A form on another site can send anything but this."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ProblemError(415, "not_json", "send the request as application/json")


def same_site(request: Request, token: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer_scheme)]) -> None:
    """No other site may have a logged-in browser start a run.

    A token in the header is nothing a browser adds. It counts only where `get_user` took it for who is asking: an
    empty one, or another scheme, leaves that to the cookie.
    """
    if token is not None and token.scheme.lower() == "bearer":
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
