"""Starting runs: in the caller's name, with what the caller chose, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow_runner import store
from conftest import Place, told

MakePlace = Callable[..., Place]


@pytest.fixture(scope="module")
def place(make_place: MakePlace) -> Place:
    return make_place("started")


def run_of(body: dict[str, Any]) -> Any:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select
    from sqlalchemy.orm import joinedload

    query = select(DagRun).where(DagRun.dag_id == body["dag_id"], DagRun.run_id == body["run_id"])
    with create_session() as session:
        run = session.scalars(query.options(joinedload(DagRun.dag_run_note))).one()
        session.expunge_all()
        return run


def set_dag(dag_id: str, **values: Any) -> None:
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    with create_session() as session:
        for name, value in values.items():
            setattr(session.get(DagModel, dag_id), name, value)


def number_of_runs() -> int:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    with create_session() as session:
        return int(session.scalar(select(func.count()).select_from(DagRun)) or 0)


def test_migrate(client: Callable[..., Any], place: Place) -> None:
    choice = {"mode": "dry_run", "to": "2", "environment": "staging", "note": "before the release"}
    answer = client("user", name="carol").post(f"{place.group}/migrate", json=choice)
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert body["conf"] == {"mode": "dry_run", "to": "002", "environment": "staging"}
    assert (body["dag_id"], body["group_id"], body["state"]) == ("started", "migrate", "queued")
    assert body["message"] == "a dry run up to 002 was started"
    assert body["url"].startswith("dags/started/runs/manual__")
    run = run_of(body)
    assert (run.triggering_user_name, str(run.triggered_by.value), run.conf) == ("carol", "rest_api", body["conf"])
    assert run.note == "before the release"


def test_a_run_that_has_to_wait_says_so(admin: Any, place: Place) -> None:
    body = admin.post(f"{place.group}/migrate", json={"mode": "dry_run"}).json()
    assert body["conf"] == {"mode": "dry_run"}
    assert body["message"].endswith("it waits for 1 other run of started")


def test_roll_back(admin: Any, place: Place) -> None:
    body = admin.post(f"{place.group}/rollback", json={"mode": "apply", "to": "0"}).json()
    assert (body["dag_id"], body["group_id"], body["conf"]) == (
        "started_back",
        "rollback",
        {"mode": "apply", "to": "0"},
    )
    assert body["message"] == "rolling back everything was started"


def test_whose_rollback_script_runs_can_be_chosen(admin: Any, make_place: MakePlace) -> None:
    place = make_place("two_scripts")
    place.migrate()
    (place.folder / "002_stock.rollback.sql").write_text("DROP TABLE stock; -- mended\n")
    place.reparse()
    status = admin.get(f"{place.group}/status").json()
    assert status["group"]["rollback"]["rollback_script"] is True
    assert [one["version"] for one in status["migrations"] if one["rollback_differs"]] == ["002"]
    found = admin.get(f"{place.group}/migrations/002").json()
    assert (found["rollback"]["origin"], found["folder_rollback"]["text"]) == (
        "ledger",
        "DROP TABLE stock; -- mended\n",
    )
    assert admin.get(f"{place.group}/migrations/001").json()["folder_rollback"] is None
    choice = {"mode": "dry_run", "to": "0", "rollback_script": "folder"}
    assert admin.post(f"{place.group}/rollback", json=choice).json()["conf"] == choice
    told(admin.post(f"{place.group}/rollback", json={**choice, "rollback_script": "mine"}), 422, "invalid_input")


def test_the_started_run_does_what_was_asked(admin: Any, make_place: MakePlace) -> None:
    from airflow_runner import Run

    place = make_place("driven")
    body = admin.post(f"{place.group}/migrate", json={"mode": "apply", "to": "001"}).json()
    run = Run(place.dag, body["run_id"])
    set_run_state(body, "running")
    run.drive()
    assert run.state == "success"
    answer = admin.get(f"{place.group}/status").json()
    assert [m["actor"] for m in answer["migrations"] if m["status"] == "applied"] == ["admin"]


def set_run_state(body: dict[str, Any], state: str) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(DagRun).where(DagRun.dag_id == body["dag_id"], DagRun.run_id == body["run_id"])
    with create_session() as session:
        session.scalars(query).one().set_state(state)


def test_it_is_in_airflows_own_log(admin: Any, place: Place) -> None:
    from airflow.models.log import Log
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.scalars(select(Log).where(Log.dag_id == "started", Log.event.startswith("wmigrate"))).all()
        assert {(row.event, row.owner) for row in rows} >= {
            ("wmigrate_migrate", "carol"),
            ("wmigrate_rollback", "admin"),
        }


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"is_paused": True}, "dag_paused"),
        ({"is_stale": True}, "dag_stale"),
        ({"has_import_errors": True}, "dag_import_errors"),
        ({"allowed_run_types": ["scheduled"]}, "manual_runs_not_allowed"),
    ],
)
def test_a_dag_that_cannot_run_now(admin: Any, make_place: MakePlace, change: dict[str, Any], code: str) -> None:
    place = make_place(f"not_{code}")
    set_dag(place.dag.dag_id, **change)
    before = number_of_runs()
    told(admin.post(f"{place.group}/migrate", json={"mode": "dry_run"}), 409, code)
    assert number_of_runs() == before


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_input"),
        ({"mode": "destroy"}, "invalid_input"),
        ({"mode": "apply", "sql": "DROP TABLE x"}, "invalid_input"),
        ({"mode": "apply", "to": "002; DROP TABLE x"}, "invalid_input"),
        ({"mode": "apply", "to": "999"}, "unknown_target_version"),
        ({"mode": "apply", "environment": "moon"}, "invalid_params"),
        ({"mode": "apply", "note": "x" * 2000}, "invalid_input"),
        ([], "invalid_input"),
    ],
)
def test_wrong_input(admin: Any, place: Place, body: Any, code: str) -> None:
    before = number_of_runs()
    told(admin.post(f"{place.group}/migrate", json=body), 422, code)
    assert number_of_runs() == before


def test_a_body_that_is_no_json(admin: Any, place: Place) -> None:
    headers = {"content-type": "application/json"}
    told(admin.post(f"{place.group}/migrate", content="{", headers=headers), 422, "invalid_input")


def test_a_rollback_needs_a_version(admin: Any, place: Place) -> None:
    told(admin.post(f"{place.group}/rollback", json={"mode": "apply"}), 422, "invalid_input")


# What the DAG fixes


def only_migrates(place: Place, dag_id: str, **fields: Any) -> Any:
    from airflow.sdk import DAG, Param

    from airflow_provider_wmigrate import MigrationTaskGroup

    params = {"to": Param("", type="string"), "where": Param(place.dag.dag_id, type="string")}
    with DAG(dag_id, schedule=None, params=params, is_paused_upon_creation=False) as dag:
        MigrationTaskGroup("migrate", folder=place.folder, **{"conn_id": dag_id, **fields})
    store(dag)
    return dag


def post(client: Any, dag_id: str, **body: Any) -> Any:
    return client.post(f"/wmigrate/api/v1/dags/{dag_id}/groups/migrate/migrate", json=body)


def test_a_dry_run_is_never_silently_a_real_one(admin: Any, place: Place) -> None:
    only_migrates(place, "always_applies", to="{{ dag_run.conf['to'] }}")
    detail = told(post(admin, "always_applies", mode="dry_run"), 409, "fixed_by_dag")
    assert "fixes mode to apply" in detail
    assert post(admin, "always_applies", mode="apply", to="001").json()["conf"] == {"to": "001"}
    told(post(admin, "always_applies", mode="apply", environment="staging"), 409, "fixed_by_dag")


def test_no_rollback_dag(admin: Any, place: Place) -> None:
    only_migrates(place, "no_way_back")
    answer = admin.post(
        "/wmigrate/api/v1/dags/no_way_back/groups/migrate/rollback", json={"mode": "dry_run", "to": "0"}
    )
    told(answer, 409, "no_rollback_dag")


def test_a_run_works_on_the_database_that_was_shown(admin: Any, make_place: MakePlace) -> None:
    """The last run chose another one than the DAG's default; what is started from the page must follow it."""
    from airflow_runner import Runner

    here, there = make_place("here"), make_place("there")
    dag = only_migrates(here, "elsewhere", conn_id="{{ params.where }}")
    Runner().run(dag, where="there", to="001")
    shown = admin.get("/wmigrate/api/v1/dags/elsewhere/groups/migrate/status").json()
    assert shown["group"]["conn_id"] == "there"
    assert post(admin, "elsewhere", mode="apply").json()["conf"] == {"where": "there"}
    assert there.dag.dag_id != here.dag.dag_id


def test_a_rollback_needs_the_right_on_the_dag_that_rolls_back(
    client: Callable[..., Any], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.app import get_auth_manager

    manager = get_auth_manager()
    of_airflow = manager.is_authorized_dag

    def only_reads(*, method: str, details: Any = None, **more: Any) -> bool:
        if method == "POST" and details.id == "started_back":
            return False
        return of_airflow(method=method, details=details, **more)

    monkeypatch.setattr(manager, "is_authorized_dag", only_reads)
    caller = client("user")
    body = {"mode": "dry_run", "to": "0"}
    assert "started_back" in told(caller.post(f"{place.group}/rollback", json=body), 403, "forbidden")
    assert caller.get(f"{place.group}/status").json()["group"]["rights"]["rollback"] is False
