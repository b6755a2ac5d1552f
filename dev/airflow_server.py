"""A whole Airflow of our own, for the demo and the end-to-end tests: made, started, asked over REST, stopped.

The four components run as separate processes instead of ``airflow standalone``: one that dies is noticed at
once and named with the last lines of its own log, and each can be stopped or shot alone. This module does not
import Airflow; it starts the one installed beside ``sys.executable``.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from dev.airflow_client import AirflowClient, AirflowServerError
from dev.airflow_processes import AirflowProcesses, surroundings
from dev.memory import remembered
from dev.ports import free_ports, port_taken

COMPONENTS = ("scheduler", "dag-processor", "triggerer", "api-server")
MIGRATE_SECONDS = 300.0
READY_SECONDS = 240.0
STOP_SECONDS = 8.0
APPROVER = "bob"
"""A second user, with the same password: whoever starts a run does not approve it."""
PORTS = 3


class AirflowServer(AirflowProcesses):
    """One ``AIRFLOW_HOME`` and, between ``start`` and ``stop``, the processes on it.

    :param home: made if missing, used again by later starts.
    :param dags_folder: the only place DAGs come from.
    :param database_url: for Airflow's own metadata, such as ``postgresql+psycopg2://...``.
    :param env: added to Airflow's environment last, so it may also override what is set here.
    :param ports: of UI and API, and of the two servers the UI fetches the logs of running tasks and triggers from;
        ``None`` takes free ones.
    :param log_dir: one file per component, and ``tasks/``; ``None`` is ``home/logs``.
    """

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        *,
        database_url: str,
        env: Mapping[str, str],
        ports: Sequence[int] | None = None,
        log_dir: Path | None = None,
    ) -> None:
        self.home = home.absolute()
        self.dags_folder = dags_folder.absolute()
        self.database_url = database_url
        self.ports = ports or free_ports(PORTS)
        self._extra = dict(env)
        # A new key would sign everybody out and make stored connections unreadable.
        self._secrets = remembered(self.home / "secrets.json", _new_secrets())
        log_dir = (log_dir or self.home / "logs").absolute()
        super().__init__(log_dir, f"http://127.0.0.1:{self.ports[0]}", user="admin", password=self._secrets["password"])

    @property
    def environment(self) -> dict[str, str]:
        """For every Airflow process of this server, also for ``airflow`` commands run beside it."""
        settings = {f"AIRFLOW__{name}": value for name, value in self._settings().items()}
        files = {"AIRFLOW_HOME": str(self.home), "AIRFLOW_CONFIG": str(Path(__file__).with_name("airflow.cfg"))}
        return {**surroundings(), **files, **settings, **self._extra}

    def __enter__(self) -> AirflowServer:
        if not self.processes:
            self.start()
            self.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Prepare the metadata database and start the components; returns before they are ready."""
        for port in self.ports:
            if port_taken(port):
                raise AirflowServerError(f"port {port} on 127.0.0.1 is taken by another program")
        self.log_dir.mkdir(parents=True, exist_ok=True)
        remembered(self.home / "passwords.json", {self.user: self.password, APPROVER: self.password})
        self.since = datetime.now(timezone.utc)
        try:
            self._launch("db-migrate", "db", "migrate")
            self.await_end("db-migrate", MIGRATE_SECONDS)
            for component in COMPONENTS:
                self._launch(component, component)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every process of this server: politely for ``STOP_SECONDS``, surely after.

        The API server last: a running task tells it how it ended. The triggerer is not asked: it often takes
        longer than that to end, and its triggers are kept in the database.
        """
        self.end(["triggerer"], 0, signal.SIGKILL)
        self.end(self.processes.keys() - {"api-server"}, STOP_SECONDS)
        self.end(["api-server"], STOP_SECONDS)
        self._watchdog.dismiss()

    def approver(self) -> AirflowClient:
        """The same Airflow as the second user."""
        return AirflowClient(self.url, user=APPROVER, password=self.password)

    def wait_ready(self) -> None:
        """Until the API answers, lets us in, and reports every component as healthy."""
        if not self.poll(lambda: not self._unhealthy(), READY_SECONDS):
            log = self.log_tail(next(iter(self._unhealthy()), "api-server"))
            raise AirflowServerError(f"Airflow was not ready within {READY_SECONDS:.0f} s: {log}")
        self.login()

    def _unhealthy(self) -> list[str]:
        """What is not ready; the API server, as long as it says nothing of the others."""
        health = self.health()
        told = {name: health.get(name.replace("-", "_"), {}).get("status") for name in COMPONENTS[:-1]}
        return [name for name, status in told.items() if status != "healthy"] if health else ["api-server"]

    def _launch(self, name: str, *command: str) -> None:
        self.log_file(name).unlink(missing_ok=True)
        self.launch(name, [sys.executable, "-m", "airflow", *command], self.environment, self.home)

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
        return {
            "CORE__DAGS_FOLDER": str(self.dags_folder),
            "DATABASE__SQL_ALCHEMY_CONN": self.database_url,
            "CORE__FERNET_KEY": self._secrets["fernet_key"],
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{self.user}:admin,{APPROVER}:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "API__PORT": str(self.ports[0]),
            "API__BASE_URL": self.url,
            "API__SECRET_KEY": self._secrets["secret_key"],
            "API_AUTH__JWT_SECRET": self._secrets["jwt_secret"],
            "LOGGING__BASE_LOG_FOLDER": str(self.log_dir / "tasks"),
            "LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(self.log_dir / "dag_files"),
            "LOGGING__WORKER_LOG_SERVER_PORT": str(self.ports[1]),
            "LOGGING__TRIGGER_LOG_SERVER_PORT": str(self.ports[2]),
        }


def without_schedule(dag_file: Path) -> None:
    """Write ``schedule=None`` into a copy of a DAG, so that no run but a test's own changes what it looks at."""
    text, found = re.subn(r"schedule=[^\n]+,\n", "schedule=None,\n", dag_file.read_text())
    assert found == 1
    dag_file.write_text(text)


def _new_secrets() -> dict[str, str]:
    return {
        "password": secrets.token_urlsafe(12),
        "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "secret_key": secrets.token_hex(),
        "jwt_secret": secrets.token_hex(),
    }


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
