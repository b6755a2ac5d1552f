"""The demo: a throw-away PostgreSQL and Airflow in ``.demo/``, one run of the migrations, and what came of it.

``make demo`` makes a virtual environment for it and starts this.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
from tabulate import tabulate

from airflow_provider_wmigrate.telling.summaries import skipped_by
from dev.airflow_client import AirflowServerError
from dev.airflow_server import AirflowServer
from dev.cluster import Cluster, ClusterError, quoted
from dev.memory import remember, remembered
from dev.ports import free_ports, port_taken
from dev.server_binaries import Account, OtherMajorVersion, cache_folder

ROOT = Path(__file__).resolve().parents[1]
WAREHOUSE = "warehouse"
ROLES = ("postgres", WAREHOUSE, "airflow")
PORTS = ("postgres", "airflow", "worker_log", "trigger_log")
# What the shipped migration 008 grants to; the role of the migrations may not create roles.
GRANTED = ("warehouse_reader", "warehouse_operator", "warehouse_service")


class DemoError(Exception):
    """The demo cannot go on; the message is for a person."""


def main() -> int:
    """The whole demo; its exit status."""
    options = parse()
    # A shell that starts this in the background has it ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):  # somebody else wants it to stop, or its terminal is gone
        signal.signal(number, lambda *_: sys.exit(143))
    try:
        with _only_demo(ROOT / ".demo") as folder, contextlib.ExitStack() as at_the_end:
            demo = _demo(folder, options)
            at_the_end.callback(_in_peace, demo.stop)
            if options.fresh:
                demo.forget()
            demo.start(options.port)
            succeeded = demo.migrate(options.dag)
            if not options.once:
                demo.stay()
            return 0 if succeeded else 1
    except (DemoError, AirflowServerError, ClusterError) as error:
        hint = " (--fresh does that)" if isinstance(error, OtherMajorVersion) else ""
        print(f"demo: {error}{hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: stopped", file=sys.stderr)
        return 130


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo.py", description="Run the migrations in a throw-away Airflow.")
    parser.add_argument("--once", action="store_true", help="stop by itself; exit status 0 only if the run succeeded")
    parser.add_argument("--port", type=port_number, metavar="N", help="port of the Airflow UI (default: a free one)")
    parser.add_argument("--fresh", action="store_true", help="start with an empty database and an empty Airflow")
    parser.add_argument(
        "--promotion",
        action="store_true",
        help="three clusters: take the migrations to production, where a person approves them (with --once, by itself)",
    )
    parser.add_argument(
        "--dag", default="warehouse_migrations", metavar="ID", help="run this DAG (default: %(default)s)"
    )
    return parser.parse_args()


def port_number(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number (1 to 65535)")
    return int(text)


def _demo(folder: Path, options: argparse.Namespace) -> Demo:
    if not options.promotion:
        return Demo(folder)
    from dev.demo_promotion import PromotionDemo

    return PromotionDemo(folder, answers=options.once)


def _in_peace(stop: Callable[[], None]) -> None:
    """A second Ctrl-C must not interrupt the stopping, which ends by itself within seconds."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stop()


@contextlib.contextmanager
def _only_demo(folder: Path) -> Iterator[Path]:
    """One at a time per checkout. The lock dies with its process: no stale one is ever in the way."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoError("another demo of this checkout is running: stop it first") from None
        yield folder


class Demo:
    """Both servers of one checkout's ``.demo`` folder, which are there once it was started."""

    cluster: Cluster
    server: AirflowServer

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dags_folder = ROOT / "dags"
        self.logs = folder / "logs"
        self.data_dir = _data_dir(folder)
        self._memory = folder / "demo.json"
        self._passwords: dict[str, str] = {}
        self._started: list[Cluster | AirflowServer] = []

    def forget(self) -> None:
        """Everything but the virtual environment."""
        Cluster(self.data_dir).stop()
        for entry in (self.data_dir, self.folder / "airflow", self.logs):
            shutil.rmtree(entry, ignore_errors=True)
        self._memory.unlink(missing_ok=True)

    def start(self, port: int | None) -> None:
        """:param port: of the Airflow UI; ``None`` takes the one of last time or a free one."""
        self.logs.mkdir(exist_ok=True)
        Cluster(self.data_dir).stop()
        if port is not None and port_taken(port):
            raise DemoError(f"port {port} on 127.0.0.1 is taken by another program: choose another with --port")
        free = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        passwords = {role: secrets.token_urlsafe(16) for role in ROLES}
        memory: dict[str, Any] = remembered(self._memory, {"passwords": passwords, "ports": {}})
        kept = {name: number for name, number in memory["ports"].items() if not port_taken(number)}
        memory["ports"] = {**free, **kept, **({"airflow": port} if port else {})}
        remember(self._memory, memory)
        self._passwords = memory["passwords"]
        postgres, *ports = (memory["ports"][name] for name in PORTS)
        self._start_postgres(postgres)
        self._start_airflow(ports)

    def migrate(self, dag_id: str) -> bool:
        """One run, from its trigger to its report; whether it succeeded."""
        server = self.server
        print(f"Waiting until Airflow has read the DAG {dag_id} ...", flush=True)
        server.wait_dag(dag_id)
        for run_id in server.fail_unfinished_runs(dag_id):
            print(f"  {run_id} was left unfinished by an earlier demo: marked as failed")
        run_id = server.trigger(dag_id)
        print(f"Run {run_id}", flush=True)
        state = server.wait_run(dag_id, run_id, on_change=show_change)
        print(f"The run has ended: {state}\n")
        show_tasks(server, dag_id, run_id)
        show_ledger(self.cluster, WAREHOUSE)
        return state == "success"

    def stay(self) -> None:
        """Until Ctrl-C, which is the usual end and no failure."""
        server, cluster = self.server, self.cluster
        print(f"\nAirflow     {server.url}   user {server.user}   password {server.password}")
        print(f"Migrations  {server.url}/plugin/wmigrate   (in the menu: Browse > Migrations)")
        print(f"PostgreSQL  {self._dsn(WAREHOUSE)}")
        with contextlib.suppress(KeyboardInterrupt):
            print("Ctrl-C stops both.", flush=True)
            while True:
                server.check()
                cluster.check()
                time.sleep(1)

    def stop(self) -> None:
        """Also when only half was started."""
        if self._started:
            with contextlib.suppress(OSError):  # the terminal may be gone
                print("\nStopping ...", flush=True)
        for server in reversed(self._started):
            server.stop()

    def _start_postgres(self, port: int) -> None:
        cluster = self.cluster = Cluster(
            self.data_dir, port=port, password=self._passwords["postgres"], log_file=self.logs / "postgres.log"
        )
        self._started.append(cluster)
        print(f"Starting PostgreSQL on port {port} ({cluster.bindir}) ...", flush=True)
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        cluster.start()
        for name in (WAREHOUSE, "airflow"):
            _make_database(cluster, name, self._passwords[name])
        for role in GRANTED:
            _make_role(cluster, role, "NOLOGIN")

    def _start_airflow(self, ports: list[int]) -> None:
        self.server = AirflowServer(
            self.folder / "airflow",
            self.dags_folder,
            database_url=self._dsn("airflow").replace("postgresql:", "postgresql+psycopg2:", 1),
            env=self._connections(),
            ports=ports,
            log_dir=self.logs,
        )
        self._started.append(self.server)
        print(f"Starting Airflow on port {ports[0]} (about half a minute) ...", flush=True)
        self.server.start()
        self.server.wait_ready()

    def _connections(self) -> dict[str, str]:
        return {"AIRFLOW_CONN_WAREHOUSE_DB": self._dsn(WAREHOUSE)}

    def _dsn(self, name: str) -> str:
        """Of a database, as the role of the same name."""
        return self.cluster.dsn(name, user=name, password=self._passwords[name])


def _data_dir(folder: Path) -> Path:
    """In the checkout, unless root's PostgreSQL, which does not run as root, could not reach it there."""
    if Account.for_server().reaches(folder):
        return folder / "postgres"
    return cache_folder() / f"demo-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]}"


def _make_database(cluster: Cluster, name: str, password: str) -> None:
    """A role and a database of its own with the same name, unless an earlier demo made them."""
    _make_role(cluster, name, f"LOGIN PASSWORD '{password}'")
    if not cluster.execute(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
        cluster.create_database(name, owner=name)


def _make_role(cluster: Cluster, name: str, options: str) -> None:
    if not cluster.execute(f"SELECT 1 FROM pg_roles WHERE rolname = '{name}'"):
        cluster.execute(f"CREATE ROLE {quoted(name)} {options}")


LEDGER = """
    SELECT version, name, status, to_char(applied_at, 'YYYY-MM-DD HH24:MI:SS'), duration_ms, actor
    FROM wmigrate.schema_migrations ORDER BY version
"""
SHOWN_STATES = frozenset({"running", "up_for_retry", "success", "failed", "skipped", "upstream_failed", "deferred"})


def show_change(task: str, state: str) -> None:
    if state in SHOWN_STATES:
        print(f"  {state:<16} {task}", flush=True)


def show_tasks(server: AirflowServer, dag_id: str, run_id: str) -> None:
    """In the order in which they were dealt with; those that never were come last."""
    tasks = server.task_instances(dag_id, run_id)
    plans = [server.xcom(dag_id, run_id, t["task_id"], "plan") for t in tasks if t["task_id"].endswith("plan")]
    reasons = {version: reason for plan in plans if plan for version, reason in skipped_by(plan).items()}
    tasks.sort(key=lambda task: (task["start_date"] or task["end_date"] or "~", task["task_id"]))
    rows = [(task["task_id"], task["state"] or "none", _seconds(task), _note(server, task, reasons)) for task in tasks]
    show_table(["task", "state", "seconds", ""], rows)


def show_ledger(cluster: Cluster, dbname: str) -> None:
    print("\nThe ledger, wmigrate.schema_migrations in the target database:")
    try:
        rows = cluster.execute(LEDGER, dbname=dbname)
    except psycopg.Error as error:
        print(f"  cannot be read: {str(error).splitlines()[0]}")
        return
    show_table(["version", "name", "status", "applied_at", "ms", "actor"], rows)


def show_table(heads: list[str], rows: list[tuple[Any, ...]]) -> None:
    text = tabulate(rows or [("(none)",)], heads, tablefmt="plain", disable_numparse=True)
    print("\n".join(f"  {line.rstrip()}" for line in text.splitlines()))


def _seconds(task: dict[str, Any]) -> str:
    ran = task["duration"] is not None and task["state"] != "skipped"
    return f"{task['duration']:.1f}" if ran else ""


def _note(server: AirflowServer, task: dict[str, Any], reasons: dict[str, str]) -> str:
    """What became of it, why it was skipped, or the last that it said."""
    identity = (task["dag_id"], task["dag_run_id"], task["task_id"])
    if task["state"] == "skipped":
        return reasons.get(task["task_id"].rpartition(".")[2].partition("_")[0], "")
    if task["state"] == "failed":
        said = [line for line in server.task_log(*identity, task["try_number"]) if not line.startswith("::")]
        file = server.task_log_file(*identity, task["try_number"])
        return " / ".join([*said[-1:], f"log: {os.path.relpath(file)}"])
    result = server.xcom(*identity)
    return str(result.get("outcome", "")) if isinstance(result, dict) else ""


if __name__ == "__main__":
    sys.exit(main())
