"""A run that waits for a person's answer: each place that tells its state tells that, and where to answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_runner import Runner
from conftest import API, CONFIG, FILES, Place

FOLDER = {**FILES, "migration_config.yaml": CONFIG.replace("'003', ", "'003', backup: true, ").replace(
    "settings: {", "settings: {backup: {enabled: true, backup_location: ../backups}, ")}  # fmt: skip


def fleet(place: Place, databases: list[str], dag_id: str) -> Any:
    """One environment without questions, and behind it two databases of which each has its own."""
    from airflow.sdk import DAG, task_group

    from airflow_provider_wmigrate import Approval, MigrationTaskGroup

    with DAG(dag_id, schedule=None, is_paused_upon_creation=False) as dag:
        first = MigrationTaskGroup("first", folder=place.folder, conn_id=databases[0], mode="dry_run")

        @task_group
        def tenant(database: str) -> None:
            MigrationTaskGroup("migrate", folder=place.folder, conn_id=database, approval=Approval())

        first >> tenant.expand(database=databases)
    return dag


def test_whom_a_run_waits_for_is_told(admin: Any, viewer: Any, make_place: Callable[..., Place]) -> None:
    place = make_place("asked_first", FOLDER)
    make_place("asked_second", FOLDER)
    run = Runner().run(fleet(place, ["asked_first", "asked_second"], "asked"))
    root = f"dags/asked/runs/{run.run_id}/tasks/tenant.migrate.approve/mapped"
    both = [("tenant.migrate.approve", n, f"{root}/{n}/required_actions") for n in (0, 1)]

    def asks(told: dict[str, Any]) -> list[tuple[Any, ...]]:
        assert told["run_id"] == run.run_id
        assert (told["state"], all(each["since"] for each in told["asks"])) == (run.state, True)
        return [(each["task_id"], each["map_index"], each["url"]) for each in told["asks"]]

    def ask(group: str, route: str, **query: Any) -> dict[str, Any]:
        return dict(viewer.get(f"{API}/dags/asked/groups/{group}/{route}", params=query).json())

    assert run.state == "running"
    assert asks(ask("first", "status")["last_run"]) == both, "the run waits, though not in this group"
    assert asks(ask("tenant.migrate", "status")["last_run"]) == both
    assert asks(ask("tenant.migrate", "status", map_index=1)["last_run"]) == both[1:]
    assert asks(ask("tenant.migrate", "history", map_index=0)["runs"][0]) == both[:1]
    cards = [card for card in viewer.get(f"{API}/groups").json()["groups"] if card["group"]["dag_id"] == "asked"]
    assert [asks(card["last_run"]) for card in cards] == [both, both[:1], both[1:]]

    # What the page asks of Airflow itself while it follows the run
    states = [("state", state) for state in ("running", "failed", "awaiting_input")]
    found = admin.get(f"/api/v2/dags/asked/dagRuns/{run.run_id}/taskInstances", params=states).json()
    told = [(each["task_id"], each["map_index"], each["state"]) for each in found["task_instances"]]
    assert sorted(told) == [("tenant.migrate.approve", n, "awaiting_input") for n in (0, 1)]

    # The plan that is approved says for what a backup is made first
    plan = admin.get(f"{API}/dags/asked/groups/tenant.migrate/plan", params={"map_index": 1}).json()
    assert (len(plan["steps"]), plan["backup_needed"]) == (3, {"003": "the config asks for it"})
    assert ask("first", "plan")["backup_needed"] == {}, "its runs are dry runs, which make none"

    for index in (0, 1):
        run.answer("tenant.migrate.approve", "reject", map_index=index)
    assert run.state == "failed"
    assert asks(ask("first", "status")["last_run"]) == []
