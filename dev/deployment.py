"""The compose deployment without containers: the same commands, environment and health checks as plain processes.

What differs is what one machine forces: a service's name becomes 127.0.0.1, a port a free one, a path of the
container one below a folder, a replica gets a host name and a log port of its own, and the two databases are
clusters of ``dev.cluster`` set up as their images' entrypoints do it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path

from dev.airflow_client import AirflowServerError
from dev.airflow_processes import AirflowProcesses, surroundings
from dev.cluster import Cluster, quoted
from dev.compose import Compose, Service, read_env_file
from dev.ports import free_port, free_ports

PROJECT = ("docker-compose.yaml", ".env.example", "docker", "dags", "migrations")
DATABASES = ("warehouse", "metadata")
PORTS = {"api-server": 8080, "redis": 6379, "scheduler": 8974, "worker": 8793, "triggerer": 8794}
HEALTHY_SECONDS = 120.0
ONE_SHOT_SECONDS = 300.0


class Deployment(AirflowProcesses):
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
        self._environments: dict[str, dict[str, str]] = {}
        self._settings = dict(settings)
        url = f"http://127.0.0.1:{self.ports['api-server']}"
        super().__init__(folder, url, user="admin", password=self.variables["ADMIN_PASSWORD"])

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
        self._environments[replica] = self._environment(service, replica)
        self.launch(replica, self._command(service, replica), self._environments[replica], self.root)
        if service.raw["restart"] == "no":
            self.await_end(replica, ONE_SHOT_SECONDS)

    def stop(self, replica: str, seconds: float = 30.0) -> None:
        """As ``docker compose stop``: SIGTERM to the first process, SIGKILL to all that is left after the time."""
        if replica in DATABASES:
            self.clusters.pop(replica).stop()
        else:
            self.end([replica], seconds)

    def kill(self, replica: str) -> None:
        """As when the container is shot: every process of it, at once."""
        self.end([replica], 0, signal.SIGKILL)

    def down(self) -> None:
        """Everything, quickly: nothing of it is needed again."""
        self.end(self.processes, 3.0)
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

    def warehouse_dsn(self) -> str:
        """As the role that runs the migrations."""
        return self.clusters["warehouse"].dsn(
            "warehouse", user="warehouse", password=self.variables["WAREHOUSE_PASSWORD"]
        )

    def _copy(self, checkout: Path) -> None:
        self.project.mkdir(parents=True)
        for name in PROJECT:
            copy = shutil.copytree if (checkout / name).is_dir() else shutil.copy
            copy(checkout / name, self.project / name)

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
        inherited = surroundings()
        programs = [Path(sys.executable).parent, self._bindir(), inherited["PATH"]]
        own = {name: self._rewritten(value, service.name) for name, value in service.environment.items()}
        if service.command and "AIRFLOW__CORE__EXECUTOR" in own:
            own |= {
                "AIRFLOW_HOME": str(self._place("/opt/airflow")),
                "AIRFLOW__API__HOST": "127.0.0.1",
            } | self._settings
        if replica != service.name and not replica.endswith("-1"):
            own["AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT"] = str(free_port())
        return {**inherited, "PATH": os.pathsep.join(map(str, programs)), "HOSTNAME": replica, **own}

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
