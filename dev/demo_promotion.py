"""The demo of a promotion: three PostgreSQL clusters, one folder, and a person before the last of them."""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path

from dev.airflow_server import APPROVER, AirflowServer
from dev.cluster import Cluster
from dev.demo import GRANTED, ROOT, WAREHOUSE, Demo, _make_database, _make_role, show_change, show_ledger, show_tasks

DAG = "warehouse_promotion"
APPROVE = "promote.production.migrate.approve"
BEFORE = ("development", "staging")
"""The environments before production, each with a cluster of its own."""


class PromotionDemo(Demo):
    """:param folder: as for `Demo`, from which it has everything apart; its cluster is production.
    :param answers: it approves by itself, as the second user; else a person does.
    """

    def __init__(self, folder: Path, *, answers: bool) -> None:
        super().__init__(folder / "promotion")
        self.folder.mkdir(exist_ok=True)
        self.answers = answers
        self.others = {
            name: Cluster(self._beside(name), log_file=self.logs / f"postgres-{name}.log") for name in BEFORE
        }
        self.dags_folder = self.folder / "copy" / "dags"

    def forget(self) -> None:
        """Everything but the virtual environment."""
        super().forget()
        for cluster in self.others.values():
            cluster.stop()
            shutil.rmtree(cluster.data_dir, ignore_errors=True)

    def migrate(self, dag_id: str) -> bool:
        """One promotion, with the answer between; whether it succeeded."""
        server = self.server
        print(f"Waiting until Airflow has read the DAG {DAG} ...", flush=True)
        server.wait_dag(DAG)
        server.fail_unfinished_runs(DAG)
        run_id = server.trigger(DAG)
        print(f"Run {run_id}, started by {server.user}", flush=True)
        # A person may take their time.
        seconds = 600.0 if self.answers else 86_400.0
        state = server.wait_run(DAG, run_id, seconds, on_change=partial(self._show, server, run_id))
        print(f"The run has ended: {state}\n")
        show_tasks(server, DAG, run_id)
        for name, cluster in {**self.others, "production": self.cluster}.items():
            print(f"\n{name}:", end="")
            show_ledger(cluster, WAREHOUSE)
        return state == "success"

    def _show(self, server: AirflowServer, run_id: str, task: str, state: str) -> None:
        show_change(task, state)
        if (task, state) == (APPROVE, "awaiting_input"):
            self._have_answered(server, run_id)

    def _have_answered(self, server: AirflowServer, run_id: str) -> None:
        request = server.request_of(DAG, run_id, APPROVE)
        print(f"\n{request['subject']}\n")
        print("\n".join(f"  {line}" for line in request["body"].splitlines()[:24]))
        print("  ...\n")
        if self.answers:
            time.sleep(5)  # the process that asked ends a moment later, and Airflow takes no answer before that
            server.approver().answer(DAG, run_id, APPROVE, "apply")
            print(f"{APPROVER} has answered: apply", flush=True)
        else:
            page = f"{server.url}/dags/{DAG}/runs/{run_id}/tasks/{APPROVE}/required_actions"
            print(f"Answer it as {APPROVER}, password {server.password}:\n  {page}", flush=True)

    def _start_postgres(self, port: int) -> None:
        super()._start_postgres(port)
        for name, cluster in self.others.items():
            cluster.stop()
            cluster.password = self._passwords["postgres"]
            self._started.append(cluster)
            print(f"Starting PostgreSQL of {name} ...", flush=True)
            cluster.start()
            _make_database(cluster, WAREHOUSE, self._passwords[WAREHOUSE])
            for role in GRANTED:
                _make_role(cluster, role, "NOLOGIN")

    def _start_airflow(self, ports: list[int]) -> None:
        shutil.rmtree(self.dags_folder.parent, ignore_errors=True)
        self.dags_folder.mkdir(parents=True)
        shutil.copy(ROOT / "dev" / "promotion" / f"{DAG}.py", self.dags_folder)
        shutil.copytree(ROOT / "migrations", self.dags_folder.parent / "migrations")
        config = self.dags_folder.parent / "migrations" / "migration_config.yaml"
        # Production asks for TimescaleDB, which a PostgreSQL for a demo seldom has.
        config.write_text(config.read_text().replace("when_extension_missing: fail", "when_extension_missing: skip"))
        super()._start_airflow(ports)

    def _connections(self) -> dict[str, str]:
        login = {"user": WAREHOUSE, "password": self._passwords[WAREHOUSE]}
        names = {"development": "WAREHOUSE_DEV", "staging": "WAREHOUSE_STAGING"}
        others = {f"AIRFLOW_CONN_{names[n]}": cluster.dsn(WAREHOUSE, **login) for n, cluster in self.others.items()}
        return {**super()._connections(), **others}

    def _beside(self, name: str) -> Path:
        return self.data_dir.with_name(f"{self.data_dir.name}-{name}")
