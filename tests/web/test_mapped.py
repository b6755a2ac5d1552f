"""A group in a mapped task group: each map index is a database of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow_runner import Runner, store
from conftest import API, FILES, Place, told

MakePlace = Callable[..., Place]
ROUTES = ("status", "plan", "history", "health", "metrics", "audit", "migrations/001")


def fleet(place: Place, databases: list[str], dag_id: str) -> Any:
    from airflow.sdk import DAG, task_group

    from airflow_provider_wmigrate import MigrationTaskGroup

    with DAG(dag_id, schedule=None, is_paused_upon_creation=False) as dag:

        @task_group
        def tenant(database: str) -> None:
            MigrationTaskGroup("migrate", folder=place.folder, conn_id=database)

        tenant.expand(database=databases)
    return dag


def get(client: Any, dag_id: str, route: str, **query: Any) -> dict[str, Any]:
    answer = client.get(f"{API}/dags/{dag_id}/groups/tenant.migrate/{route}", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def listed(client: Any, dag_id: str) -> list[tuple[Any, ...]]:
    groups = client.get(f"{API}/groups").json()["groups"]
    mine = [each for each in groups if each["group"]["dag_id"] == dag_id]
    return [(each["group"]["map_index"], each["group"]["conn_id"], each["state"]) for each in mine]


@pytest.fixture(scope="module")
def tenants(make_place: MakePlace) -> Place:
    """`mapped_tenants` has run: on the first database all went well, on the second 002 failed."""
    place = make_place("first_tenant")
    second = make_place("second_tenant")
    second.sql("CREATE TABLE stock ()")
    run = Runner().run(fleet(place, ["first_tenant", "second_tenant"], "mapped_tenants"))
    assert run.state == "failed"
    return place


def test_before_a_run_nothing_of_one_database_is_shown(admin: Any, make_place: MakePlace) -> None:
    place = make_place("tenants")
    store(fleet(place, ["tenants", "warehouse"], "unborn_tenants"))
    for route in ROUTES:
        source = get(admin, "unborn_tenants", route)["source"]
        assert (source["kind"], source["reason"]["code"]) == ("none", "mapped_group"), route
    answer = get(admin, "unborn_tenants", "status")
    assert (answer["group"]["is_mapped"], answer["group"]["map_index"], answer["group"]["conn_id"]) == (
        True,
        None,
        None,
    )
    assert {migration["status"] for migration in answer["migrations"]} == {"pending"}
    assert listed(admin, "unborn_tenants") == [(None, None, "unknown")]


def test_each_map_index_has_states_of_its_own(admin: Any, viewer: Any, tenants: Place) -> None:
    for client in (admin, viewer):
        assert listed(client, "mapped_tenants") == [(0, "first_tenant", "attention"), (1, "second_tenant", "attention")]
        found = []
        for index in (0, 1):
            answer = get(client, "mapped_tenants", "status", map_index=index)
            found.append({m["version"]: m["status"] for m in answer["migrations"]})
            assert (answer["group"]["conn_id"], answer["group"]["map_index"]) == (
                ("first_tenant", "second_tenant")[index],
                index,
            )
            last = answer["last_run"]
            assert (last["applied"], last["failed"]) == (
                (["001", "002", "003"], [])
                if index == 0
                else (["001"], ["tenant.migrate.002_stock", "tenant.migrate.report"])
            )
        assert found == [
            {"001": "applied", "002": "applied", "003": "applied"},
            {"001": "applied", "002": "failed", "003": "pending"},
        ]
        steps = [get(client, "mapped_tenants", "plan", map_index=index)["steps"] for index in (0, 1)]
        assert [[step["version"] for step in each] for each in steps] == [[], ["002", "003"]]


def test_history_and_links_are_those_of_the_map_index(admin: Any, viewer: Any, tenants: Place) -> None:
    for client in (admin, viewer):
        happened = [get(client, "mapped_tenants", "history", map_index=index)["events"] for index in (0, 1)]
        assert [[(e["event"], e["version"]) for e in each] for each in happened] == [
            [("applied", "003"), ("applied", "002"), ("applied", "001")],
            [("failed", "002"), ("applied", "001")],
        ]
        for index in (0, 1):
            assert {e["url"].rpartition("/tasks/")[2].partition("/")[2] for e in happened[index]} == {f"mapped/{index}"}
        assert 'relation "stock" already exists' in happened[1][0]["error"]
        products, stock, _ = get(client, "mapped_tenants", "status", map_index=1)["migrations"]
        assert products["log_url"].endswith("/tasks/tenant.migrate.001_products/mapped/1")
        assert products["last_task"]["url"] == products["log_url"]
        assert stock["failure"]["url"].endswith("/tasks/tenant.migrate.002_stock/mapped/1")


def test_the_link_on_a_mapped_task_names_the_map_index(admin: Any, tenants: Place) -> None:
    run_id = get(admin, "mapped_tenants", "status")["last_run"]["run_id"]
    task = f"/api/v2/dags/mapped_tenants/dagRuns/{run_id}/taskInstances/tenant.migrate.001_products/links?map_index=1"
    address = admin.get(task).json()["extra_links"]["Migration"]
    assert address.endswith("/?dag=mapped_tenants&group=tenant.migrate%5B1%5D&version=001")


def test_every_route_reads_the_database_of_the_map_index(admin: Any, tenants: Place) -> None:
    for index in (0, 1):
        for route in ROUTES:
            assert get(admin, "mapped_tenants", route, map_index=index)["source"]["kind"] == "live", route
    health = [get(admin, "mapped_tenants", "health", map_index=index)["status"] for index in (0, 1)]
    assert health == ["healthy", "unhealthy"]


def test_all_of_them_as_one_tell_what_failed_where(admin: Any, tenants: Place) -> None:
    run = get(admin, "mapped_tenants", "status")["last_run"]
    assert run["failed"] == ["tenant.migrate.002_stock[1]", "tenant.migrate.report[1]"]
    assert (run["applied"], run["mode"]) == ([], None)


def test_an_index_that_is_not_there(admin: Any, tenants: Place, warehouse: Place) -> None:
    group = f"{API}/dags/mapped_tenants/groups/tenant.migrate"
    detail = told(admin.get(f"{group}/status?map_index=2"), 404, "unknown_map_index")
    assert detail == "tenant.migrate has no map index 2; its newest run has 2, counted from 0"
    detail = told(admin.get(f"{warehouse.group}/status?map_index=0"), 404, "unknown_map_index")
    assert detail == "migrate has no map index 0; it is not mapped, or never ran"
    told(admin.get(f"{group}/status?map_index=-1"), 422, "invalid_input")


def test_a_run_is_started_for_all_of_them_or_not_at_all(admin: Any, tenants: Place) -> None:
    group = f"{API}/dags/mapped_tenants/groups/tenant.migrate"
    detail = told(admin.post(f"{group}/migrate?map_index=1", json={"mode": "apply"}), 409, "mapped_group")
    assert detail == ("a run of mapped_tenants works on every database of tenant.migrate; start it without map_index")
    rights = [
        get(admin, "mapped_tenants", "status", **of)["group"]["rights"]["migrate"] for of in ({}, {"map_index": 1})
    ]
    assert rights == [True, False]
    assert admin.post(f"{group}/migrate", json={"mode": "apply"}).status_code == 201


def test_a_rollback_by_the_dag_of_one_database_is_started_from_its_index(admin: Any, tenants: Place) -> None:
    group = get(admin, "mapped_tenants", "status", map_index=0)["group"]
    assert (group["rollback_dag"]["dag_id"], group["rights"]["rollback"]) == ("first_tenant_back", True)


def test_a_database_that_no_plan_has_reached_is_known_by_name(
    admin: Any, viewer: Any, make_place: MakePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_place("reached")
    monkeypatch.setenv("AIRFLOW_CONN_NOT_REACHED", "postgres://someone:not-to-be-told@127.0.0.1:1/nowhere")
    Runner().run(fleet(place, ["reached", "not_reached"], "mapped_and_down"))
    assert [each[:2] for each in listed(viewer, "mapped_and_down")] == [(0, "reached"), (1, "not_reached")]
    source = get(admin, "mapped_and_down", "status", map_index=1)["source"]
    assert (source["kind"], source["reason"]["code"]) == ("none", "unreachable")


def test_the_database_counts_not_its_place_in_the_list(admin: Any, viewer: Any, make_place: MakePlace) -> None:
    """A list of databases that grew at its head: what the first run left of one is found at its new index."""
    place, _ = make_place("moved", FILES), make_place("newcomer")
    Runner().run(fleet(place, ["moved"], "mapped_and_moved"), user="bob")
    Runner().run(fleet(place, ["newcomer", "moved"], "mapped_and_moved"))
    for client in (admin, viewer):
        moved = get(client, "mapped_and_moved", "status", map_index=1)
        assert moved["group"]["conn_id"] == "moved"
        assert {(m["status"], m["actor"]) for m in moved["migrations"]} == {("applied", "bob")}
        assert {m["log_url"].rpartition("/mapped/")[2] for m in moved["migrations"]} == {"0"}
