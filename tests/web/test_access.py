"""Who gets what: a table of route and caller, and the ways in that must be shut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import API, Place, told

READS = ("status", "history", "plan", "health", "audit", "metrics", "migrations/001")
STARTS = ("migrate", "rollback")
DRY_RUN = {"mode": "dry_run", "to": "001"}

#                anonymous, expired, stranger, viewer, user, op, admin
OPEN = (401, 401, 200, 200, 200, 200, 200)
OF_DAG = (401, 401, 403, 200, 200, 200, 200)
START = (401, 401, 403, 403, 201, 201, 201)
TABLE: dict[tuple[str, str], tuple[int, ...]] = {
    ("GET", "/wmigrate/"): OPEN,
    ("GET", "/wmigrate/static/index.html"): OPEN,
    ("GET", f"{API}/openapi.json"): OPEN,
    ("GET", f"{API}/groups"): OPEN,
    **{("GET", "{group}/" + read): OF_DAG for read in READS},
    **{("POST", "{group}/" + start): START for start in STARTS},
}
CALLERS = ("anonymous", "expired", "stranger", "viewer", "user", "op", "admin")
CASES = [(m, r, c, status) for (m, r), row in TABLE.items() for c, status in zip(CALLERS, row, strict=True)]


@pytest.fixture(scope="module")
def callers(client: Callable[..., Any], anonymous: Any, warehouse: Place) -> Iterator[dict[str, Any]]:
    """`stranger` is a user with no right on these DAGs, which SimpleAuthManager has no way to say."""
    from airflow.api_fastapi.app import get_auth_manager

    manager = get_auth_manager()
    of_airflow = manager.is_authorized_dag

    def is_authorized_dag(*, user: Any, details: Any = None, **more: Any) -> bool:
        ours = details is not None and str(details.id).startswith("warehouse")
        return not (user.username == "stranger" and ours) and of_airflow(user=user, details=details, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager, "is_authorized_dag", is_authorized_dag)
        yield {
            "anonymous": anonymous,
            "expired": client("admin", seconds=-3600),
            "stranger": client("user", name="stranger"),
            **{role: client(role) for role in ("viewer", "user", "op", "admin")},
        }


@pytest.mark.parametrize(("method", "route", "caller", "status"), CASES)
def test_the_table(
    callers: dict[str, Any], warehouse: Place, method: str, route: str, caller: str, status: int
) -> None:
    address = route.format(group=warehouse.group)
    answer = callers[caller].request(method, address, json=DRY_RUN if method == "POST" else None)
    assert answer.status_code == status, answer.text
    if status >= 400 and "/api/" in address:
        told(answer, status, {401: "not_authenticated", 403: "forbidden"}[status])


@pytest.mark.parametrize("caller", ["viewer", "user", "op", "admin"])
@pytest.mark.parametrize("read", READS)
def test_who_gets_it_live(callers: dict[str, Any], warehouse: Place, read: str, caller: str) -> None:
    source = callers[caller].get(f"{warehouse.group}/{read}").json()["source"]
    if caller in ("op", "admin"):
        assert (source["kind"], source["reason"]) == ("live", None)
    else:
        assert (source["kind"], source["reason"]["code"]) == ("report", "no_right_on_connection")


def test_the_list_leaves_out_what_the_caller_may_not_read(callers: dict[str, Any], warehouse: Place) -> None:
    def listed(caller: str) -> list[str]:
        return [each["group"]["dag_id"] for each in callers[caller].get(f"{API}/groups").json()["groups"]]

    assert "warehouse" in listed("viewer")
    assert "warehouse" not in listed("stranger")


def test_rights_are_told(callers: dict[str, Any], warehouse: Place) -> None:
    def rights(caller: str) -> list[bool]:
        return list(callers[caller].get(f"{warehouse.group}/status").json()["group"]["rights"].values())

    assert rights("viewer") == [False, False, False]
    assert rights("user") == [False, True, True]
    assert rights("op") == rights("admin") == [True, True, True]


def routes(app: Any) -> list[tuple[str, str]]:
    """Every method and path that the mounted app has."""
    from fastapi.routing import APIRoute
    from starlette.routing import Mount

    mounted = next(r for r in app.routes if isinstance(r, Mount) and r.path == "/wmigrate").app
    assert all(isinstance(route, APIRoute) for route in mounted.routes)
    return [(method, f"/wmigrate{route.path}") for route in mounted.routes for method in sorted(route.methods)]


def test_every_route_refuses_who_is_not_logged_in(app: Any, anonymous: Any) -> None:
    found = routes(app)
    assert len(found) >= len(TABLE)
    for method, path in found:
        filled = path.replace("{dag_id}", "x").replace("{group_id}", "y").replace("{version}", "1")
        answer = anonymous.request(method, filled.replace("{path:path}", "page.css"), json={"mode": "apply", "to": "1"})
        assert answer.status_code == 401, (method, path, answer.status_code)


def test_the_table_has_every_route(app: Any) -> None:
    known = {(method, path.replace("{group}", f"{API}/dags/{{dag_id}}/groups/{{group_id}}")) for method, path in TABLE}
    known = {(method, path.replace("migrations/001", "migrations/{version}")) for method, path in known}
    known = {(method, path.replace("static/index.html", "static/{path:path}")) for method, path in known}
    assert {r for r in routes(app) if r[0] != "HEAD"} == known


def test_no_documentation_pages(admin: Any, anonymous: Any) -> None:
    for path in ("docs", "redoc", "openapi.json"):
        assert anonymous.get(f"/wmigrate/{path}").status_code == 404
        assert admin.get(f"/wmigrate/{path}").status_code == 404


def test_a_page_for_who_is_not_logged_in(anonymous: Any) -> None:
    answer = anonymous.get("/wmigrate/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "Log in to Airflow" in answer.text


# Other sites


@pytest.fixture
def with_cookie(app: Any, token: Callable[..., str]) -> Any:
    """As a browser: the cookie is sent whoever wrote the page that asks."""
    from starlette.testclient import TestClient

    client = TestClient(app, cookies={"_token": token("admin")}, raise_server_exceptions=False)
    client.headers.pop("origin", None)
    return client


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"sec-fetch-site": "same-origin", "origin": "http://testserver"}, 201),
        ({"origin": "http://testserver"}, 201),
        ({"sec-fetch-site": "cross-site", "origin": "http://evil.example"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "http://sub.testserver"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_a_post_from_another_site(with_cookie: Any, warehouse: Place, headers: dict[str, str], status: int) -> None:
    answer = with_cookie.post(f"{warehouse.group}/migrate", json=DRY_RUN, headers=headers)
    assert answer.status_code == status
    if status == 403:
        told(answer, 403, "cross_site")


@pytest.mark.parametrize(
    ("values", "status", "code"),
    [
        (["Bearer"], 403, "cross_site"),
        (["Bearer "], 403, "cross_site"),
        (["bearer    "], 403, "cross_site"),
        (["BEARER\t"], 403, "cross_site"),
        (["Basic YTpi"], 403, "cross_site"),
        (["Bearertoken x"], 403, "cross_site"),
        (["Bearer", "Bearer {token}"], 403, "cross_site"),
        (["Bearer rubbish"], 403, "forbidden"),
        (["bearer rubbish"], 403, "forbidden"),
        (["Bearer {token}"], 201, None),
        (["bearer {token}"], 201, None),
    ],
)
def test_only_a_token_that_was_taken_makes_the_site_no_matter(
    with_cookie: Any, warehouse: Place, token: Callable[..., str], values: list[str], status: int, code: str | None
) -> None:
    headers = [("authorization", value.format(token=token("admin"))) for value in values]
    foreign = [("sec-fetch-site", "cross-site"), ("origin", "http://evil.example")]
    answer = with_cookie.post(f"{warehouse.group}/migrate", json=DRY_RUN, headers=[*headers, *foreign])
    assert answer.status_code == status, answer.text
    if code:
        told(answer, status, code)


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_post_that_a_form_could_send(with_cookie: Any, warehouse: Place, media_type: str) -> None:
    answer = with_cookie.post(
        f"{warehouse.group}/migrate", content='{"mode": "apply"}', headers={"content-type": media_type}
    )
    told(answer, 415, "not_json")


def test_nothing_is_started_by_a_get(admin: Any, warehouse: Place) -> None:
    told(admin.get(f"{warehouse.group}/migrate"), 405, "method_not_allowed")
