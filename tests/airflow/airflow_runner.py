"""What the tests here say to Airflow: give a DAG to it, drive a run to its end, look at what the run left.

Airflow is imported inside the functions, because it reads its settings when it is imported; see conftest.py.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.waiting import PATIENCE, wait_until

BUNDLE = "testing"
_ENDS = ("report", "roll_back_run")
_numbers = itertools.count(1)


def connection(dsn: str) -> str:
    """A DSN as Airflow reads a connection from the environment."""
    given = conninfo_to_dict(dsn)
    fields = {"host": given["host"], "port": int(given["port"]), "login": given["user"], "schema": given["dbname"]}
    return json.dumps({"conn_type": "postgres", **fields})


class TaskLog(logging.Handler):
    """Airflow's own loggers speak structlog, those of modules the standard library's."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.entries.append({"event": record.getMessage(), "log_level": record.levelname.lower()})

    @property
    def lines(self) -> list[str]:
        texts = [entry["event"] % entry.get("positional_args", ()) for entry in self.entries]
        return [line for text in texts for line in text.splitlines()]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Runner:
    """Runs DAGs as the scheduler would, one task after another in this process."""

    def migrations(self, folder: Path, *, dag_id: str | None = None, dag: dict[str, Any] | None = None, **more: Any):
        """A DAG with one MigrationTaskGroup `migrate` on the connection `target`."""
        from airflow.sdk import DAG

        from airflow_provider_wmigrate import MigrationTaskGroup

        with DAG(dag_id or f"migrations_{next(_numbers)}", schedule=None, **(dag or {})) as made:
            MigrationTaskGroup("migrate", folder=folder, conn_id="target", **more)
        return made

    def rollback(self, folder: Path, to: str, *, dag: dict[str, Any] | None = None, **more: Any):
        """A DAG with one RollbackTaskGroup `rollback` on the connection `target`."""
        from airflow.sdk import DAG

        from airflow_provider_wmigrate import RollbackTaskGroup

        with DAG(f"rollback_{next(_numbers)}", schedule=None, **(dag or {})) as made:
            RollbackTaskGroup("rollback", folder=folder, conn_id="target", to=to, **more)
        return made

    def of(self, *operators: Any, dag_id: str | None = None):
        """A DAG of the given operators, which were made without one."""
        from airflow.sdk import DAG

        with DAG(dag_id or f"operators_{next(_numbers)}", schedule=None) as made:
            for operator in operators:
                made.add_task(operator)
        return made

    def run(self, dag: Any, *, user: str | None = "alice", caused_by: Run | None = None, **conf: Any) -> Run:
        """Store the DAG, start a run of it and drive that to its end.

        :param caused_by: the run whose asset events this one was scheduled for.
        """
        run = Run(dag, f"manual__{next(_numbers)}")
        run.create(conf, user)
        if caused_by is not None:
            run.consume(caused_by)
        run.drive()
        return run


@dataclass
class Run:
    dag: Any
    run_id: str
    order: list[str] = field(default_factory=list)
    """The tasks that ran, each as often as it did, by the last part of their ids."""
    errors: dict[str, BaseException | None] = field(default_factory=dict)
    """What each task raised when it ran last."""

    def create(self, conf: dict[str, Any], user: str | None) -> None:
        from airflow._shared.timezones.timezone import utcnow
        from airflow.utils.session import create_session
        from airflow.utils.state import DagRunState
        from airflow.utils.types import DagRunTriggeredByType, DagRunType

        store(self.dag)
        with create_session() as session:
            stored_dag(self.dag.dag_id, session).create_dagrun(
                run_id=self.run_id,
                run_type=DagRunType.MANUAL,
                logical_date=None,
                data_interval=None,
                run_after=utcnow(),
                conf=conf,
                triggered_by=DagRunTriggeredByType.TEST,
                triggering_user_name=user,
                state=DagRunState.RUNNING,
                session=session,
            )

    def consume(self, cause: Run) -> None:
        from airflow.models.asset import AssetEvent
        from airflow.utils.session import create_session
        from sqlalchemy import select

        query = select(AssetEvent).where(AssetEvent.source_run_id == cause.run_id)
        with create_session() as session:
            run = self._dag_run(session)
            run.consumed_asset_events.extend(session.scalars(query))

    def drive(self, *, patience: float = PATIENCE) -> None:
        """Schedule and run tasks until the run is over. DAG.test does the same, but only for a run of its own.

        Of the tasks that are ready one is run before the scheduler is asked again, and one that ends a group comes
        first: the scheduler promises no order, so whatever has to wait must wait by its edges. It is over for now when
        a person is asked; see `answer`.

        :param patience: seconds without a task to run after which the run counts as hanging.
        """
        from airflow.sdk.definitions.dag import _run_task
        from airflow.utils.session import create_session
        from airflow.utils.state import DagRunState, TaskInstanceState

        progress = time.monotonic()
        with create_session() as session:
            run = self._dag_run(session)
            run.dag = stored_dag(self.dag.dag_id, session)
            while run.state == DagRunState.RUNNING:
                session.expire_all()
                ready, _ = run.update_state(session=session)
                session.commit()
                answered = [ti for ti in self._instances(session) if ti.state == TaskInstanceState.SCHEDULED]
                if not ready and not answered:
                    if any(ti.state == TaskInstanceState.AWAITING_INPUT for ti in self._instances(session)):
                        return
                    assert time.monotonic() - progress < patience, f"the run hangs: {self.states}"
                    time.sleep(0.02)
                    continue
                instance = min(ready or answered, key=lambda ti: (_short(ti.task_id) not in _ENDS, ti.task_id))
                goes_on = (TaskInstanceState.UP_FOR_RESCHEDULE, TaskInstanceState.SCHEDULED)
                instance.try_number += instance.state not in goes_on
                instance.state = TaskInstanceState.SCHEDULED
                session.commit()
                result = _run_task(ti=instance, task=self.dag.task_dict[instance.task_id], run_triggerer=True)
                progress = time.monotonic()
                self.order.append(_named(instance))
                self.errors[_named(instance)] = result and result.error

    def request(self, task_id: str, map_index: int = -1) -> Any:
        """What a person is asked in a task, with all its fields."""
        from airflow.models.hitl import HITLDetail
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            mine = next(t for t in self._instances(session) if (t.task_id, t.map_index) == (task_id, map_index))
            detail = session.scalars(select(HITLDetail).where(HITLDetail.ti_id == mine.id)).one()
            session.expunge_all()
            return detail

    def answer(
        self, task_id: str, option: str, *, user: str = "bob", map_index: int = -1, patience: float = PATIENCE
    ) -> None:
        """As a person does on the page of required actions, then drive the run on.

        :param patience: as for `drive`.
        """
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
        from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
        from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
        from airflow.utils.session import create_session

        with create_session() as session:
            payload = UpdateHITLDetailPayload(chosen_options=[option], params_input={})
            who = SimpleAuthManagerUser(username=user, role="ADMIN")
            update_hitl_detail(self.dag.dag_id, self.run_id, task_id, payload, who, session, map_index)
        self.drive(patience=patience)

    def time_out(self, task_id: str) -> None:
        """As the scheduler does when nobody has answered in time, then drive the run on."""
        from airflow.models.trigger import handle_event_submit
        from airflow.triggers.base import TriggerEvent
        from airflow.utils.session import create_session

        over = {"error": "The Human-in-the-loop response timeout has passed.", "error_type": "timeout"}
        with create_session() as session:
            mine = next(ti for ti in self._instances(session) if ti.task_id == task_id)
            handle_event_submit(TriggerEvent(over), task_instance=mine, session=session)
        self.drive()

    def clear(self, *task_ids: str, dag: Any = None) -> None:
        """As a person does in the UI, then drive the run again; `dag` is the DAG file as it is parsed by then."""
        self.reset(*task_ids, dag=dag)
        self.drive()

    def reset(self, *task_ids: str, dag: Any = None) -> None:
        """As `clear`, without what follows."""
        from airflow.models.dag_version import DagVersion
        from airflow.models.taskinstance import clear_task_instances
        from airflow.utils.session import create_session
        from airflow.utils.state import DagRunState

        if dag is not None:
            assert dag.dag_id == self.dag.dag_id
            self.dag = dag
            store(dag)
        with create_session() as session:
            chosen = [ti for ti in self._instances(session) if ti.task_id in task_ids]
            clear_task_instances(chosen, session, dag_run_state=DagRunState.RUNNING, run_on_latest_version=True)
            run = self._dag_run(session)
            run.dag = stored_dag(self.dag.dag_id, session)
            version = DagVersion.get_latest_version(self.dag.dag_id, session=session)
            # As the scheduler does: tasks that the DAG has by now come into the run.
            run.verify_integrity(dag_version_id=version.id, session=session)

    def mark(self, state: str, *task_ids: str) -> None:
        """As a person does in the UI."""
        from airflow.utils.session import create_session

        with create_session() as session:
            for instance in self._instances(session):
                if instance.task_id in task_ids:
                    instance.state = state

    def lose_xcoms(self, key: str | None = None) -> None:
        """As housekeeping does; or those of one key, as if no task had left them."""
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session
        from sqlalchemy import delete

        with create_session() as session:
            mine = delete(XComModel).where(XComModel.run_id == self.run_id)
            session.execute(mine if key is None else mine.where(XComModel.key == key))

    @property
    def events(self) -> list[dict[str, Any]]:
        """The extra of every event of the target's own asset that this run sent, in order."""
        return [extra for _, extra in self.asset_events if "state" in extra]

    @property
    def asset_events(self) -> list[tuple[str, dict[str, Any]]]:
        """URI and extra of every asset event that this run sent, in order."""
        from airflow.models.asset import AssetEvent
        from airflow.utils.session import create_session
        from sqlalchemy import select

        mine = (AssetEvent.source_dag_id == self.dag.dag_id) & (AssetEvent.source_run_id == self.run_id)
        with create_session() as session:
            found = session.scalars(select(AssetEvent).where(mine).order_by(AssetEvent.id))
            return [(e.uri, dict(e.extra)) for e in found]

    def _dag_run(self, session: Any) -> Any:
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        return session.scalars(
            select(DagRun).where(DagRun.dag_id == self.dag.dag_id, DagRun.run_id == self.run_id)
        ).one()

    def _instances(self, session: Any) -> list[Any]:
        return list(self._dag_run(session).get_task_instances(session=session))

    def _of_instances(self, attribute: str) -> dict[str, Any]:
        from airflow.utils.session import create_session

        with create_session() as session:
            return {_named(ti): getattr(ti, attribute) for ti in self._instances(session)}

    @property
    def state(self) -> str:
        from airflow.utils.session import create_session

        with create_session() as session:
            return str(self._dag_run(session).state)

    @property
    def states(self) -> dict[str, str | None]:
        """The tasks' states, by the last part of the task's id."""
        return {task: state and str(state) for task, state in self._of_instances("state").items()}

    @property
    def tries(self) -> dict[str, int]:
        return self._of_instances("try_number")

    @property
    def xcoms(self) -> dict[tuple[str, str], Any]:
        """Every XCom of the run, by the last part of the task's id and the key."""
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session
        from sqlalchemy import select

        query = select(XComModel).where(XComModel.dag_id == self.dag.dag_id, XComModel.run_id == self.run_id)
        with create_session() as session:
            rows = session.scalars(query).all()
            return {(_named(row), row.key): XComModel.deserialize_value(row) for row in rows}

    def returned(self, task: str) -> Any:
        return self.xcoms.get((task, "return_value"))


def _short(task_id: str) -> str:
    return task_id.rpartition(".")[2]


def _named(of: Any) -> str:
    """The last part of a task's id, and in a mapped group which of them: `001_a[1]`."""
    return _short(of.task_id) + (f"[{of.map_index}]" if of.map_index >= 0 else "")


def store(dag: Any) -> None:
    """What the DAG processor does with a parsed DAG."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    bag = DagBag(dag_folder=os.devnull)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, BUNDLE, None)


def stored_dag(dag_id: str, session: Any) -> Any:
    """The DAG as the scheduler knows it."""
    from airflow.models.dagbag import DBDagBag

    return DBDagBag().get_latest_version_of_dag(dag_id, session=session)


Conn = psycopg.Connection[Any]


@contextmanager
def terminated_when(database: str, so: Callable[[Conn], Any]) -> Iterator[None]:
    """Sends SIGTERM to this process, once, as soon as something is so in the database."""
    before = signal.getsignal(signal.SIGTERM)

    def strike() -> None:
        with psycopg.connect(database, autocommit=True) as conn:
            wait_until(lambda: so(conn))
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=strike, daemon=True)
    thread.start()
    yield
    thread.join(PATIENCE)
    signal.signal(signal.SIGTERM, before)


def relations(conn: Conn) -> set[str]:
    """Tables of the schema public."""
    return {name for (name,) in conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def applied(conn: Conn) -> list[str]:
    query = "SELECT version FROM wmigrate.schema_migrations WHERE status = 'applied' ORDER BY version"
    return [version for (version,) in conn.execute(query)]


def audit(conn: Conn, event: str) -> list[tuple[str | None, dict[str, Any]]]:
    """Version and details of the audit rows of one event, but for who logged in."""
    query = "SELECT version, details - 'session' FROM wmigrate.audit_log WHERE event = %s ORDER BY position"
    return conn.execute(query, [event]).fetchall()
