"""One folder through three environments: what holds each of them up, and what goes on."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow_runner import Run, Runner, applied, connection, relations

from dev.cluster import Cluster

MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]
Three = dict[str, Conn]
_numbers = itertools.count()

CONFIG = """
settings: {execution: {retry_attempts: 0}}
environments: {dev: {}, staging: {}, prod: {}}
"""
NO_TRIES = CONFIG.replace("retry_attempts: 0", "retry_attempts: 0, dry_run_enabled: false")
FOLDER = {
    "001_a.sql": "CREATE TABLE a (id int PRIMARY KEY);",
    "001_a.rollback.sql": "DROP TABLE a;",
    "002_b.sql": "CREATE TABLE b (id int REFERENCES a);",
    "002_b.rollback.sql": "DROP TABLE b;",
    "migration_config.yaml": CONFIG,
}


@pytest.fixture
def three(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Three]:
    """A database for each environment, and connections to them."""
    dsns = {name: cluster.create_database(f"promotion_{name}_{next(_numbers)}") for name in ("dev", "staging", "prod")}
    for name, dsn in dsns.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}_DB", connection(dsn))
    conns = {name: psycopg.connect(dsn, autocommit=True) for name, dsn in dsns.items()}
    yield conns
    for conn in conns.values():
        conn.close()


def promotion(folder: Path, dag_id: str, environments: dict[str, Any] | None = None, **more: Any) -> Any:
    from airflow.sdk import DAG

    from airflow_provider_wmigrate import Approval, PromotionTaskGroup

    prod = {"conn_id": "prod_db", "approval": Approval()}
    given = environments or {"dev": "dev_db", "staging": "staging_db", "prod": prod}
    with DAG(dag_id, schedule=None) as dag:
        PromotionTaskGroup("promote", folder=folder, environments=given, **more)
    return dag


def of(run: Run, *parts: str) -> list[str | None]:
    """States of tasks, by the end of their full ids."""
    from airflow.utils.session import create_session

    with create_session() as session:
        states = {ti.task_id: ti.state and str(ti.state) for ti in run._instances(session)}
    return [states[f"promote.{part}"] for part in parts]


def test_a_folder_goes_through_three_environments(runner: Runner, make_folder: MakeFolder, three: Three) -> None:
    folder = make_folder(FOLDER)
    dag = promotion(folder, "promoted", scratch_conn_id="dev_db")
    run = runner.run(dag)
    assert {name: "a" in relations(conn) for name, conn in three.items()} == {
        "dev": True, "staging": True, "prod": False}  # fmt: skip
    assert of(run, "staging.health", "prod.verify", "prod.dry_run.report", "prod.migrate.approve") == [
        "success", "success", "success", "awaiting_input"]  # fmt: skip
    body = run.request("promote.prod.migrate.approve").body
    assert "| environment | `prod` |" in body
    assert "| target | `prod_db` |" in body
    run.answer("promote.prod.migrate.approve", "apply")
    assert (run.state, of(run, "prod.health"), applied(three["prod"])) == ("success", ["success"], ["001", "002"])

    # Nothing is pending any more: nobody is asked
    again = runner.run(dag)
    assert (again.state, of(again, "prod.migrate.approve", "prod.health")) == ("success", ["skipped", "success"])


def test_what_fails_or_is_rejected_stops_those_behind_it(runner: Runner, make_folder: MakeFolder, three: Three) -> None:
    from airflow_provider_wmigrate import Approval

    three["staging"].execute("CREATE TABLE b (id int)")
    folder = make_folder(FOLDER)
    run = runner.run(promotion(folder, "stopped"))
    stopped = ("staging.migrate.plan", "prod.dry_run.plan", "prod.health")
    assert of(run, "dev.health", "staging.dry_run.history", *stopped) == [
        "success", "failed", "upstream_failed", "upstream_failed", "upstream_failed"]  # fmt: skip
    assert (run.state, relations(three["staging"]), relations(three["prod"])) == ("failed", {"b"}, set())

    three["staging"].execute("DROP TABLE b")
    rejected = runner.run(promotion(folder, "rejected", approval=Approval()))
    assert of(rejected, "dev.migrate.approve", "staging.migrate.approve", "prod.dry_run.plan") == [
        "skipped", "awaiting_input", None]  # fmt: skip
    rejected.answer("promote.staging.migrate.approve", "reject")
    assert of(rejected, "staging.migrate.report", "staging.health", "prod.dry_run.plan", "prod.health") == [
        "failed", "upstream_failed", "upstream_failed", "upstream_failed"]  # fmt: skip
    assert (rejected.state, relations(three["staging"]), relations(three["prod"])) == ("failed", set(), set())


def test_only_what_was_applied_in_the_environment_before_goes_on(
    runner: Runner, make_folder: MakeFolder, three: Three
) -> None:
    from airflow_provider_wmigrate import Approval

    folder = make_folder(FOLDER)
    staging = {"conn_id": "staging_db", "approval": Approval()}
    environments = {"dev": "dev_db", "staging": staging}
    run = runner.run(promotion(folder, "edited", environments))
    (folder / "002_b.sql").write_text("CREATE TABLE z (id int);")
    run.clear("promote.staging.dry_run.plan")
    error = str(run.errors["plan"])
    assert error == (
        "002_b is not applied in dev as the folder has it now; apply it there first: trigger a new run, so that it goes"
        " through dev"
    )
    assert relations(three["staging"]) == set()


NO_CONNECTION = "environment dev has no connection: give its id, or a mapping with conn_id"


@pytest.mark.parametrize(
    ("environments", "why"),
    [
        (["dev"], "environments must be a mapping from each environment, in order, to its connection"),
        ({"dev": None}, NO_CONNECTION),
        ({"dev": {"max_tasks": 3}}, NO_CONNECTION),
        (
            {"dev": {"conn_id": "dev_db", "environment": "prod"}},
            "environment cannot be given for environment dev alone; take it out of its mapping",
        ),
    ],
)
def test_environments_that_cannot_be_taken_as_meant_are_refused(
    make_folder: MakeFolder, environments: Any, why: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        promotion(make_folder(FOLDER), "refused", environments)


def test_a_connection_by_template_is_the_one_before_too(runner: Runner, make_folder: MakeFolder, three: Three) -> None:
    environments = {"dev": "{{ 'dev_db' }}", "staging": "staging_db"}
    run = runner.run(promotion(make_folder({**FOLDER, "migration_config.yaml": NO_TRIES}), "by_template", environments))
    assert (run.state, run.errors["plan"], applied(three["staging"])) == ("success", None, ["001", "002"])


def test_the_page_shows_each_environment_once(make_folder: MakeFolder) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    from airflow_provider_wmigrate.web.catalog import groups_of

    shown = groups_of("seen", DagSerialization.to_dict(promotion(make_folder(FOLDER), "seen")))
    assert [(g.group_id, g.environment) for g in shown] == [
        (f"promote.{name}.migrate", name) for name in ("dev", "staging", "prod")
    ]
