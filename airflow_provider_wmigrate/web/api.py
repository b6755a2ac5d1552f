"""The routes. Each one: who may, what is asked, which answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Annotated, Any, TypeVar

from airflow.api_fastapi.core_api.security import GetUserDep, get_user
from airflow.api_fastapi.logging.decorators import action_logging
from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from airflow_provider_wmigrate.engine.ledger.history import EventFilter

from . import access, group_view, page, problems, queries, reports, requests, schemas, starting
from .work import with_session

Answer = TypeVar("Answer")
GROUP = "/dags/{dag_id}/groups/{group_id}"

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": problems.Problem, "description": text}
    for status, text in (
        (401, "Not logged in"),
        (403, "No right to do this"),
        (404, "No such group or migration"),
        (422, "Wrong input"),
    )
}
_POST_PROBLEMS = _PROBLEMS | {
    409: {"model": problems.Problem, "description": "The DAG does not allow this now"},
    415: {"model": problems.Problem, "description": "Not application/json"},
}

Name = Annotated[str, Path(min_length=1, max_length=250)]
Version = Annotated[str, Query(pattern="^[0-9]{1,250}$")]
Before = Annotated[int | None, Query(ge=1, le=2**63 - 1, description="Only positions below this one.")]
Limit = Annotated[int, Query(ge=1, le=200)]
# PostgreSQL's text knows every character but NUL.
Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]
Environment = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=100,
        pattern=r"^[^\x00]*$",
        description="As a run would see it that chooses this environment; left out: the one of the last run.",
    ),
]
Names = Annotated[list[Annotated[str, Query(pattern="^[a-z_]{1,100}$")]], Query(max_length=20)]


MapIndex = Annotated[
    int | None, Query(ge=0, le=2**31 - 1, description="Of a mapped group one database; left out: all of them as one.")
]


class Ask:
    """One question about the group of the address, as the caller sees it."""

    def __init__(self, dag_id: Name, group_id: Name, user: GetUserDep, map_index: MapIndex = None) -> None:
        self._group, self._user = (dag_id, group_id, map_index), user

    async def __call__(
        self, question: Callable[..., Answer], *given: Any, environment: str | None = None, **more: Any
    ) -> Answer:
        def work(session: Session) -> Answer:
            return question(group_view.view(session, self._user, *self._group, environment), *given, **more)

        return await with_session(work)


AskDep = Annotated[Ask, Depends()]

everybody = APIRouter(tags=["wmigrate"], dependencies=[Depends(get_user)], responses=_PROBLEMS)
groups = APIRouter(prefix=GROUP, tags=["wmigrate"], dependencies=[Depends(get_user)], responses=_PROBLEMS)
starts = APIRouter(
    prefix=GROUP,
    tags=["wmigrate"],
    dependencies=[Depends(get_user), Depends(access.same_site), Depends(access.json_only)],
    responses=_POST_PROBLEMS,
)


@everybody.get("/groups")
async def get_groups(user: GetUserDep) -> schemas.GroupList:
    """Every migration group the caller may read, at a glance."""
    found = await with_session(lambda session: [queries.summary(each) for each in group_view.views(session, user)])
    return schemas.GroupList(caller=str(user.get_name()), groups=found, total_entries=len(found))


@groups.get("/status")
async def get_status(
    ask: AskDep,
    environment: Environment = None,
    search: Text = None,
    status: Annotated[list[schemas.StatusName] | None, Query(max_length=7)] = None,
) -> schemas.StatusAnswer:
    """Every migration with its status."""
    return await ask(queries.status, environment=environment, search=search, only=status or [])


@groups.get("/history")
async def get_history(
    ask: AskDep, version: Version | None = None, before: Before = None, limit: Limit = 50
) -> schemas.HistoryAnswer:
    """Runs, and what happened to the migrations."""
    return await ask(queries.history, version=version, before=before, limit=limit)


@groups.get("/plan")
async def get_plan(ask: AskDep, environment: Environment = None, to: Version | None = None) -> schemas.PlanAnswer:
    """What a run would do now."""
    return await ask(queries.plan, environment=environment, to=to)


@groups.get("/health")
async def get_health(ask: AskDep) -> schemas.HealthAnswer:
    """Whether the target is well."""
    return await ask(reports.health)


@groups.get("/audit")
async def get_audit(
    ask: AskDep,
    version: Version | None = None,
    event: Names = [],  # noqa: B006 - FastAPI copies it
    actor: Text = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before: Before = None,
    limit: Limit = 50,
    verify: Annotated[bool, Query(description="Also recompute the hash chain.")] = False,
) -> schemas.AuditAnswer:
    """The audit log, newest first."""
    where = EventFilter(
        events=tuple(event),
        version=queries.canonical(version),
        actor=actor,
        since=_with_zone(since),
        until=_with_zone(until),
        before=before,
    )
    return await ask(reports.audit, where, limit=limit, verify=verify)


@groups.get("/metrics")
async def get_metrics(ask: AskDep, days: Annotated[int, Query(ge=1, le=366)] = 90) -> schemas.MetricsAnswer:
    """Durations per migration, and what happened per day."""
    return await ask(reports.metrics, days=days)


@groups.get("/migrations/{version}")
async def get_migration(
    ask: AskDep,
    version: Annotated[str, Path(pattern="^[0-9]{1,250}$")],
    environment: Environment = None,
    from_line: Annotated[
        int, Query(ge=1, le=2**31 - 1, description="Of its scripts; a long one is told piece by piece, by `next_line`.")
    ] = 1,
) -> schemas.MigrationAnswer:
    """One migration with its scripts and its events."""
    return await ask(queries.migration, version, environment=environment, from_line=from_line)


@starts.post("/migrate", status_code=201, dependencies=[Depends(action_logging("wmigrate_migrate"))])
async def start_migrate(ask: AskDep, request: requests.MigrateRequest) -> requests.Started:
    """Start a run that applies, in the caller's name."""
    return await ask(starting.migrate, request)


@starts.post("/rollback", status_code=201, dependencies=[Depends(action_logging("wmigrate_rollback"))])
async def start_rollback(ask: AskDep, request: requests.RollbackRequest) -> requests.Started:
    """Start a run that rolls back, in the caller's name."""
    return await ask(starting.roll_back, request)


@everybody.get("/openapi.json", include_in_schema=False)
def get_openapi(request: Request) -> JSONResponse:
    """The description of this API."""
    return JSONResponse({**request.app.openapi(), "servers": [{"url": request.scope.get("root_path", "")}]})


def _with_zone(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=timezone.utc) if at is not None and at.tzinfo is None else at


def create_app() -> FastAPI:
    """The app that Airflow mounts at /wmigrate. Nothing in it answers who is not logged in."""
    app = FastAPI(
        title="wmigrate",
        version=version("airflow-provider-wmigrate"),
        description="PostgreSQL and TimescaleDB schema migrations run by Airflow.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(get_user)],
        generate_unique_id_function=lambda route: route.name,
    )
    problems.install(app)
    app.middleware("http")(page.guard)
    for router in (everybody, groups, starts):
        app.include_router(router, prefix="/api/v1")
    app.include_router(page.router)
    _as_problems(app.openapi())
    return app


def _as_problems(description: dict[str, Any]) -> None:
    """FastAPI takes every declared answer for application/json; the errors here are problem details."""
    operations = [each for path in description["paths"].values() for each in path.values()]
    for status, answer in (pair for each in operations for pair in each["responses"].items()):
        if status >= "400":
            answer["content"] = {problems.MEDIA_TYPE: answer["content"]["application/json"]}
