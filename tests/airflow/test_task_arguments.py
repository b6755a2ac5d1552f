"""What a user gives a DAG or a group joins what we give the tasks, and never gives way silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runner import Runner, connection

from airflow_provider_wmigrate import MigrationTaskGroup, RollbackTaskGroup
from airflow_provider_wmigrate.alerting.alerts import tell_failure, tell_healed
from airflow_provider_wmigrate.callbacks import roll_back_on_failure

MakeFolder = Callable[..., Path]
GOOD = {"001_a.sql": "CREATE TABLE a (id int);", "001_a.rollback.sql": "DROP TABLE a;"}
BAD = {"002_b.sql": "SELECT * FROM nowhere;"}
NO_RETRIES = {"migration_config.yaml": "settings: {execution: {retry_attempts: 0}}"}


class Heard:
    """A callback that counts who called it. A task keeps copies of its callbacks, which count together."""

    def __init__(self) -> None:
        self.by: Counter[str] = Counter()

    def __deepcopy__(self, memo: Any) -> Heard:
        return self

    def __call__(self, context: Any) -> None:
        self.by[context["ti"].task_id] += 1


def group(folder: Path, *, dag: dict[str, Any] | None = None, **arguments: Any) -> DAG:
    with DAG("arguments", schedule=None, **(dag or {})) as made:
        MigrationTaskGroup("migrate", folder=folder, conn_id="target", **arguments)
    return made


@pytest.mark.parametrize("notified", [False, True], ids=["alone", "with notifiers"])
def test_callbacks_of_default_args_and_of_the_group_run_beside_ours(
    runner: Runner, make_folder: MakeFolder, database: str, monkeypatch: pytest.MonkeyPatch, notified: bool
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TARGET", connection(database))
    failed, failed_too, succeeded, executed, skipped = Heard(), Heard(), Heard(), Heard(), Heard()
    dag = group(
        make_folder({**GOOD, **BAD, **NO_RETRIES}),
        dag={
            "default_args": {
                "on_failure_callback": failed,
                "on_success_callback": succeeded,
                "on_execute_callback": executed,
                "on_skipped_callback": skipped,
            }
        },
        on_failure_callback=[failed_too, failed],
        notifiers=[Heard()] if notified else (),
    )
    assert runner.run(dag).state == "failed"
    assert failed.by == failed_too.by == {"migrate.002_b": 1, "migrate.report": 1}
    assert succeeded.by == {"migrate.plan": 1, "migrate.001_a": 1}
    assert executed.by == {f"migrate.{name}": 1 for name in ("plan", "001_a", "002_b", "report")}


def test_ours_come_first_and_nobody_twice(make_folder: MakeFolder) -> None:
    mine = Heard()
    dag = group(make_folder(GOOD), dag={"default_args": {"on_failure_callback": mine}}, notifiers=[Heard()])
    assert dag.get_task("migrate.001_a").on_failure_callback == [tell_failure, roll_back_on_failure, mine]
    assert dag.get_task("migrate.001_a").on_success_callback == [tell_healed]
    assert dag.get_task("migrate.plan").on_failure_callback == [tell_failure, mine]


@pytest.mark.parametrize("where", ["default_args", "group's default_args", "group"])
def test_what_the_user_says_counts_more_than_the_config(make_folder: MakeFolder, where: str) -> None:
    said = {"retries": 7, "retry_delay": timedelta(seconds=3), "execution_timeout": timedelta(hours=2)}
    given: dict[str, Any] = {
        "default_args": {"dag": {"default_args": said}},
        "group's default_args": {"default_args": said},
        "group": said,
    }[where]
    dag = group(make_folder({**GOOD, **NO_RETRIES}), **given)
    for task in dag.tasks:
        assert (task.retries, task.retry_delay, task.execution_timeout) == (7, timedelta(seconds=3), timedelta(hours=2))


def test_given_retries_are_the_ones_that_are_made(
    runner: Runner, make_folder: MakeFolder, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The config says none. A lock that somebody holds is what a retry may heal."""
    import psycopg

    monkeypatch.setenv("AIRFLOW_CONN_TARGET", connection(database))
    config = "settings: {execution: {retry_attempts: 0, lock_timeout_seconds: 0.1, lock_attempts: 1}}"
    files = {"001_a.sql": "ALTER TABLE t ADD id int;", "migration_config.yaml": config}
    with psycopg.connect(database) as other:
        other.execute("CREATE TABLE t ()")
        other.commit()
        other.execute("LOCK TABLE t")
        run = runner.run(group(make_folder(files), retries=2, retry_delay=timedelta(0)))
    assert run.tries["001_a"] == 3


def test_arguments_of_every_task_and_of_the_group(make_folder: MakeFolder) -> None:
    dag = group(
        make_folder(GOOD),
        pool="ddl",
        queue="databases",
        priority_weight=5,
        owner="platform",
        doc_md="Ask the platform team.",
        default_args={"doc_md": "Changes go through review."},
    )
    assert dag.task_group.get_task_group_dict()["migrate"].doc_md == "Ask the platform team."
    for task in dag.tasks:
        assert (task.pool, task.queue, task.priority_weight, task.owner) == ("ddl", "databases", 5, "platform")
        assert task.doc_md.endswith("Changes go through review.")
    assert dag.get_task("migrate.001_a").doc_md.startswith("**001_a**")


@pytest.mark.parametrize("name", ["pol", "task_id", "trigger_rule"])
def test_an_argument_that_nobody_takes_is_refused(make_folder: MakeFolder, name: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected argument '{name}'"):
        group(make_folder(GOOD), **{name: "x"})


def test_a_rollback_group_takes_them_as_well(make_folder: MakeFolder) -> None:
    mine = Heard()
    with DAG("back", schedule=None, default_args={"on_failure_callback": mine}) as dag:
        RollbackTaskGroup("rollback", folder=make_folder(GOOD), conn_id="target", to="0", pool="ddl")
    assert {task.pool for task in dag.tasks} == {"ddl"}
    assert dag.get_task("rollback.001_a").on_failure_callback == [mine]
