"""What importing costs, what the package gives away, and what Airflow reads about it."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import airflow_provider_wmigrate
from airflow_provider_wmigrate.provider import get_provider_info

MakeFolder = Callable[..., Path]
_OURS = "airflow_provider_wmigrate"
ROOT = Path(__file__).resolve().parents[2]
PUBLIC = {
    "ApplyMigrationOperator",
    "Approval",
    "ApproveMigrationsOperator",
    "BackUpOperator",
    "CheckHealthOperator",
    "MigrationHook",
    "MigrationNotifier",
    "MigrationSensor",
    "MigrationTaskGroup",
    "PlanMigrationsOperator",
    "PromotionTaskGroup",
    "ReportMigrationsOperator",
    "RollBackMigrationOperator",
    "RollBackRunOperator",
    "RollbackTaskGroup",
    "VerifyMigrationsOperator",
    "health_interval",
    "roll_back_on_failure",
    "schema_asset",
    "schema_changes_asset",
    "GuardedTaskGroup",
    "guarded",
    "load_guard",
}


def loaded_by(statement: str, *packages: str) -> set[str]:
    """Which of the packages a fresh interpreter has loaded after the statement."""
    code = f"{statement}\nimport sys\nprint(*({set(packages)!r} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(answer.stdout.split())


def test_what_the_docs_have_workers_load_is_loaded_before_tasks_are_forked(tmp_path: Path) -> None:
    """Airflow reads the file while it is itself being loaded."""
    page = (ROOT / "docs" / "airflow.md").read_text()
    (line,) = re.findall(r"```python\n(import [^\n]*engine\.migrator[^\n]*\n)```", page)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "airflow_local_settings.py").write_text(line)
    code = "import airflow.settings, sys; airflow.settings.initialize(); print(*sys.modules)"
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True, env=environment
    )
    needed = {"psycopg", "postgast", "airflow_provider_wmigrate.engine.run.execution"}
    assert needed <= set(answer.stdout.split())


STARTING = """
import os, sys
from airflow.jobs.job import Job
def loaded(**settings):
    os.environ.update({f"AIRFLOW__{name}": value for name, value in settings.items()})
    Job()
    print(*(name for name in ("psycopg", "postgast", "airflow_provider_wmigrate.engine.run.in_transaction",
          "airflow_provider_wmigrate.task_group", "airflow.providers.postgres.hooks.postgres") if name in sys.modules))
local, off = {"CORE__EXECUTOR": "LocalExecutor"}, {"WMIGRATE__PRELOAD": "False"}
loaded(**local)  # as the triggerer is
import airflow.jobs.scheduler_job_runner
loaded(CORE__EXECUTOR="CeleryExecutor")
loaded(**local, **off)
loaded(WMIGRATE__PRELOAD="True")
"""


def test_a_scheduler_that_forks_tasks_loads_what_they_need(tmp_path: Path) -> None:
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    call = [sys.executable, "-c", STARTING]
    answer = subprocess.run(call, capture_output=True, text=True, cwd=ROOT, check=True, env=environment)
    needed = f"psycopg postgast {_OURS}.engine.run.in_transaction {_OURS}.task_group"
    assert answer.stdout.splitlines() == ["", "", "", f"{needed} airflow.providers.postgres.hooks.postgres"]


@pytest.mark.parametrize("module", ["airflow_provider_wmigrate", "airflow_provider_wmigrate.provider"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    heavy = ("airflow", "fastapi", "psycopg", "pydantic", "yaml", "postgast", "sqlalchemy")
    assert loaded_by(f"import {module}", *heavy) == set()


PARSED = """
from airflow.sdk import DAG
from airflow_provider_wmigrate import MigrationTaskGroup, RollbackTaskGroup
with DAG("d", schedule=None):
    MigrationTaskGroup(folder="{folder}", conn_id="target")
    RollbackTaskGroup(folder="{folder}", conn_id="target", to="0")
"""


def test_parsing_a_dag_file_loads_only_what_makes_tasks(make_folder: MakeFolder) -> None:
    """The dag processor does it all the time, and every task process once more: none of what acts is needed."""
    folder = make_folder({"001_a.sql": "SELECT 1;"})
    acting = {"psycopg", "postgast", "difflib", *(f"{_OURS}.{name}" for name in ("alerting", "web", "cli", "hooks"))}
    acting |= {f"{_OURS}.telling.{name}" for name in ("task_log", "metrics", "lineage")}
    acting |= {f"{_OURS}.engine.{name}" for name in ("sql", "session", "run", "ledger", "catalog", "record", "events")}
    assert loaded_by(PARSED.format(folder=folder), *acting) == {f"{_OURS}.hooks"}


def test_the_engine_loads_no_airflow() -> None:
    assert loaded_by("import airflow_provider_wmigrate.engine.migrator", "airflow", "fastapi") == set()


def test_all_is_exact() -> None:
    assert set(airflow_provider_wmigrate.__all__) == PUBLIC
    assert len(airflow_provider_wmigrate.__all__) == len(PUBLIC)
    assert set(dir(airflow_provider_wmigrate)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_name_resolves(name: str) -> None:
    value = getattr(airflow_provider_wmigrate, name)
    assert value.__name__ == name
    assert value.__module__.startswith("airflow_provider_wmigrate.")
    assert value.__doc__


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(airflow_provider_wmigrate.__file__).read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    assert {alias.name for node in checked.body for alias in node.names} == PUBLIC


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Migration'"):
        _ = airflow_provider_wmigrate.Migration


def test_the_provider_info_is_valid() -> None:
    import airflow
    import jsonschema

    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema=schema)


def test_the_provider_info_names_modules_that_exist() -> None:
    info = get_provider_info()
    kinds = ("operators", "sensors", "hooks", "triggers")
    modules = [module for kind in kinds for entry in info[kind] for module in entry["python-modules"]]
    assert modules
    for module in modules:
        __import__(module)


def test_the_distribution_declares_the_provider() -> None:
    try:
        distribution = importlib.metadata.distribution("airflow-provider-wmigrate")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the distribution is not installed here")
    (entry_point,) = distribution.entry_points.select(group="apache_airflow_provider")
    assert entry_point.load()() == get_provider_info()
    assert get_provider_info()["package-name"] == distribution.metadata["Name"]
    assert distribution.version == airflow_provider_wmigrate.__version__
