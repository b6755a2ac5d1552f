"""A relative folder is beside the DAG file that Airflow lists, for whoever asks and whoever makes the DAG."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

from airflow_provider_wmigrate import MigrationSensor
from airflow_provider_wmigrate.beside import as_seen_from_dag_file, folder_beside

FACTORY = """
from airflow.sdk import DAG
from airflow_provider_wmigrate import ApplyMigrationOperator, CheckHealthOperator, MigrationSensor, MigrationTaskGroup


def make(dag_id, folder):
    with DAG(dag_id, schedule=None) as dag:
        MigrationTaskGroup("m", folder=folder, conn_id="w")
        MigrationSensor(task_id="s", conn_id="w", folder=folder)
        CheckHealthOperator(task_id="h", conn_id="w", folder=folder)
        ApplyMigrationOperator(task_id="a", conn_id="w", folder=folder, version="001")
    return dag
"""
CALLER = 'from wm_factory import make\n\ndag = make("made", "../migrations")  # airflow DAG\n'


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library with a factory, a team that calls it; each has a folder `migrations`."""
    for owner, name in (("shared", "of_the_library"), ("team", "of_the_team")):
        (tmp_path / owner / "migrations").mkdir(parents=True)
        (tmp_path / owner / "migrations" / f"001_{name}.sql").write_text("SELECT 1;")
    (tmp_path / "shared" / "lib").mkdir()
    (tmp_path / "shared" / "lib" / "wm_factory.py").write_text(FACTORY)
    (tmp_path / "team" / "dags").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "shared" / "lib"))
    monkeypatch.delitem(__import__("sys").modules, "wm_factory", raising=False)
    return tmp_path


def folders(file: Path) -> set[Path]:
    bag = DagBag(str(file))
    assert not bag.import_errors, bag.import_errors
    dag = bag.dags["made"]
    assert "m.001_of_the_team" in dag.task_ids
    tasks = [dag.get_task(task_id) for task_id in ("m.plan", "m.report", "h", "a")]
    return {*(Path(task.folder) for task in tasks), dag.get_task("s")._folder}


def test_a_dag_factory(places: Path) -> None:
    file = places / "team" / "dags" / "d.py"
    file.write_text(CALLER)
    assert folders(file) == {places / "team" / "migrations"}


def test_a_dag_file_behind_a_link(places: Path) -> None:
    """Beside the link, which is what Airflow lists."""
    (places / "elsewhere").mkdir()
    (places / "elsewhere" / "d.py").write_text(CALLER)
    link = places / "team" / "dags" / "d.py"
    link.symlink_to(places / "elsewhere" / "d.py")
    assert folders(link) == {places / "team" / "migrations"}


def test_a_dag_in_an_archive_is_refused_with_a_sentence(places: Path) -> None:
    archive = places / "team" / "dags" / "d.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("d.py", CALLER)
    bag = DagBag(str(archive))
    (said,) = bag.import_errors.values()
    assert (
        "d.zip/d.py is in an archive, and a folder of migrations cannot be read from there: put ../migrations" in said
    )


def test_without_a_dag_file_a_relative_folder_is_refused() -> None:
    with pytest.raises(ValueError, match="relative to a DAG file, and there is none here: give it in full"):
        folder_beside("migrations", None)
    with pytest.raises(ValueError, match="relative to a DAG file"):
        MigrationSensor(task_id="s", conn_id="w", folder="migrations")


def test_the_way_from_the_dag_file_is_the_same_on_every_machine(places: Path, tmp_path: Path) -> None:
    """A bundle has another path for each of its versions."""
    file, found = places / "team" / "dags" / "d.py", set()
    for version in ("one", "another"):
        here = tmp_path / "bundles" / version
        (here / "dags").mkdir(parents=True)
        found |= {
            as_seen_from_dag_file(here / "migrations", str(here / "dags" / "d.py")),
            as_seen_from_dag_file((here / "migrations" / "..") / "migrations", str(here / "dags" / "d.py")),
        }
    assert found == {"../migrations"}
    assert as_seen_from_dag_file(Path("/nowhere/in/common"), str(file)) is None
    assert as_seen_from_dag_file(places / "team" / "migrations", None) is None
