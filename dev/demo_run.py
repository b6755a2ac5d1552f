"""The demo's second half, inside the virtual environment: start both servers, run the migrations, show the outcome."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from dev.airflow_client import AirflowServerError
from dev.airflow_server import AirflowServer, Ports
from dev.cluster import Cluster, ClusterError, quoted
from dev.demo_environment import DemoError
from dev.demo_memory import Memory
from dev.demo_report import show_change, show_ledger, show_tasks
from dev.ports import port_taken
from dev.server_binaries import Account, OtherMajorVersion, cache_folder

WAREHOUSE = "warehouse"


class Ended(BaseException):
    """Somebody else wants the demo to stop: SIGTERM, or its terminal is gone."""


def run(folder: Path, *, dag_id: str, port: int | None, once: bool, fresh: bool) -> int:
    """The whole demo; its exit status. It raises ``DemoError`` for what a person has to change."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        with _only_demo(folder), contextlib.ExitStack() as at_the_end:
            demo = Demo(folder)
            at_the_end.callback(_in_peace, demo.stop)
            if fresh:
                demo.forget()
            demo.start(port)
            succeeded = demo.migrate(dag_id)
            if not once:
                demo.stay()
            return 0 if succeeded else 1
    except (AirflowServerError, ClusterError) as error:
        hint = " (--fresh does that)" if isinstance(error, OtherMajorVersion) else ""
        raise DemoError(f"{error}{hint}") from error
    except Ended:
        return 143


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended


def _in_peace(stop: Callable[[], None]) -> None:
    """A second Ctrl-C must not interrupt the stopping, which ends by itself within seconds."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stop()


@contextlib.contextmanager
def _only_demo(folder: Path) -> Iterator[None]:
    """One at a time per checkout. The lock dies with its process: no stale one is ever in the way."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoError("another demo of this checkout is running: stop it first") from None
        yield


class Demo:
    """Both servers of one checkout's ``.demo`` folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.data_dir = _data_dir(folder)
        self._cluster: Cluster | None = None
        self._server: AirflowServer | None = None

    def forget(self) -> None:
        """Everything but the virtual environment."""
        Cluster(self.data_dir).stop()
        for entry in (self.data_dir, self.folder / "airflow", self.logs):
            shutil.rmtree(entry, ignore_errors=True)
        self._memory_file.unlink(missing_ok=True)

    def start(self, port: int | None) -> None:
        """:param port: of the Airflow UI; ``None`` takes the one of last time or a free one."""
        self.logs.mkdir(exist_ok=True)
        Cluster(self.data_dir).stop()
        if port is not None and port_taken(port):
            raise DemoError(f"port {port} on 127.0.0.1 is taken by another program: choose another with --port")
        memory = Memory.read(self._memory_file)
        memory.choose_ports()
        if port is not None:
            memory.ports["airflow"] = port
        memory.write(self._memory_file)
        cluster = self._start_postgres(memory)
        self._start_airflow(memory, cluster)

    def migrate(self, dag_id: str) -> bool:
        """One run, from its trigger to its report; whether it succeeded."""
        server, cluster = self._running()
        print(f"Waiting until Airflow has read the DAG {dag_id} ...", flush=True)
        server.wait_dag(dag_id)
        for run_id in server.fail_unfinished_runs(dag_id):
            print(f"  {run_id} was left unfinished by an earlier demo: marked as failed")
        run_id = server.trigger(dag_id)
        print(f"Run {run_id}", flush=True)
        state = server.wait_run(dag_id, run_id, on_change=show_change)
        print(f"The run has ended: {state}\n")
        show_tasks(server, dag_id, run_id)
        show_ledger(cluster, WAREHOUSE)
        return state == "success"

    def stay(self) -> None:
        """Until Ctrl-C, which is the usual end and no failure."""
        server, cluster = self._running()
        password = Memory.read(self._memory_file).passwords[WAREHOUSE]
        print(f"\nAirflow     {server.url}   user {server.user}   password {server.password}")
        print(f"PostgreSQL  {cluster.dsn(WAREHOUSE, user=WAREHOUSE, password=password)}")
        with contextlib.suppress(KeyboardInterrupt):
            print("Ctrl-C stops both.", flush=True)
            while True:
                server.check()
                cluster.check()
                time.sleep(1)

    def stop(self) -> None:
        """Also when only half was started."""
        if self._cluster is not None:
            with contextlib.suppress(OSError):  # the terminal may be gone
                print("\nStopping ...", flush=True)
        if self._server is not None:
            self._server.stop()
        if self._cluster is not None:
            self._cluster.stop()

    @property
    def _memory_file(self) -> Path:
        return self.folder / "demo.json"

    def _running(self) -> tuple[AirflowServer, Cluster]:
        assert self._server is not None
        assert self._cluster is not None
        return self._server, self._cluster

    def _start_postgres(self, memory: Memory) -> Cluster:
        cluster = self._cluster = Cluster(
            self.data_dir,
            port=memory.ports["postgres"],
            password=memory.passwords["postgres"],
            log_file=self.logs / "postgres.log",
        )
        print(f"Starting PostgreSQL on port {memory.ports['postgres']} ({cluster.bindir}) ...", flush=True)
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        cluster.start()
        for name in (WAREHOUSE, "airflow"):
            _make_database(cluster, name, memory.passwords[name])
        return cluster

    def _start_airflow(self, memory: Memory, cluster: Cluster) -> None:
        metadata = cluster.dsn("airflow", user="airflow", password=memory.passwords["airflow"])
        ports = Ports(*(memory.ports[name] for name in ("airflow", "worker_log", "trigger_log")))
        server = self._server = AirflowServer(
            self.folder / "airflow",
            self.folder.parent / "dags",
            database_url=metadata.replace("postgresql:", "postgresql+psycopg2:", 1),
            env={"AIRFLOW_CONN_WAREHOUSE_DB": _connection(cluster, memory.passwords[WAREHOUSE])},
            ports=ports,
            log_dir=self.logs,
        )
        print(f"Starting Airflow on port {ports.api} (about half a minute) ...", flush=True)
        server.start()
        server.wait_ready()


def _data_dir(folder: Path) -> Path:
    """In the checkout, unless root's PostgreSQL, which does not run as root, could not reach it there."""
    folder.mkdir(exist_ok=True)
    if Account.for_server().reaches(folder):
        return folder / "postgres"
    return cache_folder() / f"demo-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]}"


def _make_database(cluster: Cluster, name: str, password: str) -> None:
    """A role and a database of its own with the same name, unless an earlier demo made them."""
    if not cluster.execute(f"SELECT 1 FROM pg_roles WHERE rolname = '{name}'"):
        cluster.execute(f"CREATE ROLE {quoted(name)} LOGIN PASSWORD '{password}'")
    if not cluster.execute(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
        cluster.create_database(name, owner=name)


def _connection(cluster: Cluster, password: str) -> str:
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": "127.0.0.1",
            "port": cluster.port,
            "login": WAREHOUSE,
            "password": password,
            "schema": WAREHOUSE,
        }
    )
