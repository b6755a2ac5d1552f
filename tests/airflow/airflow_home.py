"""A real Airflow inside the test process: one metadata database, the real task runner, no scheduler.

`runner` gives a DAG to it and drives a run to its end. Its connection `target` (and `warehouse_db`) is the test's own
empty database. For the conftest.py of every folder whose tests need Airflow; import this before anything of Airflow,
which reads its settings when it is imported.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog.testing
from airflow_runner import BUNDLE, Runner, TaskLog, connection

from dev.memory_room import memory_with_room


def _make_home() -> Path:
    home = Path(tempfile.mkdtemp(prefix="wmigrate-airflow-", dir=memory_with_room()))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    (home / "dags").mkdir()
    core = {
        "load_examples": False,
        "dags_folder": home / "dags",
        "min_serialized_dag_update_interval": 0,
        "dagbag_import_timeout": 0,  # it would take away the alarm that is pytest's limit of a test
    }
    (home / "airflow.cfg").write_text("[core]\n" + "".join(f"{key} = {value}\n" for key, value in core.items()))
    return home


os.environ["AIRFLOW_HOME"] = str(_make_home())
os.environ.pop("AIRFLOW_CONFIG", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A task's own limit takes away the alarm that is pytest's. A thread's limit stays: it ends the whole process, and
    tells where it stood."""
    for item in items:
        if "metadata_database" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(method="thread"))


@functools.cache
def make_metadata_database() -> None:
    """Airflow's own database, empty but for what DAGs are stored under. Once per process, whoever asks."""
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.db import initdb
    from airflow.utils.session import create_session

    initdb()
    with create_session() as session:
        session.add(DagBundleModel(name=BUNDLE))


@pytest.fixture(scope="session")
def metadata_database() -> None:
    make_metadata_database()


@pytest.fixture
def runner(metadata_database: None, database: str, monkeypatch: pytest.MonkeyPatch) -> Runner:
    for name in ("TARGET", "WAREHOUSE_DB"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", connection(database))
    forget_targets()
    return Runner()


def forget_targets() -> None:
    """What Airflow keeps about a target outlives the test's database."""
    from airflow.models.asset import AssetEvent
    from airflow.models.asset_state_store import AssetStateStoreModel
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        for model in (AssetEvent, AssetStateStoreModel):
            session.execute(delete(model))


@pytest.fixture
def task_log() -> Iterator[TaskLog]:
    """What the tasks of this test wrote into their logs."""
    handler = TaskLog()
    logger = logging.getLogger("airflow_provider_wmigrate")
    logger.addHandler(handler)
    with structlog.testing.capture_logs() as handler.entries:
        yield handler
    logger.removeHandler(handler)
