"""The oldest migrations are one task, and on page and API each of them is still itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_runner import Runner
from conftest import API, FILES, Place

MakePlace = Callable[..., Place]
BROKEN = {**FILES, "002_stock.sql": "CREATE TABLE stock (id int REFERENCES nowhere);\n"}


def folded(place: Place, max_tasks: int = 1) -> Any:
    from airflow.sdk import DAG

    from airflow_provider_wmigrate import MigrationTaskGroup

    with DAG(f"{place.dag.dag_id}_folded", schedule=None) as dag:
        dag.fileloc = place.dag.fileloc
        MigrationTaskGroup("migrate", folder=place.folder, conn_id=place.dag.dag_id, max_tasks=max_tasks)
    return dag


def get(client: Any, dag: Any, route: str, **query: Any) -> dict[str, Any]:
    answer = client.get(f"{API}/dags/{dag.dag_id}/groups/migrate/{route}", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def told(answer: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    tasks = ((m["version"], (m["status"], m["task_id"], m["log_url"])) for m in answer["migrations"])
    return {version: (status, task, log and log.rpartition("/")[2]) for version, (status, task, log) in tasks}


def test_each_folded_migration_is_a_row_of_its_own(admin: Any, viewer: Any, make_place: MakePlace) -> None:
    place = make_place("old_project")
    dag = folded(place)
    assert Runner().run(dag).state == "success"
    for client in (admin, viewer):
        assert told(get(client, dag, "status")) == {
            "001": ("applied", "migrate.history", "migrate.history"),
            "002": ("applied", "migrate.history", "migrate.history"),
            "003": ("applied", "migrate.003_views", "migrate.003_views"),
        }
        events = [e for e in get(client, dag, "history")["events"] if e["event"] == "applied"]
        assert [(e["version"], e["task_id"].rpartition(".")[2]) for e in events] == [
            ("003", "003_views"),
            ("002", "history"),
            ("001", "history"),
        ]
        one = get(client, dag, "migrations/002")
        assert (one["migration"]["name"], one["migration"]["description"]) == ("stock", "Stock")
        assert (one["migration"]["has_rollback"], one["dependents"]) == (True, ["003"])
        assert (one["sql"]["text"], one["sql"]["file"]) == (FILES["002_stock.sql"], "002_stock.sql")
        assert one["sql"]["origin"] == "folder", "the DAG holds no script of the history"
        assert [m["duration_ms"] is not None for m in get(client, dag, "status")["migrations"]] == [True] * 3


def test_a_failure_in_the_history_is_that_of_one(admin: Any, viewer: Any, make_place: MakePlace) -> None:
    place = make_place("old_and_broken", BROKEN)
    dag = folded(place)
    run = Runner().run(dag)
    assert run.state == "failed"
    for client in (admin, viewer):
        answer = get(client, dag, "status")
        assert [status for status, *_ in told(answer).values()] == ["applied", "failed", "pending"]
        failure = answer["migrations"][1]["failure"]
        assert 'relation "nowhere" does not exist' in failure["error"]
        assert failure["url"].endswith("/tasks/migrate.history")
        assert answer["last_run"]["failed"] == ["migrate.history", "migrate.report"]
    run.lose_xcoms(key="failure")
    statuses = [status for status, *_ in told(get(viewer, dag, "status")).values()]
    assert statuses == ["applied", "pending", "pending"], "nobody says which it was"


def test_what_passes_into_the_history_keeps_what_was_done(admin: Any, viewer: Any, make_place: MakePlace) -> None:
    place = make_place("aged")
    assert Runner().run(folded(place, max_tasks=3)).state == "success"
    dag = folded(place, max_tasks=0)
    assert Runner().run(dag).state == "success"
    for client in (admin, viewer):
        assert told(get(client, dag, "status")) == {
            "001": ("applied", "migrate.history", "migrate.001_products"),
            "002": ("applied", "migrate.history", "migrate.002_stock"),
            "003": ("applied", "migrate.history", "migrate.003_views"),
        }
