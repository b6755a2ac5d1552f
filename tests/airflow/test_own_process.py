"""What the process of each task reads: as under the scheduler, where every task has the DAG file parsed for itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow_runner import Run, Runner, applied
from own_process import own_process

from airflow_provider_wmigrate.engine.folder import scripts

MakeFolder = Callable[..., Path]
Conn = psycopg.Connection[Any]

FOUR = {f"{n:03d}_{name}.sql": f"CREATE TABLE {name} (id int);" for n, name in enumerate("abcd", 1)}
UNDO = {f"{n:03d}_{name}.rollback.sql": f"DROP TABLE {name};" for n, name in enumerate("abcd", 1)}


class Reads:
    """By task: how often its process listed the folder, and which files of it were read."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lists: dict[str, int] = {}
        self.files: dict[str, set[str]] = {}
        self.task = ""
        scandir, read_bytes = os.scandir, scripts._bytes

        def listed(path: Any = ".") -> Any:
            if str(path) == str(folder):
                self.lists[self.task] = self.lists.get(self.task, 0) + 1
            return scandir(path)

        def read(directory: str, file: str) -> bytes:
            self.files.setdefault(self.task, set()).add(file)
            return read_bytes(directory, file)

        monkeypatch.setattr(os, "scandir", listed)
        monkeypatch.setattr(scripts, "_bytes", read)


class InOwnProcesses:
    """A DAG whose tasks are made anew, each as in its own process, when they are asked for."""

    def __init__(self, make: Callable[[], Any], reads: Reads) -> None:
        self.dag_id = make().dag_id
        self.task_dict = self
        self._make, self._reads = make, reads

    def __getitem__(self, task_id: str) -> Any:
        self._reads.task = task_id.rpartition(".")[2]
        with own_process(self.dag_id, task_id):
            return self._make().task_dict[task_id]


def drive(runner: Runner, make: Callable[[], Any], reads: Reads) -> Run:
    run = Run(make(), f"own__{make().dag_id}_{len(reads.lists)}_{id(reads)}")
    run.create({}, "alice")
    run.dag = InOwnProcesses(make, reads)
    reads.lists.clear()
    reads.files.clear()
    run.drive()
    return run


def test_each_task_reads_its_folder_once_and_only_what_it_needs(
    runner: Runner, make_folder: MakeFolder, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder({**FOUR, **UNDO})
    reads = Reads(folder, monkeypatch)
    run = drive(runner, lambda: runner.migrations(folder, dag_id="own", max_tasks=2), reads)
    assert (run.state, applied(conn)) == ("success", ["001", "002", "003", "004"])
    assert reads.lists == dict.fromkeys(("plan", "history", "003_c", "004_d", "report"), 1)
    assert reads.files == {
        "plan": {*FOUR, *UNDO},
        "history": {*FOUR, *UNDO},
        "003_c": {"003_c.sql", "003_c.rollback.sql"},
        "004_d": {"004_d.sql", "004_d.rollback.sql"},
    }


def test_a_run_without_anything_to_do_reads_scripts_for_its_plan_alone(
    runner: Runner, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder({**FOUR, **UNDO})
    runner.run(runner.migrations(folder))
    reads = Reads(folder, monkeypatch)
    drive(runner, lambda: runner.migrations(folder, dag_id="idle"), reads)
    assert (reads.lists, list(reads.files)) == ({"plan": 1, "report": 1}, ["plan"])


def test_a_rollback_in_processes_of_its_own(
    runner: Runner, make_folder: MakeFolder, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder({**FOUR, **UNDO})
    runner.run(runner.migrations(folder))
    reads = Reads(folder, monkeypatch)
    run = drive(runner, lambda: _rollback(folder), reads)
    assert (run.state, applied(conn)) == ("success", [])
    assert reads.lists == dict.fromkeys(("plan", "004_d", "003_c", "history", "report"), 1)
    assert reads.files["004_d"] == {"004_d.sql", "004_d.rollback.sql"}


def test_a_task_asks_airflow_for_no_more_than_it_needs(
    runner: Runner, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line is a request to Airflow's API server, which all tasks of an installation share."""
    from airflow.sdk.execution_time.supervisor import InProcessSupervisorComms

    folder, asked = make_folder({**FOUR, **UNDO}), dict[str, list[str]]()
    dag = runner.migrations(folder, max_tasks=2)
    send = InProcessSupervisorComms.send

    def told(self: Any, msg: Any) -> Any:
        name = type(msg).__name__ + (f" {msg.key}" if hasattr(msg, "key") else "")
        if name != "MaskSecret":  # the supervisor keeps it to itself
            asked.setdefault(task_of(self), []).append(name)
        return send(self, msg)

    def task_of(comms: Any) -> str:
        return str(comms.supervisor.ti.task_id).rpartition(".")[2]

    monkeypatch.setattr(InProcessSupervisorComms, "send", told)
    runner.run(dag)
    step = ["SetRenderedFields", "GetTaskStates", "GetXCom plan", "SetXCom return_value", "SucceedTask"]
    head = "AssetStateStoreByName wmigrate_audit_head.wmigrate"
    at_first = ["SetRenderedFields", "ValidateInletsAndOutlets"]
    assert asked == {
        "plan": [*at_first, f"Get{head}", "SetXCom markdown", "SetXCom plan", f"Set{head}", "SucceedTask"],
        "history": [*step, "SetXCom _link_MigrationLink"],
        **dict.fromkeys(("003_c", "004_d"), step),
        "report": [
            *at_first,
            "GetTaskStates",
            "GetXCom plan",
            "GetAssetEventByAsset",
            f"Get{head}",
            f"Set{head}",
            "SetXCom audit_head",
            "SetXCom return_value",
            "SucceedTask",
        ],
    }


def _rollback(folder: Path) -> Any:
    from airflow.sdk import DAG

    from airflow_provider_wmigrate import RollbackTaskGroup

    with DAG("own_rollback", schedule=None) as made:
        RollbackTaskGroup("rollback", folder=folder, conn_id="target", to="0", max_tasks=2)
    return made


def test_a_script_that_was_broken_after_the_plan_fails_its_own_task(
    runner: Runner, make_folder: MakeFolder, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others need not be read for that: each is, by its own task."""
    folder = make_folder({**FOUR, **UNDO})
    reads = Reads(folder, monkeypatch)

    def make() -> Any:
        if reads.task == "002_b":
            (folder / "003_c.sql").write_bytes(b"\xff")
        return runner.migrations(folder, dag_id="broken")

    run = Run(make(), "broken")
    run.create({}, "alice")
    run.dag = InOwnProcesses(make, reads)
    with pytest.raises(Exception, match=r"003_c\.sql:1: is not UTF-8; save it as UTF-8"):
        run.drive()
    assert (applied(conn), SimpleNamespace(**run.states).plan) == (["001", "002"], "success")
