"""Waiting for the schema: the sensor in both ways, its trigger in a real event loop, and the asset event."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import threading
import warnings
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout
from airflow.triggers.base import TriggerEvent
from airflow_runner import Runner, TaskLog, connection

from airflow_provider_wmigrate import MigrationSensor, MigrationTaskGroup, schema_asset
from airflow_provider_wmigrate.engine.decisions.alone import Decider
from airflow_provider_wmigrate.engine.decisions.baseline import baseline
from airflow_provider_wmigrate.engine.events import Started
from airflow_provider_wmigrate.engine.folder.folder import read_folder
from airflow_provider_wmigrate.engine.migrator import Migrator
from airflow_provider_wmigrate.engine.model import Identity
from airflow_provider_wmigrate.engine.session.advisory import ledger_lock
from airflow_provider_wmigrate.engine.session.loads import holders
from airflow_provider_wmigrate.triggers import IdleTrigger, LedgerTrigger, ObjectTrigger
from tests.waiting import ENDLESS, PATIENCE, wait_until

MakeFolder = Callable[..., Path]
MakeMigrator = Callable[..., Migrator]
Conn = psycopg.Connection[Any]

A = {"001_a.sql": "CREATE TABLE a (id int);", "001_a.rollback.sql": "DROP TABLE a;"}
B = {"002_b.sql": "CREATE TABLE b (id int);", "002_b.rollback.sql": "DROP TABLE b;"}


# The trigger


def trigger(*versions: str, poll_interval: float = ENDLESS, schema: str = "wmigrate") -> LedgerTrigger:
    return LedgerTrigger("target", list(versions), schema, poll_interval)


async def first_event(waiting: LedgerTrigger) -> TriggerEvent:
    return await anext(aiter(waiting.run()))


def listeners(conn: Conn) -> list[int]:
    query = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND state = 'idle' AND query LIKE 'SELECT version FROM %'"
    )
    return [pid for (pid,) in conn.execute(query)]


def nobody_listens(conn: Conn) -> bool:
    """The server sees a moment later that a client has gone."""
    wait_until(lambda: not listeners(conn))
    return True


def run_beside(waiting: LedgerTrigger, conn: Conn, act: Callable[[], Any]) -> None:
    """Start the trigger, act when it has looked once, and see it fire after that."""

    async def both() -> None:
        fired = asyncio.create_task(first_event(waiting))
        await settled(fired, conn)
        await asyncio.to_thread(act)
        event = await asyncio.wait_for(fired, PATIENCE)
        assert event.payload == {"versions": waiting.versions}

    asyncio.run(both())


async def settled(fired: asyncio.Task[TriggerEvent], conn: Conn) -> None:
    await asyncio.to_thread(wait_until, lambda: fired.done() or listeners(conn))
    assert not fired.done(), fired.exception()


def test_the_trigger_fires_at_once_when_there_is_nothing_to_wait_for(
    runner: Runner, migrator: MakeMigrator, conn: Conn
) -> None:
    migrator({**A, **B}).apply("001")
    event = asyncio.run(asyncio.wait_for(first_event(trigger("001")), PATIENCE))
    assert event.payload == {"versions": ["001"]}
    assert nobody_listens(conn)


def test_a_notification_wakes_it(runner: Runner, migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator({**A, **B})
    made.apply("001")
    run_beside(trigger("001", "002"), conn, lambda: made.apply("002"))


def test_a_baseline_wakes_it(runner: Runner, make_folder: MakeFolder, conn: Conn, database: str) -> None:
    folder = read_folder(make_folder({**A, **B}))
    connect = lambda: psycopg.connect(database)  # noqa: E731

    def declare(to: str) -> None:
        baseline(Decider(connect, folder, Identity("ann"), "it was there"), to)

    declare("001")
    run_beside(trigger("001", "002"), conn, lambda: declare("002"))


def test_a_ledger_made_later(runner: Runner, migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator(A)
    run_beside(trigger("001"), conn, lambda: made.apply("001"))


def test_a_ledger_in_another_schema(runner: Runner, migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator({**A, "migration_config.yaml": "settings: {ledger: {schema: elsewhere}}"})
    run_beside(trigger("001", schema="elsewhere"), conn, lambda: made.apply("001"))


def test_it_looks_by_itself_where_no_notification_arrives(runner: Runner, migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator({**A, **B})
    made.apply("001")

    def apply_in_silence() -> None:
        conn.execute("ALTER TABLE wmigrate.schema_migrations DISABLE TRIGGER schema_migrations_tell")
        made.apply("002")

    run_beside(trigger("002", poll_interval=0.3), conn, apply_in_silence)


def test_an_incomplete_migration_is_not_applied(runner: Runner, migrator: MakeMigrator, conn: Conn) -> None:
    migrator(A).apply("001")
    conn.execute("UPDATE wmigrate.schema_migrations SET status = 'incomplete'")
    finish = "UPDATE wmigrate.schema_migrations SET status = 'applied'"
    run_beside(trigger("001"), conn, lambda: conn.execute(finish))


def test_a_broken_connection_is_made_again(runner: Runner, migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator(A)

    def break_and_apply() -> None:
        conn.execute("SELECT pg_terminate_backend(%s)", listeners(conn))
        made.apply("001")

    run_beside(trigger("001", poll_interval=0.2), conn, break_and_apply)


def test_a_target_that_is_down_at_first(
    runner: Runner, migrator: MakeMigrator, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    migrator(A).apply("001")
    monkeypatch.setenv("AIRFLOW_CONN_TARGET", '{"conn_type": "postgres", "host": "127.0.0.1", "port": 1}')

    async def both() -> None:
        fired = asyncio.create_task(first_event(trigger("001", poll_interval=0.1)))
        await asyncio.sleep(0.3)
        assert not fired.done()
        monkeypatch.setenv("AIRFLOW_CONN_TARGET", connection(database))
        await asyncio.wait_for(fired, PATIENCE)

    asyncio.run(both())


def test_many_triggers_in_one_loop(runner: Runner, migrator: MakeMigrator, conn: Conn) -> None:
    made = migrator(A)

    async def all_of_them() -> None:
        fired = [asyncio.create_task(first_event(trigger("001"))) for _ in range(8)]
        while len(listeners(conn)) < 8:
            await asyncio.sleep(0.02)
        await asyncio.to_thread(made.apply, "001")
        await asyncio.wait_for(asyncio.gather(*fired), PATIENCE)

    asyncio.run(asyncio.wait_for(all_of_them(), 2 * PATIENCE))
    assert nobody_listens(conn)


def cancelled_after_listening(conn: Conn) -> Coroutine[Any, Any, None]:
    async def cancel() -> None:
        fired = asyncio.create_task(first_event(trigger("001")))
        await settled(fired, conn)
        fired.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fired

    return cancel()


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_cancelled_trigger_leaves_no_connection(runner: Runner, conn: Conn) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(cancelled_after_listening(conn))
        gc.collect()
    assert nobody_listens(conn)


def test_the_trigger_survives_the_metadata_database() -> None:
    from airflow._shared.module_loading import import_string

    for given, name in (
        (trigger("001", "002", poll_interval=7), "LedgerTrigger"),
        (ObjectTrigger("target", ["a.b"], 7), "ObjectTrigger"),
        (IdleTrigger("target", "wmigrate", 7), "IdleTrigger"),
    ):
        path, arguments = given.serialize()
        assert path == f"airflow_provider_wmigrate.triggers.{name}"
        again = import_string(path)(**json.loads(json.dumps(arguments)))
        assert again.serialize() == (path, arguments)


# The sensor

QUICK = {"poke_interval": 0.1, "timeout": PATIENCE}


def sensor(**arguments: Any) -> MigrationSensor:
    return MigrationSensor(**{"task_id": "wait", "conn_id": "target", **QUICK, **arguments})


@pytest.mark.parametrize("deferrable", [False, True], ids=["poking", "deferrable"])
class TestBothWays:
    def test_applied_already(self, runner: Runner, migrator: MakeMigrator, deferrable: bool, task_log: TaskLog) -> None:
        migrator({**A, **B}).apply("001")
        run = runner.run(runner.of(sensor(versions=["1"], deferrable=deferrable)))
        assert run.state == "success"

    def test_waits(
        self, runner: Runner, migrator: MakeMigrator, conn: Conn, deferrable: bool, task_log: TaskLog
    ) -> None:
        made = migrator({**A, **B})
        made.apply("001")
        dag = runner.of(sensor(versions=["001", "002"], deferrable=deferrable))
        dag.task_dict["wait"].on_execute_callback = [ApplyLater(made, "002")]
        run = runner.run(dag)
        assert run.state == "success"
        assert "waiting for 002" in task_log.lines

    def test_a_folder_means_all_of_it(
        self, runner: Runner, migrator: MakeMigrator, make_folder: MakeFolder, deferrable: bool
    ) -> None:
        folder = make_folder({**A, **B, "migration_config.yaml": "settings: {ledger: {schema: elsewhere}}"})
        made = migrator(folder)
        made.apply("001")
        dag = runner.of(sensor(folder=folder, deferrable=deferrable))
        dag.task_dict["wait"].on_execute_callback = [ApplyLater(made, "002")]
        assert runner.run(dag).state == "success"

    @pytest.mark.parametrize("versions", [["latest"], ["-1"], ["²"], [], "", "001,", "{{ '1 2' }}"], ids=repr)
    def test_what_is_no_version_fails_at_once(self, runner: Runner, versions: Any, deferrable: bool) -> None:
        run = runner.run(runner.of(sensor(versions=versions, deferrable=deferrable, retries=3)))
        assert run.tries["wait"] == 1
        assert isinstance(run.errors["wait"], AirflowFailException)
        assert str(run.errors["wait"]).startswith("versions are numbers such as 002, not ")

    def test_versions_from_a_template(self, runner: Runner, migrator: MakeMigrator, deferrable: bool) -> None:
        made = migrator({**A, **B})
        made.apply("001")
        made.apply("002")
        run = runner.run(runner.of(sensor(versions="{{ dag_run.conf.needs }}", deferrable=deferrable)), needs="1, 002")
        assert run.state == "success"

    def test_one_number_from_native_rendering(self, runner: Runner, migrator: MakeMigrator, deferrable: bool) -> None:
        migrator(A).apply("001")
        dag = runner.of(sensor(versions="{{ 1 }}", deferrable=deferrable))
        dag.render_template_as_native_obj = True
        run = runner.run(dag)
        assert run.state == "success", run.errors

    def test_what_waiting_cannot_heal_fails_at_once(
        self, runner: Runner, monkeypatch: pytest.MonkeyPatch, database: str, deferrable: bool
    ) -> None:
        there = json.loads(connection(database))
        monkeypatch.setenv("AIRFLOW_CONN_TARGET", json.dumps({**there, "schema": "nowhere"}))
        run = runner.run(runner.of(sensor(versions=["001"], deferrable=deferrable, retries=3)))
        assert run.tries["wait"] == 1
        said = str(run.errors["wait"])
        assert 'database "nowhere" does not exist' in said
        assert said.endswith("; correct the database's name, or create it")

    def test_a_right_that_is_missing_fails_at_once(
        self,
        runner: Runner,
        migrator: MakeMigrator,
        monkeypatch: pytest.MonkeyPatch,
        database: str,
        conn: Conn,
        deferrable: bool,
    ) -> None:
        migrator(A).apply("001")
        conn.execute("CREATE ROLE sees_nothing LOGIN")
        try:
            given = {**json.loads(connection(database)), "login": "sees_nothing"}
            monkeypatch.setenv("AIRFLOW_CONN_TARGET", json.dumps(given))
            run = runner.run(runner.of(sensor(versions=["001"], deferrable=deferrable, retries=3)))
        finally:
            conn.execute("DROP ROLE sees_nothing")
        assert run.tries["wait"] == 1
        assert "permission denied for" in str(run.errors["wait"])

    def test_a_folder_without_migrations_is_nothing_to_wait_for(
        self, runner: Runner, make_folder: MakeFolder, deferrable: bool
    ) -> None:
        """It may not be there yet, or be another one; that all of it is applied would be a yes out of nothing."""
        folder = make_folder({})
        run = runner.run(runner.of(sensor(folder=folder, deferrable=deferrable, retries=3)))
        assert (run.tries["wait"], type(run.errors["wait"])) == (1, AirflowFailException)
        assert str(run.errors["wait"]) == f"{folder}: there is no migration in this folder to wait for"

    def test_a_table_and_a_column_that_somebody_makes(
        self, runner: Runner, conn: Conn, deferrable: bool, task_log: TaskLog
    ) -> None:
        """Not by a migration: so no ledger is needed."""
        conn.execute('CREATE TABLE a (id int); CREATE TABLE "B c" (old int)')
        dag = runner.of(sensor(objects=["public.A.id", 'public."B c".email'], deferrable=deferrable))
        make = Later(lambda: conn.execute('ALTER TABLE "B c" DROP old; ALTER TABLE "B c" ADD email text'))
        dag.task_dict["wait"].on_execute_callback = [make]
        run = runner.run(dag)
        assert run.state == "success", run.errors
        assert 'waiting for public."B c".email' in task_log.lines

    @pytest.mark.parametrize("objects", [[], "", "orders", "a.b.c.d", 'a."b', "public.orders,"], ids=repr)
    def test_what_is_no_object_fails_at_once(self, runner: Runner, objects: Any, deferrable: bool) -> None:
        run = runner.run(runner.of(sensor(objects=objects, deferrable=deferrable, retries=3)))
        assert (run.tries["wait"], type(run.errors["wait"])) == (1, AirflowFailException)
        end = " names no table; write schema.table or schema.table.column, as in SQL"
        assert str(run.errors["wait"]).endswith(end)

    def test_that_no_migration_runs(
        self, runner: Runner, migrator: MakeMigrator, conn: Conn, deferrable: bool, task_log: TaskLog
    ) -> None:
        """One that runs outside of a guard as well: the locks of its ledger say so."""
        go_on = threading.Event()
        made = migrator(A, on_event=lambda event: isinstance(event, Started) and go_on.wait(PATIENCE))
        at_work = threading.Thread(target=made.apply, args=["001"])
        at_work.start()
        try:
            wait_until(lambda: holders(conn, ledger_lock("wmigrate")))
            dag = runner.of(sensor(no_migration=True, deferrable=deferrable))
            dag.task_dict["wait"].on_execute_callback = [Later(go_on.set)]
            run = runner.run(dag)
        finally:
            go_on.set()
            at_work.join()
        assert run.state == "success", run.errors
        assert any(re.fullmatch(r"waiting for apply 001 \(pid \d+, user postgres\)", line) for line in task_log.lines)

    def test_an_unknown_environment(self, runner: Runner, make_folder: MakeFolder, deferrable: bool) -> None:
        run = runner.run(runner.of(sensor(folder=make_folder(A), environment="nowhere", deferrable=deferrable)))
        assert "there is no environment nowhere" in str(run.errors["wait"])


class Later(threading.Timer):
    """As a task's callback: acts when the task has begun to wait. It is called again when the task resumes."""

    def __init__(self, act: Callable[[], Any]) -> None:
        super().__init__(0.4, act)

    def __call__(self, context: Any) -> None:
        if not self.ident:
            self.start()


class ApplyLater(Later):
    def __init__(self, made: Migrator, version: str) -> None:
        super().__init__(lambda: made.apply(version))


def test_a_poking_sensor_gives_up_in_the_end(runner: Runner, migrator: MakeMigrator) -> None:
    migrator({**A, **B}).apply("001")
    run = runner.run(runner.of(sensor(versions=["002"], timeout=0.3)))
    assert isinstance(run.errors["wait"], AirflowSensorTimeout)
    assert run.state == "failed"


def test_a_deferred_sensor_hands_over_its_timeout(runner: Runner) -> None:
    from airflow.sdk.exceptions import TaskDeferred

    waiting = sensor(versions=["002"], deferrable=True, timeout=90, poke_interval=timedelta(seconds=7))
    with pytest.raises(TaskDeferred) as deferred:
        waiting.execute({})
    assert deferred.value.timeout == timedelta(seconds=90)
    assert deferred.value.trigger.serialize()[1]["poll_interval"] == 7.0


def test_a_target_that_is_down_is_waited_for(
    runner: Runner, migrator: MakeMigrator, monkeypatch: pytest.MonkeyPatch, database: str, task_log: TaskLog
) -> None:
    migrator(A).apply("001")
    monkeypatch.setenv("AIRFLOW_CONN_TARGET", '{"conn_type": "postgres", "host": "127.0.0.1", "port": 1}')
    waiting = sensor(versions=["001"])
    assert waiting.poke({}) is False
    assert "the target database cannot be reached: " in task_log.text
    monkeypatch.setenv("AIRFLOW_CONN_TARGET", connection(database))
    assert waiting.poke({}) is True


def test_a_relative_folder_is_relative_to_the_dag_file(make_folder: MakeFolder) -> None:
    folder = make_folder(A)
    dag = DAG("relative", schedule=None)
    (folder.parent / "dags").mkdir()
    dag.fileloc = str(folder.parent / "dags" / "file.py")
    waiting = sensor(folder="../migrations", dag=dag)
    assert waiting._wanted() == (["001"], "wmigrate")


@pytest.mark.parametrize("arguments", [{}, {"versions": ["001"], "folder": "migrations"}], ids=["neither", "both"])
def test_either_versions_or_folder(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give MigrationSensor one of versions, folder, objects and no_migration"):
        sensor(**arguments)


# The asset


def asset_events(name: str) -> list[dict[str, Any]]:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(AssetEvent).join(AssetModel, AssetModel.id == AssetEvent.asset_id).where(AssetModel.name == name)
    with create_session() as session:
        return [
            {**event.extra, "dag_id": event.source_dag_id, "task_id": event.source_task_id}
            for event in session.scalars(query.order_by(AssetEvent.id))
        ]


def queued_for(dag_id: str) -> int:
    """Events that wait for the scheduler to start a run of this DAG."""
    from airflow.models.asset import AssetDagRunQueue
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    with create_session() as session:
        query = select(func.count()).where(AssetDagRunQueue.target_dag_id == dag_id)
        return int(session.scalar(query) or 0)


def test_a_run_that_changed_the_schema_tells_its_consumers(
    runner: Runner, make_folder: MakeFolder, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow_runner import store

    monkeypatch.setenv("AIRFLOW_CONN_ASSET_TEST", connection(database))
    with DAG("asset_consumer", schedule=[schema_asset("asset_test")], is_paused_upon_creation=False) as consumer:
        EmptyOperator(task_id="tell")
    store(consumer)

    def migrations(folder: Path, **arguments: Any) -> DAG:
        with DAG("asset_producer", schedule=None) as dag:
            MigrationTaskGroup(folder=folder, conn_id="{{ dag_run.conf.conn_id }}", **arguments)
        return dag

    def run(dag: DAG) -> list[dict[str, Any]]:
        assert runner.run(dag, conn_id="asset_test").state == "success"
        return asset_events("wmigrate/asset_test")

    folder = make_folder({**A, **B})
    assert run(migrations(folder, mode="dry_run")) == []
    assert queued_for("asset_consumer") == 0

    (event,) = run(migrations(folder))
    assert event["applied"] == ["001", "002"]
    assert event["dag_id"] == "asset_producer"
    assert event["task_id"] == "migrate.report"
    assert event["audit_head"].partition(":")[0].isdigit()
    assert queued_for("asset_consumer") == 1

    assert len(run(migrations(folder))) == 1  # nothing was pending, so nothing is told
