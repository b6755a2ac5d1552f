"""The compose deployment without containers: the same commands, environment and health checks as plain processes.

What differs is what one machine forces: a service's name becomes 127.0.0.1, a port a free one, a path of the
container one below a folder, a replica gets a host name and a log port of its own, and the two databases are
clusters of ``dev.cluster`` set up as their images' entrypoints do it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from graphlib import TopologicalSorter
from pathlib import Path

from dev.airflow_client import AirflowClient, AirflowServerError
from dev.cluster import Cluster, quoted
from dev.compose import Compose, Service, read_env_file
from dev.ports import free_port, free_ports
from dev.watchdog import Watchdog, session_members, stop_sessions

PROJECT = ("docker-compose.yaml", ".env.example", "docker", "dags", "migrations")
DATABASES = ("warehouse", "metadata")
PORTS = {"api-server": 8080, "redis": 6379, "scheduler": 8974, "worker": 8793, "triggerer": 8794}
HEALTHY_SECONDS = 120.0
ONE_SHOT_SECONDS = 300.0


class Deployment(AirflowClient):
    """One project folder as a person has it after a clone, and the services of its compose file.

    :param folder: must be reachable for the account PostgreSQL runs as; emptied of nothing.
    :param choices: variables added to .env, such as ``COMPOSE_PROFILES``.
    :param settings: environment added to every Airflow process, such as shorter intervals for a test.
    """

    def __init__(
        self, checkout: Path, folder: Path, *, choices: Mapping[str, str], settings: Mapping[str, str]
    ) -> None:
        self.project = folder / "project"
        self.root = folder / "container"
        self._copy(checkout)
        subprocess.run(["sh", "docker/make-env.sh"], cwd=self.project, check=True, stdout=subprocess.DEVNULL)
        self.variables = {**read_env_file((self.project / ".env").read_text()), **choices}
        profiles = self.variables.get("COMPOSE_PROFILES", "").split(",")
        self.compose = Compose.read(self.project / "docker-compose.yaml", self.variables, profiles)
        self.ports = dict(zip((*PORTS, *DATABASES), free_ports(len(PORTS) + len(DATABASES)), strict=True))
        self.clusters: dict[str, Cluster] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environments: dict[str, dict[str, str]] = {}
        self._settings = dict(settings)
        self._watchdog = Watchdog()
        super().__init__(
            f"http://127.0.0.1:{self.ports['api-server']}",
            user="admin",
            password=self.variables["ADMIN_PASSWORD"],
            since=datetime.now(timezone.utc),
        )

    def __enter__(self) -> Deployment:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self, **replicas: int) -> None:
        """Every service, each after those it depends on, as ``docker compose up`` does it."""
        services = self.compose.services
        graph = {
            name: [other for other in service.depends_on if other in services] for name, service in services.items()
        }
        for name in TopologicalSorter(graph).static_order():
            for other in graph[name]:
                if services[name].depends_on[other]["condition"] == "service_healthy":
                    self.wait_healthy(other)
            count = replicas.get(name, 1)
            for replica in [name] if count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]:
                self.start(replica)

    def start(self, replica: str) -> None:
        """A service, or one of its replicas (``worker-2``); one that ends by itself is waited for."""
        service = self._service(replica)
        self._mount(service)
        if service.name in DATABASES:
            self._start_database(service)
            return
        environment = self._environment(service, replica)
        self._environments[replica] = environment
        with self.log_file(replica).open("ab") as log:
            process = subprocess.Popen(
                self._command(service, replica),
                cwd=self.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._watchdog.watch(process.pid, signal.SIGTERM, signal.SIGKILL)
        if service.raw["restart"] == "no":
            self._await_end(replica, process)
        else:
            self.processes[replica] = process

    def stop(self, replica: str, seconds: float = 30.0) -> None:
        """As ``docker compose stop``: SIGTERM to the first process, SIGKILL to all that is left after the time."""
        if replica in DATABASES:
            self.clusters.pop(replica).stop()
            return
        process = self.processes.pop(replica)
        stop_sessions({process.pid: (signal.SIGTERM, signal.SIGKILL)}, seconds)
        process.wait()
        self._watchdog.forget(process.pid)

    def kill(self, replica: str) -> None:
        """As when the container is shot: every process of it, at once."""
        process = self.processes.pop(replica)
        while members := session_members(process.pid):
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.poll()
        process.wait()
        self._watchdog.forget(process.pid)

    def down(self) -> None:
        """Everything, quickly: nothing of it is needed again."""
        leaders = {process.pid: (signal.SIGTERM, signal.SIGKILL) for process in self.processes.values()}
        stop_sessions(leaders, 3.0)
        for process in self.processes.values():
            process.wait()
            self._watchdog.forget(process.pid)
        for cluster in self.clusters.values():
            cluster.stop()
        self._watchdog.dismiss()

    def replica_of(self, pid: int) -> str:
        """Which container this process would be in."""
        return next(name for name, leader in self.processes.items() if os.getsid(pid) == leader.pid)

    def healthy(self, replica: str) -> bool:
        """Run the service's own health check, as its container would."""
        service = self._service(replica)
        environment = self._environments.get(replica) or self._environment(service, replica)
        words = [self._rewritten(word, service.name) for word in service.health_check]
        seconds = float(str(service.raw["healthcheck"]["timeout"]).removesuffix("s"))
        with self.log_file(f"{replica}-health").open("ab") as log:
            try:
                answer = subprocess.run(
                    words, cwd=self.root, env=environment, stdout=log, stderr=log, timeout=seconds, check=False
                )
            except subprocess.TimeoutExpired:
                return False
        return answer.returncode == 0

    def wait_healthy(self, name: str) -> None:
        if not self.poll(lambda: self.healthy(name), HEALTHY_SECONDS):
            raise AirflowServerError(f"{name} was not healthy in {HEALTHY_SECONDS:.0f} s: {self.log_tail(name)}")

    def check(self) -> None:
        for replica, process in self.processes.items():
            if process.poll() is not None:
                raise AirflowServerError(f"{replica} ended with {process.returncode}: {self.log_tail(replica)}")

    def log_file(self, replica: str) -> Path:
        return self.project.parent / f"{replica}.log"

    def log_tail(self, component: str) -> str:
        file = self.log_file(component)
        lines = file.read_text(errors="replace").splitlines() if file.exists() else []
        return "\n".join(["", *lines[-15:], f"(log: {file})"])

    def warehouse_dsn(self) -> str:
        """As the role that runs the migrations."""
        return self.clusters["warehouse"].dsn(
            "warehouse", user="warehouse", password=self.variables["WAREHOUSE_PASSWORD"]
        )

    def _copy(self, checkout: Path) -> None:
        self.project.mkdir(parents=True)
        for name in PROJECT:
            source = checkout / name
            if source.is_dir():
                shutil.copytree(source, self.project / name)
            else:
                shutil.copy(source, self.project / name)

    def _service(self, replica: str) -> Service:
        services = self.compose.services
        return services[replica] if replica in services else services[replica.rpartition("-")[0]]

    def _place(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def _mount(self, service: Service) -> None:
        for place in service.named_volumes:
            self._place(place).mkdir(parents=True, exist_ok=True)
        for place, source in service.bind_mounts.items():
            target = self._place(place)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.is_symlink():
                target.symlink_to(self.project / source)

    def _rewritten(self, text: str, service: str) -> str:
        for database in DATABASES:
            text = text.replace(f"{database}:5432", f"127.0.0.1:{self.ports[database]}")
        for name, port in PORTS.items():
            text = text.replace(f"//{name}:{port}", f"//127.0.0.1:{port}").replace(
                f"@{name}:{port}", f"@127.0.0.1:{port}"
            )
            text = re.sub(rf"\b{port}\b", str(self.ports[name]), text)
        if service in DATABASES:
            text = re.sub(r"\b5432\b", str(self.ports[service]), text)
        return re.sub(r"(?<![\w/.])(/opt/airflow|/data)\b", lambda match: str(self._place(match[0])), text)

    def _environment(self, service: Service, replica: str) -> dict[str, str]:
        """The caller's own AIRFLOW variables are left out: another Airflow's settings must not leak in."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        programs = [Path(sys.executable).parent, self._bindir(), inherited["PATH"]]
        own = {name: self._rewritten(value, service.name) for name, value in service.environment.items()}
        if service.command and "AIRFLOW__CORE__EXECUTOR" in own:
            own |= {
                "AIRFLOW_HOME": str(self._place("/opt/airflow")),
                "AIRFLOW__API__HOST": "127.0.0.1",
            } | self._settings
        if replica != service.name and not replica.endswith("-1"):
            own["AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT"] = str(free_port())
        return {
            **inherited,
            "PATH": os.pathsep.join(map(str, programs)),
            "PYTHONUNBUFFERED": "1",
            "HOSTNAME": replica,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            **own,
        }

    def _command(self, service: Service, replica: str) -> list[str]:
        """The Airflow image's entrypoint puts ``airflow`` before what is neither bash nor python."""
        words = [self._rewritten(word, service.name) for word in service.command]
        if "AIRFLOW__CORE__EXECUTOR" in service.environment and words[0] not in ("bash", "python"):
            words = ["airflow", *words]
        if replica != service.name:
            words += ["--celery-hostname", f"celery@{replica}"]
        return words

    def _bindir(self) -> Path:
        return next(iter(self.clusters.values())).bindir if self.clusters else Path("/usr/bin")

    def _start_database(self, service: Service) -> None:
        """What the entrypoint of the postgres image does with an empty volume, and ours with its scripts."""
        name, environment = service.name, service.environment
        data = self.project.parent / f"{name}-data"
        fresh = not data.exists()
        cluster = Cluster(data, port=self.ports[name], password=environment["POSTGRES_PASSWORD"], fsync=False)
        self.clusters[name] = cluster
        cluster.start()
        if not fresh:
            return
        user, database = environment.get("POSTGRES_USER", "postgres"), environment["POSTGRES_DB"]
        if user != "postgres":
            cluster.execute(f"CREATE ROLE {quoted(user)} SUPERUSER LOGIN PASSWORD '{environment['POSTGRES_PASSWORD']}'")
        cluster.create_database(database)
        for place, source in service.bind_mounts.items():
            if place.startswith("/docker-entrypoint-initdb.d/"):
                script = ["-v", "ON_ERROR_STOP=1", "-q", "-f", str(self.project / source)]
                command = [str(cluster.bindir / "psql"), *script, "-d", cluster.dsn(database)]
                subprocess.run(command, env=self._environment(service, name), check=True)

    def _await_end(self, name: str, process: subprocess.Popen[bytes]) -> None:
        try:
            status = process.wait(ONE_SHOT_SECONDS)
        except subprocess.TimeoutExpired:
            raise AirflowServerError(f"{name} took more than {ONE_SHOT_SECONDS:.0f} s: {self.log_tail(name)}") from None
        if status != 0:
            raise AirflowServerError(f"{name} ended with {status}: {self.log_tail(name)}")
        self._watchdog.forget(process.pid)
