"""The real API server app in this process, with Airflow's own log-in, a real metadata database and a real target."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

sys.path.append(str(Path(__file__).parents[1] / "airflow"))

from airflow_home import make_metadata_database
from airflow_runner import Run, Runner, connection, store

API = "/wmigrate/api/v1"
PARAMS = {
    "to": {"default": "", "type": "string"},
    "mode": {"default": "apply", "enum": ["apply", "dry_run"]},
    "environment": {"default": "development", "enum": ["development", "staging"]},
}
CHOSEN = {name: f"{{{{ params.{name} }}}}" for name in PARAMS}
CONFIG = """
migrations:
  - {version: '001', description: Products}
  - {version: '002', description: Stock, dependencies: ['001']}
  - {version: '003', description: Views, dependencies: ['001', '002']}
settings: {execution: {retry_attempts: 0}}
environments:
  development: {}
  staging: {ledger: {schema: staging_ledger}}
"""
FILES = {
    "001_products.sql": "CREATE TABLE products (id int PRIMARY KEY);\n",
    "001_products.rollback.sql": "DROP TABLE products;\n",
    "002_stock.sql": "CREATE TABLE stock (id int REFERENCES products);\n",
    "002_stock.rollback.sql": "DROP TABLE stock;\n",
    "003_views.sql": "CREATE VIEW low_stock AS SELECT * FROM stock;\n",
    "migration_config.yaml": CONFIG,
}


def pytest_configure(config: pytest.Config) -> None:
    # Starlette's test client prefers httpx2, which Airflow does not bring along yet.
    config.addinivalue_line("filterwarnings", "ignore:Using `httpx`")


@pytest.fixture(scope="session")
def app() -> Any:
    make_metadata_database()
    from airflow.api_fastapi.app import create_app

    return create_app(apps="core")


@pytest.fixture(scope="session")
def anonymous(app: Any) -> Iterator[Any]:
    """A client that has not logged in."""
    from starlette.testclient import TestClient

    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


@pytest.fixture(scope="session")
def token(anonymous: Any) -> Callable[..., str]:
    """Make a token for a role; the user's name is the role's unless given."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    def make(role: str, *, name: str | None = None, seconds: int = 3600) -> str:
        user = SimpleAuthManagerUser(username=name or role, role=role.upper())
        return str(get_auth_manager().generate_jwt(user, expiration_time_in_seconds=seconds))

    return make


@pytest.fixture(scope="session")
def client(app: Any, token: Callable[..., str]) -> Callable[..., Any]:
    """A client that is logged in with a role."""
    from starlette.testclient import TestClient

    def make(role: str, **more: Any) -> Any:
        headers = {"authorization": f"Bearer {token(role, **more)}"}
        return TestClient(app, headers=headers, raise_server_exceptions=False, follow_redirects=False)

    return make


@pytest.fixture(scope="session")
def admin(client: Callable[..., Any]) -> Any:
    return client("admin")


@pytest.fixture(scope="session")
def viewer(client: Callable[..., Any]) -> Any:
    return client("viewer")


@dataclass
class Place:
    """A folder, a database, the DAG that migrates it and the DAG that rolls it back."""

    folder: Path
    dsn: str
    dag: Any
    undo: Any

    @property
    def group(self) -> str:
        return f"{API}/dags/{self.dag.dag_id}/groups/migrate"

    def migrate(self, **conf: Any) -> Run:
        return Runner().run(self.dag, **conf)

    def roll_back(self, **conf: Any) -> Run:
        return Runner().run(self.undo, **conf)

    def reparse(self) -> None:
        """After the folder was changed."""
        self.dag, self.undo = make_dags(self.folder, self.dag.dag_id)
        for dag in (self.dag, self.undo):
            store(dag)

    def sql(self, query: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            conn.execute(query.encode())


def make_dags(folder: Path, dag_id: str, conn_id: str | None = None) -> tuple[Any, Any]:
    """DAGs as in `dags/`."""
    from airflow.sdk import DAG, Param

    from airflow_provider_wmigrate import MigrationTaskGroup, RollbackTaskGroup

    params = {name: Param(**schema) for name, schema in PARAMS.items()}
    conn_id = conn_id or dag_id
    with DAG(dag_id, schedule=None, params=params, max_active_runs=1, is_paused_upon_creation=False) as dag:
        dag.fileloc = str(folder.with_suffix(".py"))
        Path(dag.fileloc).write_text("# Airflow keeps the text of every DAG file\n")
        MigrationTaskGroup("migrate", folder=folder, conn_id=conn_id, **CHOSEN)
    with DAG(f"{dag_id}_back", schedule=None, params=params, is_paused_upon_creation=False) as undo:
        RollbackTaskGroup("rollback", folder=folder, conn_id=conn_id, **CHOSEN)
    return dag, undo


@pytest.fixture(scope="session")
def make_place(app: Any, cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Place]]:
    """Make a place of that name; its connection has the same."""
    with pytest.MonkeyPatch.context() as patch:

        def make(name: str, files: dict[str, str] = FILES, *, dsn: str | None = None) -> Place:
            dsn = dsn or cluster.create_database(f"web_{name}", template="template0")
            fields = {**json.loads(connection(dsn)), "password": "not-to-be-told"}
            patch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))
            folder = tmp_path_factory.mktemp(name)
            for file, text in files.items():
                (folder / file).write_text(text)
            place = Place(folder, dsn, *make_dags(folder, name))
            for dag in (place.dag, place.undo):
                store(dag)
            return place

        yield make


@pytest.fixture(scope="session")
def warehouse(make_place: Callable[..., Place]) -> Place:
    """001 and 002 are applied, 003 is pending. Tests that change anything make a place of their own."""
    place = make_place("warehouse")
    assert place.migrate(to="002").state == "success"
    return place


@pytest.fixture(autouse=True)
def nothing_known_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test found unreachable is asked again by the next."""
    from airflow_provider_wmigrate.web import target_reads

    monkeypatch.setattr(target_reads, "_down", {})


def told(answer: Any, status: int, code: str) -> str:
    """The detail of a problem, after a look at the rest of it."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code), body
    assert body["type"] == f"urn:wmigrate:problem:{code}"
    return str(body["detail"])
