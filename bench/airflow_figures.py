"""What migrations cost in Airflow: reading the DAG file, a run at any age of the project, a task, an API's answer."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from bench.measuring import Command, Meter
from bench.results import Reading
from bench.scripts import Script, scripts
from bench.servers import MEMORY, Server, cpu_seconds_below
from bench.tools.others import Dbmate
from bench.tools.wmigrate import WMigrate
from dev.airflow_server import AirflowServer

OLD, TASKS = 1000, 10
_GROUP = """\
from airflow.sdk import DAG
from airflow_provider_wmigrate import MigrationTaskGroup
with DAG({name!r}, schedule=None):
    MigrationTaskGroup("migrate", folder={folder!r}, conn_id={name!r}{more})
"""
_EMPTY = """\
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, chain
with DAG("empty", schedule=None), TaskGroup("migrate"):
    chain(*[EmptyOperator(task_id=f"t{{number}}") for number in range({count})])
"""
_SQL = """\
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import DAG, chain
with DAG("sql", schedule=None):
    chain(*[SQLExecuteQueryOperator(task_id=name, sql=sql, conn_id="sql", split_statements=True)
            for name, sql in {scripts!r}])
"""
_BASH = """\
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG
with DAG("bash", schedule=None):
    BashOperator(task_id="migrate", bash_command={call!r})
"""
# What Airflow's own processes have loaded before is not counted.
_TIMED = """\
import sys, time
import airflow.sdk, airflow.plugins_manager, airflow.providers.common.sql.operators.sql
import airflow.providers.standard.operators.empty
began = time.process_time()
exec(compile(sys.argv[1], "dag.py", "exec"))
print("TOOK", time.process_time() - began)
"""
_IMPORTS = {
    "import": "from airflow_provider_wmigrate import MigrationTaskGroup",
    "import of the plugin": "import airflow_provider_wmigrate.web.plugin",
}


def imports(tools: Sequence[WMigrate], rounds: int) -> Iterator[Reading]:
    """CPU seconds until a DAG file has been read in a process of its own, and of the imports alone."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-airflow-")))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-folder-")))
        tools[0].write(folder, scripts(OLD))
        for round_ in range(rounds):
            took = _seconds_of(_EMPTY.format(count=OLD), tools[0], home)
            for figure in ("parse", "parse, a task each"):
                yield Reading("imports", figure, "EmptyOperators", OLD, round_, {"cpu": took}, "")
            for tool in tools:
                for figure, more in (("parse", ""), ("parse, a task each", ", max_tasks=None")):
                    group = _GROUP.format(name="old", folder=str(folder), more=more)
                    values = {"cpu": _seconds_of(group, tool, home)}
                    yield Reading("imports", figure, tool.name, OLD, round_, values, "EmptyOperators")
                for figure, code in _IMPORTS.items():
                    values = {"cpu": _seconds_of(code, tool, home)}
                    yield Reading("imports", figure, tool.name, 1, round_, values, "")


def _seconds_of(code: str, tool: WMigrate, home: Path) -> float:
    environment = {"PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(home), "PYTHONPATH": str(tool.checkout)}
    call = [tool.python, "-c", _TIMED, code]
    # In another folder than this: what lies in the current one is found before what PYTHONPATH names.
    answer = subprocess.run(call, cwd=home, env=environment, capture_output=True, text=True, check=True)
    return float(answer.stdout.rpartition("TOOK")[2])


def in_airflow(
    tools: Sequence[WMigrate], dbmate: Dbmate | None, server: Server, meter: Meter, rounds: int, fresh: int
) -> Iterator[Reading]:
    """One checkout after another, each in an Airflow of its own; see `Airflow.readings`."""
    for tool in tools:
        with Airflow(tool, dbmate, server, meter, fresh) as airflow:
            yield from airflow.readings(rounds)


class Airflow:
    """A whole Airflow that runs the package of one checkout, on targets in the measured server."""

    def __init__(self, tool: WMigrate, dbmate: Dbmate | None, server: Server, meter: Meter, fresh: int) -> None:
        self.tool, self.dbmate, self.server, self.meter, self.fresh = tool, dbmate, server, meter, fresh
        self._stack = ExitStack()
        self._databases: dict[str, str] = {}
        self._folders: dict[str, Path] = {}

    def __enter__(self) -> Airflow:
        home = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-airflow-", dir=MEMORY)))
        dags = home / "dags"
        dags.mkdir()
        for name, count in {"young": 0, "old": OLD, "fresh": 0, "tasks": 0}.items():
            folder = self._target(name)
            self.tool.write(folder, scripts(count))
            if count:
                self.call("apply", name)
            more = {"fresh": self.fresh, "tasks": TASKS}.get(name, 1)
            self.tool.write(folder, [Script(number) for number in range(count + 1, count + more + 1)])
            (dags / f"{name}.py").write_text(_GROUP.format(name=name, folder=str(folder), more=""))
        self._target("sql")
        (dags / "sql.py").write_text(_SQL.format(scripts=[(s.name, s.up) for s in scripts(TASKS)]))
        if self.dbmate is not None:
            folder = self._target("bash")
            self.dbmate.write(folder, scripts(OLD))
            self._run(self.dbmate.command("apply", folder, self._dsn("bash"), 0))
            self.dbmate.write(folder, [Script(OLD + 1)])
            apply = self.dbmate.command("apply", folder, self._dsn("bash"), OLD)
            assert apply is not None
            (dags / "bash.py").write_text(_BASH.format(call=" ".join(apply.calls[0])))
        metadata = self._stack.enter_context(self.server.database())
        url = f"postgresql+psycopg2://postgres@127.0.0.1:{self.server.port}/{metadata}"
        place = {"conn_type": "postgres", "host": "127.0.0.1", "port": self.server.port, "login": "postgres"}
        connections = {
            f"AIRFLOW_CONN_{name.upper()}": json.dumps({**place, "schema": database})
            for name, database in self._databases.items()
        }
        settings = {"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600"}
        environment = {"PYTHONPATH": str(self.tool.checkout), **settings, **connections}
        self.airflow = self._stack.enter_context(AirflowServer(home / "home", dags, database_url=url, env=environment))
        for dag in dags.glob("*.py"):
            self.airflow.wait_dag(dag.stem)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def call(self, verb: str, name: str, applied: int = 0) -> float:
        """A verb of the command on one of the targets; its wall seconds."""
        return self._run(self.tool.command(verb, self._folders[name], self._dsn(name), applied))

    def run(self, name: str) -> tuple[dict[str, float], list[float]]:
        """A run of the DAG: its seconds from start to end, the CPU seconds of the workers and their tasks, and how many
        tasks ran; and the seconds of each that is neither plan nor report.

        :raises AssertionError: it did not succeed.
        """
        scheduler = self.airflow.processes["scheduler"].pid
        before = cpu_seconds_below(scheduler)
        run_id = self.airflow.trigger(name)
        state = self.airflow.wait_run(name, run_id, 3600)
        cpu = cpu_seconds_below(scheduler) - before
        assert state == "success", f"the run of {name} ended as {state}"
        run = self.airflow.api("GET", f"/api/v2/dags/{name}/dagRuns/{run_id}")
        ran = [task for task in self.airflow.task_instances(name, run_id) if task["state"] == "success"]
        whole = {"cpu": cpu, "wall": _took(run), "tasks": len(ran)}
        return whole, [_took(task) for task in ran if "table_" in task["task_id"] and task["start_date"]]

    def answer_seconds(self, name: str) -> float:
        """Of the API, for the status of every migration."""
        began = time.perf_counter()
        self.airflow.api("GET", f"/wmigrate/api/v1/dags/{name}/groups/migrate/status")
        return time.perf_counter() - began

    def _target(self, name: str) -> Path:
        self._databases[name] = self._stack.enter_context(self.server.database())
        folder = tempfile.TemporaryDirectory(prefix="bench-folder-")
        self._folders[name] = Path(self._stack.enter_context(folder))
        return self._folders[name]

    def _dsn(self, name: str) -> str:
        return self.server.dsn(self._databases[name])

    def _run(self, command: Command | None) -> float:
        assert command is not None
        return self.meter.cost(command, self.server).wall

    def readings(self, rounds: int) -> Iterator[Reading]:
        """Runs with one new migration, tasks and answers in turns; then everything afresh, once."""
        ours = self.tool.name
        for round_ in range(rounds):
            for figure, n, name, tool, beside in self._turns():
                whole, tasks = self.run(name)
                if figure == "a task":
                    values = {"cpu": whole["cpu"] / whole["tasks"], "wall": sum(tasks) / len(tasks)}
                else:
                    values = {"cpu": whole["cpu"], "wall": whole["wall"]}
                yield Reading("airflow", figure, tool, n, round_, values, beside)
                self._undo(name)
            for name, tool, beside in (("young", f"{ours}, 1 migration", ""), ("old", ours, f"{ours}, 1 migration")):
                values = {"wall": min(self.answer_seconds(name) for _ in range(5))}
                yield Reading("airflow", "status by the API", tool, OLD, round_, values, beside)
        whole, _ = self.run("fresh")
        self.call("down", "fresh")
        up = {"wall": self.call("apply", "fresh")}
        yield Reading("airflow", "all afresh", f"{ours} up", self.fresh, 0, up, "")
        yield Reading("airflow", "all afresh", ours, self.fresh, 0, {"wall": whole["wall"]}, f"{ours} up")

    def _turns(self) -> Iterator[tuple[str, int, str, str, str]]:
        ours, one = self.tool.name, "a run with one new"
        yield one, OLD, "young", f"{ours}, none applied", ""
        yield one, OLD, "old", ours, f"{ours}, none applied"
        if self.dbmate is not None:
            yield one, OLD, "bash", f"dbmate in a Bash task, beside {ours}", ""
        yield "a task", TASKS, "sql", f"SQL operator, beside {ours}", ""
        yield "a task", TASKS, "tasks", ours, f"SQL operator, beside {ours}"

    def _undo(self, name: str) -> None:
        if name == "bash":
            assert self.dbmate is not None
            undo = self.dbmate.command("roll_back_10", self._folders[name], self._dsn(name), OLD + 1)
            assert undo is not None
            self._run(Command(undo.calls[:1], undo.folder, undo.environment))
        elif name == "sql":
            for script in scripts(TASKS):
                self.server.cluster.execute(script.down, dbname=self._databases["sql"])
        else:
            self.call("down", name, OLD if name == "old" else 0)


def _took(instance: dict[str, str]) -> float:
    moments = [datetime.fromisoformat(instance[name].replace("Z", "+00:00")) for name in ("start_date", "end_date")]
    return (moments[1] - moments[0]).total_seconds()
