"""The main job, as a user does it: one story in the order of the file, through the real scheduler and the REST API."""

from __future__ import annotations

import os
import signal

import pytest

from dev.airflow_client import AirflowClient
from dev.demo import show_tasks
from tests.e2e.conftest import DAG, Story
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

DONE = {"plan": "success", "report": "success"}
SHIPPED = [
    "001_initial_schema",
    "002_warehouse_tables",
    "003_timescale_hypertables",
    "004_reporting_views",
    "005_search_and_stock_indexes",
    "006_lots_serials_and_units",
    "007_partners_orders_and_reservations",
    "008_roles_and_grants",
]


def states(*more: str, **changes: str) -> dict[str, str]:
    """What a run shows when nothing is pending in the shipped migrations and `more`, with changes."""
    return {**DONE, **dict.fromkeys([*SHIPPED, *more], "skipped"), **changes}


def test_a_pipeline_waits_for_the_schema(story: Story) -> None:
    run_id = story.server.trigger("stock_pipeline")
    story.server.api("PATCH", "/api/v2/dags/after_schema_change", {"is_paused": False})

    def deferred() -> bool:
        return story.server.task_states("stock_pipeline", run_id)["schema_ready"] == "deferred"

    story.wait_for("the sensor's deferral", deferred)
    story.let_go("stock_pipeline", run_id, "schema_ready")


def test_from_empty_to_applied(story: Story) -> None:
    _, state, tasks = story.run()
    assert state == "success"
    assert tasks == states(
        **{name: "success" for name in SHIPPED if name != "003_timescale_hypertables"},
    )
    assert story.applied() == ["001", "002", "004", "005", "006", "007", "008"]


def test_the_waiting_pipeline_goes_on(story: Story) -> None:
    runs = story.server.api("GET", "/api/v2/dags/stock_pipeline/dagRuns")["dag_runs"]
    state, tasks = story.wait("stock_pipeline", runs[0]["dag_run_id"])
    assert (state, tasks) == ("success", {"schema_ready": "success", "low_stock": "success"})


def test_the_change_of_the_schema_starts_a_consumer(story: Story) -> None:
    def runs() -> list[str]:
        answer = story.server.api("GET", "/api/v2/dags/after_schema_change/dagRuns")["dag_runs"]
        return [run["run_type"] for run in answer]

    story.wait_for("the asset's run", lambda: bool(runs()))
    assert runs() == ["asset_triggered"]


def test_again_with_nothing_pending(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    run_id, state, tasks = story.run()
    assert (state, tasks) == ("success", states())
    show_tasks(story.server, DAG, run_id)
    told = {row[0].rpartition(".")[2]: row[-1] for row in map(str.split, capsys.readouterr().out.splitlines())}
    assert told["001_initial_schema"] == "applied", "the demo says why a task was skipped"
    answer = story.server.api("GET", "/api/v2/dags/after_schema_change/dagRuns")
    assert answer["total_entries"] == 1, "nothing changed, so nobody is told"


def test_one_new_migration(story: Story) -> None:
    story.write(
        "009_suppliers", "CREATE TABLE warehouse.suppliers (id int);", rollback="DROP TABLE warehouse.suppliers;"
    )
    story.wait_task_known("migrate.009_suppliers")
    _, state, tasks = story.run()
    assert (state, tasks) == ("success", states(**{"009_suppliers": "success"}))


def test_a_cleared_task_is_a_no_op(story: Story) -> None:
    runs = story.server.api("GET", f"/api/v2/dags/{DAG}/dagRuns?order_by=-run_after")["dag_runs"]
    run_id = runs[0]["dag_run_id"]
    story.server.clear(DAG, run_id, ["migrate.009_suppliers", "migrate.001_initial_schema"])
    state, tasks = story.wait(DAG, run_id)
    assert state == "success"
    assert tasks["009_suppliers"] == tasks["001_initial_schema"] == "success"
    record = story.server.xcom(DAG, run_id, "migrate.009_suppliers")
    assert record["outcome"] == "already_applied"
    assert story.events("009") == ["applied"]


def test_a_failing_migration_is_repaired_and_cleared(story: Story) -> None:
    story.write("010_prices", "CREATE TABLE warehouse.prices (id int);\nINSERT INTO warehouse.pricez VALUES (1);")
    story.wait_task_known("migrate.010_prices")
    run_id, state, tasks = story.run()
    assert (state, tasks) == ("failed", states("009_suppliers", **{"010_prices": "failed", "report": "failed"}))
    assert story.query("SELECT to_regclass('warehouse.prices') IS NULL") == [(True,)]
    log = "\n".join(story.server.task_log(DAG, run_id, "migrate.010_prices"))
    assert '010_prices.sql:2:13: relation "warehouse.pricez" does not exist (SQLSTATE 42P01)' in log
    assert "rolled back by the database, nothing of it was kept" in log

    story.write("010_prices", "CREATE TABLE warehouse.prices (id int);", rollback="DROP TABLE warehouse.prices;")
    story.server.clear(DAG, run_id, ["migrate.010_prices"], include_downstream=True)
    state, tasks = story.wait(DAG, run_id)
    assert (state, tasks) == ("success", states("009_suppliers", **{"010_prices": "success"}))
    assert story.events("010") == ["failed", "failure_handled", "applied"]


def test_a_task_killed_in_the_middle_leaves_nothing(story: Story) -> None:
    slow = "CREATE TABLE warehouse.slow (id int);\nSELECT pg_sleep({});\nINSERT INTO warehouse.slow VALUES (1);"
    story.write("011_slow", slow.format(60), rollback="DROP TABLE warehouse.slow;")
    story.wait_task_known("migrate.011_slow")
    run_id = story.server.trigger(DAG)
    sleeping = "SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
    story.wait_for("the slow statement", lambda: bool(story.query(sleeping)))
    os.kill(process_of(story.server, run_id, "migrate.011_slow"), signal.SIGKILL)
    story.wait_for("the end of the orphan", lambda: not story.query(sleeping), 50)
    assert story.query("SELECT to_regclass('warehouse.slow') IS NULL") == [(True,)]

    story.write("011_slow", slow.format(0))
    state, tasks = story.wait(DAG, run_id)
    if state == "failed":  # no retry was left, or the process that would have retried was the killed one
        story.server.clear(DAG, run_id, ["migrate.011_slow"], include_downstream=True)
        state, tasks = story.wait(DAG, run_id)
    assert (state, tasks) == ("success", states("009_suppliers", "010_prices", **{"011_slow": "success"}))
    assert story.query("SELECT count(*) FROM warehouse.slow") == [(1,)]


@pytest.mark.parametrize("how", ["marked failed", "cleared while it runs"])
def test_a_person_stops_a_task(story: Story, how: str) -> None:
    """The statement ends on the server within seconds, and nothing of the migration is kept."""
    seconds = {"marked failed": 161, "cleared while it runs": 162}[how]
    story.write("012_stopped", f"CREATE TABLE warehouse.stopped ();\nSELECT pg_sleep({seconds});")
    story.wait_task_known("migrate.012_stopped")
    run_id = story.server.trigger(DAG)
    sleeping = f"SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep({seconds})%' AND pid <> pg_backend_pid()"
    story.wait_for("the long statement", lambda: bool(story.query(sleeping)))
    story.write("012_stopped", "CREATE TABLE warehouse.stopped ();", rollback="DROP TABLE warehouse.stopped;")
    if how == "marked failed":
        story.server.set_task_state(DAG, run_id, "migrate.012_stopped", "failed")
        story.wait_for("the end of the statement", lambda: not story.query(sleeping), PATIENCE)
        assert story.query("SELECT to_regclass('warehouse.stopped') IS NULL") == [(True,)]
        assert story.wait(DAG, run_id)[0] == "failed"
    else:
        story.server.clear(DAG, run_id, ["migrate.012_stopped"], include_downstream=True)
        state, tasks = story.wait(DAG, run_id)
        assert (state, tasks["012_stopped"]) == ("success", "success")
        assert story.events("012")[-1] == "applied"


def test_roll_back_dry_run(story: Story) -> None:
    story.wait_task_known("rollback.012_stopped", "warehouse_rollback")
    before = story.applied()
    _, state, tasks = story.run("warehouse_rollback", to="002", mode="dry_run")
    assert state == "success"
    assert tasks["004_reporting_views"] == tasks["011_slow"] == "success"
    assert tasks["005_search_and_stock_indexes"] == "skipped", "no transaction can undo a DROP INDEX CONCURRENTLY"
    assert story.applied() == before


def test_roll_back_to_a_version(story: Story) -> None:
    _, state, tasks = story.run("warehouse_rollback", to="002", mode="apply")
    assert state == "success"
    assert story.applied() == ["001", "002"]
    assert tasks["001_initial_schema"] == tasks["002_warehouse_tables"] == "skipped"
    assert tasks["004_reporting_views"] == tasks["011_slow"] == "success"


def test_apply_what_was_rolled_back(story: Story) -> None:
    _, state, _ = story.run()
    assert state == "success"
    assert story.applied() == ["001", "002", *(f"{number:03}" for number in range(4, 13))]


def process_of(airflow: AirflowClient, run_id: str, task_id: str) -> int:
    """The process that executes a task. Its files in /proc are closed to its own user: Airflow guards its secrets."""
    (pid,) = [task["pid"] for task in airflow.task_instances(DAG, run_id) if task["task_id"] == task_id]
    return int(pid)
