"""Loads in Airflow keep migrations away: as a decorator, arguments of an operator, a group, and without a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException
from airflow_runner import Runner, TaskLog

from airflow_provider_wmigrate import GuardedTaskGroup, guard_listener, guarded, load_guard
from airflow_provider_wmigrate.engine.errors import LockTimeout
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.session.advisory import LOADS, MIGRATIONS
from airflow_provider_wmigrate.engine.session.loads import holders
from airflow_provider_wmigrate.web.plugin import WMigratePlugin

MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]
CONFIG = "settings: {guard: {enabled: true, wait_seconds: 1}}\n"


def at_work(conn: Conn) -> list[str]:
    return [holder.name for holder in holders(conn, LOADS)]


def test_each_face_holds_the_guard_while_its_task_is_at_work(runner: Runner, conn: Conn, task_log: TaskLog) -> None:
    from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

    seen: dict[str, list[str]] = {}

    def look(name: str) -> None:
        seen[name] = at_work(conn)

    with DAG("sales", schedule=None) as dag:

        @task
        @load_guard("target")
        def decorated(name: str) -> str:
            look("decorated")
            return name

        @task
        def inside() -> None:
            with load_guard("target"):
                look("inside")
            look("behind")

        @task(**guarded("target"), retries=0)
        def broken() -> None:
            look("broken")
            raise ValueError("it fails under its guard")

        @task
        def after() -> None:
            look("after")

        with GuardedTaskGroup("group", conn_id="target") as group:
            query = "CREATE TABLE seen AS SELECT application_name AS name FROM pg_stat_activity"
            SQLExecuteQueryOperator(task_id="query", conn_id="target", sql=query)

            @task
            def each(number: int) -> None:
                look(f"each {number}")

            each.expand(number=[1])
        decorated("x") >> inside() >> group >> broken() >> after()
        after_group = dag.get_task("after")
        after_group.trigger_rule = "all_done"
    run = runner.run(dag)
    assert run.states["broken"] == "failed"

    def load(task_id: str) -> list[str]:
        return [f"wmigrate load sales.{task_id} {run.run_id}"[:63]]

    assert seen == {
        "decorated": load("decorated"),
        "inside": load("inside"),
        "behind": [],
        "each 1": load("group.each[0]"),
        "broken": load("broken"),
        "after": load("broken"),  # in Airflow its process has ended
    }
    assert run.returned("decorated") == "x"
    assert load("group.query")[0] in [name for (name,) in conn.execute("SELECT name FROM seen")]
    assert "no migration begins on target until this load has ended" in task_log.lines
    from airflow_provider_wmigrate.guards import let_go

    let_go()
    assert at_work(conn) == []


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the plugin does where the option is set when Airflow starts."""
    from airflow.sdk.execution_time.task_runner import get_listener_manager

    monkeypatch.setenv("AIRFLOW__WMIGRATE__GUARDED_TASKS", '{"target": ["sales_*.load_*"]}')
    listener = WMigratePlugin().listeners[0]
    assert listener is guard_listener
    manager = get_listener_manager()
    manager.add_listener(listener)
    yield
    manager.pm.unregister(listener)


@pytest.mark.usefixtures("untouched")
def test_an_untouched_dag_is_guarded_where_its_tasks_are_named(
    runner: Runner, make_folder: MakeFolder, conn: Conn, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration tells which load it waits for; a load that is the migration itself is none."""
    folder = make_folder({"migration_config.yaml": CONFIG, "001_a.sql": "CREATE TABLE a (id int);"})
    seen: dict[str, list[str]] = {}
    refused: list[str] = []

    with DAG("sales_eu", schedule=None) as dag:

        @task
        def load_orders() -> None:
            seen["load_orders"] = at_work(conn)
            migrator = Migrator(lambda: psycopg.connect(database), read_folder(folder), identity=Identity("cli"))
            try:
                migrator.apply("001")
            except LockTimeout as error:
                refused.append(str(error))

        @task
        def report() -> None:
            seen["report"] = at_work(conn)

        load_orders() >> report()
    run = runner.run(dag)
    name = f"load sales_eu.load_orders {run.run_id}"
    assert (run.state, seen) == ("success", {"load_orders": [f"wmigrate {name}"[:63]], "report": []})
    assert [text.partition("; run it when")[0].partition("; load ")[2].partition(" (pid")[0] for text in refused] == [
        name.removeprefix("load ")
    ]
    migrations = runner.run(runner.migrations(folder, dag_id="sales_load_migrations"))
    assert (migrations.state, at_work(conn), holders(conn, MIGRATIONS)) == ("success", [], ())
    monkeypatch.setenv("AIRFLOW__WMIGRATE__GUARDED_TASKS", '{"target": "sales_*"}')
    wrong = runner.run(dag)
    assert str(wrong.errors["load_orders"]) == (
        "guarded_tasks in [wmigrate] cannot be read, so it is not known which tasks are loads; write JSON, such as"
        ' {"warehouse_db": ["sales.*", "nightly.load_*"]}'
    )


def test_without_the_option_there_is_no_listener() -> None:
    assert guard_listener not in WMigratePlugin().listeners


def test_a_load_waits_and_fails_or_only_warns(runner: Runner, conn: Conn, task_log: TaskLog) -> None:
    conn.execute("SELECT pg_advisory_lock_shared(%s)", [MIGRATIONS.number])
    done: list[str] = []

    with DAG("waiting", schedule=None) as dag:

        @task(retries=0)
        @load_guard("target", wait_seconds=1.2)
        def waits() -> None:
            done.append("waits")

        @task(trigger_rule="all_done")
        def over() -> None:
            conn.execute("SELECT pg_advisory_unlock_all()")

        def cut(name: str) -> None:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ 'load waiting'"
            )
            done.append(name)

        @task(retries=0)
        @load_guard("target", on_lost="warn")
        def warned() -> None:
            cut("warned")

        @task(retries=0)
        @load_guard("target")
        def lost() -> None:
            cut("lost")

        waits() >> over() >> warned() >> lost()
    run = runner.run(dag)
    assert (done, run.states["warned"], run.states["lost"]) == (["warned", "lost"], "success", "failed")
    assert str(run.errors["waits"]).startswith("the guard was not free within 1.2")
    assert any(line.startswith("waiting for ") and line.endswith(" since 1 s") for line in task_log.lines)
    told = "no connection to the target database: the guard of this load was lost while it was at work, so a migration"
    assert str(run.errors["lost"]).startswith(told)
    assert any(line.startswith(told) for line in task_log.lines)


def test_what_cannot_be_guarded_is_refused_while_it_is_written() -> None:
    async def later() -> None: ...

    def some() -> Iterator[int]:
        yield 1

    for function in (later, some):
        with pytest.raises(TypeError) as caught:
            load_guard("target")(function)
        assert str(caught.value) == (
            f"{function.__name__} works after it has returned: write `with load_guard(...)` inside it"
        )
    with pytest.raises(ValueError, match=r"^on_lost must be fail or warn, not 'no'$"):
        load_guard("target", on_lost="no")  # type: ignore[arg-type]
    with DAG("own", schedule=None):
        group = GuardedTaskGroup("g", conn_id="target")
        with (
            pytest.raises(ValueError, match=r"^g\.mine has a pre_execute of its own, which replaces the guard's"),
            group,
        ):
            EmptyOperator(task_id="mine", pre_execute=lambda context: None)


def test_migrations_in_a_guarded_group_do_not_wait_for_themselves(
    runner: Runner, make_folder: MakeFolder, task_log: TaskLog
) -> None:
    from airflow_provider_wmigrate import MigrationSensor, MigrationTaskGroup

    folder = make_folder({"001_a.sql": "CREATE TABLE a (id int);", "migration_config.yaml": CONFIG})
    with DAG("guarded_migrations", schedule=None), GuardedTaskGroup("load", conn_id="target") as group:
        migrate = MigrationTaskGroup("migrate", folder=folder, conn_id="target")
        migrate >> MigrationSensor(task_id="wait", conn_id="target", no_migration=True)
        migrate >> EmptyOperator(task_id="load")
    run = runner.run(group.dag)
    assert (run.state, run.errors["001_a"]) == ("success", None)
    assert task_log.lines.count("no migration begins on target until this load has ended") == 1


def test_an_unreadable_option_is_no_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_wmigrate.defaults import guarded_tasks

    for wrong in ("x", "[]", '{"target": "a"}', '{"target": [1]}'):
        monkeypatch.setenv("AIRFLOW__WMIGRATE__GUARDED_TASKS", wrong)
        with pytest.raises(AirflowFailException):
            guarded_tasks()
