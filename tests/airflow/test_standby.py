"""A target that is a standby: where nothing is to do nothing has to be written, as for `wmigrate up`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from airflow_runner import Runner, connection

from dev.cluster import Cluster

MakeFolder = Callable[..., Path]

A = {"001_a.sql": "CREATE TABLE a (id int);", "001_a.rollback.sql": "DROP TABLE a;"}
B = {"002_b.sql": "CREATE TABLE b (id int);", "002_b.rollback.sql": "DROP TABLE b;"}
SENTENCE = "the target is a standby, which takes no migrations; connect to the primary"


@pytest.fixture
def server() -> Iterator[Cluster]:
    """One that can be stopped and started again."""
    folder = Path(tempfile.mkdtemp(prefix="wmigrate-standby-"))
    try:
        folder.chmod(0o755)  # whoever runs the server is not always who runs the tests
        with Cluster(folder / "data", fsync=False) as cluster:
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_where_nothing_is_to_do_a_standby_is_as_good_as_any(
    runner: Runner, make_folder: MakeFolder, server: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = server.create_database("followed")
    monkeypatch.setenv("AIRFLOW_CONN_TARGET", connection(dsn))
    assert runner.run(runner.migrations(make_folder(A))).state == "success"
    server.stop()
    (server.data_dir / "standby.signal").touch()
    server.start()
    monkeypatch.setenv("AIRFLOW_CONN_TARGET", connection(server.dsn("followed")))

    again = runner.run(runner.migrations(make_folder(A)))
    assert again.errors["report"] is None
    assert again.states == {"plan": "success", "001_a": "skipped", "report": "success"}
    assert (again.returned("report")["applied"], again.events) == ([], [])
    back = runner.run(runner.rollback(make_folder(A), to="1"))
    assert back.states == {"plan": "success", "001_a": "skipped", "report": "success"}

    more = runner.run(runner.migrations(make_folder({**A, **B})))
    assert (more.states["plan"], str(more.errors["plan"])) == ("failed", SENTENCE)
    down = runner.run(runner.rollback(make_folder(A), to="0"))
    assert (down.states["plan"], str(down.errors["plan"])) == ("failed", SENTENCE)
