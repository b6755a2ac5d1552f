"""A whole Airflow of our own, for the demo and the end-to-end tests: made, started, asked over REST, stopped.

The four components run as separate processes instead of ``airflow standalone``: one that dies is noticed at
once and named with the last lines of its own log, and each can be stopped or shot alone. This module does not
import Airflow; it starts the one installed beside ``sys.executable``.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from dev.airflow_client import AirflowClient, AirflowServerError
from dev.ports import free_ports, port_taken
from dev.watchdog import Watchdog, stop_sessions

COMPONENTS = ("scheduler", "dag-processor", "triggerer", "api-server")
HEALTH_NAMES = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
MIGRATE_SECONDS = 300.0
READY_SECONDS = 240.0
STOP_SECONDS = 8.0
POLITELY = (signal.SIGTERM, signal.SIGKILL)
SURELY = (signal.SIGKILL, signal.SIGKILL)


@dataclass(frozen=True)
class Ports:
    """Where Airflow listens: UI and API; the two servers the UI fetches the logs of running tasks from."""

    api: int
    worker_log: int
    trigger_log: int

    @classmethod
    def free(cls) -> Ports:
        return cls(*free_ports(3))


class AirflowServer(AirflowClient):
    """One ``AIRFLOW_HOME`` and, between ``start`` and ``stop``, the processes on it.

    :param home: made if missing, used again by later starts.
    :param dags_folder: the only place DAGs come from.
    :param database_url: for Airflow's own metadata, such as ``postgresql+psycopg2://...``; ``None`` is a
        SQLite file in ``home``, which answers "database is locked" under load.
    :param env: added to Airflow's environment last, so it may also override what is set here.
    :param ports: ``None`` takes free ones.
    :param log_dir: one file per component, and ``tasks/``; ``None`` is ``home/logs``.
    :param parallelism: how many tasks run at once.
    :param components: to leave some out; the scheduler and the API server are needed for a run.
    """

    def __init__(
        self,
        home: Path | str,
        dags_folder: Path | str,
        *,
        database_url: str | None = None,
        env: Mapping[str, str] | None = None,
        ports: Ports | None = None,
        log_dir: Path | str | None = None,
        parallelism: int = 8,
        components: Sequence[str] = COMPONENTS,
    ) -> None:
        self.home = Path(home).absolute()
        self.dags_folder = Path(dags_folder).absolute()
        self.database_url = database_url
        self.ports = ports or Ports.free()
        self.log_dir = Path(log_dir).absolute() if log_dir is not None else self.home / "logs"
        self.components = tuple(components)
        self.parallelism = parallelism
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._extra = dict(env or {})
        self._secrets = self._kept_secrets()
        self._leaders: set[int] = set()
        self._watchdog: Watchdog | None = None
        super().__init__(
            f"http://127.0.0.1:{self.ports.api}",
            user="admin",
            password=self._secrets["password"],
            since=datetime.now(timezone.utc),
        )

    @property
    def environment(self) -> dict[str, str]:
        """For every Airflow process of this server, also for ``airflow`` commands run beside it.

        The caller's own AIRFLOW variables are left out: connections and settings of another Airflow must not
        leak into this one.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        settings = {f"AIRFLOW__{name}": value for name, value in self._settings().items()}
        # The processes talk to one another on 127.0.0.1; a proxy for the outer world cannot reach that.
        local = ",".join(filter(None, [inherited.get("NO_PROXY") or inherited.get("no_proxy"), "127.0.0.1"]))
        return {
            **inherited,
            "AIRFLOW_HOME": str(self.home),
            "NO_PROXY": local,
            "no_proxy": local,
            "PYTHONUNBUFFERED": "1",
            **settings,
            **self._extra,
        }

    def __enter__(self) -> AirflowServer:
        if not self.processes:
            self.start()
            self.wait_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Prepare the metadata database and start the components; returns before they are ready."""
        for port in asdict(self.ports).values():
            if port_taken(port):
                raise AirflowServerError(f"port {port} on 127.0.0.1 is taken by another program")
        self.log_dir.mkdir(parents=True, exist_ok=True)
        _write_private(self.home / "passwords.json", json.dumps({self.user: self.password}))
        self.since = datetime.now(timezone.utc)
        self._watchdog = Watchdog()
        try:
            self._migrate_metadata()
            for component in self.components:
                self.start_component(component)
        except BaseException:
            self.stop()
            raise

    def start_component(self, component: str) -> None:
        """Also to start one again that was stopped or shot alone."""
        self.processes[component] = self._popen(component, [component])

    def stop(self) -> None:
        """End every process of this server: politely for ``STOP_SECONDS``, surely after.

        The API server last: a running task tells it how it ended. The triggerer is not asked: it often takes
        longer than that to end, and its triggers are kept in the database.
        """
        triggerer, api = self._leaders_of("triggerer"), self._leaders_of("api-server")
        stop_sessions(dict.fromkeys(triggerer, SURELY), grace=0)
        stop_sessions(dict.fromkeys(self._leaders - triggerer - api, POLITELY), STOP_SECONDS)
        stop_sessions(dict.fromkeys(api, POLITELY), STOP_SECONDS)
        for process in self.processes.values():
            process.wait()
        self.processes = {}
        for leader in list(self._leaders):
            self._forget(leader)
        if self._watchdog is not None:
            self._watchdog.dismiss()
            self._watchdog = None

    def _leaders_of(self, component: str) -> set[int]:
        return {self.processes[component].pid} if component in self.processes else set()

    def check(self) -> None:
        """Raise if a component has ended by itself."""
        for component, process in self.processes.items():
            status = process.poll()
            if status is not None:
                raise AirflowServerError(
                    f"Airflow's {component} ended with status {status}: {self.log_tail(component)}"
                )

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Until the API answers, lets us in, and reports every component as healthy."""

        def ready() -> bool:
            health = self.health()
            wanted = [HEALTH_NAMES[name] for name in self.components if name in HEALTH_NAMES]
            return all(health.get(name, {}).get("status") == "healthy" for name in wanted)

        if not self.poll(ready, seconds):
            raise AirflowServerError(
                f"Airflow was not ready within {seconds:.0f} s: {self.log_tail(self._unhealthy())}"
            )
        self.login()

    def log_file(self, component: str) -> Path:
        return self.log_dir / f"{component}.log"

    def log_tail(self, component: str, count: int = 12) -> str:
        """The last lines of a component's log, then its path."""
        file = self.log_file(component)
        try:
            lines = file.read_text(errors="replace").rstrip().splitlines()
        except OSError:
            lines = []
        return "\n".join(["", *lines[-count:], f"(log: {file})"])

    def task_log_file(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> Path:
        """Where Airflow keeps what one try of a task said, one JSON object per line."""
        run = self.log_dir / "tasks" / f"dag_id={dag_id}" / f"run_id={run_id}"
        return run / f"task_id={task_id}" / f"attempt={try_number}.log"

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> list[str]:
        """What one try of a task said: the event of each line, and the words of its error."""
        try:
            text = self.task_log_file(dag_id, run_id, task_id, try_number).read_text(errors="replace")
        except OSError:
            return []
        return [_said(line) for line in text.splitlines() if line.strip()]

    def _settings(self) -> dict[str, str]:
        settings = {
            "CORE__DAGS_FOLDER": str(self.dags_folder),
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": str(self.parallelism),
            "CORE__FERNET_KEY": self._secrets["fernet_key"],
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{self.user}:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "API__HOST": "127.0.0.1",
            "API__PORT": str(self.ports.api),
            "API__BASE_URL": self.url,
            "API__WORKERS": "1",
            "API__SECRET_KEY": self._secrets["secret_key"],
            "API_AUTH__JWT_SECRET": self._secrets["jwt_secret"],
            "LOGGING__BASE_LOG_FOLDER": str(self.log_dir / "tasks"),
            "LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(self.log_dir / "dag_files"),
            "LOGGING__WORKER_LOG_SERVER_PORT": str(self.ports.worker_log),
            "LOGGING__TRIGGER_LOG_SERVER_PORT": str(self.ports.trigger_log),
            # By default the scheduler sleeps 1 s after each task of a chain.
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
            # A new migration is a new file, which by default is seen after 30 s and a changed one kept for 30 s more.
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
            "DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "1",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        if self.database_url is not None:
            settings["DATABASE__SQL_ALCHEMY_CONN"] = self.database_url
        return settings

    def _kept_secrets(self) -> dict[str, str]:
        """Kept in the home: a new key would sign everybody out and make stored connections unreadable."""
        file = self.home / "secrets.json"
        if not file.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            _write_private(file, json.dumps(_new_secrets()))
        kept: dict[str, str] = json.loads(file.read_text())
        return kept

    def _migrate_metadata(self) -> None:
        process = self._popen("db-migrate", ["db", "migrate"])
        try:
            status = process.wait(MIGRATE_SECONDS)
        except subprocess.TimeoutExpired:
            raise AirflowServerError(
                f"airflow db migrate took more than {MIGRATE_SECONDS:.0f} s: {self.log_tail('db-migrate')}"
            ) from None
        if status != 0:
            raise AirflowServerError(f"airflow db migrate failed: {self.log_tail('db-migrate')}")
        self._forget(process.pid)

    def _forget(self, leader: int) -> None:
        self._leaders.discard(leader)
        if self._watchdog is not None:
            self._watchdog.forget(leader)

    def _popen(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log_file(name).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *command],
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._leaders.add(process.pid)
        if self._watchdog is not None:
            self._watchdog.watch(process.pid, *POLITELY)
        return process

    def _unhealthy(self) -> str:
        """The component whose log is worth reading when the whole is not ready."""
        health = self.health()
        for component in self.components if health else ():
            name = HEALTH_NAMES.get(component)
            if name is not None and health.get(name, {}).get("status") != "healthy":
                return component
        return "api-server"


def _new_secrets() -> dict[str, str]:
    return {
        "password": secrets.token_urlsafe(12),
        "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "secret_key": secrets.token_hex(),
        "jwt_secret": secrets.token_hex(),
    }


def _write_private(file: Path, text: str) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(text)


def _said(line: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict):
        return line
    details = entry.get("error_detail") or []
    causes = [f"{detail.get('exc_type')}: {detail.get('exc_value')}" for detail in details]
    return " - ".join([str(entry.get("event", "")), *causes])
